// What the scenario cannot show: clocks, transports, late answers, secrets.
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import net from "node:net";
import { after, before, suite, test } from "node:test";
import { Cluster, Redis } from "ioredis";
import {
    AcquireError, ContendedError, InvalidRequestError, LostError, NodeError, NoQuorumError, Redlatch, ioredis, nodeRedis,
    resp, upstash, webdis,
} from "redlatch";
import { createClient } from "redis";
import { startRedis } from "./lib/fleet.js";
import { port, run, stop, until } from "./lib/processes.js";
import { listen, close, send, startUpstash, text } from "./lib/stub.js";

/** On a busy machine a node may need longer to answer than nodes usually get. */
const patience = { nodeTimeout: 20_000 };
const servers = [];
const clients = [];
let names = 0;
const resource = () => `api ${(names += 1)}`;

/** Of all instances of the module that the package makes. */
const memories = [];
WebAssembly.Instance = class extends WebAssembly.Instance {
    constructor(...args) {
        super(...args);
        memories.push(Object.values(this.exports).find((value) => value instanceof WebAssembly.Memory));
    }
};

function client(server, options = {}) {
    const redis = new Redis({ host: "127.0.0.1", port: server.port, ...options });
    redis.on("error", () => {});
    clients.push(redis);
    return redis;
}

function rejection(promise) {
    return promise.then((value) => assert.fail(`it resolved to ${value}`), (error) => error);
}

before(async () => {
    for (let index = 0; index < 3; index += 1) {
        servers.push(await startRedis(await port(), ["--user", "locker", "on", ">secret-of-redis", "~*", "+@all"]));
    }
});

after(async () => {
    for (const redis of clients) redis.disconnect();
    for (const server of servers) {
        server.client.disconnect();
        await stop(server.process);
    }
});

/** Nodes of the caller's own making, and what they were sent. */
function custom(answer = ([, ...args], redis) => redis.call(...args)) {
    const sent = [];
    const nodes = servers.map((server, index) => {
        const redis = client(server);
        return {
            name: `n${index}`,
            send(args, { signal }) {
                sent.push({ args, index, signal });
                return answer([index, ...args], redis, signal);
            },
        };
    });
    return { nodes, sent };
}

suite("the clock", () => {
    /** A clock that moves only when it is told to. */
    function time() {
        return {
            wall: 1_800_000_000_000,
            steady: 5000,
            date() {
                return this.wall;
            },
            performance() {
                return this.steady;
            },
            pass(ms) {
                this.wall += ms;
                this.steady += ms;
            },
        };
    }

    test("one that stands still between I/O is brought up to date by a check", async () => {
        const clock = time();
        const real = { at: 0 };
        // As on workers: the clock shows the time of the latest I/O.
        const { nodes } = custom(async ([, ...args], redis) => {
            const reply = await redis.call(...args);
            clock.pass(real.at);
            real.at = 0;
            return reply;
        });
        const redlatch = new Redlatch(nodes, { clock });
        const lock = await redlatch.acquire(resource(), 10_000, patience);
        const before = lock.remaining();
        assert.equal(before, 9898);
        real.at = 4000;
        assert.equal(lock.remaining(), before, "without I/O the clock stands still");
        assert.equal(await lock.check(), before - 4000);
        real.at = 6000;
        assert.ok(lock.isValid, "and so it seems to be valid");
        assert.equal(await lock.check(), 0);
        assert.equal((await lock.lost).loss, "expired");
    });

    test("a wall clock that runs ahead ends a lock: the machine was suspended", async () => {
        const clock = time();
        const lock = await new Redlatch(custom().nodes, { clock }).acquire(resource(), 10_000, patience);
        clock.wall += 9000;
        assert.equal(lock.remaining(), 898);
        clock.wall += 898;
        assert.equal(lock.remaining(), 0);
        clock.wall -= 9898;
        assert.equal(lock.remaining(), 0, "once it has said so, it never says otherwise");
        assert.ok((await rejection(lock.extend())) instanceof LostError);
    });

    test("a wall clock that was set back lengthens nothing", async () => {
        const clock = time();
        const lock = await new Redlatch(custom().nodes, { clock }).acquire(resource(), 10_000, patience);
        clock.wall -= 3_600_000;
        clock.steady += 5000;
        assert.equal(lock.remaining(), 4898);
        // Suspended now: it counts from where it was set to.
        clock.wall += 5000 + 4898;
        assert.equal(lock.remaining(), 0);
    });

    test("the time before the answers counts", async () => {
        const clock = time();
        const { nodes } = custom(async ([, ...args], redis) => {
            const reply = await redis.call(...args);
            clock.pass(400);
            return reply;
        });
        const lock = await new Redlatch(nodes, { clock }).acquire(resource(), 10_000, { nodeTimeout: 5000, fence: false });
        assert.ok(lock.remaining() <= 9898 - 800, `two answers came before it was granted: ${lock.remaining()}`);
        await lock.release();
    });

    test("what is granted when nothing of it is left is no lock", async () => {
        const clock = time();
        const { nodes } = custom(async ([, ...args], redis) => {
            const reply = await redis.call(...args);
            clock.pass(2000);
            return reply;
        });
        const error = await rejection(new Redlatch(nodes, { clock }).tryAcquire(resource(), 1000, { nodeTimeout: 60_000 }));
        assert.ok(error instanceof AcquireError, `${error}`);
    });

    test("starts are rounded down and ends up", async () => {
        const clock = time();
        clock.steady += 0.9;
        const lock = await new Redlatch(custom().nodes, { clock }).acquire(resource(), 10_000, patience);
        clock.steady += 0.2;
        assert.equal(lock.remaining(), 9897);
    });
});

suite("transports", () => {
    const kinds = {
        "clients of ioredis": () => servers.map((server) => ioredis(client(server))),
        "clients of node-redis": async () => Promise.all(servers.map(async ({ port }, index) => {
            const redis = createClient({ url: `redis://127.0.0.1:${port}` });
            clients.push({ disconnect: () => redis.destroy() });
            redis.on("error", () => {});
            return nodeRedis(await redis.connect(), `n${index}`);
        })),
        "clients of node-redis with RESP3": async () => Promise.all(servers.map(async ({ port }, index) => {
            const redis = createClient({ url: `redis://127.0.0.1:${port}`, RESP: 3 });
            clients.push({ disconnect: () => redis.destroy() });
            return nodeRedis(await redis.connect(), `n${index}`);
        })),
        "sockets with a user and a password": () => servers.map(({ port }, index) => resp({
            connect: () => net.connect(port, "127.0.0.1"), user: "locker", password: "secret-of-redis", name: `n${index}`,
        })),
        "streams": () => servers.map(({ port }, index) => resp({
            async connect() {
                const { Duplex } = await import("node:stream");
                return Duplex.toWeb(net.connect(port, "127.0.0.1"));
            },
            name: `n${index}`,
        })),
        "anything that can send": () => custom().nodes,
        "anything that answers bytes": () => servers.map((server) => {
            const redis = client(server);
            return { send: (args) => redis.callBuffer(...args) };
        }),
    };
    for (const [kind, make] of Object.entries(kinds)) {
        test(`${kind} are nodes`, async () => {
            const redlatch = new Redlatch(await make());
            const name = resource();
            const lock = await redlatch.acquire(name, 10_000, patience);
            const error = await rejection(redlatch.tryAcquire(name, 10_000, patience));
            assert.ok(error instanceof ContendedError, `${error}`);
            await lock.extend();
            assert.ok((await lock.check()) > 0);
            assert.equal((await redlatch.inspect(name)).state, "held");
            await lock.release();
            await lock.settled;
            for (const { client } of servers) assert.equal(await client.exists(name), 0);
        });
    }

    test("a wrong password fails, and is not told", async () => {
        const nodes = servers.map(({ port }) => resp({ connect: () => net.connect(port, "127.0.0.1"), user: "locker", password: "wrong-secret" }));
        const error = await rejection(new Redlatch(nodes).tryAcquire(resource(), 1000));
        assert.ok(error instanceof NoQuorumError && /WRONGPASS/.test(error.message), `${error}`);
        assert.ok(!error.message.includes("wrong-secret"));
    });

    /** A socket that answers this, or fails, in the same turn of the event loop. */
    function socket(answer) {
        const socket = Object.assign(new EventEmitter(), { write() {}, destroy() {} });
        process.nextTick(() => (answer instanceof Error ? socket.emit("error", answer) : socket.emit("data", Buffer.from(answer))));
        return socket;
    }

    test("a socket that fails at once is no vote, and ends no process", async () => {
        const node = resp(() => socket(new Error("unreachable")));
        const { signal } = new AbortController();
        // In a timer, what is to be done next comes before promises.
        const error = await new Promise((resolve) => setTimeout(() => node.send(["PING"], { signal }).catch(resolve), 0));
        assert.ok(error instanceof NodeError && error.message === "unreachable", `${error}`);
    });

    test("the code of an error is one, and no secret", async () => {
        const secret = "HUNTER2";
        const json = (body) => async () => ({ status: 200, text: async () => JSON.stringify(body) });
        const url = "https://a.example.com";
        const kinds = [
            (text) => upstash({ url, token: secret, fetch: json({ error: text }) }),
            (text) => webdis({ url, user: "u", password: secret, fetch: json({ EVAL: [false, text] }) }),
            (text) => resp({ password: secret, connect: () => socket(`+OK\r\n-${text}\r\n`) }),
            (text) => resp({ password: secret, connect: () => socket(`-${text}\r\n`) }),
            // As clients and runtimes give them.
            (text) => upstash({ url, token: secret, fetch: () => Promise.reject(Object.assign(new Error(text), { code: text.split(" ")[0] })) }),
        ];
        const { signal } = new AbortController();
        for (const [index, kind] of kinds.entries()) {
            const told = await rejection(kind("READONLY You can't write").send(["EVAL"], { signal }));
            assert.deepEqual([told.code, told.message], ["READONLY", "READONLY You can't write"], `${index}`);
            for (const text of [`${secret} is wrong`, `${"0123456789abcdef".repeat(3)} is wrong`, `?${secret}! is wrong`]) {
                const error = await rejection(kind(text).send(["EVAL"], { signal }));
                assert.ok(error instanceof NodeError && error.code === undefined, `${index}: ${error.code}`);
                assert.match(error.message, /^\??…!? is wrong$/, `${index}`);
            }
        }
    });

    test("a transport that throws, or answers nonsense, is no vote", async () => {
        const nonsense = [
            () => { throw new TypeError("at once"); },
            () => Promise.reject("no error"),
            () => undefined,
            () => true,
            () => [1, [2]],
            () => [1, 2.5],
            () => ["1", 1],
            () => Array(100_000).fill(1),
            () => ({ result: [1, 1] }),
            () => Number.MAX_VALUE,
            () => NaN,
        ];
        for (const answer of nonsense) {
            const redlatch = new Redlatch(custom(answer).nodes);
            assert.ok((await rejection(redlatch.tryAcquire(resource(), 1000, { nodeTimeout: 50 }))) instanceof NoQuorumError, String(answer));
        }
    });

    test("a client of ioredis that changes numbers or keys is refused", () => {
        for (const options of [{ stringNumbers: true }, { keyPrefix: "app:" }]) {
            const refused = { name: "InvalidRequestError", message: new RegExp(Object.keys(options)[0]) };
            assert.throws(() => ioredis(client(servers[0], { ...options, lazyConnect: true })), refused);
            assert.throws(() => ioredis(new Cluster([servers[0]], { redisOptions: options, lazyConnect: true })), refused);
        }
        assert.throws(() => ioredis(new Cluster([servers[0]], { keyPrefix: "app:", lazyConnect: true })), /keyPrefix/);
    });

    test("only SET NX PX and EVAL are sent", async () => {
        const { nodes, sent } = custom();
        for (const plain of [true, false]) {
            const lock = await new Redlatch(nodes, { plain }).acquire(resource(), 10_000, patience);
            await lock.extend();
            await lock.check();
            await lock.release();
            await lock.settled;
        }
        for (const { args } of sent) {
            assert.ok(args[0] === "EVAL" || (args[0] === "SET" && args[3] === "NX" && args[4] === "PX"), args.join(" "));
        }
        assert.deepEqual(new Set(sent.map(({ args }) => args[0])), new Set(["SET", "EVAL"]));
    });
});

suite("what comes late", () => {
    test("a key that is set after its attempt was given up is deleted again", async () => {
        const name = resource();
        const late = [];
        // Acquires are held back, and go through when all is over. The signal is not heeded.
        const { nodes } = custom(([, ...args], redis) => {
            if (!args.includes("10000")) return redis.call(...args);
            return new Promise((resolve, reject) => late.push(() => redis.call(...args).then(resolve, reject)));
        });
        const background = [];
        const error = await rejection(new Redlatch(nodes).tryAcquire(name, 10_000, {
            nodeTimeout: 50, waitUntil: (work) => background.push(work),
        }));
        assert.ok(error instanceof NoQuorumError);
        assert.equal(background.length, 1);
        assert.equal(late.length, 3);
        for (const apply of late) apply();
        await Promise.all(background);
        for (const { client } of servers) assert.equal(await client.exists(name), 0);
    });

    test("nodes that never answer do not keep an operation from ending", async () => {
        const redlatch = new Redlatch(custom(() => new Promise(() => {})).nodes);
        assert.ok((await rejection(redlatch.acquire(resource(), 1000, { wait: 200, nodeTimeout: 50 }))) instanceof AcquireError);
        const controller = new AbortController();
        const waiting = redlatch.acquire(resource(), 1000, { signal: controller.signal, nodeTimeout: 50 });
        controller.abort("reason");
        assert.equal(await rejection(waiting), "reason");
        assert.equal((await redlatch.inspect(resource())).state, "undecided");
    });

    test("the signal of each command aborts when nobody waits any more", async () => {
        const { nodes, sent } = custom(([, ..._args], _redis, signal) =>
            new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))));
        const error = await rejection(new Redlatch(nodes).tryAcquire(resource(), 1000, { nodeTimeout: 50 }));
        assert.ok(error instanceof NoQuorumError);
        await until("all are given up", () => sent.slice(0, 3).every(({ signal }) => signal.aborted));
        assert.ok(sent[0].signal.reason instanceof NodeError);
    });
});

suite("a look at the nodes", () => {
    /** Three nodes, the last of which never answers a look. */
    function halfBlind() {
        const looks = [];
        const { nodes } = custom(([index, ...args], redis, signal) => {
            const isLook = args[1].includes("held or value");
            if (isLook && index === 2) looks.push(signal);
            return isLook && index === 2 ? new Promise(() => {}) : redis.call(...args);
        });
        return { redlatch: new Redlatch(nodes), looks };
    }

    test("gives up the nodes that do not answer, also when it knows enough", async () => {
        const { redlatch, looks } = halfBlind();
        const lock = await redlatch.acquire(resource(), 60_000, { nodeTimeout: 300 });
        assert.ok((await lock.check()) > 0);
        await until("it is given up", () => looks[0].aborted);
        assert.ok(looks[0].reason instanceof NodeError);
        await lock.release();
        const { state, nodes } = await redlatch.inspect(resource());
        assert.deepEqual([state, nodes[2].state], ["free", "unknown"]);
        assert.ok(looks[1].aborted);
    });

    test("that finds the lock gone tells what every node said", async () => {
        const { redlatch } = halfBlind();
        const name = resource();
        const lock = await redlatch.acquire(name, 60_000, { nodeTimeout: 20_000 });
        for (const { client } of servers.slice(0, 2)) {
            await until("the key is there", async () => (await client.exists(name)) === 1);
            await client.del(name);
        }
        assert.equal(await lock.check(), 0);
        const loss = await lock.lost;
        assert.equal(loss.loss, "gone");
        assert.deepEqual(loss.votes, [
            { node: "n0", vote: "refused" }, { node: "n1", vote: "refused" }, { node: "n2", vote: "silent" },
        ]);
    });

    test("at a lock that is released meanwhile says so", async () => {
        const { redlatch } = halfBlind();
        const lock = await redlatch.acquire(resource(), 60_000, patience);
        const check = rejection(lock.check());
        await lock.release();
        assert.ok((await check) instanceof InvalidRequestError, "nobody is sent to wait for a loss");
    });
});

suite("proxies", () => {
    let stubs;

    before(async () => {
        stubs = await Promise.all(servers.map(({ port }) => startUpstash(port, "secret-token")));
    });

    after(() => Promise.all((stubs ?? []).map((stub) => stub.close())));

    const nodes = (options = {}) => stubs.map(({ url }) => upstash({ url, token: "secret-token", insecure: true, ...options }));

    test("names and tokens are in no URL", async () => {
        const lock = await new Redlatch(nodes()).acquire("secret-name", 10_000, patience);
        await lock.release();
        await lock.settled;
        for (const { seen } of stubs) {
            for (const { method, url } of seen.requests) assert.equal(`${method} ${url}`, "POST /");
        }
    });

    test("commands of one moment are one request, if that is wanted", async () => {
        for (const { seen } of stubs) seen.requests.length = 0;
        const redlatch = new Redlatch(nodes({ batch: true }));
        const first = await redlatch.acquire(resource(), 10_000, patience);
        await first.release();
        await first.settled;
        const { requests } = stubs[0].seen;
        const before = requests.length;
        const many = await Promise.all(Array.from({ length: 20 }, () => redlatch.acquire(resource(), 10_000, patience)));
        // A majority granted them; this node may be the slowest.
        await until("they were asked for", () => requests.length > before);
        const [asked] = requests.slice(before);
        assert.equal(asked.url, "/pipeline");
        assert.equal(JSON.parse(asked.body).length, 20, "twenty locks are one request");
        assert.equal(new Set(many.map(({ fence }) => fence)).size >= 1, true);
        await Promise.all(many.map((lock) => lock.release()));
        const taken = resource();
        const lock = await redlatch.acquire(taken, 10_000, patience);
        const results = await Promise.allSettled([redlatch.tryAcquire(taken, 10_000, patience), redlatch.tryAcquire(resource(), 10_000, patience)]);
        assert.ok(results[0].reason instanceof ContendedError, "each has its own answer");
        assert.equal(results[1].status, "fulfilled");
        await lock.release();
    });

    test("a batch that fails fails each of its commands, and its items fail alone", async () => {
        const answers = [
            (response) => send(response, 500, { error: "ERR none" }),
            (response) => send(response, 200, []),
            (response) => send(response, 200, { result: [1, 1] }),
            () => {},
        ];
        for (const answer of answers) {
            const server = await listen(async (request, response) => {
                await text(request);
                answer(response);
            });
            const node = upstash({ url: `http://127.0.0.1:${server.address().port}`, token: "t", insecure: true, batch: true });
            const redlatch = new Redlatch([node]);
            const results = await Promise.allSettled([1, 2].map(() => redlatch.tryAcquire(resource(), 1000, { nodeTimeout: 100 })));
            for (const { reason } of results) assert.ok(reason instanceof NoQuorumError, `${reason}`);
            await close(server);
        }
    });

    test("fetch can be given, is given no more than it needs, and follows nothing", async () => {
        const calls = [];
        const own = (url, init) => {
            calls.push(init);
            return fetch(url, init);
        };
        const lock = await new Redlatch(nodes({ fetch: own })).acquire(resource(), 10_000, patience);
        await lock.release();
        for (const init of calls) {
            assert.deepEqual(Object.keys(init).sort(), ["body", "headers", "method", "redirect", "signal"]);
            assert.equal(init.redirect, "manual");
        }
    });
});

suite("work under a lock", () => {
    test("may release the lock itself", async () => {
        const redlatch = new Redlatch(custom().nodes);
        const output = await redlatch.using(resource(), 30_000, async (signal, lock) => {
            await lock.release();
            return signal.aborted;
        });
        assert.equal(output, false, "what was released was not lost");
    });

    test("that kept the thread for longer than the lock is told of the loss", async () => {
        const redlatch = new Redlatch(custom().nodes);
        const error = await rejection(redlatch.using(resource(), 300, patience, () => {
            const end = Date.now() + 300;
            while (Date.now() < end);
        }));
        assert.ok(error instanceof LostError, `${error}`);
    });
});

suite("the restart guard", () => {
    test("a node that is new does not vote before the longest ttl has passed, unless it is known", async () => {
        const own = [await startRedis(await port())];
        try {
            const node = ioredis(client(own[0]));
            const guarded = new Redlatch([node], { restartGuard: 300 });
            const error = await rejection(guarded.tryAcquire(resource(), 300, patience));
            assert.equal(error.name, "QuarantinedError");
            assert.ok(error.remaining > 0 && error.remaining <= 300);
            const lock = await guarded.acquire(resource(), 300, { ...patience, wait: 60_000 });
            await lock.release().catch(() => {});
            assert.ok((await rejection(guarded.tryAcquire(resource(), 301, patience))) instanceof NoQuorumError, "the ttl is too long");
        } finally {
            for (const { client, process } of own) {
                client.disconnect();
                await stop(process);
            }
        }
    });
});

suite("the end of a process", () => {
    const program = (rest) => run(process.execPath, ["--input-type=module", "-e", `
        import { Redlatch } from "redlatch";
        // The last node never answers, and heeds no signal.
        let token, isSilent = false, onExtension = () => {};
        const answer = async ([command, text, value]) => {
            if (isSilent) return new Promise(() => {});
            if (command === "SET") return (token = value, "OK");
            if (text.includes("left < ttl")) onExtension();
            return text.includes("held or value") ? [token, 1000, 0] : [1];
        };
        const nodes = [answer, answer, () => new Promise(() => {})];
        const redlatch = new Redlatch(nodes.map((send) => ({ send })), { plain: true });
        ${rest}
    `]);

    test("is not put off by what goes on in the background", async () => {
        const { code, log } = await program('await (await redlatch.acquire("a", 86_400_000)).release(); console.log("done");');
        assert.equal(code, 0, log);
        assert.match(log, /done/);
    });

    test("is not put off by a node that does not answer a look", async () => {
        const { code, log } = await program(`
            const lock = await redlatch.acquire("a", 86_400_000, { nodeTimeout: 3_600_000 });
            if ((await lock.check()) > 0) await lock.release();
        `);
        assert.equal(code, 0, log);
    });

    test("is not put off by a lock that is held and that nobody waits for", async () => {
        const { code, log } = await program('console.log((await redlatch.acquire("a", 86_400_000)).isValid);');
        assert.equal(code, 0, log);
        assert.match(log, /true/);
    });

    test("is put off by a lock that is extended, or whose loss is waited for", async () => {
        const { code, log } = await program(`
            const [lost, extended] = [await redlatch.acquire("a", 300), await redlatch.acquire("b", 86_400_000)];
            lost.lost.then(({ loss }) => {
                console.log("lost:", loss);
                isSilent = true;
                extended.extend().catch(({ name }) => console.log("rejected:", name));
            });
        `);
        assert.equal(code, 0, log);
        assert.deepEqual(log.trim().split("\n"), ["lost: expired", "rejected: AtRiskError"]);
    });

    test("is put off by a lock that is renewed", async () => {
        const { code, log } = await program(`
            onExtension = () => (console.log("renewed"), process.exit(0));
            await redlatch.acquire("a", 10_000, { renewUpTo: 86_400_000 });
        `);
        assert.equal(code, 0, log);
        assert.match(log, /renewed/);
    });

    test("comes when that is over, for who waits for it", async () => {
        const { code, log } = await program(`
            const lock = await redlatch.acquire("a", 400);
            await lock.release();
            await lock.settled;
            console.log("settled");
        `);
        assert.equal(code, 0, log);
        assert.match(log, /settled/);
    });
});

suite("what the application throws when it is told something", () => {
    const program = (rest) => run(process.execPath, ["--input-type=module", "-e", `
        import { Redlatch } from "redlatch";
        import Redlock from "redlatch/redlock";
        process.on("uncaughtException", ({ message }) => console.log("uncaught:", message));
        const raise = () => { throw new Error("of the application"); };
        const silence = () => new Promise(() => {});
        const reason = ({ name }) => console.log("rejected:", name);
        ${rest}
    `]);

    test("of work in the background is thrown, and puts nothing out of step", async () => {
        const { code, log } = await program(`
            const redlatch = (...answers) => new Redlatch(answers.map((send) => ({ send })), { plain: true });
            const yes = async ([command]) => (command === "SET" ? "OK" : [1]);
            const options = { nodeTimeout: 20, waitUntil: raise };
            await redlatch(silence).tryAcquire("a", 1000, options).catch(reason);
            const released = await redlatch(yes, yes, silence).acquire("b", 1000, options);
            await released.release();
            const lost = await redlatch(yes, yes, silence).acquire("c", 50, { waitUntil: raise });
            reason(await lost.lost);
        `);
        assert.equal(code, 0, log);
        const lines = log.trim().split("\n");
        assert.deepEqual(lines.filter((line) => line.startsWith("uncaught")), Array(3).fill("uncaught: of the application"));
        assert.deepEqual(lines.filter((line) => line.startsWith("rejected")), ["rejected: NoQuorumError", "rejected: LostError"]);
    });

    test("of an error of the drop-in face, too", async () => {
        const { code, log } = await program(`
            const redlock = (call) => new Redlock([{ call }], { retryCount: 0 }).on("error", raise);
            await redlock(silence).acquire(["a"], 1000).catch(reason);
            await redlock(() => Promise.reject(new Error("down"))).acquire(["b"], 1000).catch(reason);
        `);
        assert.equal(code, 0, log);
        const lines = log.trim().split("\n");
        assert.deepEqual(lines.filter((line) => line.startsWith("rejected")), Array(2).fill("rejected: ExecutionError"));
        assert.ok(lines.filter((line) => line === "uncaught: of the application").length >= 2, log);
    });
});

test("many locks leave no memory behind", async () => {
    const nodes = [0, 1, 2].map((index) => ({ name: `n${index}`, send: async ([command]) => (command === "SET" ? "OK" : [1]) }));
    const redlatch = new Redlatch(nodes, { plain: true });
    const cycle = async () => (await redlatch.acquire("a", 10_000, { nodeTimeout: 60_000 })).release();
    for (let index = 0; index < 1000; index += 1) await cycle();
    const [memory, ...others] = memories;
    assert.deepEqual(others, [], "all clients share one instance");
    const before = memory.buffer.byteLength;
    for (let index = 0; index < 20_000; index += 1) await cycle();
    assert.equal(memory.buffer.byteLength, before);
});

test("a node that never answers leaves no memory behind while a lock is held", async () => {
    // The lock's time moves between extensions alone, so that no answer is late, however busy the machine is.
    const clock = { now: 1_800_000_000_000, date: () => clock.now, performance: () => clock.now };
    const answer = async ([command]) => (command === "SET" ? "OK" : [1]);
    // It heeds no signal either, as clients of ioredis.
    const redlatch = new Redlatch([answer, answer, () => new Promise(() => {})].map((send) => ({ send })), { plain: true, clock });
    const lock = await redlatch.acquire("a", 60_000, { nodeTimeout: 1 });
    const extend = async () => {
        await lock.extend();
        clock.now += 10;
        // Timers are what gives commands up.
        await new Promise((resolve) => setImmediate(resolve));
    };
    for (let index = 0; index < 1000; index += 1) await extend();
    const [memory] = memories;
    const before = memory.buffer.byteLength;
    for (let index = 0; index < 20_000; index += 1) await extend();
    assert.equal(memory.buffer.byteLength, before);
    await lock.release();
});
