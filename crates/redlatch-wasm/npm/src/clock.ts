/** Where a client reads the time. Both in ms. */
export interface TimeSource {
    /** The wall clock, as `Date.now`: counts suspended time, but can be set. */
    date(): number;
    /** As `performance.now`: never set back, but may stand still while the machine is suspended. */
    performance(): number;
}

/** @internal */
export const systemTime: TimeSource = {
    date: () => Date.now(),
    performance: () => performance.now(),
};

/**
 * How far the wall clock may seem to run ahead by its granularity alone, in ms. It is part of the 2 ms that
 * every validity leaves for timers.
 */
const GRANULARITY_MS = 1;

/**
 * The holder's clock: from one reading to the next it advances by the larger of the two differences, so that
 * neither a suspended machine nor a wall clock that was set back makes a lease look longer than it is.
 *
 * Its origin is its first reading: at global scope, workers have no time yet.
 *
 * @internal
 */
export class Clock {
    readonly #source: TimeSource;
    #time = 0;
    #performance: number | undefined;
    /** By how much the wall clock was ahead of `performance` when both last agreed. */
    #lead = 0;

    constructor(source: TimeSource) {
        this.#source = source;
    }

    /** Now, rounded down to whole ms: for an instant at which a command is caused. */
    start(): number {
        return Math.floor(this.#read());
    }

    /** Now, rounded up to whole ms: for an instant at which an answer or a timer arrives. */
    end(): number {
        return Math.ceil(this.#read());
    }

    /** The wall clock. */
    date(): number {
        return this.#source.date();
    }

    #read(): number {
        const performance = this.#source.performance();
        const lead = this.#source.date() - performance;
        if (this.#performance === undefined) {
            this.#lead = lead;
        } else {
            this.#time += Math.max(performance - this.#performance, 0);
        }
        this.#performance = performance;
        const ahead = lead - this.#lead;
        if (ahead > GRANULARITY_MS) {
            this.#time += ahead;
            this.#lead = lead;
        } else if (ahead < 0) {
            this.#lead = lead;
        }
        return this.#time;
    }
}

/** What `setTimeout` takes at most; more would be 1 ms. */
const TIMEOUT_MAX_MS = 2 ** 31 - 1;

/** @internal */
export type Timer = ReturnType<typeof setTimeout>;

/** Wakes up after `ms`, or a little later. @internal */
export function wakeAfter(ms: number, wake: () => void): Timer {
    return setTimeout(wake, Math.min(Math.max(ms, 0), TIMEOUT_MAX_MS));
}

/** The timer keeps no process alive, where the runtime knows the difference. @internal */
export function inBackground(timer: Timer): void {
    (timer as { unref?: () => void }).unref?.();
}

/** The timer keeps its process alive again. @internal */
export function inForeground(timer: Timer): void {
    (timer as { ref?: () => void }).ref?.();
}
