// The stub answers as the documentation of Upstash says, as the official client sees it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Redis } from "@upstash/redis";
import { startRedis } from "./lib/fleet.js";
import { port, stop } from "./lib/processes.js";
import { startUpstash } from "./lib/stub.js";

let server;
let stub;

before(async () => {
    server = await startRedis(await port());
    stub = await startUpstash(server.port, "token");
});

after(async () => {
    await stub?.close();
    server?.client.disconnect();
    if (server) await stop(server.process);
});

function official(options = {}) {
    return new Redis({ url: stub.url, token: "token", retry: false, enableTelemetry: false, ...options });
}

async function post(path, body, headers = {}) {
    const response = await fetch(stub.url + path, {
        method: "POST", body, headers: { authorization: "Bearer token", ...headers },
    });
    return { status: response.status, json: await response.json(), headers: response.headers };
}

test("the official client sets and gets, also what is not ASCII, in base64", async () => {
    const redis = official();
    assert.equal(await redis.set("key", "grüße ✓"), "OK");
    assert.equal(await redis.get("key"), "grüße ✓");
    assert.equal(await redis.get("none"), null);
    assert.equal(await redis.incr("number"), 1);
    assert.deepEqual(await redis.mget("key", "none"), ["grüße ✓", null]);
    assert.equal(stub.seen.requests.at(-1).headers["upstash-encoding"], "base64");
    const plain = official({ responseEncoding: false });
    assert.equal(await plain.get("key"), "grüße ✓");
});

test("the official client runs scripts, pipelines and transactions", async () => {
    const redis = official();
    assert.deepEqual(await redis.eval("return {1, 2, ARGV[1]}", [], ["three"]), [1, 2, "three"]);
    assert.deepEqual(await redis.pipeline().set("a", 1).get("a").exec(), ["OK", 1]);
    assert.deepEqual(await redis.multi().set("b", 2).incr("b").exec(), ["OK", 3]);
});

test("an error of Redis is a 400 with an error in it, alone, and an item of a pipeline", async () => {
    const redis = official({ enableAutoPipelining: false });
    await redis.set("text", "text");
    await assert.rejects(redis.incr("text"), { name: "UpstashError", message: /not an integer/ });
    const { status, json } = await post("/", '["INCR","text"]');
    assert.equal(status, 400);
    assert.match(json.error, /^ERR value is not an integer/);
    const pipeline = await post("/pipeline", '[["INCR","text"],["GET","text"]]');
    assert.equal(pipeline.status, 200);
    assert.match(pipeline.json[0].error, /^ERR/);
    assert.equal(pipeline.json[1].result, "text");
    assert.equal((await post("/", "no JSON")).status, 400);
});

test("a wrong token is a 401, another method a 405", async () => {
    await assert.rejects(official({ token: "wrong" }).get("key"), { name: "UpstashError", message: /WRONGPASS/ });
    assert.equal((await fetch(stub.url, { method: "POST", body: '["PING"]' })).status, 401);
    assert.equal((await fetch(`${stub.url}/?_token=token`, { method: "POST", body: '["PING"]' })).status, 200);
    assert.equal((await fetch(`${stub.url}/?_token=token`, { method: "DELETE" })).status, 405);
});

test("OK stays OK in base64, and other strings do not", async () => {
    const set = await post("/", '["SET","x","OK"]', { "upstash-encoding": "base64" });
    assert.equal(set.json.result, "OK");
    const echo = await post("/", '["ECHO","abcd"]', { "upstash-encoding": "base64" });
    assert.equal(echo.json.result, "YWJjZA==");
});

test("a sync token comes with each answer, and the official client sends it back", async () => {
    const redis = official();
    await redis.set("key", "value");
    const first = stub.seen.sync.length;
    await redis.get("key");
    assert.ok(stub.seen.sync.length > first);
    assert.ok((await post("/", '["PING"]')).headers.get("upstash-sync-token"));
});

test("commands can stand in the path", async () => {
    const response = await fetch(`${stub.url}/set/path%2Fkey`, {
        method: "POST", body: "value", headers: { authorization: "Bearer token" },
    });
    assert.deepEqual(await response.json(), { result: "OK" });
    assert.equal(await server.client.get("path/key"), "value");
});
