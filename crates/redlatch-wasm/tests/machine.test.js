// What the module promises to the driver in JavaScript.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { answer, commands, core, list, push, wasm, wasmPath } from "./module.js";

const { Cause, EventKind, LockState, Machine, NodeState, Op, Problem, Question, Setting, Vote, problem, settings } = core;
const nonce = () => crypto.getRandomValues(new Uint8Array(16));
const PROPOSAL = 1_700_000_000_000_000;
// What is aimed at.
const SIZE_MAX = 16 * 1024;

function configured(change) {
  const values = settings(3, 30_000);
  for (const [setting, value] of Object.entries(change)) values[Setting[setting]] = value;
  return values;
}

function machine(change = {}, ...names) {
  return Machine.of(configured(change), list(names.length > 0 ? names : ["report"]));
}

/** A lock that all three nodes granted. */
function held(change) {
  const lock = machine(change);
  lock.acquire(1, nonce(), PROPOSAL);
  for (const { id } of commands(lock)) answer(lock, 2, id, [1, PROPOSAL]);
  assert.equal(lock.pollEvent(), EventKind.Granted);
  return lock;
}

test("the module imports nothing but its glue", () => {
  const imports = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(wasmPath)));
  for (const { module, name, kind } of imports) {
    assert.equal(module, "./core_bg.js");
    assert.equal(kind, "function");
    // The text of a pointer that is null, which is all that is ever thrown; and what the npm package leaves out.
    assert.match(name, /^__wbg___wbindgen_throw_|^__wbindgen_init_externref_table$/);
  }
});

test("the module is small and names no path of the machine it was built on", () => {
  const bytes = readFileSync(wasmPath);
  // As the build tells it: the zlib in Node gives up a hundredth for speed.
  const size = execFileSync("gzip", ["-9c", wasmPath]).length;
  assert.ok(size <= SIZE_MAX, `${size} bytes with gzip`);
  assert.doesNotMatch(bytes.toString("latin1"), /\.rs|\/registry\/|\.cargo/);
});

test("a machine that was freed is not touched again", () => {
  const lock = machine();
  lock.free();
  assert.throws(() => lock.pollCommand(), /null pointer/);
  assert.throws(() => lock.isIdle(), /null pointer/);
});

test("100,000 locks leave nothing behind, whether they were got or not", () => {
  const pages = () => wasm.memory.buffer.byteLength;
  const once = (got) => {
    const lock = machine({ AttemptsMax: 1 });
    lock.acquire(1, nonce(), PROPOSAL);
    for (const { id } of commands(lock)) {
      if (got) answer(lock, 2, id, [1, PROPOSAL]);
      else answer(lock, 2, id, [0, 5000, PROPOSAL]);
    }
    assert.equal(lock.pollEvent(), got ? EventKind.Granted : EventKind.Failed);
    if (got) assert.ok(lock.release(3));
    for (const { id } of commands(lock)) answer(lock, 4, id, [1]);
    lock.pollEvent();
    assert.ok(lock.isIdle() && lock.inFlight() === 0);
    lock.free();
  };
  for (let warm = 0; warm < 100; warm++) once(warm % 2 === 0);
  const before = pages();
  for (let lock = 0; lock < 100_000; lock++) once(lock % 2 === 0);
  assert.equal(pages(), before);

  // The canary: what is not freed shows.
  const kept = Array.from({ length: 2000 }, () => machine());
  assert.ok(pages() > before);
  for (const lock of kept) lock.free();
});

test("a machine that is freed cannot be used", () => {
  const lock = machine();
  lock.free();
  assert.throws(() => lock.pollCommand());
});

test("a node that never answers is not remembered for ever", () => {
  const lock = held({ Renew: 1, HoldMax: 1e9, NodeTimeout: 10 });
  let now = 2;
  const before = wasm.memory.buffer.byteLength;
  for (let round = 0; round < 5000; round++) {
    now = Math.max(now, lock.pollTimeout());
    lock.handleTimeout(now);
    for (const { id, node } of commands(lock)) {
      if (node === 2) lock.handleFailure(now, id);
      else answer(lock, now, id, [1]);
    }
    lock.pollEvent();
  }
  assert.ok(lock.isValid(now) && lock.inFlight() === 0);
  assert.equal(wasm.memory.buffer.byteLength, before);
  lock.free();
});

test("commands are EVAL with the whole script, once for each fan-out", () => {
  const lock = machine();
  lock.acquire(1, nonce(), PROPOSAL);
  const id = lock.pollCommand();
  const text = lock.commandArgs();
  const args = text.slice(1).split(text[0]);
  assert.equal(args[0], "EVAL");
  assert.match(args[1], /redis\.call\('SET'/);
  assert.deepEqual(args.slice(2, 5), ["2", "report", "redlatch:fence:{report}"]);
  assert.deepEqual([lock.commandNode(), lock.commandOp(), lock.commandDeadline()], [0, Op.Acquire, 501]);
  assert.ok(lock.pollCommand() > id);
  assert.equal(lock.commandArgs(), undefined);
  lock.free();
});

test("names are carried as they are, whatever is in them", () => {
  for (const name of ["order/7?x", "π 🔒", "\0", "\0\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b", " \n\t\r", "\0\u{e000}\u{e001}", "\ufffd"]) {
    const lock = machine({}, name);
    lock.acquire(1, nonce(), 0);
    const [{ args }] = commands(lock);
    assert.equal(args[3], name);
    assert.equal(args.length, 10);
    lock.free();
  }
});

test("several resources are locked together", () => {
  const lock = machine({}, "{order:7}:stock", "{order:7}:invoice");
  lock.acquire(1, nonce(), PROPOSAL);
  const [{ args }] = commands(lock);
  assert.deepEqual(args.slice(2, 7), ["4", "{order:7}:stock", "{order:7}:invoice",
    "redlatch:fence:{order:7}:stock", "redlatch:fence:{order:7}:invoice"]);
  lock.free();
});

test("the plain dialect acquires by SET and releases by a script", () => {
  const lock = machine({ Plain: 1 });
  assert.equal(lock.acquire(1, nonce(), PROPOSAL), Problem.PlainFence);
  lock.acquire(1, nonce(), 0);
  const asked = commands(lock);
  assert.deepEqual(asked[0].args.toSpliced(2, 1), ["SET", "report", "NX", "PX", "30000"]);
  assert.equal(answer(lock, 2, asked[0].id, "OK"), Vote.Applied);
  assert.equal(answer(lock, 2, asked[1].id, null), Vote.Refused);
  assert.equal(answer(lock, 2, asked[2].id, "OK"), Vote.Applied);
  assert.equal(lock.pollEvent(), EventKind.Granted);
  assert.ok(lock.release(3));
  assert.deepEqual(new Set(commands(lock).map(({ args }) => args[0])), new Set(["EVAL"]));
  lock.free();
});

test("what is no answer to the command counts as unknown", () => {
  const odd = [null, "OK", "", 1, [], [1], [1, "x"], [1, PROPOSAL, 0, 0, 0, 0], [[1, 2]], [1, [2]], [1, 0.5], [1, NaN], [1, -1],
    [1, 2 ** 53], { error: "ERR" }];
  for (const value of odd) {
    const lock = machine();
    lock.acquire(1, nonce(), PROPOSAL);
    const [{ id }] = commands(lock);
    assert.equal(answer(lock, 2, id, value), Vote.Failed, JSON.stringify(value));
    assert.equal(answer(lock, 2, id, [1, PROPOSAL]), Vote.Silent);
    lock.free();
  }
});

test("a half-pushed answer does not spoil the next one", () => {
  const lock = machine();
  lock.acquire(1, nonce(), PROPOSAL);
  const [one, two] = commands(lock);
  push(lock, [1]);
  assert.equal(answer(lock, 2, 4_000_000_000, 7), Vote.Silent);
  push(lock, [1]);
  lock.handleFailure(2, one.id);
  assert.equal(answer(lock, 2, two.id, [1, PROPOSAL]), Vote.Applied);
  lock.free();
});

test("an answer counts once, and for its own command", () => {
  const lock = machine({ AttemptsMax: 2 });
  lock.acquire(1, nonce(), PROPOSAL);
  const first = commands(lock);
  assert.equal(answer(lock, 2, first[0].id, [1, PROPOSAL]), Vote.Applied);
  answer(lock, 2, first[0].id, [1, PROPOSAL]);
  answer(lock, 2, 77, [1, PROPOSAL]);
  assert.equal(lock.pollEvent(), EventKind.None);
  lock.handleTimeout(501);
  assert.equal(lock.pollEvent(), EventKind.Retrying);
  assert.equal(lock.eventCause(), Cause.NoQuorum);
  commands(lock);
  lock.handleTimeout(lock.eventAt());
  const second = commands(lock).filter(({ op }) => op === Op.Acquire);
  assert.equal(second.length, 3);
  // Late answers of the first attempt are no votes of the second.
  answer(lock, 1000, first[1].id, [1, PROPOSAL]);
  answer(lock, 1000, first[2].id, [1, PROPOSAL]);
  assert.equal(lock.pollEvent(), EventKind.None);
  // Each is undone once.
  assert.deepEqual(commands(lock).map(({ op, node }) => [op, node]).at(-1), [Op.Release, 2]);
  lock.free();
});

test("each node's vote is told, with the command that it answers", () => {
  const lock = machine({ AttemptsMax: 1 });
  lock.acquire(1, nonce(), PROPOSAL);
  const asked = commands(lock);
  answer(lock, 2, asked[0].id, [0, 1234, PROPOSAL]);
  lock.handleFailure(2, asked[1].id);
  assert.equal(lock.vote(Question.Asked, 2), Vote.Silent);
  answer(lock, 2, asked[2].id, [2, 777]);
  const table = [0, 1, 2].map((node) => [lock.vote(Question.Asked, node), lock.voteRemaining(Question.Asked, node)]);
  assert.deepEqual(table, [[Vote.Refused, 1234], [Vote.Failed, -1], [Vote.Quarantined, 777]]);
  assert.deepEqual([0, 1, 2].map((node) => lock.voteId(Question.Asked, node)), asked.map(({ id }) => id));
  assert.equal(lock.pollEvent(), EventKind.Failed);
  assert.equal(lock.eventCause(), Cause.Contended);
  // Decided by the first two, of which one told how long.
  assert.equal(lock.eventAfter(), -1);
  const released = commands(lock);
  answer(lock, 3, released[0].id, [0]);
  assert.equal(lock.vote(Question.Released, 0), Vote.Applied);
  assert.equal(lock.vote(Question.Asked, 99), Vote.Silent);
  lock.free();
});

test("time is exact to the nanosecond, and what is no time is harmless", () => {
  for (const now of [0.000001, 1.5, 123456.789012, 86_400_000.000001, 4_000_000_000.123456]) {
    const lock = machine({ Ttl: 1000 });
    lock.acquire(now, nonce(), 0);
    for (const { id } of commands(lock)) answer(lock, now, id, [1, 0]);
    lock.pollEvent();
    assert.equal(Math.round(lock.validUntil() * 1e6), Math.round(now * 1e6) + 988_000_000);
    assert.ok(lock.isValid(NaN) && lock.isValid(-5));
    assert.ok(!lock.isValid(Infinity));
    lock.handleTimeout(NaN);
    assert.ok(lock.isValid(now));
    lock.handleTimeout(Infinity);
    assert.equal(lock.pollEvent(), EventKind.Lost);
    lock.free();
  }
});

test("what cannot be asked for is refused", () => {
  const eight = ["a", "b", "c", "d", "e", "f", "g", "h"].map((name) => `{o}${name}`);
  const second = (code) => code + 2 * Problem.Count;
  const refused = [
    [{ Nodes: 0 }, ["report"], Problem.Nodes],
    [{ Nodes: 17 }, ["report"], Problem.Nodes],
    [{ Ttl: 1.5 }, ["report"], Problem.Ttl],
    [{ Ttl: 86_400_001 }, ["report"], Problem.Ttl],
    [{ Ttl: 2 }, ["report"], Problem.TtlTooShort],
    [{ DriftPpm: 500_001 }, ["report"], Problem.Drift],
    [{ RestartGuard: 1.5 }, ["report"], Problem.Ttl],
    [{ NodeTimeout: 1e-7 }, ["report"], Problem.NodeTimeout],
    [{}, [""], Problem.NameLength + Problem.Count],
    [{}, ["a", "x".repeat(1025)], second(Problem.NameLength)],
    [{}, ["redlatch:x"], Problem.NameReserved + Problem.Count],
    [{ Plain: 1 }, ["a", "a"], second(Problem.NameTwice)],
    [{ Plain: 1 }, ["{o}a", "{o}b"], Problem.PlainKeys],
    [{}, ["{order:7}:stock", "elsewhere"], second(Problem.Slot)],
    [{}, [...eight, "{o}i"], Problem.Resources],
    [{}, eight, Problem.None],
  ];
  for (const [change, names, code] of refused) {
    assert.equal(problem(configured(change), list(names)), code, JSON.stringify([change, names]));
    const made = Machine.of(configured(change), list(names));
    assert.equal(made === undefined, code !== Problem.None);
    made?.free();
  }
  assert.equal(problem(new Float64Array(0), list(["report"])), Problem.Ttl);
  assert.equal(problem(settings(3, 1000), ""), Problem.NameLength + Problem.Count);
  assert.equal(machine().acquire(1, new Uint8Array(15), 0), Problem.Nonce);
  assert.equal(machine().acquire(1, nonce(), 2 ** 53), Problem.Clock);
  assert.equal(machine({}, "}").acquire(1, nonce(), PROPOSAL), Problem.FenceSlot + Problem.Count);
  assert.equal(held().acquire(2, nonce(), 0), Problem.Busy);
  assert.equal(machine().adopt(1, "xyz", 0, 1000), Problem.Token);
});

test("the defaults are those of the native driver", () => {
  const values = settings(3, 30_000);
  assert.equal(values[Setting.Wait], 10_000);
  assert.equal(values[Setting.HoldMax], 3_600_000);
  assert.deepEqual([values[Setting.DelayMin], values[Setting.DelayMax]], [10, 200]);
  assert.equal(values[Setting.DriftPpm], 10_000);
  assert.equal(values[Setting.Renew], 0);
  assert.equal(values.length, Setting.FenceRetention + 1);
});

test("a look from outside tells who holds the lock", () => {
  const look = machine();
  const text = look.inspectArgs();
  assert.deepEqual(text.slice(1).split(text[0]).slice(2), ["2", "report", "redlatch:fence:{report}", "1"]);
  const see = (node, value) => {
    push(look, value);
    return look.sight(node);
  };
  assert.equal(look.sightState(), LockState.Undecided);
  assert.equal(see(0, ["token", 300, 7]), NodeState.Taken);
  assert.equal(see(1, ["other", 900, 7]), NodeState.Taken);
  assert.equal(look.sightState(), LockState.Undecided);
  assert.equal(see(2, ["token", 500, 8]), NodeState.Taken);
  assert.equal(look.sightState(), LockState.Held);
  assert.equal(look.sightStateRemaining(), 300);
  assert.deepEqual([look.sightRemaining(2), look.sightFence(2)], [500, 8]);
  assert.equal(see(2, ["token", -1, 0]), NodeState.Taken);
  assert.deepEqual([look.sightRemaining(2), look.sightFence(2)], [Infinity, 0]);
  assert.equal(see(2, { error: "ERR" }), NodeState.Unknown);
  assert.equal(see(0, [null, 0, 7]), NodeState.Free);
  assert.equal(see(1, [null, 0, 0]), NodeState.Free);
  assert.equal(look.sightState(), LockState.Free);
  // Of no node of this lock: understood, and not counted.
  for (const node of [3, 99]) assert.equal(see(node, ["token", 500, 8]), NodeState.Taken);
  assert.equal(look.sightState(), LockState.Free);
  look.free();
});

test("a lease that was handed over is held on", () => {
  const before = held();
  const after = machine();
  after.adopt(5, before.token(), before.fence(), before.validUntil());
  assert.ok(after.isValid(6));
  assert.equal(after.fence(), PROPOSAL);
  assert.equal(after.token(), before.token());
  assert.ok(after.release(7));
  assert.equal(commands(after)[0].args.at(-2), before.token());
  before.free();
  after.free();
});
