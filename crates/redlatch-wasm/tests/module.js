// The wasm module as `just wasm` made it.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = new URL("../../../target/wasm/pkg/", import.meta.url);

export const wasmPath = fileURLToPath(new URL("core_bg.wasm", folder));
if (!existsSync(wasmPath)) throw new Error("target/wasm/pkg is missing; run: just wasm");

export const core = await import(new URL("core.js", folder).href);
export const wasm = core.initSync({ module: readFileSync(wasmPath) });

/** Strings as the module takes them: behind a separator, which is in none of them, and divided by it. */
export function list(strings) {
  let code = 0;
  while (strings.some((text) => text.includes(String.fromCharCode(code)))) code = Math.max(code + 1, 0xe000);
  const separator = String.fromCharCode(code);
  return separator + strings.join(separator);
}

/** The next command, as an object. `args` are kept for the commands that follow it with the same. */
export function nextCommand(machine, memo) {
  const id = machine.pollCommand();
  if (id === 0) return undefined;
  const text = machine.commandArgs();
  if (text !== undefined) memo.args = text.slice(1).split(text[0]);
  return {
    id,
    node: machine.commandNode(),
    op: machine.commandOp(),
    deadline: machine.commandDeadline(),
    args: memo.args,
  };
}

/** All commands that the machine has to give. */
export function commands(machine, memo = {}) {
  const all = [];
  for (let command; (command = nextCommand(machine, memo)); ) all.push(command);
  return all;
}

/** Hands in an answer: an integer, a string, null, or an array of these. */
export function answer(machine, now, id, value) {
  push(machine, value);
  return machine.handleValue(now, id);
}

export function push(machine, value) {
  if (value === null) machine.pushNil();
  else if (typeof value === "number") machine.pushInt(value);
  else if (typeof value === "string") machine.pushText(value);
  else if (Array.isArray(value)) {
    machine.pushArray(value.length);
    for (const item of value) push(machine, item);
  } else machine.pushOther();
}
