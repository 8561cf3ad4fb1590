// One fleet, three kinds of client: the native driver, this package, node-redlock. They exclude each other.
import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Redis } from "ioredis";
import { Redlatch, ioredis } from "redlatch";
import NodeRedlock from "redlock";
import { startFleet } from "./lib/fleet.js";
import { folder, run } from "./lib/processes.js";
import { Stage } from "./programs/scenario.js";

const cli = process.env.REDLATCH_CLI ?? "../../debug/redlatch";
const resource = "shared by all";
const rounds = 4;
/** On a busy machine a node may need longer to answer than nodes usually get. */
const patience = { nodeTimeout: 20_000 };
let fleet;
let clients;

before(async () => {
    if (!existsSync(cli)) throw new Error(`the command redlatch is not there: cargo build -p redlatch-cli`);
    fleet = await startFleet(["webdis", "stub", "peer"]);
    clients = fleet.config.redis.map((port) => new Redis({ host: "127.0.0.1", port }));
});

after(async () => {
    for (const client of clients ?? []) client.disconnect();
    await fleet?.close();
});

const native = (...args) => run(cli, args, {
    env: { ...process.env, REDLATCH_NODES: fleet.config.redis.map((port) => `redis://127.0.0.1:${port}`).join(",") },
});

test("whoever holds the lock, the others are refused", async () => {
    const ours = new Stage({ ...fleet.config, name: "mixed" }).client();
    const theirs = new NodeRedlock(clients, { retryCount: 0 });
    const refusals = {
        native: async () => assert.notEqual((await native("run", "--wait", "0s", resource, "--", "true")).code, 0),
        npm: () => assert.rejects(ours.tryAcquire(resource, 5000, patience), { name: "ContendedError" }),
        "node-redlock": () => assert.rejects(theirs.acquire([resource], 5000), { name: /Error/ }),
    };
    const lock = await ours.acquire(resource, 60_000);
    await refusals.native();
    await refusals["node-redlock"]();
    await lock.release();
    const other = await theirs.acquire([resource], 60_000);
    await refusals.native();
    await refusals.npm();
    await other.release();
    // The native driver holds it while its command looks.
    const seen = folder();
    const release = join(seen, "release");
    const holding = native("run", resource, "--", "sh", "-c", `touch '${seen}/held'; while [ ! -e '${release}' ]; do sleep 0.02; done`);
    while (!existsSync(join(seen, "held"))) await setImmediate();
    await refusals.npm();
    await refusals["node-redlock"]();
    appendFileSync(release, "");
    assert.equal((await holding).code, 0);
    await (await ours.acquire(resource, 5000)).release();
});

test("when all of them contend, no two are in at once, and nothing is lost", async () => {
    const place = folder();
    const [inside, count] = [join(place, "inside"), join(place, "count")];
    const enter = async () => {
        // It fails if somebody is in.
        mkdirSync(inside);
        await Promise.all(clients.map((client) => client.ping()));
        rmdirSync(inside);
        appendFileSync(count, "x");
    };
    const http = new Stage({ ...fleet.config, name: "mixed" }).client();
    const tcp = new Redlatch(clients.map((client) => ioredis(client)));
    const theirs = new NodeRedlock(clients, { retryCount: -1, retryDelay: 30, retryJitter: 20 });
    theirs.on("error", () => {});
    const patient = { ...patience, wait: 600_000, retryDelay: [5, 50] };
    const participants = [
        () => http.using(resource, 10_000, patient, enter),
        () => tcp.using(resource, 10_000, patient, enter),
        // What it leaves behind on a minority lives for as long as this, and blocks everybody.
        () => theirs.using([resource], 1000, enter),
        async () => {
            const script = `mkdir '${inside}' && rmdir '${inside}' && printf x >>'${count}'`;
            const { code, log } = await native("run", "--wait", "10m", resource, "--", "sh", "-c", script);
            assert.equal(code, 0, log);
        },
    ];
    await Promise.all(participants.map(async (participate) => {
        for (let round = 0; round < rounds; round += 1) await participate();
    }));
    assert.equal(readFileSync(count, "utf8").length, rounds * participants.length);
});
