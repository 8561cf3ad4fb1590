import { Op, Vote } from "./core.js";
import { Client } from "./client.js";
import type { Ballot, Context, Drive, Observer } from "./drive.js";
import { AtRiskError, InvalidRequestError, LostError } from "./error.js";
import type { Node, Signal } from "./node.js";
import { type IoredisLike, commands, hasKeyPrefix } from "./nodes/clients.js";
import type { LockOptions } from "./options.js";

/** A client, or a cluster, of ioredis. */
export type RedisClient = IoredisLike & { quit(): Promise<unknown> };

/** What the clients said to one attempt. */
export type ExecutionStats = {
    readonly membershipSize: number;
    readonly quorumSize: number;
    readonly votesFor: Set<RedisClient>;
    readonly votesAgainst: Map<RedisClient, Error>;
};

/** The attempts of an operation; each resolves when every client has voted or has had its time. */
export type ExecutionResult = {
    attempts: ReadonlyArray<Promise<ExecutionStats>>;
};

/** As node-redlock has them. All times in ms. */
export interface Settings {
    /** The share of the duration that is given away to clocks of different rates. */
    readonly driftFactor: number;
    /** How often to try again; -1 is without end. */
    readonly retryCount: number;
    readonly retryDelay: number;
    /** By how much more or less the delay may be. */
    readonly retryJitter: number;
    /** `using` wants a duration that is 100 ms longer than this at least. */
    readonly automaticExtensionThreshold: number;
}

const defaults: Settings = {
    driftFactor: 0.01,
    retryCount: 10,
    retryDelay: 200,
    retryJitter: 100,
    automaticExtensionThreshold: 500,
};

/** An `AbortSignal` that also has the error. */
export type RedlockAbortSignal = Signal & { error?: Error };

/** A client said that the resource is locked. */
export class ResourceLockedError extends Error {
    override readonly name = "ResourceLockedError";
}

/** An operation did not come about. Its `cause` tells why, as the errors of `redlatch` do. */
export class ExecutionError extends Error {
    override readonly name = "ExecutionError";
    readonly attempts: ReadonlyArray<Promise<ExecutionStats>>;

    constructor(message: string, attempts: ReadonlyArray<Promise<ExecutionStats>>, options?: { cause?: unknown }) {
        super(message, options);
        this.attempts = attempts;
    }
}

/** A lock, from its acquisition or latest extension to its release or next extension. */
export class Lock {
    readonly redlock: RedlockClient;
    readonly resources: string[];
    /** What the servers store. Whoever has it can release the lock. */
    readonly value: string;
    readonly attempts: ReadonlyArray<Promise<ExecutionStats>>;
    /** Until when the lock is held, as `Date.now` counts; 0 once it was released or extended. */
    expiration: number;

    constructor(
        redlock: RedlockClient,
        resources: string[],
        value: string,
        attempts: ReadonlyArray<Promise<ExecutionStats>>,
        expiration: number,
    ) {
        this.redlock = redlock;
        this.resources = resources;
        this.value = value;
        this.attempts = attempts;
        this.expiration = expiration;
    }

    async release(): Promise<ExecutionResult> {
        return this.redlock.release(this);
    }

    async extend(duration: number): Promise<Lock> {
        return this.redlock.extend(this, duration);
    }
}

/** Attempts of one kind, in order. */
type Kind = "acquire" | "extend" | "release";

/** What is behind a lock, and behind those that replace it. */
interface Hold {
    /** Another one, when the lock is to have another duration. */
    drive: Drive;
    duration: number;
    isReleased: boolean;
    readonly book: Book;
}

const QUORUM_MESSAGE = "The operation was unable to achieve a quorum during its retry window.";

/** Long enough for what node-redlock does without end. */
const ENDLESS_MS = Number.MAX_SAFE_INTEGER;
/** Nobody counts to more: at one a millisecond it takes weeks. */
const RETRIES_ENDLESS = 2 ** 31;

type Listener = (...args: any[]) => void;
interface Entry {
    readonly listener: Listener;
    readonly once?: boolean;
    isSpent?: boolean;
}

/** The drop-in face for users of node-redlock 5. */
export abstract class RedlockClient {
    readonly clients: Set<RedisClient>;
    readonly settings: Settings;
    readonly #client: Client;
    readonly #holds = new WeakMap<Lock, Hold>();
    readonly #listeners = new Map<string | symbol, readonly Entry[]>();

    constructor(clients: Iterable<RedisClient>, settings: Partial<Settings> = {}, scripts?: object) {
        if (scripts !== undefined && Object.keys(scripts).length > 0) {
            throw new Error("Custom scripts are not supported: the safety of a lock depends on its scripts.");
        }
        this.clients = new Set(clients);
        if (this.clients.size === 0) {
            throw new Error("Redlock must be instantiated with at least one redis client.");
        }
        this.settings = merge(defaults, settings);
        this.#client = this.make([...this.clients].map(node));
    }

    /** The client of this build. @internal */
    protected abstract make(nodes: Node[]): Client;

    /** Runs `quit` on all clients. */
    async quit(): Promise<void> {
        await Promise.all([...this.clients].map((client) => client.quit()));
    }

    /** Acquires a lock on the resources for `duration` ms. */
    async acquire(resources: string[], duration: number, settings?: Partial<Settings>): Promise<Lock> {
        checkDuration(duration);
        return this.#acquire(resources, duration, merge(this.settings, settings), false);
    }

    /** Releases a lock. It is not held any more, whatever the clients say. */
    async release(lock: Lock, _settings?: Partial<Settings>): Promise<ExecutionResult> {
        const hold = this.#holds.get(lock) ??
            this.#hold(await this.#client.ready(), lock, lock.expiration - Date.now(), this.settings);
        const { drive, book } = hold;
        lock.expiration = 0;
        if (!hold.isReleased) book.begin("release");
        hold.isReleased = true;
        try {
            await drive.release();
        } catch (error) {
            throw new ExecutionError(QUORUM_MESSAGE, book.attempts("release"), { cause: error });
        }
        return { attempts: book.attempts("release") };
    }

    /** Extends a lock that is held; the result replaces it. */
    async extend(existing: Lock, duration: number, settings?: Partial<Settings>): Promise<Lock> {
        checkDuration(duration);
        if (existing.expiration < Date.now()) {
            throw new ExecutionError("Cannot extend an already-expired lock.", []);
        }
        const merged = merge(this.settings, settings);
        const { retryCount, retryDelay, retryJitter } = merged;
        const context = await this.#client.ready();
        const hold = this.#hold(context, existing, duration, merged);
        hold.book.begin("extend");
        for (let tries = 0; ; ) {
            // Another extension may have taken the lock over, which it does once; it is as good if it is for as long.
            if (hold.duration < duration) this.#hold(context, existing, duration, merged);
            const { drive } = hold;
            try {
                await drive.extend();
                break;
            } catch (error) {
                if (hold.drive !== drive) continue;
                if (!(error instanceof AtRiskError) || (retryCount !== -1 && tries >= retryCount)) {
                    throw new ExecutionError(QUORUM_MESSAGE, hold.book.attempts("extend"), { cause: error });
                }
            }
            tries += 1;
            const delay = Math.max(0, retryDelay + Math.floor((Math.random() * 2 - 1) * retryJitter));
            // There is no use in waiting for longer than the lock is held.
            await new Promise((resolve) => setTimeout(resolve, Math.min(delay, drive.remaining())));
        }
        existing.expiration = 0;
        return this.#lock(existing.resources, hold, "extend");
    }

    /**
     * Does `routine` under a lock that is extended as long as it takes. If the lock is lost, its signal aborts, by
     * the lock's expiration.
     */
    using<T>(
        resources: string[],
        duration: number,
        settings: Partial<Settings>,
        routine?: (signal: RedlockAbortSignal) => Promise<T>,
    ): Promise<T>;
    using<T>(
        resources: string[],
        duration: number,
        routine: (signal: RedlockAbortSignal) => Promise<T>,
    ): Promise<T>;
    async using<T>(
        resources: string[],
        duration: number,
        settingsOrRoutine: Partial<Settings> | ((signal: RedlockAbortSignal) => Promise<T>) | undefined,
        optionalRoutine?: (signal: RedlockAbortSignal) => Promise<T>,
    ): Promise<T> {
        checkDuration(duration);
        const given = typeof settingsOrRoutine === "function" ? undefined : settingsOrRoutine;
        const routine = optionalRoutine ?? settingsOrRoutine;
        const settings = merge(this.settings, given);
        if (typeof routine !== "function") throw new Error("INVARIANT: routine is not a function.");
        if (settings.automaticExtensionThreshold > duration - 100) {
            throw new Error(
                "A lock `duration` must be at least 100ms greater than the `automaticExtensionThreshold` setting.",
            );
        }
        const lock = await this.#acquire(resources, duration, settings, true);
        const { drive, book } = this.#holds.get(lock) as Hold;
        const controller = new AbortController();
        const signal = controller.signal as RedlockAbortSignal;
        const lost = (error: LostError): void => {
            if (controller.signal.aborted) return;
            signal.error = new ExecutionError("The lock was lost.", book.attempts("extend"), { cause: error });
            controller.abort(signal.error);
        };
        void drive.lost().then(lost);
        try {
            const output = await routine(signal);
            // It may have kept the thread, so that no timer could fire.
            const { loss } = drive;
            if (loss !== undefined) lost(loss);
            if (signal.error !== undefined) throw signal.error;
            return output;
        } finally {
            lock.expiration = 0;
            // What the routine came to is more important than whether the release is confirmed.
            await drive.release().catch(() => {});
        }
    }

    // What an EventEmitter has, but for the events about listeners.

    on(event: "error", listener: (error: Error) => void): this;
    on(event: string | symbol, listener: Listener): this;
    on(event: string | symbol, listener: Listener): this {
        return this.#listen(event, (all) => all.push({ listener }));
    }

    addListener(event: string | symbol, listener: Listener): this {
        return this.on(event, listener);
    }

    prependListener(event: string | symbol, listener: Listener): this {
        return this.#listen(event, (all) => all.unshift({ listener }));
    }

    once(event: "error", listener: (error: Error) => void): this;
    once(event: string | symbol, listener: Listener): this;
    once(event: string | symbol, listener: Listener): this {
        return this.#listen(event, (all) => all.push({ listener, once: true }));
    }

    prependOnceListener(event: string | symbol, listener: Listener): this {
        return this.#listen(event, (all) => all.unshift({ listener, once: true }));
    }

    off(event: string | symbol, listener: Listener): this {
        return this.#listen(event, (all) => {
            const index = all.findLastIndex((entry) => entry.listener === listener);
            if (index >= 0) all.splice(index, 1);
        });
    }

    removeListener(event: string | symbol, listener: Listener): this {
        return this.off(event, listener);
    }

    removeAllListeners(event?: string | symbol): this {
        if (event === undefined) this.#listeners.clear();
        else this.#listeners.delete(event);
        return this;
    }

    listeners(event: string | symbol): Listener[] {
        return (this.#listeners.get(event) ?? []).map(({ listener }) => listener);
    }

    listenerCount(event: string | symbol): number {
        return this.listeners(event).length;
    }

    eventNames(): (string | symbol)[] {
        return [...this.#listeners.keys()];
    }

    /** Without effect: nobody is warned of many listeners. */
    setMaxListeners(_count: number): this {
        return this;
    }

    emit(event: string | symbol, ...args: unknown[]): boolean {
        const all = this.#listeners.get(event) ?? [];
        for (const entry of all) {
            if (entry.once) {
                // A listener before it may have told the same event again.
                if (entry.isSpent) continue;
                entry.isSpent = true;
                this.#listen(event, (all) => all.includes(entry) && all.splice(all.indexOf(entry), 1));
            }
            entry.listener.apply(this, args);
        }
        return all.length > 0;
    }

    /** Changes a copy of the list, because the old one may be being gone through. */
    #listen(event: string | symbol, change: (all: Entry[]) => void): this {
        const all = [...(this.#listeners.get(event) ?? [])];
        change(all);
        if (all.length > 0) this.#listeners.set(event, all);
        else this.#listeners.delete(event);
        return this;
    }

    async #acquire(resources: string[], duration: number, settings: Settings, renewed: boolean): Promise<Lock> {
        const book = new Book(this);
        book.begin("acquire");
        const options = lockOptions(settings, renewed);
        let drive: Drive;
        try {
            drive = await this.#client.drive(names(resources), duration, options, { observer: book });
        } catch (error) {
            if (error instanceof InvalidRequestError) throw error;
            throw new ExecutionError(QUORUM_MESSAGE, book.attempts("acquire"), { cause: error });
        }
        return this.#lock(resources, { drive, book, duration, isReleased: false }, "acquire");
    }

    #lock(resources: string[], hold: Hold, kind: Kind): Lock {
        const { drive, book } = hold;
        const expiration = Math.floor(Date.now() + drive.remaining());
        const lock = new Lock(this, resources, drive.token, book.attempts(kind), expiration);
        this.#holds.set(lock, hold);
        return lock;
    }

    /** What is behind a lock: taken over, if it was made elsewhere or is to have another duration. */
    #hold(context: Context, lock: Lock, duration: number, settings: Settings): Hold {
        const known = this.#holds.get(lock);
        if (known?.duration === duration) return known;
        // The clock is read first: what comes in between makes the lease shorter.
        const validUntil = known?.drive.validUntil ?? context.clock.start() + Math.max(lock.expiration - Date.now(), 0);
        // What is over stays with the drive that knows why.
        if (validUntil === 0 && known !== undefined) return known;
        const book = known?.book ?? new Book(this);
        const ttl = Math.max(Math.ceil(duration), ADOPTED_MIN_MS);
        const options = lockOptions(settings, false);
        const lease = { token: lock.value, validUntil };
        const drive = this.#client.adopt(context, names(lock.resources), ttl, options, lease, book);
        known?.drive.detach();
        const hold = Object.assign(known ?? { book, isReleased: false }, { drive, duration });
        this.#holds.set(lock, hold);
        return hold;
    }
}

/** With less of a duration no lock can be had. */
const ADOPTED_MIN_MS = 10;

/** Keeps the books of one lock, as node-redlock does, and tells of errors. */
class Book implements Observer {
    readonly #redlock: RedlockClient;
    readonly #attempts: Record<Kind, Promise<ExecutionStats>[]> = { acquire: [], extend: [], release: [] };

    constructor(redlock: RedlockClient) {
        this.#redlock = redlock;
    }

    /** Begins a new page: what is told later is about this operation. */
    begin(kind: Kind): void {
        this.#attempts[kind] = [];
    }

    attempts(kind: Kind): ReadonlyArray<Promise<ExecutionStats>> {
        return this.#attempts[kind];
    }

    /** Not in the midst of a lock's own work: what a listener throws is the application's. */
    #tell(error: Error): void {
        queueMicrotask(() => this.#redlock.emit("error", error));
    }

    ask(op: Op, nodes: Iterable<number>): Ballot | undefined {
        const kind = kindOf(op);
        if (kind === undefined) return undefined;
        const clients = [...this.#redlock.clients];
        const stats: ExecutionStats = {
            membershipSize: clients.length,
            quorumSize: Math.floor(clients.length / 2) + 1,
            votesFor: new Set(),
            votesAgainst: new Map(),
        };
        const silent = new Set(nodes);
        let resolve: (stats: ExecutionStats) => void;
        this.#attempts[kind].push(new Promise((done) => (resolve = done)));
        const against = (node: number, reason: Error): void => {
            stats.votesAgainst.set(clients[node] as RedisClient, reason);
            this.#tell(reason);
        };
        return {
            vote: (node, vote, error) => {
                if (!silent.delete(node)) return;
                if (vote === Vote.Applied) stats.votesFor.add(clients[node] as RedisClient);
                else against(node, error ?? new ResourceLockedError("The resource is locked on this client."));
                if (silent.size === 0) resolve(stats);
            },
            end: () => {
                for (const node of silent) against(node, new Error("The client did not answer in time."));
                silent.clear();
                resolve(stats);
            },
        };
    }
}

/** What the commands of the protocol are to node-redlock. */
function kindOf(op: Op): Kind | undefined {
    switch (op) {
        case Op.Acquire:
            return "acquire";
        case Op.Extend:
            return "extend";
        case Op.Release:
            return "release";
        case Op.Seal:
            return undefined;
    }
}

function merge(settings: Settings, more: Partial<Settings> | undefined): Settings {
    const merged = { ...settings };
    for (const key of Object.keys(defaults) as (keyof Settings)[]) {
        const value = more?.[key];
        if (typeof value === "number") merged[key] = value;
    }
    return merged;
}

function lockOptions(settings: Settings, renewed: boolean): LockOptions {
    const { driftFactor, retryCount, retryDelay, retryJitter } = settings;
    const min = Math.max(retryDelay - retryJitter, retryDelay / 4);
    return {
        fence: false,
        drift: driftFactor,
        wait: ENDLESS_MS,
        ...(retryCount === -1 || retryCount >= RETRIES_ENDLESS ? {} : { attemptsMax: retryCount + 1 }),
        retryDelay: [min, retryDelay + retryJitter],
        ...(renewed ? { renewUpTo: ENDLESS_MS } : {}),
    };
}

function checkDuration(duration: number): void {
    if (Math.floor(duration) !== duration) throw new Error("Duration must be an integer value in milliseconds.");
}

/**
 * Resources that are locked together must share a slot of a cluster. node-redlock asks for that only where there is a
 * cluster, so the machine is shown names that do, and the clients are sent the real ones.
 */
const SLOT = "{redlock}\0";
const QUEUE = "redlatch:queue:";

/** What is sent for an argument: a name, or the key of its queue, as if it had never been prefixed. */
function bare(arg: string): string {
    if (arg.startsWith(SLOT)) return arg.slice(SLOT.length);
    if (!arg.startsWith(QUEUE + SLOT)) return arg;
    const name = arg.slice(QUEUE.length + SLOT.length);
    return QUEUE + (hashTag(name) === undefined ? `{${name}}` : name);
}

/** What a cluster hashes of a name that has it. */
function hashTag(name: string): string | undefined {
    return /^[^{]*\{([^}]+)\}/.exec(name)?.[1];
}

/** Whether it is the key of a queue that would be that of another name once it is bare. */
function isShared(arg: string): boolean {
    if (!arg.startsWith(QUEUE + SLOT)) return false;
    const name = arg.slice(QUEUE.length + SLOT.length);
    const tag = hashTag(name);
    return tag === undefined ? name.includes("}") : tag.length + 2 === name.length;
}

function names(resources: readonly string[]): string[] {
    const distinct = [...new Set(resources)];
    return distinct.length > 1 ? distinct.map((name) => SLOT + name) : distinct;
}

/**
 * Without the queues, if it is a release: where a client puts a prefix before every key, theirs would be others, and in
 * another slot than the locks. Who waits in them is not called, and tries again by itself. There are all or none.
 */
function unqueued(args: readonly string[]): string[] {
    const kept = args.filter((arg) => !arg.startsWith(QUEUE));
    const left = args.length - kept.length;
    if (left > 0) kept[COUNT] = String(Number(kept[COUNT]) - left);
    return kept;
}

/** Where `EVAL` has the number of its keys. */
const COUNT = 2;

function node(client: RedisClient): Node {
    const { send } = commands(client);
    const isPrefixed = hasKeyPrefix(client);
    return {
        send: (args, options) => send((isPrefixed || args.some(isShared) ? unqueued(args) : args).map(bare), options),
    };
}
