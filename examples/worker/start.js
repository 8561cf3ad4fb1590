// Three Redis servers, a Webdis before each, and the worker: all on this machine, until Ctrl-C.
import { build } from "esbuild";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Miniflare } from "miniflare";

const require = createRequire(import.meta.url);

async function freePort() {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address();
    server.close();
    await once(server, "close");
    return port;
}

/** A Redis and its Webdis, which lets nobody do more than lock. */
async function startNode(folder, index, children) {
    const [redisPort, port] = [await freePort(), await freePort()];
    const [user, password] = ["locker", `local-${index}`];
    const config = join(folder, `webdis-${index}.json`);
    writeFileSync(config, JSON.stringify({
        redis_host: "127.0.0.1", redis_port: redisPort, http_host: "127.0.0.1", http_port: port,
        threads: 2, pool_size: 10, daemonize: false, websockets: false, verbosity: 0, logfile: join(folder, `webdis-${index}.log`),
        acl: [{ disabled: ["*"] }, { http_basic_auth: `${user}:${password}`, enabled: ["EVAL", "PING"] }],
    }));
    for (const [command, args] of [
        ["redis-server", ["--port", String(redisPort), "--bind", "127.0.0.1", "--save", "", "--dir", folder]],
        ["webdis", [config]],
    ]) {
        const child = spawn(command, args, { stdio: "ignore" });
        child.once("error", (error) => {
            console.error(`${command} cannot be started: ${error.message}`);
            process.exit(1);
        });
        children.push(child);
    }
    const node = { url: `http://127.0.0.1:${port}`, user, password, insecure: true };
    await answers(node);
    return node;
}

async function answers({ url, user, password }) {
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
    const limit = Date.now() + 30_000;
    for (;;) {
        const text = await fetch(url, { method: "POST", headers: { authorization }, body: "PING" }).then((r) => r.text(), () => "");
        if (text.includes("PONG")) return;
        if (Date.now() > limit) throw new Error(`the proxy at ${url} does not answer`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

/** Starts everything; `close` ends it. */
export async function startExample({ port = 0 } = {}) {
    const folder = mkdtempSync(join(tmpdir(), "redlatch-worker-"));
    const children = [];
    let miniflare;
    const end = () => {
        for (const child of children) child.kill("SIGKILL");
        rmSync(folder, { recursive: true, force: true });
    };
    process.once("exit", end);
    try {
        const nodes = await Promise.all([0, 1, 2].map((index) => startNode(folder, index, children)));
        await build({
            entryPoints: [join(import.meta.dirname, "worker.js")], outfile: join(folder, "worker.js"), bundle: true,
            format: "esm", conditions: ["workerd"], external: ["*.wasm"], loader: { ".html": "text" }, logLevel: "error",
        });
        miniflare = new Miniflare({
            modules: [
                { type: "ESModule", path: join(folder, "worker.js") },
                { type: "CompiledWasm", path: join(folder, "core_bg.wasm"), contents: readFileSync(require.resolve("redlatch/core.wasm")) },
            ],
            modulesRoot: folder,
            compatibilityDate: "2026-04-01",
            bindings: { NODES: JSON.stringify(nodes) },
            cf: false,
            host: "127.0.0.1",
            port,
        });
        const url = (await miniflare.ready).href;
        return {
            url,
            async close() {
                process.off("exit", end);
                await miniflare.dispose();
                end();
            },
        };
    } catch (error) {
        await miniflare?.dispose();
        end();
        throw error;
    }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
    const { url, close } = await startExample({ port: Number(process.env.PORT ?? 8787) });
    console.log(`open ${url}`);
    for (const signal of ["SIGINT", "SIGTERM"]) {
        process.once(signal, () => close().then(() => process.exit(0)));
    }
}
