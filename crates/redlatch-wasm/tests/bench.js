// Bytes and microseconds of the wasm module: `just bench-wasm`. Times are the least of several runs, because whatever
// else the machine does only makes them longer.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { brotliCompressSync } from "node:zlib";

import { commands, core, wasmPath } from "./module.js";

const { Machine, Setting, settings } = core;
const RUNS = 9;
const CYCLES = 5_000;

function line(what, value, unit, limit) {
  const verdict = limit === undefined ? "" : value <= limit ? `  (at most ${limit})` : `  ABOVE ${limit}`;
  console.log(`${what.padEnd(46)} ${String(value).padStart(9)} ${unit}${verdict}`);
}

const bytes = readFileSync(wasmPath);
line("module", bytes.length, "bytes");
line("module, gzip", execFileSync("gzip", ["-9c", wasmPath]).length, "bytes", 16 * 1024);
line("module, brotli", brotliCompressSync(bytes).length, "bytes");

// In a process of its own each time: an engine keeps what it has compiled once.
const first = least(() => Number(execFileSync(process.execPath, ["--input-type=module", "--eval", `
  import { readFileSync } from "node:fs";
  import { initSync } from ${JSON.stringify(new URL("core.js", pathToFileURL(wasmPath)).href)};
  const bytes = readFileSync(${JSON.stringify(wasmPath)});
  const start = performance.now();
  initSync({ module: bytes });
  console.log(performance.now() - start);
`], { encoding: "utf8" })));
line("first instantiation", first.toFixed(2), "ms", 5);

const list = settings(3, 30_000);
list[Setting.AttemptsMax] = 1;
const nonce = crypto.getRandomValues(new Uint8Array(16));

/** What a driver does for one lock on three nodes, less the nodes. */
function cycle() {
  const machine = Machine.of(list, "\0report");
  const memo = {};
  machine.acquire(performance.now(), nonce, 1_700_000_000_000_000);
  for (const { id } of commands(machine, memo)) {
    machine.pushArray(2);
    machine.pushInt(1);
    machine.pushInt(1_700_000_000_000_000);
    machine.handleValue(performance.now(), id);
  }
  machine.pollEvent();
  machine.pollTimeout();
  machine.release(performance.now());
  for (const { id } of commands(machine, memo)) {
    machine.pushArray(1);
    machine.pushInt(1);
    machine.handleValue(performance.now(), id);
  }
  machine.pollEvent();
  machine.pollTimeout();
  machine.free();
}

cycle();
const micros = least(() => {
  const start = process.cpuUsage();
  for (let done = 0; done < CYCLES; done++) cycle();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / CYCLES;
});
line("acquire and release of three nodes, CPU", micros.toFixed(1), "µs", 25);

function least(run) {
  return Math.min(...Array.from({ length: RUNS }, run));
}
