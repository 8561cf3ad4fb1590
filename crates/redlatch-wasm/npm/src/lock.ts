import type { Drive } from "./drive.js";
import type { LostError } from "./error.js";

/** A lock that is held, until it is released or lost. */
export class Lock {
    /** What is locked, without the client's key prefix. */
    readonly resources: readonly string[];
    /**
     * The fencing token: larger than that of every grant that was over before this one was asked for. Hand it to
     * what the lock protects, and refuse there what is lower than the highest fence seen. `undefined` if none was
     * asked for. It stays what it is when the lock is lost, so that what is written late is refused.
     */
    readonly fence: number | undefined;
    readonly #drive: Drive;
    readonly #check: () => Promise<number>;
    #lost: Promise<LostError> | undefined;

    /** @internal */
    constructor(resources: readonly string[], drive: Drive, check: () => Promise<number>) {
        this.resources = resources;
        this.fence = drive.fence;
        this.#drive = drive;
        this.#check = check;
    }

    /**
     * For how many ms the lock is still held if it is not extended; 0 if it is not held. Compares the clock; no
     * timer needs to have fired. Once it has said 0, it never says more.
     *
     * On workers, clocks stand still between I/O: after long work without any, this is too much. Ask
     * {@link check} there.
     */
    remaining(): number {
        return this.#drive.remaining();
    }

    /** Whether the lock is held at this moment: `remaining() > 0`. */
    get isValid(): boolean {
        return this.#drive.remaining() > 0;
    }

    /** Until when the lock is held if it is not extended, as `Date.now` counts; now if it is not held. */
    get validUntil(): number {
        return Math.floor(Date.now() + this.#drive.remaining());
    }

    /** Whether the last extension missed its majority, so that the lock will be lost unless a later one does not. */
    get isAtRisk(): boolean {
        return this.#drive.isAtRisk;
    }

    /**
     * Resolves, to the reason, when the lock is lost: at the latest when its validity ends, whatever the nodes do.
     * Never resolves once the lock was released.
     */
    get lost(): Promise<LostError> {
        this.#lost ??= this.#drive.lost();
        return this.#lost;
    }

    /** Why it was lost, if it was. @internal */
    get loss(): LostError | undefined {
        return this.#drive.loss;
    }

    /** Resolves when the lock is over and nothing is left to be told to any node, or no use in trying. */
    get settled(): Promise<void> {
        return this.#drive.settled();
    }

    /**
     * Asks the nodes whether they have the lock, and resolves to {@link remaining} after that. If a majority does
     * not have it any more, it is lost. Rejects if it was lost before, or was released by then.
     */
    check(): Promise<number> {
        return this.#check();
    }

    /**
     * Extends the lock: from now on it is held for its ttl again. Never shortens, revives, or destroys a lock.
     *
     * Rejects with `AtRiskError` if too few nodes extended it; it is still held then, and the extension is tried
     * again. With `LostError` if it is not held any more.
     */
    extend(): Promise<void> {
        return this.#drive.extend();
    }

    /**
     * Releases the lock. Resolves when a majority has freed it; nodes that are silent are told again in the
     * background. Further calls do nothing and give the same promise.
     *
     * Rejects with `UnconfirmedError` if too few nodes answered, with `LostError` if the lock was lost before. In
     * no case is it held any more.
     */
    release(): Promise<void> {
        return this.#drive.release();
    }

    /** `await using`: releases. Rejects with `LostError` if the lock was lost before. */
    async [Symbol.asyncDispose](): Promise<void> {
        const { loss } = this;
        if (loss !== undefined) throw loss;
        // The work is done; whether a majority confirms the release changes nothing of that.
        await this.release().catch(() => {});
    }
}
