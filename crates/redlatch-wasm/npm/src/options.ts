import { Setting, settings as usual } from "./core.js";
import { InvalidRequestError } from "./error.js";
import type { TimeSource } from "./clock.js";
import type { Signal } from "./node.js";

/** How a client speaks to its nodes. Every client of the same nodes must have the same. */
export interface ClientOptions {
    /**
     * Acquires by `SET NX PX` instead of scripts, for proxies that forbid scripts to some users, and without
     * fences, several resources, and the restart guard. Extending and releasing need scripts all the same.
     */
    readonly plain?: boolean;
    /**
     * Keeps a node that may have forgotten keys, because it was restarted, flushed or restored, from voting for
     * so many ms: the longest ttl that any client uses.
     */
    readonly restartGuard?: number;
    /** For how many ms nodes keep a fence number after its last grant; two days unless given. */
    readonly fenceRetention?: number;
    /** Is put before every resource's name. Other Redlock clients must do the same if they are to be excluded. */
    readonly keyPrefix?: string;
    /** Where to read the time, for tests. */
    readonly clock?: TimeSource;
}

/** How to lock. All times in ms. */
export interface LockOptions {
    /** Gives up, cleans up, and rejects with its reason. */
    readonly signal?: Signal | undefined;
    /** Waits for a lock that is taken for at most so long; 10 s unless given. Zero is one attempt. */
    readonly wait?: number;
    /** Tries at most so many times, within the wait. */
    readonly attemptsMax?: number;
    /** Waits between two attempts for a random time, whose ceiling grows from the first to the second. */
    readonly retryDelay?: readonly [min: number, max: number];
    /** How long a node may take to answer; a tenth of the ttl, 50 to 500, unless given. */
    readonly nodeTimeout?: number;
    /** Takes the lock only if it is then good for longer than this. */
    readonly validityMin?: number;
    /** The share of the ttl that is given away to clocks of different rates; 0.01 unless given. */
    readonly drift?: number;
    /** Renews the lock by itself until it has been held for so long; then it is lost. */
    readonly renewUpTo?: number;
    /** Whether a fence is wanted; true unless given, where the nodes have fences. */
    readonly fence?: boolean;
    /**
     * Is told of work that goes on in the background: nodes that did not answer in time are told again that the
     * lock is free. On workers, `(work) => ctx.waitUntil(work)` lets it outlive the response.
     */
    readonly waitUntil?: (work: Promise<void>) => void;
}

const ATTEMPTS_MAX = 2 ** 32 - 1;

/** Options of a lock that are a number: their place among the settings, and what they may be. */
const numbers = {
    wait: [Setting.Wait, 0],
    attemptsMax: [Setting.AttemptsMax, 1, ATTEMPTS_MAX],
    nodeTimeout: [Setting.NodeTimeout, 1],
    validityMin: [Setting.ValidityMin, 0],
    renewUpTo: [Setting.HoldMax, 1],
} as const satisfies Partial<Record<keyof LockOptions, readonly [setting: Setting, min: number, max?: number]>>;

/** @internal */
export function checkOptions(options: object, known: readonly string[]): void {
    const odd = Object.keys(options).find((key) => !known.includes(key));
    if (odd !== undefined) throw new InvalidRequestError(`there is no option \`${odd}\``);
}

/** The list that a machine is made of. The usual delays and so on are the module's. @internal */
export function settings(
    nodes: number,
    ttl: number,
    client: ClientOptions,
    lock: LockOptions,
    once: boolean,
    renewed: boolean,
): Float64Array {
    checkOptions(lock, [...Object.keys(numbers), "signal", "retryDelay", "drift", "fence", "waitUntil"]);
    const list = usual(nodes, number("the ttl", ttl));
    for (const key of Object.keys(numbers) as (keyof typeof numbers)[]) {
        const [setting, min, max] = numbers[key];
        const value = lock[key];
        if (value !== undefined) list[setting] = number(key, value, min, max);
    }
    const { retryDelay, drift } = lock;
    if (retryDelay !== undefined) {
        list[Setting.DelayMin] = number("retryDelay[0]", retryDelay[0]);
        list[Setting.DelayMax] = number("retryDelay[1]", retryDelay[1]);
    }
    if (drift !== undefined) list[Setting.DriftPpm] = Math.ceil(number("drift", drift, 0, 1) * 1e6);
    if (renewed || lock.renewUpTo !== undefined) list[Setting.Renew] = 1;
    if (client.plain) list[Setting.Plain] = 1;
    if (client.restartGuard !== undefined) list[Setting.RestartGuard] = client.restartGuard;
    if (client.fenceRetention !== undefined) list[Setting.FenceRetention] = client.fenceRetention;
    if (once) {
        list[Setting.Wait] = Infinity;
        list[Setting.AttemptsMax] = 1;
    }
    return list;
}

/** @internal */
export function number(what: string, value: number, min = 0, max = Number.MAX_SAFE_INTEGER): number {
    if (typeof value !== "number" || !(value >= min) || value > max) {
        const range = max === Number.MAX_SAFE_INTEGER ? `${min} or more, and finite` : `${min} to ${max}`;
        throw new InvalidRequestError(`${what} must be a number: ${range}`);
    }
    return value;
}
