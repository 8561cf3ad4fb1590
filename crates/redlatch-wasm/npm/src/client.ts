import { LockState, Machine, Setting, initSync, problem, settings as usual } from "./core.js";
import { Clock, systemTime } from "./clock.js";
import { type Context, Drive, type Observer, type Said, join, look } from "./drive.js";
import { InvalidRequestError, type LostError, type NodeError, check } from "./error.js";
import { Lock } from "./lock.js";
import type { Node, Signal } from "./node.js";
import { type ClientOptions, type LockOptions, checkOptions, number, settings } from "./options.js";

/** What the nodes know of a lock. */
export interface Inspection {
    /**
     * `free`: a majority has no key. `held`: a majority has one token in its keys. `undecided`: it is being taken
     * or released, or too few nodes answered.
     */
    readonly state: "free" | "held" | "undecided";
    /** For how many ms a majority still has a lock that is held; `Infinity` if it never expires. */
    readonly remaining?: number;
    /** What each node said, in the order in which the nodes were given. */
    readonly nodes: readonly NodeSighting[];
}

/** What one node knows of a lock. */
export interface NodeSighting {
    readonly node: string;
    /** `unknown`: it did not say; see `error`. */
    readonly state: "free" | "taken" | "unknown";
    /** For how many ms its key still lives; `Infinity` if it never expires. */
    readonly remaining?: number;
    /** The last fence that it gave out, if it has one on record. */
    readonly fence?: number;
    readonly error?: NodeError;
}

/** Work under a lock. */
export type Work<T> = (signal: Signal, lock: Lock) => Promise<T> | T;

/** How long a node may take to answer a question that is no part of the protocol, in ms. */
const LOOK_TIMEOUT_MS = 1000;

/** @internal */
export interface Extras {
    readonly once?: boolean;
    readonly renewed?: boolean;
    readonly observer?: Observer;
}

/**
 * Takes locks on a majority of independent Redis nodes. Every client must have the same nodes.
 *
 * Making one does nothing that a worker forbids at global scope.
 */
export abstract class Client {
    readonly #nodes: readonly (Node & { readonly name: string })[];
    readonly #options: ClientOptions;
    readonly #clock: Clock;
    #context: Context | undefined;

    constructor(nodes: Iterable<Node>, options: ClientOptions = {}) {
        checkOptions(options, ["plain", "restartGuard", "fenceRetention", "keyPrefix", "clock"]);
        this.#nodes = named([...nodes]);
        this.#options = options;
        this.#clock = new Clock(options.clock ?? systemTime);
    }

    /** The module of this build. @internal */
    protected abstract wasm(): WebAssembly.Module | Promise<WebAssembly.Module>;

    /**
     * Acquires the lock on one resource, or on several together, for `ttl` ms, waiting for it if it is taken.
     * Several must share a Redis Cluster slot: give their names one hash tag, as in `{order:7}:stock`.
     *
     * Rejects with an `AcquireError`, an `InvalidRequestError`, or the reason of the signal; nothing is held then.
     */
    acquire(resources: string | readonly string[], ttl: number, options: LockOptions = {}): Promise<Lock> {
        return this.#acquire(resources, ttl, options, {});
    }

    /** Acquires the lock if it is free: one attempt. */
    tryAcquire(resources: string | readonly string[], ttl: number, options: LockOptions = {}): Promise<Lock> {
        return this.#acquire(resources, ttl, options, { once: true });
    }

    /**
     * Does `work` under the lock. The lock is renewed while the work goes on, for up to an hour unless
     * `renewUpTo` says otherwise, and always released. If it is lost, the signal that the work was given aborts
     * with the `LostError` as its reason, no later than the lock's validity ends; when the work has then ended,
     * this rejects with it, unless the work threw something else.
     */
    using<T>(resources: string | readonly string[], ttl: number, work: Work<T>): Promise<T>;
    using<T>(
        resources: string | readonly string[],
        ttl: number,
        options: LockOptions | undefined,
        work: Work<T>,
    ): Promise<T>;
    async using<T>(
        resources: string | readonly string[],
        ttl: number,
        optionsOrWork: LockOptions | Work<T> | undefined,
        work?: Work<T>,
    ): Promise<T> {
        const options = typeof optionsOrWork === "function" ? {} : (optionsOrWork ?? {});
        const routine = typeof optionsOrWork === "function" ? optionsOrWork : work;
        if (typeof routine !== "function") throw new InvalidRequestError("`using` needs work to do");
        const lock = await this.#acquire(resources, ttl, options, { renewed: true });
        const controller = new AbortController();
        const { signal } = options;
        const forward = (): void => controller.abort(signal?.reason);
        signal?.addEventListener("abort", forward, { once: true });
        if (signal?.aborted) forward();
        let loss: LostError | undefined;
        void lock.lost.then((error) => {
            loss = error;
            controller.abort(error);
        });
        try {
            const output = await routine(controller.signal as Signal, lock);
            // It may have kept the thread, so that no timer could fire.
            loss ??= lock.loss;
            if (loss !== undefined) throw loss;
            return output;
        } finally {
            signal?.removeEventListener("abort", forward);
            // The work is done; whether a majority confirms the release changes nothing of that.
            await lock.release().catch(() => {});
        }
    }

    /** Asks all nodes who holds the lock. A look, for people: by the time it resolves it may be otherwise. */
    async inspect(resources: string | readonly string[]): Promise<Inspection> {
        const context = await this.ready();
        const inspection = this.#inspection(list(resources));
        try {
            const said = await look(context, inspection, LOOK_TIMEOUT_MS, () => false);
            return this.#inspected(inspection, said);
        } finally {
            inspection.free();
        }
    }

    async #acquire(
        resources: string | readonly string[],
        ttl: number,
        options: LockOptions,
        extras: Extras,
    ): Promise<Lock> {
        const names = list(resources);
        const drive = await this.drive(names, ttl, options, extras);
        return this.#lock(names, options, drive);
    }

    #lock(names: readonly string[], options: LockOptions, drive: Drive): Lock {
        return new Lock(names, drive, async () => {
            const inspection = this.#inspection(names);
            try {
                return await drive.check(inspection, options.nodeTimeout ?? LOOK_TIMEOUT_MS);
            } finally {
                inspection.free();
            }
        });
    }

    /** Acquires, without a handle. @internal */
    async drive(names: readonly string[], ttl: number, options: LockOptions, extras: Extras): Promise<Drive> {
        const drive = this.#drive(await this.ready(), names, ttl, options, extras);
        const fence = options.fence !== false && !this.#options.plain;
        await drive.acquire(fence, options.signal);
        return drive;
    }

    /** Takes over a lease, which ends at `validUntil` on the clock of the client. @internal */
    adopt(
        context: Context,
        names: readonly string[],
        ttl: number,
        options: LockOptions,
        lease: { token: string; validUntil: number },
        observer: Observer,
    ): Drive {
        const drive = this.#drive(context, names, ttl, options, { observer });
        drive.adopt(lease.token, lease.validUntil);
        return drive;
    }

    #drive(context: Context, names: readonly string[], ttl: number, options: LockOptions, extras: Extras): Drive {
        const { once = false, renewed = false, observer } = extras;
        const list = settings(this.#nodes.length, ttl, this.#options, options, once, renewed);
        const isRenewed = list[Setting.Renew] === 1;
        return new Drive(context, this.#machine(list, names), ttl, isRenewed, options.waitUntil, observer);
    }

    #inspection(names: readonly string[]): Machine {
        // The ttl does not matter, nor does the dialect: this is a script in both.
        return this.#machine(usual(this.#nodes.length, 1000), names);
    }

    #machine(list: Float64Array, names: readonly string[]): Machine {
        if (names.length === 0) throw new InvalidRequestError("no resource was named");
        const text = join(names.map((name) => (this.#options.keyPrefix ?? "") + name));
        const machine = Machine.of(list, text);
        if (machine === undefined) check(problem(list, text));
        return machine as Machine;
    }

    #inspected(inspection: Machine, said: readonly (Said | undefined)[]): Inspection {
        const nodes = this.#nodes.map(({ name }, index): NodeSighting => {
            const { holder, error } = said[index] ?? {};
            if (holder === undefined) return { node: name, state: "unknown", ...(error ? { error } : {}) };
            const fence = inspection.sightFence(index);
            const known = fence === 0 ? {} : { fence };
            if (holder === null) return { node: name, state: "free", ...known };
            return { node: name, state: "taken", remaining: inspection.sightRemaining(index), ...known };
        });
        switch (inspection.sightState()) {
            case LockState.Free:
                return { state: "free", nodes };
            case LockState.Held:
                return { state: "held", remaining: inspection.sightStateRemaining(), nodes };
            case LockState.Undecided:
                return { state: "undecided", nodes };
        }
    }

    /** The module, instantiated by the first lock: at global scope there is nothing to wait for. @internal */
    async ready(): Promise<Context> {
        if (this.#context === undefined) {
            initSync(await this.wasm());
            const { restartGuard, fenceRetention } = this.#options;
            if (restartGuard !== undefined) number("restartGuard", restartGuard, 1);
            if (fenceRetention !== undefined) number("fenceRetention", fenceRetention, 86_400_000);
            this.#context = { clock: this.#clock, nodes: this.#nodes };
        }
        return this.#context;
    }
}

function list(resources: string | readonly string[]): readonly string[] {
    const names = typeof resources === "string" ? [resources] : [...resources];
    for (const name of names) {
        // Half a surrogate pair would become the same key as another half.
        if (typeof name !== "string" || /\p{Surrogate}/u.test(name)) {
            throw new InvalidRequestError("the name of a resource must be a well-formed string");
        }
    }
    return names;
}

const NODES_MAX = 16;

function named(nodes: readonly Node[]): (Node & { readonly name: string })[] {
    if (nodes.length === 0 || nodes.length > NODES_MAX) {
        throw new InvalidRequestError(`${nodes.length} nodes were given; a lock takes 1 to ${NODES_MAX}`);
    }
    const names = new Set<string>();
    return nodes.map((node, index) => {
        if (typeof node?.send !== "function") {
            throw new InvalidRequestError(`node ${index + 1} is none: it has no \`send\``);
        }
        const name = node.name ?? `node ${index + 1}`;
        if (names.has(name)) {
            throw new InvalidRequestError(
                `the node ${name} is given twice; a majority needs independent servers. If they are two, give each a name`,
            );
        }
        names.add(name);
        return { name, send: (args, options) => node.send(args, options) };
    });
}
