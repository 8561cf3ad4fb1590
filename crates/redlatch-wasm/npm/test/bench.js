// Numbers of the package, printed and not asserted. Runs in the folder that scripts/test.js makes: `just bench-wasm`.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { build } from "esbuild";
import { Redlatch, upstash, webdis } from "redlatch";
import { startFleet } from "./lib/fleet.js";

/** On a busy machine a node may need longer to answer than nodes usually get. */
const patient = { nodeTimeout: 1000 };
const require = createRequire(import.meta.url);
const gzip = (bytes) => execFileSync("gzip", ["-9c"], { input: bytes }).length;
const print = (what, value) => console.log(`${what.padEnd(72)} ${value}`);

async function bundle(contents, options = {}) {
    const { outputFiles } = await build({
        stdin: { contents, resolveDir: "." }, bundle: true, minify: true, format: "esm", write: false, ...options,
    });
    return gzip(outputFiles[0].contents);
}

async function sizes() {
    const wasm = gzip(readFileSync(require.resolve("redlatch/core.wasm")));
    const workerd = { conditions: ["workerd"], external: ["*.wasm"] };
    print("wasm, gzip (aim: 16384)", `${wasm} B`);
    const client = 'export { Redlatch, upstash } from "redlatch"';
    print("default bundle: `Redlatch` and `upstash`, gzip (aim: 24576)", `${await bundle(client)} B`);
    print("  JavaScript alone, as on workers, gzip", `${await bundle(client, workerd)} B`);
    print("all of `redlatch`, gzip", `${await bundle('export * from "redlatch"')} B`);
    print("`redlatch/redlock`, gzip", `${await bundle('export { default } from "redlatch/redlock"')} B`);
    const peers = { platform: "node", format: "cjs" };
    print("beside it: `@upstash/redis`, gzip", `${await bundle('export { Redis } from "@upstash/redis"', { platform: "node" })} B`);
    print("beside it: `redlock` and `ioredis`, gzip", `${await bundle('export { default } from "redlock"; export { Redis } from "ioredis"', peers)} B`);
}

/** The fastest of some rounds: what else the machine does only makes it slower. */
async function cpu() {
    const released = [1];
    const reply = (args) => {
        // An acquire has six arguments after its keys and proposes a fence; what else is asked here is a release.
        const keys = Number(args[2]);
        const proposal = args[3 + keys + 3];
        return proposal === undefined ? released : [1, Number(proposal)];
    };
    const nodes = [0, 1, 2].map((index) => ({ name: `n${index}`, send: (args) => Promise.resolve(reply(args)) }));
    const redlatch = new Redlatch(nodes);
    const started = performance.now();
    await (await redlatch.acquire("a", 10_000)).release();
    print("first acquire + release, module made, three nodes that answer at once", `${(performance.now() - started).toFixed(1)} ms`);
    const rounds = [];
    for (let round = 0; round < 12; round += 1) {
        const before = process.cpuUsage();
        for (let index = 0; index < 2000; index += 1) await (await redlatch.acquire("a", 10_000, patient)).release();
        const { user, system } = process.cpuUsage(before);
        rounds.push((user + system) / 2000);
    }
    print("CPU per acquire + release, the same nodes (aim: 25)", `${Math.min(...rounds).toFixed(1)} µs`);
}

function median(values) {
    return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)];
}

async function http(kind) {
    const fleet = await startFleet([kind, kind, kind]);
    try {
        const make = { webdis, upstash };
        const recorded = [];
        const open = (options = {}) => new Redlatch(
            fleet.config.nodes.map(({ kind, ...access }, index) => make[kind]({ ...access, insecure: true, name: `n${index}`, ...options })),
        );
        const record = (url, init) => {
            recorded.push([url, init]);
            return fetch(url, init);
        };
        const lock = await open({ fetch: record }).acquire("bench", 10_000, patient);
        await lock.release();
        await lock.settled;
        const requests = recorded.map(([url, { method, headers, body }]) => [url, { method, headers, body }]);
        const ask = (some) => Promise.all(some.map(async ([url, init]) => (await fetch(url, init)).text()));
        const redlatch = open();
        /** The time of both halves; what is done under a lock takes longer than the last answer, and is not counted. */
        const time = async (acquire, release) => {
            const started = performance.now();
            const lock = await acquire();
            const acquired = performance.now();
            await new Promise((resolve) => setTimeout(resolve, 4));
            const resumed = performance.now();
            await release(lock);
            return acquired - started + (performance.now() - resumed);
        };
        const byHand = () => time(() => ask(requests.slice(0, 3)), () => ask(requests.slice(3, 6)));
        const ours = () => time(() => redlatch.acquire("bench", 10_000, patient), (lock) => lock.release());
        const pause = () => new Promise((resolve) => setTimeout(resolve, 4));
        const times = { byHand: [], ours: [], hung: [] };
        for (let round = 0; round < 400; round += 1) {
            times.byHand.push(await byHand());
            await pause();
            times.ours.push(await ours());
            await pause();
        }
        await fleet.actions.hang({ node: 2 });
        for (let round = 0; round < 400; round += 1) {
            times.hung.push(await ours());
            await pause();
        }
        await fleet.actions.resume({ node: 2 });
        const [hand, own, hung] = [times.byHand, times.ours, times.hung].map((list) => median(list.slice(50)));
        print(`acquire + release behind three ${kind}, median`, `${own.toFixed(2)} ms`);
        print("  the same six requests by hand, three by three, median", `${hand.toFixed(2)} ms`);
        print("  ratio (aim: 1.10)", (own / hand).toFixed(2));
        print("  with one node hung, median", `${hung.toFixed(2)} ms`);
        print("  ratio to healthy (aim: 1.15)", (hung / own).toFixed(2));
    } finally {
        await fleet.close();
    }
}

await sizes();
await cpu();
await http("webdis");
await http("peer");
process.exit(0);
