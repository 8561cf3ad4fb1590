// What every runtime must be able to do, on real servers behind real proxies. No runtime's own modules here.
import {
    AcquireError, AtRiskError, ContendedError, InvalidRequestError, LostError, NoQuorumError, Redlatch, RedlatchError,
    UnconfirmedError, upstash, webdis,
} from "redlatch";

const kinds = { upstash, webdis };

export function assert(condition, message) {
    if (!condition) throw new Error(`assertion failed: ${message}`);
}

function equal(actual, expected, message) {
    if (!Object.is(actual, expected)) throw new Error(`assertion failed: ${message}: ${actual} is not ${expected}`);
}

async function rejects(promise, type, message) {
    let value;
    try {
        value = await promise;
    } catch (error) {
        if (type === undefined || error instanceof type) return error;
        throw new Error(`assertion failed: ${message}: it rejected with ${error?.stack}`, { cause: error });
    }
    throw new Error(`assertion failed: ${message}: it resolved to ${value}`);
}

async function until(what, check) {
    const limit = Date.now() + 30_000;
    while (!(await check())) {
        assert(Date.now() < limit, `it came about that ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
}

/**
 * On a busy machine a node may need longer to answer than nodes usually get. A node that hangs is not waited for, so the
 * long time costs nothing where a majority answers.
 */
const patience = { nodeTimeout: 20_000 };

function patient(redlatch) {
    return {
        acquire: (resources, ttl, options) => redlatch.acquire(resources, ttl, { ...patience, ...options }),
        tryAcquire: (resources, ttl, options) => redlatch.tryAcquire(resources, ttl, { ...patience, ...options }),
        using: (resources, ttl, ...rest) => {
            const work = rest.pop();
            return redlatch.using(resources, ttl, { ...patience, ...rest[0] }, work);
        },
        inspect: (resources) => redlatch.inspect(resources),
    };
}

function aborted(signal) {
    return new Promise((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener("abort", resolve, { once: true });
    });
}

/** The nodes as this program reaches them, and the hand that breaks them. */
export class Stage {
    constructor(config) {
        this.config = config;
        this.names = 0;
    }

    /** A name that nobody has used. */
    resource() {
        this.names += 1;
        return `${this.config.name} ${this.names}: .json/?+é`;
    }

    node(index, changes = {}) {
        const { kind, ...access } = this.config.nodes[index];
        return kinds[kind]({ ...access, insecure: true, name: `n${index}`, ...changes });
    }

    /** A client of nodes, of which some are others. */
    client({ options = {}, others = {} } = {}) {
        const nodes = this.config.nodes.map((_, index) => others[index] ?? this.node(index));
        return patient(new Redlatch(nodes, options));
    }

    /** A proxy that answers as none should. */
    faulty(fault, index) {
        const access = { url: `${this.config.faults}/${fault}`, name: `faulty${index}`, insecure: true };
        return upstash({ ...access, token: "token-of-the-faulty" });
    }

    async control(action, rest = {}) {
        const response = await fetch(this.config.control, { method: "POST", body: JSON.stringify({ action, ...rest }) });
        const { result, error } = await response.json();
        assert(error === undefined, `${action} works: ${error}`);
        return result;
    }

    /** The same command on the Redis servers of these nodes, past all proxies. */
    redis(nodes, ...args) {
        return Promise.all(nodes.map((node) => this.control("redis", { node, args })));
    }

    get all() {
        return this.config.nodes.map((_, index) => index);
    }

    /** Nothing of the lock is left anywhere. */
    async isGone(resource, nodes = this.all) {
        return (await this.redis(nodes, "EXISTS", resource)).every((count) => count === 0);
    }
}

/** Each is a test; its name is a sentence. */
export const steps = {
    async "a free lock is acquired, with a fence"(stage) {
        const redlatch = stage.client();
        const resource = stage.resource();
        const before = Date.now();
        const lock = await redlatch.acquire(resource, 10_000);
        assert(lock.fence > 0 && Number.isSafeInteger(lock.fence), "it has a fence");
        assert(lock.isValid && !lock.isAtRisk, "it is valid");
        assert(lock.remaining() > 0 && lock.remaining() <= 9898, `its validity is less than the ttl: ${lock.remaining()}`);
        assert(lock.validUntil > before && lock.validUntil <= Date.now() + 9898, "so is validUntil");
        const tokens = await stage.redis(stage.all, "GET", resource);
        const majority = Math.floor(stage.all.length / 2) + 1;
        assert(tokens.filter((token) => token !== null && token === tokens.find(Boolean)).length >= majority,
            "a majority has one token");
        const { state, remaining, nodes } = await redlatch.inspect(resource);
        equal(state, "held", "it is seen to be held");
        assert(remaining > 0 && remaining <= 10_000, "for its time");
        equal(nodes.length, stage.all.length, "all nodes are shown");
        await lock.release();
        await lock.settled;
        assert(await stage.isGone(resource), "nothing is left");
        equal((await redlatch.inspect(resource)).state, "free", "it is seen to be free");
    },

    async "a lock that is taken is refused, and the error has the votes"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 10_000);
        const error = await rejects(stage.client().tryAcquire(resource, 10_000), ContendedError, "it is taken");
        assert(error instanceof AcquireError && error instanceof RedlatchError && error instanceof Error, "classes");
        assert(error.retryAfter > 0 && error.retryAfter <= 10_000, "it tells when it may be free");
        equal(error.votes.length, stage.all.length, "every node has its vote");
        const refused = error.votes.filter(({ vote }) => vote === "refused");
        assert(refused.length >= 1 && refused[0].remaining > 0, `nodes refused: ${error.message}`);
        const [token] = (await stage.redis(stage.all, "GET", resource)).filter(Boolean);
        assert(!error.message.includes(token), "the holder's token is not told");
        const { fence } = lock;
        await lock.release();
        const next = await stage.client().acquire(resource, 10_000);
        assert(next.fence > fence, "the next fence is larger");
        await next.release();
    },

    async "whoever waits gets the lock when it is released"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 10_000);
        const waiting = stage.client().acquire(resource, 10_000, { wait: 30_000, retryDelay: [5, 20] });
        await lock.release();
        const next = await waiting;
        assert(next.isValid, "it is held");
        await next.release();
    },

    async "waiting ends when its time does"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 10_000);
        await rejects(stage.client().acquire(resource, 10_000, { wait: 100, retryDelay: [5, 20] }), AcquireError, "wait");
        const error = await rejects(
            stage.client().acquire(resource, 10_000, { attemptsMax: 2, retryDelay: [5, 20] }), ContendedError, "attempts",
        );
        equal(error.name, "ContendedError", "it has a name");
        await lock.release();
    },

    async "an extension lengthens what is left"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 10_000);
        const before = lock.validUntil;
        await stage.redis(stage.all, "PEXPIRE", resource, 5000);
        await until("a millisecond has passed", () => Date.now() > before - 9890);
        await lock.extend();
        assert(lock.validUntil >= before, "it is held for longer");
        const left = await stage.redis(stage.all, "PTTL", resource);
        assert(left.filter((ms) => ms > 5000).length > stage.all.length / 2, `a majority keeps it for longer: ${left}`);
        assert((await lock.check()) > 0, "the nodes have it");
        await lock.release();
        await rejects(lock.extend(), undefined, "it cannot be extended any more");
    },

    async "work under a lock is done while the lock is renewed"(stage) {
        const resource = stage.resource();
        let before;
        const output = await stage.client().using(resource, 2000, { wait: 20_000 }, async (signal, lock) => {
            before = lock.validUntil;
            await until("the lock was renewed for longer than its ttl", () => lock.validUntil > before + 2000 || signal.aborted);
            assert(!signal.aborted, "it was not lost");
            return "done";
        });
        equal(output, "done", "what the work returned");
        await until("nothing is left", () => stage.isGone(resource));
        const thrown = new TypeError("of the work");
        const error = await rejects(stage.client().using(resource, 2000, () => Promise.reject(thrown)), TypeError, "work throws");
        equal(error, thrown, "its error is not masked");
        await until("nothing is left", () => stage.isGone(resource));
    },

    async "a lock that cannot be extended is lost by its deadline, and the signal aborts"(stage) {
        const resource = stage.resource();
        let seen;
        const error = await rejects(
            stage.client().using(resource, 400, async (signal, lock) => {
                await stage.redis(stage.all, "DEL", resource);
                await aborted(signal);
                seen = { reason: signal.reason, isValid: lock.isValid, remaining: lock.remaining() };
            }),
            LostError, "using rejects",
        );
        equal(error.loss, "expired", "why");
        equal(seen.reason, error, "the signal's reason is the error");
        assert(!seen.isValid && seen.remaining === 0, "it is not held when the signal aborts");

        const lock = await stage.client().acquire(resource, 10_000, { renewUpTo: 300 });
        equal((await lock.lost).loss, "hold_max", "a hold has a longest time");
        await rejects(lock.release(), LostError, "it was lost before");
        await rejects(lock[Symbol.asyncDispose](), LostError, "await using tells");
        await until("nothing is left", () => stage.isGone(resource));
    },

    async "a check asks the nodes"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 10_000);
        assert((await lock.check()) > 0, "they have it");
        await stage.redis(stage.all, "SET", resource, "somebody else");
        equal(await lock.check(), 0, "they do not have it any more");
        equal((await lock.lost).loss, "gone", "it is lost");
        equal(lock.remaining(), 0, "and stays so");
        await stage.redis(stage.all, "DEL", resource);
    },

    async "an extension that misses destroys nothing"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 10_000);
        // Whoever was not waited for has it as well by now.
        await until("all nodes have it", async () =>
            (await stage.redis(stage.all, "EXISTS", resource)).every((count) => count === 1));
        await stage.redis(stage.all, "DEL", resource);
        const error = await rejects(lock.extend(), AtRiskError, "too few have it");
        assert(lock.isValid && lock.isAtRisk && error.remaining > 0, "it is still held, at risk");
        assert(await stage.isGone(resource), "no key was made again");
        await lock.release();
    },

    async "a release can be repeated, and await using releases"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 10_000);
        const first = lock.release();
        equal(lock.remaining(), 0, "it is given up before any node is told");
        equal(lock.release(), first, "the second is the first");
        await first;
        await lock.release();
        const other = await stage.client().acquire(resource, 10_000);
        await other[Symbol.asyncDispose]();
        await other.settled;
        assert(await stage.isGone(resource), "nothing is left");
    },

    async "an abort while waiting rejects with its reason, and leaves nothing"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 10_000);
        const controller = new AbortController();
        const reason = { any: "thing" };
        const background = [];
        const waiting = stage.client().acquire(resource, 10_000, {
            signal: controller.signal,
            retryDelay: [5, 20],
            waitUntil: (work) => background.push(work),
        });
        // It has asked once its first attempt was refused.
        await stage.control("redis", { node: 0, args: ["PING"] });
        controller.abort(reason);
        equal(await rejects(waiting, undefined, "it gives up"), reason, "its reason is the signal's");
        await Promise.all(background);
        const tokens = new Set((await stage.redis(stage.all, "GET", resource)).filter(Boolean));
        equal(tokens.size, 1, "only the holder's token is there");
        await lock.release();
        await lock.settled;
        assert(await stage.isGone(resource), "and goes with the holder");

        const early = stage.client().acquire(resource, 10_000, { signal: controller.signal });
        equal(await rejects(early, undefined, "it does not begin"), reason, "with the reason");
        assert(await stage.isGone(resource), "no node was asked");
        const inWork = new AbortController();
        const work = stage.client().using(resource, 10_000, { signal: inWork.signal }, async (signal) => {
            inWork.abort(reason);
            assert(signal.aborted, "the work is told");
            equal(signal.reason, reason, "why");
            return "in peace";
        });
        equal(await work, "in peace", "the work decides how it ends");
    },

    async "several resources are locked together"(stage) {
        const [stock, invoice] = [`{${stage.resource()}}:stock`, `{${stage.resource()}}:invoice`];
        await rejects(stage.client().acquire([stock, invoice], 10_000), InvalidRequestError, "they are in two slots");
        const name = stage.resource();
        const both = [`{${name}}:stock`, `{${name}}:invoice`];
        const lock = await stage.client().acquire(both, 10_000);
        for (const resource of both) {
            await rejects(stage.client().tryAcquire(resource, 1000), ContendedError, "each is taken");
        }
        await lock.release();
    },

    async "the plain dialect and a prefix work"(stage) {
        const resource = stage.resource();
        const redlatch = stage.client({ options: { plain: true, keyPrefix: "prefix:" } });
        const lock = await redlatch.acquire(resource, 10_000);
        equal(lock.fence, undefined, "there is no fence");
        const tokens = await stage.redis(stage.all, "GET", `prefix:${resource}`);
        assert(tokens.filter(Boolean).length > stage.all.length / 2, "the prefix is in the keys");
        await rejects(stage.client().tryAcquire(`prefix:${resource}`, 1000), ContendedError, "dialects exclude each other");
        await lock.extend();
        assert((await lock.check()) > 0, "it is held");
        equal((await redlatch.inspect(resource)).state, "held", "and seen to be");
        await lock.release();
        await lock.settled;
        assert(await stage.isGone(`prefix:${resource}`), "nothing is left");
    },

    async "one node that is down changes nothing"(stage) {
        const last = stage.all.length - 1;
        const resource = stage.resource();
        await stage.control("down", { node: last });
        const lock = await stage.client().acquire(resource, 10_000);
        await lock.extend();
        const error = await rejects(stage.client().tryAcquire(resource, 10_000), ContendedError, "it is taken");
        assert(["failed", "silent"].includes(error.votes[last].vote), `the node failed: ${error.message}`);
        await lock.release();
        await stage.control("up", { node: last });
        await until("nothing is left", () => stage.isGone(resource));
    },

    async "one node that hangs is not waited for, and is cleaned up later"(stage) {
        const last = stage.all.length - 1;
        const resource = stage.resource();
        await stage.control("hang", { node: last });
        const redlatch = stage.client();
        const lock = await redlatch.acquire(resource, 10_000);
        await lock.extend();
        await lock.release();
        const controller = new AbortController();
        const other = await redlatch.acquire(resource, 10_000);
        const waiting = redlatch.acquire(resource, 10_000, { signal: controller.signal, nodeTimeout: 200 });
        controller.abort("enough");
        equal(await rejects(waiting, undefined, "it gives up"), "enough", "although one node hangs");
        await other.release();
        await stage.control("resume", { node: last });
        await until("nothing is left", () => stage.isGone(resource));
    },

    async "wrong credentials are no vote, and are not told"(stage) {
        const wrong = { token: "wrong-secret", password: "wrong-secret" };
        const resource = stage.resource();
        const one = stage.client({ others: { 0: stage.node(0, wrong) } });
        const lock = await one.acquire(resource, 10_000);
        await lock.release();
        const all = Object.fromEntries(stage.all.map((index) => [index, stage.node(index, wrong)]));
        const error = await rejects(stage.client({ others: all }).tryAcquire(resource, 10_000), NoQuorumError, "no votes");
        const failed = error.votes.filter(({ vote }) => vote === "failed");
        assert(failed.length > stage.all.length / 2, `a majority failed: ${error.message}`);
        assert(error.votes.every(({ vote }) => vote === "failed" || vote === "silent"), "and none said anything else");
        assert(error.cause === failed[0].error && error.cause instanceof Error, "the cause is there");
        assert(!`${error.message}${error.stack}${error.cause.stack}`.includes("wrong-secret"), "no secret is told");
        assert(await stage.isGone(resource), "nothing is left");
    },

    async "a proxy that answers anything but what is expected is no vote"(stage) {
        const majority = Math.floor(stage.all.length / 2) + 1;
        for (const fault of stage.config.faultNames) {
            const resource = stage.resource();
            const options = { nodeTimeout: 300, attemptsMax: 1 };
            const few = Object.fromEntries(
                stage.all.slice(majority).map((index) => [index, stage.faulty(fault, index)]),
            );
            const lock = await stage.client({ others: few }).acquire(resource, 10_000);
            await lock.release();
            const many = Object.fromEntries(
                stage.all.slice(0, majority).map((index) => [index, stage.faulty(fault, index)]),
            );
            const error = await rejects(
                stage.client({ others: many }).acquire(resource, 10_000, options), NoQuorumError, `${fault} is no vote`,
            );
            for (const { node, vote } of error.votes) {
                assert(!node.startsWith("faulty") || vote === "failed" || vote === "silent", `${fault}: ${error.message}`);
            }
            assert(!error.message.includes("token-of-the-faulty"), `${fault}: no secret is told`);
            assert(!/[0-9a-f]{32}/.test(error.message), `${fault}: no token is told: ${error.message}`);
            await until(`${fault}: nothing is left`, () => stage.isGone(resource));
        }
    },

    async "a release that a majority does not confirm says so"(stage) {
        const resource = stage.resource();
        const lock = await stage.client().acquire(resource, 2000, { nodeTimeout: 200 });
        const most = stage.all.slice(0, Math.floor(stage.all.length / 2) + 1);
        for (const node of most) await stage.control("hang", { node });
        const error = await rejects(lock.release(), UnconfirmedError, "too few answered").finally(async () => {
            for (const node of most) await stage.control("resume", { node });
        });
        assert(error.expiresIn <= 2000, "it tells when it is free");
        equal(lock.remaining(), 0, "it is not held");
        await until("nothing is left", () => stage.isGone(resource));
    },

    async "what cannot be asked for is said before any node is asked"(stage) {
        const redlatch = stage.client();
        const resource = stage.resource();
        for (const ttl of [0, -1, 1.5, NaN, Infinity, 86_400_001, "1000", undefined]) {
            await rejects(redlatch.acquire(resource, ttl), InvalidRequestError, `a ttl of ${ttl}`);
        }
        for (const names of ["", [], ["a", "a"], "redlatch:mine", "x".repeat(1025), "\uD800", [1]]) {
            await rejects(redlatch.acquire(names, 1000), InvalidRequestError, `resources ${names}`);
        }
        for (const options of [{ wait: NaN }, { wait: Infinity }, { attemptsMax: 0 }, { drift: 2 }, { timeout: 5 },
            { nodeTimeout: -1 }, { validityMin: 1000 }]) {
            await rejects(redlatch.acquire(resource, 1000, options), InvalidRequestError, JSON.stringify(options));
        }
        const invalid = [
            () => new Redlatch([]),
            () => new Redlatch([stage.node(0), stage.node(0)]),
            () => new Redlatch([{}]),
            () => new Redlatch([stage.node(0)], { prefix: "x" }),
            () => upstash({ url: "http://example.org", token: "secret" }),
            () => upstash({ url: "https://user:secret@example.org", token: "secret" }),
            () => upstash({ url: "https://example.org/?_token=secret", token: "secret" }),
            () => upstash({ url: "secret", token: "secret" }),
            () => webdis({ url: "http://example.org", user: "me", password: "secret" }),
        ];
        for (const make of invalid) {
            const error = await rejects((async () => make())(), InvalidRequestError, String(make));
            assert(!error.message.includes("secret"), "no secret is told");
        }
        assert(await stage.isGone(resource), "no node was asked");
    },
};

/** Steps that need what only some runtimes have. */
export function socketSteps(name, nodeOf) {
    return {
        async [`${name} makes a node`](stage) {
            const resource = stage.resource();
            const nodes = stage.config.redis.map((port, index) => nodeOf(port, index));
            const redlatch = patient(new Redlatch(nodes));
            const lock = await redlatch.acquire(resource, 10_000);
            await lock.extend();
            assert((await lock.check()) > 0, "it is held");
            await rejects(stage.client().tryAcquire(resource, 1000), ContendedError, "proxies and sockets exclude each other");
            await lock.release();
            await lock.settled;
            assert(await stage.isGone(resource), "nothing is left");
            const last = stage.all.length - 1;
            await stage.control("hang", { node: last });
            const other = await redlatch.acquire(resource, 10_000);
            await other.release();
            await stage.control("resume", { node: last });
            await stage.control("down", { node: last });
            const third = await redlatch.acquire(resource, 10_000);
            await third.release();
            await stage.control("up", { node: last });
            await until("nothing is left", () => stage.isGone(resource));
        },
    };
}

/** Runs all steps, or one; what each came to. */
export async function play(config, more = {}) {
    const stage = new Stage(config);
    const results = [];
    for (const [name, step] of Object.entries({ ...steps, ...more })) {
        try {
            await step(stage);
            results.push({ name });
        } catch (error) {
            const cause = error?.cause ? `\ncaused by ${error.cause.stack ?? error.cause}` : "";
            results.push({ name, error: `${error?.stack ?? error}${cause}` });
        }
    }
    return results;
}
