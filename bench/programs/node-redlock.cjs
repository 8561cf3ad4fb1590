// node-redlock 5 with ioredis, measured: the same as `bench/src/measure.rs` does for subjects in Rust.
"use strict";
const { performance } = require("node:perf_hooks");
const readline = require("node:readline");
const { Redis } = require("ioredis");
const { default: Redlock } = require("redlock");

const TTL_MS = 60_000;
const WORK_MS = 1;
const WARM_UP_MS = 200;
const PATIENCE_MS = 3_000;
const TIMEOUT_MS = 200; // of a command, so that what a hung node owes does not pile up

const task = JSON.parse(process.argv[2]);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function say(line) {
    process.stdout.write(`${JSON.stringify(line)}\n`);
    if ((await lines.next()).done) process.exit(1);
}

function client() {
    const nodes = task.nodes.map((url) => {
        const options = { commandTimeout: TIMEOUT_MS, connectTimeout: TIMEOUT_MS };
        return new Redis(url, options).on("error", () => {});
    });
    // As often as it takes; delay and jitter are the library's own.
    const redlock = new Redlock(nodes, { retryCount: -1 });
    redlock.on("error", () => {});
    return { redlock, nodes };
}

function spread(values) {
    if (!values.length) return { p50: 0, p99: 0, p999: 0, mean: 0, max: 0 };
    const sorted = Float64Array.from(values).sort();
    const at = (quantile) => sorted[Math.min(sorted.length - 1, Math.ceil(quantile * sorted.length) - 1)] * 1e3;
    const mean = (sorted.reduce((sum, value) => sum + value, 0) / sorted.length) * 1e3;
    return { p50: at(0.5), p99: at(0.99), p999: at(0.999), mean, max: at(1) };
}

// One worker: `shared` is what it shares with others, if it does.
async function work({ redlock }, worker, window, tally, shared) {
    const resource = shared ? "bench:shared" : `bench:${worker}`;
    for (;;) {
        const asked = performance.now();
        if (asked >= window.end) break;
        let got, worked;
        try {
            const lock = await redlock.acquire([resource], TTL_MS);
            got = worked = performance.now();
            if (shared) {
                const waited = Math.min(got, window.end) - Math.max(asked, window.start);
                tally.wait = Math.max(tally.wait, waited);
                if (shared.taken) tally.violations++;
                shared.taken = true;
                await sleep(WORK_MS);
                shared.taken = false;
                worked = performance.now();
                const last = shared.last;
                shared.last = { worker, at: worked };
                if (last && last.worker !== worker && got >= window.start) tally.handover.push(got - last.at);
            }
            await lock.release();
        } catch {
            if (asked >= window.start) tally.errors++;
            continue;
        }
        const done = performance.now();
        tally.counted++;
        if (asked < window.start || (shared ? worked : done) > window.end) continue;
        tally.acquire.push(got - asked);
        tally.release.push(done - worked);
        tally.pair.push(done - asked - (worked - got));
        tally.hold += worked - got;
        tally.turns[worker]++;
    }
    tally.running--;
}

async function measure(clients, workers, seconds, settle_seconds, contended) {
    const start = performance.now() + settle_seconds * 1e3;
    const window = { start, end: start + seconds * 1e3 };
    const tally = {
        pair: [], acquire: [], release: [], handover: [], turns: Array(workers).fill(0),
        wait: 0, hold: 0, violations: 0, errors: 0, counted: 0, running: workers,
    };
    const shared = contended ? { taken: false, last: null } : null;
    const all = Array.from({ length: workers }, (_, worker) => {
        return work(clients[worker % clients.length], worker, window, tally, shared);
    });
    await sleep(window.start - performance.now());
    const before = { cpu: process.cpuUsage(), at: performance.now() };
    await sleep(window.end - performance.now());
    const used = process.cpuUsage(before.cpu);
    const elapsed_us = (performance.now() - before.at) * 1e3;
    await Promise.race([Promise.all(all), sleep(PATIENCE_MS)]);
    const pairs = tally.turns.reduce((sum, turns) => sum + turns, 0);
    return {
        elapsed_us,
        pairs,
        pairs_counted: tally.counted,
        errors: tally.errors,
        stuck: tally.running,
        pair_us: spread(tally.pair),
        acquire_us: spread(tally.acquire),
        release_us: spread(tally.release),
        cpu_us: used.user + used.system,
        contention: contended
            ? {
                  turns: tally.turns,
                  wait_max_us: tally.wait * 1e3,
                  hold_us: (tally.hold / Math.max(1, pairs)) * 1e3,
                  handover_us: spread(tally.handover),
                  violations: tally.violations,
              }
            : null,
    };
}

async function main() {
    const clients = Array.from({ length: task.own_clients ? task.workers : 1 }, client);
    await measure(clients, task.contended ? 1 : task.workers, WARM_UP_MS / 1e3, 0, false);
    await say("ready");
    if (task.contended) {
        const solo = await measure(clients.slice(0, 1), 1, task.seconds / 2, task.settle_seconds, true);
        await say({ measured: solo });
    }
    const measured = await measure(clients, task.workers, task.seconds, task.settle_seconds, task.contended);
    await say({ measured });
    await sleep(TIMEOUT_MS);
    process.exit(0);
}

main();
