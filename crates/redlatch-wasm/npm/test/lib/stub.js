// A small server in front of a Redis that answers as the documentation of the Upstash REST API says, and one that
// answers as no server should. Both allow pages of other origins, so that browsers can be tested.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { Redis } from "ioredis";

const servers = new Set();

/** An Upstash database with this token, on top of the Redis at this port. */
export async function startUpstash(redisPort, token) {
    const redis = new Redis({ port: redisPort, host: "127.0.0.1", enableOfflineQueue: true, retryStrategy: () => 20 });
    redis.on("error", () => {});
    const seen = { requests: [], sync: [] };
    const server = await listen(async (request, response) => {
        const body = await text(request);
        const url = new URL(request.url, "http://stub");
        seen.requests.push({ method: request.method, url: request.url, headers: request.headers, body });
        if (request.headers["upstash-sync-token"]) seen.sync.push(request.headers["upstash-sync-token"]);
        const bearer = /^Bearer (.*)$/.exec(request.headers.authorization ?? "")?.[1];
        if ((bearer ?? url.searchParams.get("_token")) !== token) {
            return send(response, 401, { error: "WRONGPASS invalid or missing auth token" });
        }
        if (!["GET", "HEAD", "POST", "PUT"].includes(request.method)) {
            return send(response, 405, { error: "ERR method not allowed" });
        }
        const encode = request.headers["upstash-encoding"] === "base64" ? base64 : plain;
        response.setHeader("upstash-sync-token", randomBytes(8).toString("base64"));
        const call = async ([command, ...args]) => encode(await redis.callBuffer(String(command), ...args.map(String)));
        const item = (args) => call(args).then((result) => ({ result }), (error) => ({ error: error.message }));
        try {
            switch (url.pathname) {
                case "/pipeline": {
                    const commands = JSON.parse(body);
                    return send(response, 200, await Promise.all(commands.map(item)));
                }
                case "/multi-exec": {
                    const commands = JSON.parse(body);
                    const results = await transaction(redis, commands);
                    return send(response, 200, results.map(([error, result]) =>
                        error ? { error: error.message } : { result: encode(result) }));
                }
                case "/":
                    return send(response, 200, { result: await call(JSON.parse(body)) });
                default: {
                    const args = url.pathname.slice(1).split("/").map(decodeURIComponent);
                    if (body !== "") args.push(body);
                    return send(response, 200, { result: await call(args) });
                }
            }
        } catch (error) {
            return send(response, 400, { error: error instanceof SyntaxError ? "ERR failed to parse" : error.message });
        }
    });
    return {
        url: `http://127.0.0.1:${server.address().port}`,
        seen,
        close: () => (redis.disconnect(), close(server)),
    };
}

async function transaction(redis, commands) {
    const multi = redis.multi();
    for (const [command, ...args] of commands) multi.callBuffer(String(command), ...args.map(String));
    return multi.exec();
}

/** Everything as it is, bytes as text. */
function plain(value) {
    if (Buffer.isBuffer(value)) return value.toString();
    return Array.isArray(value) ? value.map(plain) : value;
}

/** Every string in base64, except OK. */
function base64(value) {
    if (Buffer.isBuffer(value)) return value.toString() === "OK" ? "OK" : value.toString("base64");
    if (typeof value === "string") return value === "OK" ? "OK" : Buffer.from(value).toString("base64");
    return Array.isArray(value) ? value.map(base64) : value;
}

/** What a proxy may answer that is none: by the first part of the path. */
const faults = {
    nonsense: (response) => send(response, 200, { result: ["yes", { fence: true }, 7.5] }),
    empty: (response) => response.writeHead(200).end(),
    html: (response) => response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><h1>Log in</h1>"),
    error: (response) => response.writeHead(500, { "content-type": "text/plain" }).end("Internal Server Error"),
    // As if it had been applied, but with a status that says otherwise.
    refusal: (response) => send(response, 500, { result: [1, 1] }),
    half: (response) => {
        response.writeHead(200, { "content-type": "application/json", "content-length": 64 });
        response.write('{"result":[1,');
        setImmediate(() => response.destroy());
    },
    hang: () => {},
    // Echoes what must not be told.
    echo: (response, request, body) =>
        send(response, 400, { error: `ERR unknown command, ${request.headers.authorization} ${body}` }),
};
export const faultNames = [...Object.keys(faults), "redirect"];

/** A proxy that answers every request wrongly; `redirect` leads to a proxy that is fine. */
export async function startFaults(target) {
    const seen = { requests: [] };
    const server = await listen(async (request, response) => {
        const body = await text(request);
        seen.requests.push({ url: request.url, body });
        const name = request.url.split("/")[1];
        if (name === "redirect") return response.writeHead(307, { location: target }).end();
        faults[name](response, request, body);
    });
    return {
        url: `http://127.0.0.1:${server.address().port}`,
        seen,
        close: () => close(server),
    };
}

export async function listen(handle) {
    const server = http.createServer((request, response) => {
        response.setHeader("access-control-allow-origin", "*");
        response.setHeader("access-control-allow-headers", "*, authorization");
        response.setHeader("access-control-allow-methods", "*");
        if (request.method === "OPTIONS") return response.writeHead(204).end();
        Promise.resolve(handle(request, response)).catch((error) => response.destroy(error));
    });
    servers.add(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
}

export function close(server) {
    servers.delete(server);
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
}

export async function text(request) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
}

export function send(response, status, json) {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
}
