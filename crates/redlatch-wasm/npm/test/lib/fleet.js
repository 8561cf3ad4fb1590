// Redis servers, proxies before them, and a way for a program in any runtime to break them.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { folder, port, start, stop, until } from "./processes.js";
import { close, listen, send, startFaults, startUpstash, text } from "./stub.js";

const token = "correct-token";
const [user, password] = ["locker", "correct-password"];

export async function startRedis(redisPort, args = []) {
    const process = start("redis-server", [
        "--port", String(redisPort), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder(), ...args,
    ]);
    const client = new Redis({ port: redisPort, host: "127.0.0.1", retryStrategy: () => 20, maxRetriesPerRequest: null });
    client.on("error", () => {});
    await alive(process, client.ping());
    return { process, client, port: redisPort };
}

/** One node: a Redis, and before it a proxy of this kind: `webdis`, `peer` or `stub`. */
async function startNode(kind) {
    const redisPort = await port();
    const node = { kind, redis: await startRedis(redisPort) };
    switch (kind) {
        case "webdis": {
            const httpPort = await port();
            const config = join(folder(), "webdis.json");
            writeFileSync(config, JSON.stringify({
                redis_host: "127.0.0.1", redis_port: redisPort, http_host: "127.0.0.1", http_port: httpPort,
                threads: 2, pool_size: 10, daemonize: false, websockets: false, verbosity: 0,
                logfile: join(folder(), "webdis.log"),
                // The lock needs no more than this.
                acl: [{ disabled: ["*"] }, { http_basic_auth: `${user}:${password}`, enabled: ["SET", "EVAL", "PING"] }],
            }));
            node.process = start("webdis", [config]);
            node.access = { kind, url: `http://127.0.0.1:${httpPort}`, user, password };
            break;
        }
        case "peer": {
            const httpPort = await port();
            const server = new URL("server.js", import.meta.resolve("@humanwhocodes/upstash-redis-server"));
            node.process = start(process.execPath, [fileURLToPath(server)], {
                env: { ...process.env, URS_TOKEN: token, PORT: String(httpPort), REDIS_URL: `redis://127.0.0.1:${redisPort}` },
            });
            node.access = { kind: "upstash", url: `http://127.0.0.1:${httpPort}`, token };
            break;
        }
        case "stub": {
            node.stub = await startUpstash(redisPort, token);
            node.access = { kind: "upstash", url: node.stub.url, token };
            break;
        }
        default:
            throw new Error(`there is no proxy ${kind}`);
    }
    await alive(node.process, answers(node));
    return node;
}

/** What is waited for, unless the process ends before. */
async function alive(process, promise) {
    const end = process?.ended.then(() => {
        throw new Error(`${process.spawnargs.join(" ")} has ended: ${process.log}`);
    });
    // Nobody may be looking any more when it ends.
    end?.catch(() => {});
    return Promise.race([promise, end ?? promise]);
}

/** Waits until the proxy answers for its Redis. */
function answers(node) {
    const { access } = node;
    return until(`the proxy ${node.kind} answers (${node.process?.log ?? ""})`, async () => {
        const authorization = access.kind === "webdis"
            ? `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`
            : `Bearer ${token}`;
        const response = await fetch(access.url, {
            method: "POST",
            headers: { authorization, "content-type": "application/json" },
            body: access.kind === "webdis" ? "PING" : '["PING"]',
            signal: AbortSignal.timeout(1000),
        });
        return (await response.text()).includes("PONG") && response.status === 200;
    });
}

/** Some nodes, and a server by which programs control them. */
export async function startFleet(kinds) {
    const nodes = await Promise.all(kinds.map(startNode));
    const faults = await startFaults(`${nodes[0].access.url}/`);
    const actions = {
        async redis({ node, args }) {
            return nodes[node].redis.client.call(...args);
        },
        async down({ node }) {
            await stop(nodes[node].redis.process);
        },
        async up({ node }) {
            const { redis } = nodes[node];
            redis.client.disconnect();
            nodes[node].redis = await startRedis(redis.port);
            await answers(nodes[node]);
        },
        async hang({ node }) {
            nodes[node].redis.process.kill("SIGSTOP");
        },
        async resume({ node }) {
            nodes[node].redis.process.kill("SIGCONT");
            await answers(nodes[node]);
        },
    };
    const control = await listen(async (request, response) => {
        const { action, ...rest } = JSON.parse(await text(request));
        try {
            send(response, 200, { result: (await actions[action](rest)) ?? null });
        } catch (error) {
            send(response, 500, { error: error.message });
        }
    });
    return {
        nodes,
        actions,
        faults,
        /** What a program needs to know, as JSON. */
        config: {
            nodes: nodes.map(({ access }) => access),
            redis: nodes.map(({ redis }) => redis.port),
            control: `http://127.0.0.1:${control.address().port}`,
            faults: faults.url,
        },
        async close() {
            await close(control);
            await faults.close();
            for (const node of nodes) {
                await node.stub?.close();
                if (node.process) await stop(node.process);
                node.redis.client.disconnect();
                await stop(node.redis.process);
            }
        },
    };
}
