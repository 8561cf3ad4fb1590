// The npm package of this project, by sockets.
"use strict";
const net = require("node:net");
const redlatch = require("redlatch");
const { Failure, serve } = require("../serve.cjs");

const KINDS = {
    ContendedError: "contended",
    NoQuorumError: "unavailable",
    QuarantinedError: "unavailable",
    AtRiskError: "unavailable",
    UnconfirmedError: "unavailable",
    TooLateError: "timeout",
    DeadlineExceededError: "timeout",
    LostError: "lost",
};

async function orFailure(promise) {
    try {
        return await promise;
    } catch (error) {
        throw new Failure(KINDS[error.constructor.name] ?? "other", error.message);
    }
}

function node(url) {
    const { hostname, port, username, password } = new URL(url);
    const login = password ? { user: decodeURIComponent(username) || "default", password: decodeURIComponent(password) } : {};
    const connect = () => net.connect(Number(port || 6379), hostname);
    return redlatch.resp({ connect, name: `${hostname}:${port}`, ...login });
}

const good = (lock) => ({ lock, valid_ms: lock.remaining(), fence: lock.fence ?? undefined });

function start(nodes, { ttl_max_ms, restart_guard, node_timeout_ms }) {
    const client = new redlatch.Redlatch(nodes.map(node), restart_guard ? { restartGuard: ttl_max_ms } : {});
    const usual = node_timeout_ms ? { nodeTimeout: node_timeout_ms } : {};
    return {
        async acquire(resource, ttl_ms, wait_ms, lost) {
            const lock = await orFailure(client.acquire(resource, ttl_ms, { ...usual, wait: wait_ms }));
            lock.lost.then(lost);
            return good(lock);
        },
        // For the ttl that the lock was acquired with: the package knows no other.
        async extend(lock) {
            await orFailure(lock.extend());
            return good(lock);
        },
        async check(lock) {
            const valid_ms = await orFailure(lock.check());
            if (valid_ms === 0) throw new Failure("lost", "check() resolved to 0");
            return { lock, valid_ms };
        },
        release: (lock) => orFailure(lock.release()),
    };
}

const caps = ["extend", "check", "fence", "lost_event", "guard"];
serve({ name: `redlatch ${require("redlatch/package.json").version} (npm)`, caps, start });
