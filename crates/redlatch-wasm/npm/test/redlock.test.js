// The drop-in face beside node-redlock itself, on real servers.
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { after, before, suite, test } from "node:test";
import { Cluster, Redis } from "ioredis";
import { ContendedError, LostError, NoQuorumError, Redlatch, ioredis } from "redlatch";
import Redlock, { ExecutionError, Lock, ResourceLockedError } from "redlatch/redlock";
import NodeRedlock, { ExecutionError as NodeExecutionError } from "redlock";
import { startRedis } from "./lib/fleet.js";
import { port, stop, until } from "./lib/processes.js";

const servers = [];
const clients = [];
let names = 0;
const resource = () => `redlock ${(names += 1)}`;
const quick = { retryCount: 2, retryDelay: 20, retryJitter: 10 };

function client(server, options = {}) {
    const redis = new Redis({ host: "127.0.0.1", port: server.port, ...options });
    redis.on("error", () => {});
    clients.push(redis);
    return redis;
}

/** A client of each server, whose first command waits for no connection. */
async function connected() {
    const all = servers.map((server) => client(server));
    await Promise.all(all.map((redis) => redis.ping()));
    return all;
}

function rejection(promise) {
    return promise.then((value) => assert.fail(`it resolved to ${value}`), (error) => error);
}

before(async () => {
    for (let index = 0; index < 3; index += 1) servers.push(await startRedis(await port()));
});

after(async () => {
    for (const redis of clients) redis.disconnect();
    for (const server of servers) {
        server.client.disconnect();
        await stop(server.process);
    }
});

for (const count of [1, 3]) {
    suite(`with ${count} clients`, () => {
        const redlock = (settings) => new Redlock(servers.slice(0, count).map((server) => client(server)), settings);
        const original = (settings) => new NodeRedlock(servers.slice(0, count).map((server) => client(server)), settings);

        test("the examples of its README work", async () => {
            const [sender, recipient] = [resource(), resource()];
            const balance = await redlock().using([sender, recipient], 5000, async (signal) => {
                if (signal.aborted) throw signal.error;
                return 7;
            });
            assert.equal(balance, 7);
            let lock = await redlock({ driftFactor: 0.01, retryCount: 10, retryDelay: 200, retryJitter: 200,
                automaticExtensionThreshold: 500 }).acquire(["a"], 5000);
            try {
                const before = lock;
                lock = await lock.extend(5000);
                assert.equal(before.expiration, 0, "it is replaced");
            } finally {
                // When every client has voted, which may be later than the release.
                await (await lock.release()).attempts[0];
            }
            await until("nothing is left", async () => (await servers[0].client.exists("a")) === 0);
        });

        test("a lock looks as one of node-redlock does", async () => {
            for (const [kind, LockClass] of [[redlock(), Lock], [original(), undefined]]) {
                const name = resource();
                const lock = await kind.acquire([name], 5000);
                if (LockClass) assert.ok(lock instanceof LockClass);
                assert.deepEqual(Object.keys(lock).sort(), ["attempts", "expiration", "redlock", "resources", "value"]);
                assert.equal(lock.redlock, kind);
                assert.deepEqual(lock.resources, [name]);
                assert.match(lock.value, /^[0-9a-f]{32,40}$/);
                assert.ok(lock.expiration > Date.now() && lock.expiration <= Date.now() + 5000 - 52);
                assert.equal(lock.attempts.length, 1);
                // When every client has voted, which may be later than the grant.
                const stats = await lock.attempts[0];
                assert.equal(await servers[0].client.get(name), lock.value);
                assert.equal(stats.membershipSize, count);
                assert.equal(stats.quorumSize, Math.floor(count / 2) + 1);
                assert.equal(stats.votesFor.size, count);
                assert.ok([...kind.clients].every((client) => stats.votesFor.has(client)));
                assert.equal(stats.votesAgainst.size, 0);
                const extended = await kind.extend(lock, 6000);
                assert.ok(extended.expiration > Date.now() + 5000);
                assert.equal(extended.value, lock.value);
                const { attempts } = await kind.release(extended);
                assert.equal((await attempts[0]).votesFor.size, count);
                assert.equal(extended.expiration, 0);
            }
        });

        test("a lock that is taken fails with the statistics of every attempt, and tells of each vote", async () => {
            for (const [kind, ErrorClass] of [[redlock(quick), ExecutionError], [original(quick), NodeExecutionError]]) {
                const name = resource();
                const lock = await original().acquire([name], 60_000);
                await until("all have it", async () =>
                    (await Promise.all(servers.slice(0, count).map(({ client }) => client.exists(name)))).every((n) => n === 1));
                const told = [];
                kind.on("error", (error) => told.push(error));
                const error = await rejection(kind.acquire([name], 1000));
                assert.ok(error instanceof ErrorClass && error instanceof Error);
                assert.equal(error.message, "The operation was unable to achieve a quorum during its retry window.");
                assert.equal(error.attempts.length, 3);
                for (const attempt of error.attempts) {
                    const { votesFor, votesAgainst } = await attempt;
                    assert.equal(votesFor.size, 0);
                    assert.equal(votesAgainst.size, count);
                    for (const reason of votesAgainst.values()) assert.equal(reason.constructor.name, "ResourceLockedError");
                }
                // node-redlock also tells that there was nothing to clean up.
                assert.ok(told.length >= 3 * count && (ErrorClass !== ExecutionError || told.length === 3 * count));
                await lock.release();
            }
        });

        test("both exclude each other", async () => {
            const name = resource();
            const ours = await redlock().acquire([name], 60_000);
            await rejection(original(quick).acquire([name], 1000));
            await ours.release();
            const theirs = await original().acquire([name], 60_000);
            const error = await rejection(redlock(quick).acquire([name], 1000));
            assert.ok(error.cause instanceof ContendedError, "the cause says more");
            await theirs.release();
        });

        test("what using refuses, and how, is the same", async () => {
            for (const kind of [redlock(), original()]) {
                const name = [resource()];
                assert.match((await rejection(kind.using(name, 500, async () => {}))).message, /at least 100ms greater/);
                assert.match((await rejection(kind.using(name, 5000.5, async () => {}))).message, /integer/);
                assert.match((await rejection(kind.acquire(name, 0.5))).message, /integer/);
                assert.match((await rejection(kind.using(name, 5000, {}))).message, /not a function/);
                const thrown = new TypeError("of the routine");
                assert.equal(await rejection(kind.using(name, 5000, () => Promise.reject(thrown))), thrown);
            }
            assert.throws(() => new Redlock([]), /at least one redis client/);
            assert.throws(() => new NodeRedlock([]), /at least one redis client/);
        });
    });
}

test("retries without end can be asked for in every way", async () => {
    const redlock = new Redlock(servers.map((server) => client(server)), { retryDelay: 10, retryJitter: 0 });
    for (const retryCount of [-1, Infinity, Number.MAX_SAFE_INTEGER]) {
        const name = resource();
        const lock = await redlock.acquire([name], 60_000);
        const waiting = redlock.acquire([name], 60_000, { retryCount });
        await lock.release();
        await (await waiting).release();
    }
});

test("settings can be given for each call", async () => {
    const name = resource();
    const redlock = new Redlock(servers.map((server) => client(server)));
    const lock = await redlock.acquire([name], 60_000);
    const error = await rejection(redlock.acquire([name], 1000, { retryCount: 0 }));
    assert.equal(error.attempts.length, 1);
    const waiting = redlock.acquire([name], 1000, { retryCount: -1, retryDelay: 10, retryJitter: 0 });
    await lock.release();
    await (await waiting).release();
});

test("using extends the lock, and its signal aborts by the expiration if that fails", async () => {
    const name = resource();
    const redlock = new Redlock(servers.map((server) => client(server)));
    const settings = { automaticExtensionThreshold: 100 };
    const alive = await redlock.using([name], 400, settings, async (signal) => {
        const end = Date.now() + 900;
        await until("it was held for longer than its duration", () => Date.now() > end || signal.aborted);
        return !signal.aborted;
    });
    assert.ok(alive);
    let seen;
    const error = await rejection(redlock.using([name], 400, settings, async (signal) => {
        for (const server of servers) await server.client.del(name);
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        seen = signal.error;
    }));
    assert.ok(error instanceof ExecutionError && error.cause instanceof LostError);
    assert.equal(seen, error, "signal.error is there");
});

test("quit ends the clients", async () => {
    const own = servers.map((server) => client(server));
    const redlock = new Redlock(own);
    assert.deepEqual([...redlock.clients], own);
    await (await redlock.acquire([resource()], 1000)).release();
    await redlock.quit();
    await until("all have ended", () => own.every(({ status }) => status === "end"));
});

test("listeners come and go as those of an EventEmitter", () => {
    // What node-redlock is given by its own listener of errors is not looked at.
    const emitters = [new Redlock([client(servers[0])]), new EventEmitter()];
    const seen = emitters.map((emitter) => {
        const heard = [];
        const note = (what) => function (...args) {
            heard.push([what, this === emitter, ...args]);
        };
        const [a, b, c] = ["a", "b", "c"].map(note);
        emitter.on("x", a).addListener("x", a).once("x", b).prependListener("x", c).prependOnceListener("x", b);
        heard.push(emitter.emit("x", 1, 2), emitter.listenerCount("x"));
        emitter.off("x", a);
        heard.push(emitter.emit("x", 3), emitter.listeners("x").map((listener) => [a, b, c].indexOf(listener)));
        emitter.once("x", b).removeListener("x", b).off("x", b).off("y", b);
        heard.push(emitter.emit("x"), emitter.eventNames());
        emitter.once("y", function () {
            emitter.emit("y");
            emitter.on("y", a);
        });
        heard.push(emitter.emit("y"), emitter.emit("y"), emitter.eventNames());
        emitter.removeAllListeners("y");
        heard.push(emitter.emit("y"), emitter.listenerCount("y"));
        let isFirst = true;
        emitter.on("z", () => {
            if (!isFirst) return;
            isFirst = false;
            emitter.emit("z");
        });
        emitter.once("z", b);
        heard.push(emitter.emit("z"), emitter.listenerCount("z"));
        emitter.removeAllListeners("z");
        heard.push(emitter.setMaxListeners(20) === emitter);
        emitter.removeAllListeners();
        heard.push(emitter.eventNames(), emitter.listeners("x"), emitter.emit("x"));
        return heard;
    });
    assert.deepEqual(seen[0], seen[1]);
    assert.equal(emitters[0].emit("error", new Error("unheard")), false, "an error without a listener ends no process");
});

test("whoever waits for a name is not called for another", async () => {
    const waits = resource();
    for (const { client } of servers) await client.zadd(`redlatch:queue:{${waits}}`, 1, "somebody");
    const lock = await new Redlock(await connected()).acquire([`{${waits}}`, resource()], 5000);
    await lock.release();
    for (const { client } of servers) assert.equal(await client.zcard(`redlatch:queue:{${waits}}`), 1);
});

test("a client's key prefix is kept", async () => {
    const name = resource();
    const prefixed = () => servers.map((server) => client(server, { keyPrefix: "app:" }));
    const lock = await new Redlock(prefixed()).acquire([name, `${name} too`], 5000);
    await until("it is there", async () => (await servers[0].client.get(`app:${name} too`)) === lock.value);
    await rejection(new NodeRedlock(prefixed(), quick).acquire([name], 1000));
    const redlatch = new Redlatch(servers.map((server) => ioredis(client(server))), { keyPrefix: "app:" });
    assert.ok((await rejection(redlatch.tryAcquire(name, 1000, { nodeTimeout: 20_000 }))) instanceof ContendedError);
    await lock.release();
    await until("nothing is left", async () => (await servers[0].client.exists(`app:${name}`, `app:${name} too`)) === 0);
});

test("a client whose numbers are strings is refused", () => {
    assert.throws(() => new Redlock([client(servers[0], { stringNumbers: true })]), /stringNumbers/);
    const cluster = new Cluster([servers[0]], { redisOptions: { stringNumbers: true }, lazyConnect: true });
    assert.throws(() => new Redlock([cluster]), /stringNumbers/);
});

suite("where node-redlock has defects", () => {
    test("an even number of clients ends in a decision", async () => {
        const name = resource();
        await servers[0].client.set(name, "somebody", "PX", 60_000);
        const redlock = new Redlock(servers.slice(0, 2).map((server) => client(server)), quick);
        assert.ok((await rejection(redlock.acquire([name], 300_000))) instanceof ExecutionError);
        await until("nothing is left", async () => (await servers[1].client.exists(name)) === 0);
    });

    test("clients that never answer end in a decision, and in statistics", async () => {
        const hung = new Set();
        try {
            const redlock = new Redlock(servers.map((server) => client(server)), quick);
            await (await redlock.acquire([resource()], 1000)).release();
            for (const server of servers.slice(0, 2)) hung.add(server).forEach(({ process }) => process.kill("SIGSTOP"));
            const error = await rejection(redlock.acquire([resource()], 1000));
            assert.ok(error.cause instanceof NoQuorumError);
            for (const attempt of error.attempts) assert.equal((await attempt).votesAgainst.size, 2);
        } finally {
            for (const { process } of hung) process.kill("SIGCONT");
        }
    });

    test("a lock that expired is released at once, with an error that says why", async () => {
        const redlock = new Redlock(servers.map((server) => client(server)));
        const lock = await redlock.acquire([resource()], 50);
        await until("it has expired", () => Date.now() > lock.expiration);
        await until("it is lost", async () => (await rejection(lock.extend(50))).message.includes("already-expired"));
        const error = await rejection(lock.release());
        assert.ok(error instanceof ExecutionError && error.cause instanceof LostError);
    });

    test("an extension to a shorter duration shortens nothing", async () => {
        const name = resource();
        const redlock = new Redlock(servers.map((server) => client(server)));
        const lock = await redlock.acquire([name], 60_000);
        const extended = await lock.extend(5000);
        assert.ok(extended.expiration > Date.now() + 50_000);
        await until("it lives for longer", async () => (await servers[0].client.pttl(name)) > 50_000);
        await extended.release();
    });

    test("custom scripts are refused, not ignored", () => {
        assert.throws(() => new Redlock([client(servers[0])], {}, { acquireScript: "return 1" }), /not supported/);
    });

    test("a release can be repeated, and has the same statistics", async () => {
        const redlock = new Redlock(await connected());
        const lock = await redlock.acquire([resource()], 5000);
        const results = await Promise.all([lock.release(), lock.release()]);
        results.push(await lock.release());
        for (const { attempts } of results) {
            assert.ok(attempts.length > 0);
            assert.equal((await attempts[0]).votesFor.size, 3);
        }
    });

    test("what is asked of one client is held against no other", async () => {
        // The last is silent from the release on.
        let isSilent = false;
        const clients = (await connected()).map((redis, index) => (
            { call: (...args) => (index === 2 && isSilent ? new Promise(() => {}) : redis.call(...args)) }
        ));
        const redlock = new Redlock(clients);
        const lock = await redlock.acquire([resource()], 5000);
        assert.equal((await lock.attempts[0]).votesFor.size, 3);
        isSilent = true;
        const { attempts } = await lock.release();
        const again = await until("it is asked again", () => attempts[1]);
        const { votesFor, votesAgainst } = await again;
        assert.deepEqual([[...votesFor], [...votesAgainst.keys()]], [[], [clients[2]]]);
    });
});

suite("extensions at the same time", () => {
    const held = async (redlock, name = resource()) => ({ name, lock: await redlock.acquire([name], 60_000) });
    const redlock = () => new Redlock(servers.map((server) => client(server)));

    test("come to an end, whatever durations they ask for, and any of their locks releases it", async () => {
        for (const durations of [[200_000, 100_000], [100_000, 200_000], [100_000, 200_000, 60_000, 200_000], [200_000, 200_000]]) {
            const { name, lock } = await held(redlock());
            const extended = await Promise.all(durations.map((duration) => lock.extend(duration)));
            for (const [index, one] of extended.entries()) {
                // A hundredth is given away to clocks, and this machine may be slow.
                assert.ok(one.expiration > Date.now() + durations[index] * 0.9, `${index} of ${durations}: ${one.expiration - Date.now()}`);
            }
            assert.ok(extended.every(({ value }) => value === lock.value));
            await extended[0].release();
            await until("nothing is left", async () => (await servers[0].client.exists(name)) === 0);
        }
    });

    test("with a release end as it does", async () => {
        let asked = 0;
        const clients = (await connected()).map((redis) => ({
            call(...args) {
                const isExtension = args[1].includes("PEXPIRE") && !args[1].includes("ZADD");
                if (!isExtension) return redis.call(...args);
                asked += 1;
                return new Promise(() => {});
            },
        }));
        const { name, lock } = await held(new Redlock(clients));
        const extensions = [90_000, 60_000, 100_000].map((duration) => rejection(lock.extend(duration)));
        await until("they are under way", () => asked >= 3);
        await lock.release();
        for (const error of await Promise.all(extensions)) assert.ok(error instanceof ExecutionError, `${error}`);
        await until("nothing is left", async () => (await servers[0].client.exists(name)) === 0);
    });

    test("of a lock that was made elsewhere are of one lock", async () => {
        const { name, lock } = await held(redlock());
        const same = new Lock(redlock(), [name], lock.value, [], lock.expiration);
        const extended = await Promise.all([same.extend(90_000), same.extend(100_000)]);
        await Promise.all([extended[0].release(), extended[1].release()]);
        assert.ok((await rejection(extended[1].extend(90_000))) instanceof ExecutionError);
        await until("nothing is left", async () => (await servers[0].client.exists(name)) === 0);
    });
});

test("a lock can be put together in another process", async () => {
    const name = resource();
    const lock = await new Redlock(servers.map((server) => client(server))).acquire([name], 5000);
    const other = new Redlock(servers.map((server) => client(server)));
    const same = new Lock(other, [name], lock.value, [], lock.expiration);
    const extended = await same.extend(10_000);
    assert.ok(extended.expiration > Date.now() + 5000);
    await extended.release();
    await until("nothing is left", async () => (await servers[0].client.exists(name)) === 0);
});

test("a cluster is one client", async (t) => {
    const nodes = [];
    for (let index = 0; index < 3; index += 1) {
        nodes.push(await startRedis(await port(), ["--cluster-enabled", "yes"]));
    }
    t.after(async () => {
        for (const { client, process } of nodes) {
            client.disconnect();
            await stop(process);
        }
    });
    const bounds = [0, 5461, 10_923, 16_384];
    for (const [index, { client }] of nodes.entries()) {
        await client.cluster("ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1);
        for (const other of nodes) await client.cluster("MEET", "127.0.0.1", other.port);
    }
    await until("the cluster is up", async () => {
        const infos = await Promise.all(nodes.map(({ client }) => client.cluster("INFO")));
        return infos.every((info) => info.includes("cluster_state:ok") && info.includes("cluster_known_nodes:3"));
    });
    const cluster = new Cluster([{ host: "127.0.0.1", port: nodes[0].port }]);
    t.after(() => cluster.disconnect());
    const redlock = new Redlock([cluster], quick);
    // They are on different masters.
    for (const name of ["a", "b", "c", "d", "{redlock}one"]) {
        const lock = await redlock.acquire([name], 5000);
        assert.equal(await cluster.get(name), lock.value);
        await rejection(new NodeRedlock([cluster], quick).acquire([name], 1000));
        const extended = await lock.extend(5000);
        await extended.release();
        assert.equal(await cluster.exists(name), 0);
    }
    for (const options of [{ keyPrefix: "app:" }, { redisOptions: { keyPrefix: "app:" } }]) {
        const prefixed = new Cluster([{ host: "127.0.0.1", port: nodes[0].port }], options);
        t.after(() => prefixed.disconnect());
        for (const name of ["a", "b", "c", "d"]) {
            const lock = await new Redlock([prefixed], quick).acquire([name], 60_000);
            assert.equal(await cluster.get(`app:${name}`), lock.value);
            await lock.extend(60_000);
            await lock.release();
            await until("nothing is left", async () => (await cluster.exists(`app:${name}`)) === 0);
        }
    }
    const both = ["{order:7}:stock", "{order:7}:invoice"];
    await (await redlock.acquire(both, 5000)).release();
    const error = await rejection(redlock.acquire(["a", "b"], 5000));
    const [stats] = await Promise.all(error.attempts);
    assert.match([...stats.votesAgainst.values()][0].message, /slot/i, "in a cluster they must share a slot");
});

assert.ok(ResourceLockedError.prototype instanceof Error);
