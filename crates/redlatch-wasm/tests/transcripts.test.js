// The golden transcripts of the core, played by the wasm module, line for line. Their format is told in
// crates/redlatch-core/tests/transcripts.rs, whose player this is once more, on the other side of the glue: commands are
// read from their arguments, replies are handed in as the values that nodes answer.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { answer, commands, core, list } from "./module.js";

const { Cause, EventKind, Loss, Machine, Op, Problem, Setting, Tally, settings } = core;
const folder = new URL("../../redlatch-core/tests/transcripts/", import.meta.url);
/** What the transcripts say where the module gives a number. */
const ERRORS = { [Problem.Busy]: "the lock is being acquired, held or released; wait until it is idle" };
const NONCE = new Uint8Array(16).fill(0xa5);

const stories = readdirSync(folder).filter((name) => name.endsWith(".txt")).sort();

for (const name of stories) {
  test(`the module plays ${name} as the core does`, () => {
    const told = readFileSync(new URL(name, folder), "utf8");
    assert.equal(play(told), told);
  });
}

test("there are stories, of every kind of event and command", () => {
  assert.ok(stories.length >= 12);
  const all = stories.map((name) => readFileSync(new URL(name, folder), "utf8")).join("");
  for (const event of ["granted", "retrying", "failed", "extended", "at risk", "lost", "released: confirmed",
    "released: unconfirmed", "seal", "> wake", "adopt", "error:", "rest", "held until"]) {
    assert.ok(all.includes(event), event);
  }
});

test("a wrong transcript is found", () => {
  const right = play("config nodes=1 ttl=1000\n> 0 acquire\n");
  assert.equal(play(right), right);
  assert.match(right, /\n {2}n0 acquire t1 ttl=1000 by 100\n {2}wake 100\n$/);
  for (const wrong of [right.replace("by 100", "by 101"), right.replace("  wake 100\n", ""), right.replace("> 0", "> 1")]) {
    assert.notEqual(play(wrong), wrong);
  }
});

/** The story as the module plays it: its outputs replaced, all else as it is. */
function play(story) {
  let player;
  const played = [];
  for (const line of story.split("\n").slice(0, -1)) {
    if (line.startsWith("  ")) continue;
    played.push(line);
    if (line.startsWith("config ")) player = new Player(new Fields(line.slice(7)), played);
    else if (line.startsWith("> ")) player.step(line.slice(2));
    else assert.ok(line === "" || line.startsWith("#"), line);
  }
  player?.machine.free();
  return played.map((line) => `${line}\n`).join("");
}

class Player {
  now = 0;
  handedOut = [];
  memo = {};
  heldUntil = 0;

  constructor(fields, played) {
    this.settings = configured(fields);
    this.machine = Machine.of(this.settings, list(["report"]));
    this.played = played;
  }

  step(input) {
    const space = input.indexOf(" ");
    const [at, rest] = space < 0 ? [input, ""] : [input.slice(0, space), input.slice(space + 1)];
    if (at === "wake") {
      this.now = Math.max(this.machine.pollTimeout(), this.now);
      this.machine.handleTimeout(this.now);
    } else {
      this.now = Number(at);
      const fields = new Fields(rest);
      if (/^n\d/.test(fields.words[0])) return this.replies(fields);
      const error = this.call(fields);
      if (error !== undefined) this.played.push(`  error: ${error}`);
    }
    this.drain(true);
  }

  call(fields) {
    const { machine, now } = this;
    switch (fields.words[0]) {
      case "acquire":
        return ERRORS[machine.acquire(now, NONCE, fields.number("propose") ?? 0)];
      case "extend":
        return machine.extend(now) ? undefined : "the lock is not held";
      case "release":
        return machine.release(now) ? undefined : "there is nothing to release";
      case "timeout":
        machine.handleTimeout(now);
        return undefined;
      case "adopt": {
        machine.free();
        this.machine = Machine.of(this.settings, list(["report"]));
        this.memo = {};
        const attempt = Number(fields.words[1].slice(1)).toString(16).padStart(8, "0");
        this.machine.adopt(now, "a5".repeat(16) + attempt, fields.number("fence") ?? 0, fields.number("until"));
        return undefined;
      }
      default:
        return assert.fail(`${fields.words[0]} is no input`);
    }
  }

  /** Each node replies in turn, and the machine is drained after each. */
  replies(fields) {
    const [nodes, reply, to, named] = fields.words;
    const chosen = nodes.split(",").map((node) => this.command(Number(node.slice(1)), to && named));
    chosen.forEach((command, index) => {
      this.reply(command, reply, fields);
      this.drain(index + 1 === chosen.length);
    });
  }

  reply({ id, op }, reply, fields) {
    const fence = fields.number("fence") ?? 0;
    // Nodes tell whole milliseconds; the machine rounds fractions up.
    const remaining = Math.ceil(fields.number("remaining") ?? -1);
    const value = {
      applied: op === Op.Acquire || op === Op.Seal ? [1, fence] : [1],
      refused: op === Op.Acquire ? [0, remaining, fence] : [0],
      quarantined: [2, remaining],
      unknown: undefined,
    };
    assert.ok(reply in value, reply);
    if (value[reply] === undefined) this.machine.handleFailure(this.now, id);
    else answer(this.machine, this.now, id, value[reply]);
  }

  /** What `node` was last given, or what `kind@time` names. */
  command(node, named) {
    const [kind, at] = named?.split("@") ?? [];
    const found = this.handedOut.findLast((command) => command.node === node
      && (kind === undefined || (kind === kindOf(command.op) && Number(at) === command.at)));
    assert.ok(found, `node ${node} was given such a command`);
    return found;
  }

  drain(last) {
    const { machine, played } = this;
    const alike = [];
    const flush = () => {
      if (alike.length > 0) played.push(`  ${alike.map(({ node }) => `n${node}`).join(",")} ${alike[0].text}`);
      alike.length = 0;
    };
    for (const command of commands(machine, this.memo)) {
      command.at = this.now;
      command.text = described(command, machine);
      this.handedOut.push(command);
      if (alike.length > 0 && alike.at(-1).text !== command.text) flush();
      alike.push(command);
    }
    flush();
    const heldUntil = machine.validUntil();
    const event = told(machine);
    if (event !== undefined) played.push(`  ${event}`);
    else if (heldUntil !== 0 && heldUntil !== this.heldUntil) played.push(`  held until ${time(heldUntil)}`);
    this.heldUntil = heldUntil;
    if (last) {
      const at = machine.pollTimeout();
      played.push(at < Infinity ? `  wake ${time(at)}` : "  rest");
    }
  }
}

function kindOf(op) {
  return Op[op].toLowerCase();
}

/** A command without its node. */
function described({ op, args, deadline }, machine) {
  assert.equal(args[0], "EVAL");
  const from = (index) => args.at(index);
  const [token, details] = {
    [Op.Acquire]: () => [from(-6), ` ttl=${from(-5)}${from(-3) === "0" ? "" : ` propose=${from(-3)}`}`],
    [Op.Seal]: () => [from(-4), ` fence=${from(-3)}`],
    // The number is not sent; that there is one shows in the keys.
    [Op.Extend]: () => [from(-4), ` ttl=${from(-3)}${Number(args[2]) > Number(from(-2)) ? ` fence=${machine.fence()}` : ""}`],
    [Op.Release]: () => [from(-2), ""],
  }[op]();
  return `${kindOf(op)} ${tokenOf(token)}${details} by ${time(deadline)}`;
}

function tokenOf(token) {
  assert.match(token, /^(a5){16}[0-9a-f]{8}$/);
  return `t${parseInt(token.slice(32), 16)}`;
}

function told(machine) {
  const kind = machine.pollEvent();
  const at = machine.eventAt();
  const lease = () => `${tokenOf(machine.token())}${machine.fence() ? ` fence=${machine.fence()}` : ""} until ${time(at)}`;
  switch (kind) {
    case EventKind.None: return undefined;
    case EventKind.Granted: return `granted ${lease()}`;
    case EventKind.Retrying: return `retrying at ${time(at)}: ${cause(machine)}${tally(machine)}`;
    case EventKind.Failed: return `failed: ${cause(machine)}${tally(machine)}`;
    case EventKind.Extended: return `extended ${lease()}`;
    case EventKind.AtRisk: return `at risk ${lease()}${tally(machine)}`;
    case EventKind.Lost: return `lost ${lease()}: ${machine.eventLoss() === Loss.Expired ? "expired" : "hold_max"}`;
    case EventKind.Released: return "released: confirmed";
    case EventKind.Unconfirmed: return `released: unconfirmed, the keys expire at ${time(at)}`;
    default: return assert.fail(`event ${kind}`);
  }
}

function cause(machine) {
  const after = machine.eventAfter();
  return {
    [Cause.Contended]: after < 0 ? "contended" : `contended, useful after ${time(after)}`,
    [Cause.NoQuorum]: "no quorum",
    [Cause.TooLate]: "too late",
    [Cause.Quarantined]: `quarantined for ${time(after)}`,
    [Cause.DeadlineExceeded]: "deadline exceeded",
    [Cause.Cancelled]: "cancelled",
  }[machine.eventCause()];
}

function tally(machine) {
  return [Tally.Applied, Tally.Refused, Tally.Unknown, Tally.Quarantined].map((set) => {
    const bits = machine.eventNodes(set);
    const nodes = [...Array(16).keys()].filter((node) => bits & (1 << node)).map((node) => `n${node}`);
    return nodes.length > 0 ? `; ${Tally[set].toLowerCase()} ${nodes.join(",")}` : "";
  }).join("");
}

/** Milliseconds with as many decimals as they have. */
function time(ms) {
  const nanos = Math.round(ms * 1e6);
  assert.ok(Number.isSafeInteger(nanos), `${ms} ms`);
  const decimals = String(nanos % 1e6).padStart(6, "0").replace(/0+$/, "");
  return `${Math.floor(nanos / 1e6)}${decimals && `.${decimals}`}`;
}

/** The words of a line, and its `name=value` pairs. */
class Fields {
  constructor(line) {
    const parts = line.split(/\s+/).filter(Boolean);
    this.words = parts.filter((part) => !part.includes("="));
    this.values = new Map(parts.filter((part) => part.includes("=")).map((part) => part.split("=")));
  }

  number(name) {
    return this.values.has(name) ? Number(this.values.get(name)) : undefined;
  }
}

function configured(fields) {
  const list = settings(fields.number("nodes"), fields.number("ttl"));
  // As the core begins: one attempt.
  list[Setting.Wait] = fields.number("wait") ?? Infinity;
  list[Setting.AttemptsMax] = fields.number("attempts") ?? 0;
  const given = {
    drift_ppm: Setting.DriftPpm,
    node_timeout: Setting.NodeTimeout,
    validity_min: Setting.ValidityMin,
    delay_min: Setting.DelayMin,
    delay_max: Setting.DelayMax,
    hold_max: Setting.HoldMax,
  };
  for (const [name, setting] of Object.entries(given)) {
    const value = fields.number(name);
    if (value !== undefined) list[setting] = value;
  }
  if (fields.number("hold_max") !== undefined) list[Setting.Renew] = 1;
  return list;
}
