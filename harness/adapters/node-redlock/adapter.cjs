// node-redlock with ioredis, as its README uses them.
"use strict";
const { Redis } = require("ioredis");
const { default: Redlock, ExecutionError, ResourceLockedError } = require("redlock");
const { Failure, serve } = require("../serve.cjs");

const RETRY_DELAY_MS = 200; // the library's own

// What each node said to the last attempt is beside the error.
async function failure(error) {
    if (!(error instanceof ExecutionError)) return error;
    const { votesAgainst } = await error.attempts.at(-1);
    const isTaken = [...votesAgainst.values()].some((vote) => vote instanceof ResourceLockedError);
    return new Failure(isTaken ? "contended" : "unavailable", error.message);
}

async function orFailure(promise) {
    try {
        return await promise;
    } catch (error) {
        throw await failure(error);
    }
}

const good = (lock) => ({ lock, valid_ms: lock.expiration - Date.now() });

function start(nodes) {
    const redlock = new Redlock(
        nodes.map((url) => new Redis(url).on("error", (error) => console.error(error.message))),
        { retryDelay: RETRY_DELAY_MS },
    );
    redlock.on("error", (error) => {
        if (!(error instanceof ResourceLockedError)) console.error(error.message);
    });
    return {
        async acquire(resource, ttl_ms, wait_ms) {
            const retryCount = Math.floor(wait_ms / RETRY_DELAY_MS);
            return good(await orFailure(redlock.acquire([resource], ttl_ms, { retryCount })));
        },
        extend: async (lock, ttl_ms) => good(await orFailure(lock.extend(ttl_ms))),
        release: async (lock) => {
            await orFailure(lock.release());
        },
    };
}

serve({ name: "node-redlock 5.0.0-beta.2, ioredis 5.11.1", caps: ["extend"], start });
