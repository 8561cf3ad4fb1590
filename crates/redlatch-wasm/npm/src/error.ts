import { Problem } from "./core.js";

/** What one node answered. */
export interface Vote {
    /** The node's name. */
    readonly node: string;
    /**
     * `applied`: it did what it was asked. `refused`: another token, or none, is in the key. `quarantined`: it
     * may have forgotten keys and does not vote yet. `failed`: it could not be asked, or answered something
     * else. `silent`: it had not answered when the vote was decided.
     */
    readonly vote: "applied" | "refused" | "quarantined" | "failed" | "silent";
    /** For how many ms it stays so, if the node told. */
    readonly remaining?: number;
    /** Why it failed. Never shows a credential or a token. */
    readonly error?: NodeError;
}

/** The lock, or what was asked of it, did not come about. */
export class RedlatchError extends Error {
    override readonly name: string = "RedlatchError";
    /** What every node answered last, in the order in which the nodes were given; empty if none was asked. */
    readonly votes: readonly Vote[];

    constructor(message: string, votes: readonly Vote[] = []) {
        const cause = votes.find((vote) => vote.error)?.error;
        super(
            votes.length === 0 ? message : `${message}: ${votes.map(voteText).join(", ")}`,
            cause && { cause },
        );
        this.votes = votes;
    }
}

/** The lock cannot be asked for in this way; no node was asked. */
export class InvalidRequestError extends RedlatchError {
    override readonly name = "InvalidRequestError";
}

/** What is not here cannot come about: the number of nodes is checked before, and a nonce has its length. */
const problems: { readonly [problem: number]: string } = {
    [Problem.Ttl]: "a ttl must be 1 ms to 24 h, in whole milliseconds",
    [Problem.Drift]: "a drift of more than half of the ttl leaves no lock",
    [Problem.TtlTooShort]:
        "the ttl leaves no validity when the clock drift and the least validity are taken off; ask for a longer ttl",
    [Problem.NodeTimeout]: "the node timeout is zero; nodes need time to answer",
    [Problem.Clock]: "the wall clock cannot be proposed as a fence: set the clock",
    [Problem.Token]: "a token has 40 lowercase hexadecimal digits",
    [Problem.Busy]: "the lock is being acquired, held or released; wait until it is idle",
    [Problem.PlainFence]: "the plain dialect has no fences; use the scripts dialect or ask for no fence",
    [Problem.PlainKeys]:
        "the plain dialect locks one resource at a time; use the scripts dialect for several",
    [Problem.Resources]: "a lock takes 1 to 8 resources",
    [Problem.NameLength]: ": its name must have 1 to 1024 bytes",
    [Problem.NameReserved]:
        ": names that begin with `redlatch:` are kept for the library's own keys; choose another",
    [Problem.NameTwice]: " was named before; name each one once",
    [Problem.Slot]:
        " is in another Redis Cluster slot than the first; resources that are locked together must share a slot: give " +
        "their names one hash tag, as in {order:7}:stock and {order:7}:invoice",
    [Problem.FenceSlot]:
        " has a closing brace in its name but no hash tag, so no key for its fence can share its slot: give it a " +
        "hash tag, as in {order:7}:stock, take the brace out, or lock it without a fence",
};

/** Throws what the module says of a request, unless it is nothing. @internal */
export function check(told: number): void {
    if (told === Problem.None) return;
    const place = Math.floor(told / Problem.Count);
    const text = problems[told % Problem.Count] ?? "no lock could be granted";
    throw new InvalidRequestError(place > 0 ? `resource ${place}${text}` : text);
}

/** The lock was not got. Nothing is held, and what was left on nodes is being released. */
export class AcquireError extends RedlatchError {
    override readonly name: string = "AcquireError";
}

/** Somebody else holds it, or others asked at the same time and nobody got a majority. */
export class ContendedError extends AcquireError {
    override readonly name = "ContendedError";
    /** After how many ms a majority may be free, as far as the nodes told. */
    readonly retryAfter: number | undefined;

    constructor(retryAfter: number | undefined, votes: readonly Vote[]) {
        const time = retryAfter === undefined ? "" : `, for at most ${Math.ceil(retryAfter)} ms unless renewed`;
        super(`the lock is taken${time}`, votes);
        this.retryAfter = retryAfter;
    }
}

/** Too few nodes answered. */
export class NoQuorumError extends AcquireError {
    override readonly name = "NoQuorumError";

    constructor(votes: readonly Vote[]) {
        super("too few nodes answered; see to those that did not", votes);
    }
}

/** The lease would have been of no use any more: its validity ran out before enough nodes agreed. */
export class TooLateError extends AcquireError {
    override readonly name = "TooLateError";

    constructor(votes: readonly Vote[]) {
        super("the nodes agreed too late; ask for a longer ttl", votes);
    }
}

/** Too few nodes vote, because some were restarted and may have forgotten keys. */
export class QuarantinedError extends AcquireError {
    override readonly name = "QuarantinedError";
    /** After how many ms the first of them votes again. */
    readonly remaining: number;

    constructor(remaining: number, votes: readonly Vote[]) {
        super(`too few nodes vote; try again in ${Math.ceil(remaining)} ms`, votes);
        this.remaining = remaining;
    }
}

/** The time for waiting ended in the middle of an attempt. */
export class DeadlineExceededError extends AcquireError {
    override readonly name = "DeadlineExceededError";

    constructor(votes: readonly Vote[]) {
        super("the deadline passed before enough nodes answered", votes);
    }
}

/** Too few nodes extended the lock. It is still held for a while, and the extension is tried again. */
export class AtRiskError extends RedlatchError {
    override readonly name = "AtRiskError";
    /** For how many ms the lock is still held. */
    readonly remaining: number;

    constructor(remaining: number, votes: readonly Vote[]) {
        super(`too few nodes extended the lock, which is held for ${Math.floor(remaining)} ms more`, votes);
        this.remaining = remaining;
    }
}

/** Too few nodes confirmed the release. The lock is not held any more. */
export class UnconfirmedError extends RedlatchError {
    override readonly name = "UnconfirmedError";
    /** After how many ms the last key has expired. */
    readonly expiresIn: number;

    constructor(expiresIn: number, votes: readonly Vote[]) {
        const ms = Math.ceil(expiresIn);
        super(`too few nodes confirmed the release; the lock is free in ${ms} ms at the latest`, votes);
        this.expiresIn = expiresIn;
    }
}

/** The lock is not held any more: somebody else may hold it. */
export class LostError extends RedlatchError {
    override readonly name = "LostError";
    /**
     * `expired`: it was not extended in time. `hold_max`: it was held for as long as was allowed. `gone`: a
     * majority of nodes does not have it, as `check` found out.
     */
    readonly loss: "expired" | "hold_max" | "gone";

    constructor(loss: LostError["loss"], votes: readonly Vote[] = []) {
        super(`the lock was lost: ${lossText[loss]}`, votes);
        this.loss = loss;
    }
}

const lossText = {
    expired: "it was not extended in time",
    hold_max: "it was held for as long as was allowed",
    gone: "a majority of nodes does not have it any more",
};

/** Why one node could not be asked, or what it answered instead. Never shows a credential or a token. */
export class NodeError extends Error {
    override readonly name = "NodeError";
    /** The code of the underlying error, `ECONNREFUSED` for example, or of the node, as `READONLY`. */
    readonly code: string | undefined;

    constructor(message: string, code?: string) {
        super(message);
        this.code = code;
    }
}

/** Longer texts of proxies are pages for people. */
const TEXT_MAX = 200;

/**
 * What `error` says, without what must not be told: servers repeat arguments of commands that they refuse,
 * clients attach the whole command, and some proxies repeat what they were sent. Our tokens are hexadecimal.
 *
 * @internal
 */
export function nodeError(error: unknown, secrets: readonly string[] = []): NodeError {
    if (error instanceof NodeError) return error;
    const { message, code, cause } = (error ?? {}) as { message?: unknown; code?: unknown; cause?: unknown };
    const inner = (cause ?? {}) as { message?: unknown; code?: unknown };
    let text = typeof message === "string" && message ? message : String(error);
    if (typeof inner.message === "string" && inner.message) text += ` (${inner.message})`;
    // Whoever made the error made its code, which may be anything.
    const known = [code, inner.code].find(
        (code) => typeof code === "string" && /^\w{1,64}$/.test(code) && harmless(code, secrets) === code,
    ) as string | undefined;
    return new NodeError(harmless(text, secrets), known);
}

/** The error with this text that a node answered. Its first word is the code, if it looks like one. @internal */
export function answeredError(text: string, secrets: readonly string[]): NodeError {
    const message = harmless(text, secrets);
    return new NodeError(message, /^[A-Z][A-Z0-9_]{0,31}(?= |$)/.exec(message)?.[0]);
}

/** @internal */
export function harmless(text: string, secrets: readonly string[] = []): string {
    for (const secret of secrets) {
        if (secret) text = text.replaceAll(secret, "…");
    }
    text = text.split(/, with args beginning with|command was:/)[0] ?? "";
    text = text.replace(/[0-9a-f]{32,}/gi, "…").replace(/[\s\p{Cc}]+/gu, " ").trim();
    return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}

function voteText({ node, vote, remaining, error }: Vote): string {
    const ms = remaining === undefined ? "" : Math.ceil(remaining);
    switch (vote) {
        case "applied":
            return `${node}: yes`;
        case "refused":
            return `${node}: no${ms === "" ? "" : ` (taken for ${ms} ms more)`}`;
        case "quarantined":
            return `${node}: restarted, votes again in ${ms} ms`;
        case "failed":
            return `${node}: failed${error === undefined ? "" : ` (${error.message})`}`;
        case "silent":
            return `${node}: no answer yet`;
    }
}
