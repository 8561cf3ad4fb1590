// What the adapters in JavaScript share: the protocol of docs/adapters.md.
"use strict";
const { createInterface } = require("node:readline");

class Failure extends Error {
    constructor(kind, error, definite = false) {
        super(error);
        Object.assign(this, { kind, definite });
    }
}

const write = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/**
 * `start(nodes, options)` is a client with acquire(resource, ttl_ms, wait_ms, lost) that resolves to { lock, valid_ms, fence },
 * release(lock), and, where `caps` has them, extend(lock, ttl_ms) and check(lock) that resolve to { lock, valid_ms }. `lost` is
 * to be called when the lock is lost.
 */
function serve({ name, caps, start, key = "{resource}" }) {
    const locks = new Map();
    let client;
    let count = 0;

    const held = (handle) => {
        if (!locks.has(handle)) throw new Failure("lost", "no lock is held under this handle", true);
        return locks.get(handle);
    };
    const answer = async ({ op, ...request }) => {
        if (op === "init") {
            client = await start(request.nodes, request.options);
            return { name, caps, key };
        }
        if (op === "acquire") {
            const handle = `h${++count}`;
            const lost = () => write({ event: "lost", handle });
            const { lock, valid_ms, fence } = await client.acquire(request.resource, request.ttl_ms, request.wait_ms, lost);
            locks.set(handle, lock);
            return { handle, valid_ms: Math.max(0, valid_ms), fence };
        }
        if ((op === "extend" || op === "check") && caps.includes(op)) {
            const { lock, valid_ms } = await client[op](held(request.handle), request.ttl_ms);
            locks.set(request.handle, lock);
            return { valid_ms: Math.max(0, valid_ms) };
        }
        if (op === "release") {
            const lock = held(request.handle);
            locks.delete(request.handle);
            await client.release(lock);
            return {};
        }
        if (op === "quit") return {};
        throw new Failure("other", "this adapter does not know that op", true);
    };

    let turn = Promise.resolve();
    createInterface({ input: process.stdin })
        .on("line", (line) => {
            const request = JSON.parse(line);
            turn = turn.then(async () => {
                let reply;
                try {
                    reply = { ok: true, ...(await answer(request)) };
                } catch (error) {
                    const text = error?.message ?? String(error);
                    reply = { ok: false, error: text, kind: error?.kind ?? "other", definite: error?.definite ?? false };
                }
                write({ id: request.id, ...reply });
                if (request.op === "quit") process.stdout.write("", () => process.exit(0));
            });
        })
        .on("close", () => process.exit(0));
}

module.exports = { Failure, serve };
