import { Cause, EventKind, Loss, type Machine, NodeState, type Op, Question, Vote as Answer } from "./core.js";
import { type Clock, type Timer, inBackground, inForeground, wakeAfter } from "./clock.js";
import {
    AcquireError, AtRiskError, ContendedError, DeadlineExceededError, InvalidRequestError, LostError, NoQuorumError,
    NodeError, QuarantinedError, TooLateError, UnconfirmedError, type Vote, check, nodeError,
} from "./error.js";
import type { Node, Reply, Signal } from "./node.js";

/** The shared part of all locks of a client. @internal */
export interface Context {
    readonly clock: Clock;
    readonly nodes: readonly (Node & { readonly name: string })[];
}

/** Looks on, for statistics. @internal */
export interface Observer {
    /** A question is put to these nodes; who keeps the books of it. */
    ask(op: Op, nodes: Iterable<number>): Ballot | undefined;
}

/** What nodes said to one question. @internal */
export interface Ballot {
    /** A node answered, or failed to. */
    vote(node: number, vote: Answer, error: NodeError | undefined): void;
    /** Nobody waits any longer for those that did not. */
    end(): void;
}

/** One fan-out: commands that were handed out together, ask the same, and have one deadline. */
class Flight {
    readonly deadline: number;
    readonly op: Op;
    /** The node of each command that was not answered, by the command's id. */
    readonly open = new Map<number, number>();
    isOverdue = false;
    ballot: Ballot | undefined;
    /** What transports are given. The signal is made when somebody looks at it: not every transport does. */
    readonly options: { readonly signal: Signal };
    #controller: AbortController | undefined;

    constructor(deadline: number, op: Op) {
        this.deadline = deadline;
        this.op = op;
        const flight = this;
        this.options = {
            get signal() {
                return flight.#signal();
            },
        };
    }

    #signal(): AbortSignal {
        this.#controller ??= new AbortController();
        if (this.isOverdue) this.#controller.abort(overdue());
        return this.#controller.signal;
    }

    /** Nobody waits any longer. */
    end(): void {
        this.isOverdue = true;
        this.#controller?.abort(overdue());
        this.ballot?.end();
    }
}

function overdue(): NodeError {
    return new NodeError("no answer in time", "ETIMEDOUT");
}

function oddAnswer(): NodeError {
    return new NodeError("the answer is none that the protocol knows");
}

interface Waiter {
    resolve(): void;
    reject(error: unknown): void;
}

/** While a lock is held, how often to compare the clock: timers stand still while a machine is suspended. */
const LOOK_MS = 1000;

/** Longer arrays are no answer to any of our commands. */
const ITEMS_MAX = 8;

/**
 * The loop that carries one lock: commands out, replies and timeouts in, events to whoever waits. The protocol
 * is the machine's; here are sockets and time.
 *
 * @internal
 */
export class Drive {
    readonly #context: Context;
    readonly #machine: Machine;
    readonly #ttl: number;
    readonly #isRenewed: boolean;
    readonly #waitUntil: ((work: Promise<void>) => void) | undefined;
    readonly #observer: Observer | undefined;
    /** `over`: nothing is held, nor will it be; what is left is to clean up. */
    #phase: "idle" | "asked" | "held" | "over" = "idle";
    #fence = 0;
    #token = "";
    #isAtRisk = false;
    #loss: LostError | undefined;
    #args: string[] = [];
    #flights: Flight[] = [];
    /** Commands that were neither answered nor refused by their transport. */
    #open = 0;
    #failures: { id: number; error: NodeError }[] = [];
    #acquirer: Waiter | undefined;
    #canceller: (() => void) | undefined;
    #extenders: Waiter[] = [];
    #releaser: Waiter | undefined;
    #releasing: Promise<void> | undefined;
    #losers: ((loss: LostError) => void)[] = [];
    #settlers: (() => void)[] = [];
    #isFreed = false;
    #lingerUntil: number | undefined;
    #timer: Timer | undefined;
    #timerAt = Infinity;
    #isBackground = false;

    constructor(
        context: Context,
        machine: Machine,
        ttl: number,
        isRenewed: boolean,
        waitUntil: ((work: Promise<void>) => void) | undefined,
        observer?: Observer,
    ) {
        this.#context = context;
        this.#machine = machine;
        this.#ttl = ttl;
        this.#isRenewed = isRenewed;
        this.#waitUntil = waitUntil;
        this.#observer = observer;
    }

    /** Acquires the lock. When it rejects, nothing is held. */
    acquire(fence: boolean, signal: Signal | undefined): Promise<void> {
        const { clock } = this.#context;
        if (signal?.aborted) {
            this.#free();
            return Promise.reject(signal.reason);
        }
        try {
            const nonce = crypto.getRandomValues(new Uint8Array(16));
            check(this.#machine.acquire(clock.start(), nonce, fence ? Math.floor(clock.date() * 1000) : 0));
        } catch (error) {
            this.#free();
            return Promise.reject(new InvalidRequestError((error as Error).message));
        }
        this.#phase = "asked";
        return new Promise<void>((resolve, reject) => {
            const abort = (): void => this.#cancel(() => reject(signal?.reason));
            const done = (): void => signal?.removeEventListener("abort", abort);
            signal?.addEventListener("abort", abort, { once: true });
            this.#acquirer = {
                resolve: () => (done(), resolve()),
                reject: (error) => (done(), reject(error)),
            };
            this.#drain();
        });
    }

    /** Takes over a lease that ends at `validUntil`. */
    adopt(token: string, validUntil: number): void {
        try {
            check(this.#machine.adopt(this.#context.clock.end(), token, 0, validUntil));
        } catch (error) {
            this.#free();
            throw error;
        }
        this.#phase = "held";
        this.#token = token;
        this.#drain();
    }

    get fence(): number | undefined {
        return this.#fence === 0 ? undefined : this.#fence;
    }

    get token(): string {
        return this.#token;
    }

    /** On the machine's clock. */
    get validUntil(): number {
        this.#look();
        return this.#phase === "held" ? this.#machine.validUntil() : 0;
    }

    get isAtRisk(): boolean {
        return this.#look() > 0 && this.#isAtRisk;
    }

    get loss(): LostError | undefined {
        this.#look();
        return this.#loss;
    }

    remaining(): number {
        return this.#look();
    }

    /** Resolves when the lock is lost; never, if it is released before. */
    lost(): Promise<LostError> {
        this.#look();
        if (this.#loss !== undefined) return Promise.resolve(this.#loss);
        return new Promise((resolve) => {
            this.#losers.push(resolve);
            this.#reschedule();
        });
    }

    /** Resolves when nothing is left to be done. */
    settled(): Promise<void> {
        if (this.#isFreed) return Promise.resolve();
        return new Promise((resolve) => {
            this.#settlers.push(resolve);
            this.#reschedule();
        });
    }

    /** Somebody waits now, for which the process stays. Not at once, because this may be in the middle of something. */
    #reschedule(): void {
        queueMicrotask(() => this.#schedule());
    }

    extend(): Promise<void> {
        this.#look();
        if (this.#phase !== "held") return Promise.reject(this.#notHeld());
        return new Promise((resolve, reject) => {
            this.#extenders.push({ resolve, reject });
            this.#machine.extend(this.#context.clock.start());
            this.#drain();
        });
    }

    release(): Promise<void> {
        this.#releasing ??= this.#release();
        return this.#releasing;
    }

    /** Stops, and leaves the keys to whoever takes the lease over. */
    detach(): void {
        this.#phase = "over";
        this.#rejectExtenders(this.#notHeld());
        this.#free();
    }

    /** Asks the nodes whether they have the lock, and so reads a clock that stands still between I/O. */
    async check(inspection: Machine, nodeTimeout: number): Promise<number> {
        this.#look();
        if (this.#phase !== "held") throw this.#notHeld();
        const { nodes } = this.#context;
        const [majority, token] = [Math.floor(nodes.length / 2) + 1, this.#token];
        const isGone = (said: readonly Said[]): boolean =>
            said.filter(({ holder }) => holder !== token).length > nodes.length - majority;
        const said = await look(this.#context, inspection, nodeTimeout, (said) => {
            const ours = said.filter(({ holder }) => holder === token).length;
            return ours >= majority || isGone(said);
        });
        if (isGone(answered(said)) && this.#look() > 0) {
            const votes = nodes.map(({ name }, index) => sighted(name, said[index], token));
            this.#giveUp(new LostError("gone", votes));
        }
        const remaining = this.#look();
        // Who is told of none looks for the loss.
        if (remaining === 0 && this.#loss === undefined) throw this.#notHeld();
        return remaining;
    }

    // What happens.

    /** How long the lock is held; finds out if it no longer is. Once it has said 0, it never says more. */
    #look(): number {
        if (this.#phase !== "held") return 0;
        const now = this.#context.clock.end();
        const remaining = this.#machine.validUntil() - now;
        if (remaining > 0) return remaining;
        // R11: late answers may have been about to lengthen the lease; whoever has seen its end keeps to it.
        this.#machine.handleTimeout(now);
        this.#drain();
        return 0;
    }

    /** The nodes say that somebody else may have the lock. */
    #giveUp(loss: LostError): void {
        this.#machine.release(this.#context.clock.start());
        this.#background();
        this.#lose(loss);
        this.#drain();
    }

    #cancel(done: () => void): void {
        if (this.#phase !== "asked") return;
        this.#phase = "over";
        this.#acquirer = undefined;
        this.#canceller = done;
        this.#machine.release(this.#context.clock.start());
        this.#drain();
    }

    #release(): Promise<void> {
        this.#look();
        if (this.#phase !== "held") return Promise.reject(this.#notHeld());
        // R12: nobody believes in it any more when the first node is told.
        this.#phase = "over";
        this.#machine.release(this.#context.clock.start());
        return new Promise((resolve, reject) => {
            this.#releaser = { resolve, reject };
            // An error costs more than the rest of this: it is made for those who want one.
            if (this.#extenders.length > 0) this.#rejectExtenders(this.#notHeld());
            this.#drain();
        });
    }

    #notHeld(): Error {
        return this.#loss ?? new InvalidRequestError("the lock was released");
    }

    #onReply(flight: Flight, id: number, node: number, reply: Reply): void {
        this.#landed(flight, id);
        if (this.#isFreed) return;
        const { clock } = this.#context;
        push(this.#machine, reply);
        const vote = this.#machine.handleValue(clock.end(), id);
        const error = vote === Answer.Failed ? oddAnswer() : undefined;
        if (error !== undefined) this.#failures[node] = { id, error };
        flight.ballot?.vote(node, vote, error);
        this.#drain();
    }

    #onFailure(flight: Flight, id: number, node: number, reason: unknown): void {
        this.#landed(flight, id);
        const error = nodeError(reason);
        flight.ballot?.vote(node, Answer.Failed, error);
        this.#fail(id, node, error);
    }

    #fail(id: number, node: number, error: NodeError): void {
        if (this.#isFreed) return;
        this.#failures[node] = { id, error };
        this.#machine.handleFailure(this.#context.clock.end(), id);
        this.#drain();
    }

    #landed(flight: Flight, id: number): void {
        this.#open -= 1;
        flight.open.delete(id);
        if (flight.open.size === 0) this.#flights = this.#flights.filter((other) => other !== flight);
    }

    #wake(): void {
        this.#timer = undefined;
        this.#timerAt = Infinity;
        if (this.#isFreed) return;
        const now = this.#context.clock.end();
        const late = this.#flights.filter(({ deadline }) => deadline <= now);
        this.#flights = this.#flights.filter(({ deadline }) => deadline > now);
        for (const flight of late) flight.end();
        this.#machine.handleTimeout(now);
        this.#drain();
        // Transports that heed no signal say nothing of this. A late answer still counts.
        for (const flight of late) {
            for (const [id, node] of flight.open) this.#fail(id, node, overdue());
        }
    }

    /** To be called after each input to the machine. */
    #drain(): void {
        const machine = this.#machine;
        const flights: Flight[] = [];
        for (let id = machine.pollCommand(); id !== 0; id = machine.pollCommand()) {
            const [deadline, op] = [machine.commandDeadline(), machine.commandOp()];
            let flight = flights.at(-1);
            if (flight?.deadline !== deadline || flight.op !== op) {
                flight = new Flight(deadline, op);
                flights.push(flight);
                this.#flights.push(flight);
            }
            this.#send(flight, id);
        }
        if (this.#observer !== undefined) {
            for (const flight of flights) flight.ballot = this.#observer.ask(flight.op, flight.open.values());
        }
        for (let kind = machine.pollEvent(); kind !== EventKind.None; kind = machine.pollEvent()) this.#tell(kind);
        this.#schedule();
    }

    #send(flight: Flight, id: number): void {
        const node = this.#machine.commandNode();
        const text = this.#machine.commandArgs();
        if (text !== undefined) this.#args = split(text);
        flight.open.set(id, node);
        this.#open += 1;
        ask(this.#context.nodes[node] as Node, this.#args, flight.options).then(
            (reply) => this.#onReply(flight, id, node, reply),
            (error: unknown) => this.#onFailure(flight, id, node, error),
        );
    }

    #tell(kind: EventKind): void {
        const machine = this.#machine;
        const left = (): number => Math.max(machine.eventAt() - this.#context.clock.end(), 0);
        switch (kind) {
            case EventKind.Granted:
                this.#phase = "held";
                this.#fence = machine.fence();
                this.#token = machine.token();
                this.#acquirer?.resolve();
                break;
            case EventKind.Failed: {
                this.#phase = "over";
                const error = this.#acquireError();
                this.#background();
                this.#acquirer?.reject(error);
                break;
            }
            case EventKind.Extended:
                this.#isAtRisk = false;
                for (const extender of this.#extenders.splice(0)) extender.resolve();
                break;
            case EventKind.AtRisk:
                this.#isAtRisk = true;
                if (this.#extenders.length === 0) break;
                this.#rejectExtenders(new AtRiskError(left(), this.#votes(Question.Asked)));
                break;
            case EventKind.Lost: {
                const votes = this.#isAtRisk ? this.#votes(Question.Asked) : [];
                const loss = machine.eventLoss() === Loss.HoldMax ? "hold_max" : "expired";
                this.#background();
                this.#lose(new LostError(loss, votes));
                break;
            }
            case EventKind.Released:
                this.#background();
                this.#releaser?.resolve();
                break;
            case EventKind.Unconfirmed: {
                const expiresIn = left();
                this.#background();
                this.#releaser?.reject(new UnconfirmedError(expiresIn, this.#votes(Question.Released)));
                break;
            }
            case EventKind.None:
            case EventKind.Retrying:
                break;
        }
    }

    #lose(loss: LostError): void {
        this.#phase = "over";
        this.#loss = loss;
        this.#rejectExtenders(loss);
        for (const loser of this.#losers.splice(0)) loser(loss);
    }

    #rejectExtenders(error: Error): void {
        for (const extender of this.#extenders.splice(0)) extender.reject(error);
    }

    /** Nobody waits for what is still to be done. */
    #background(): void {
        if (this.#isBackground) return;
        this.#isBackground = true;
        const waitUntil = this.#waitUntil;
        // Before whoever waits goes on, and not in the midst of this: what it throws is the application's.
        if (waitUntil !== undefined) queueMicrotask(() => waitUntil(this.settled()));
    }

    #acquireError(): AcquireError {
        const votes = this.#votes(Question.Asked);
        const after = this.#machine.eventAfter();
        switch (this.#machine.eventCause()) {
            case Cause.Contended:
                return new ContendedError(after < 0 ? undefined : after, votes);
            case Cause.NoQuorum:
                return new NoQuorumError(votes);
            case Cause.TooLate:
                return new TooLateError(votes);
            case Cause.Quarantined:
                return new QuarantinedError(after, votes);
            case Cause.DeadlineExceeded:
                return new DeadlineExceededError(votes);
            case Cause.Cancelled:
            case Cause.None:
                return new AcquireError("it was given up", votes);
        }
    }

    #votes(question: Question): Vote[] {
        return this.#context.nodes.map((node, index): Vote => {
            const { name } = node;
            const remaining = this.#machine.voteRemaining(question, index);
            const time = remaining < 0 ? {} : { remaining };
            switch (this.#machine.vote(question, index)) {
                case Answer.Applied:
                    return { node: name, vote: "applied" };
                case Answer.Refused:
                    return { node: name, vote: "refused", ...time };
                case Answer.Quarantined:
                    return { node: name, vote: "quarantined", ...time };
                case Answer.Failed: {
                    const failure = this.#failures[index];
                    const isThis = failure?.id === this.#machine.voteId(question, index);
                    return { node: name, vote: "failed", ...(failure && isThis ? { error: failure.error } : {}) };
                }
                case Answer.Silent:
                    return { node: name, vote: "silent" };
            }
        });
    }

    /** Ends if nothing is left to be done, or sees to it that the machine is woken up in time. */
    #schedule(): void {
        if (this.#isFreed) return;
        const { clock } = this.#context;
        let at = this.#machine.pollTimeout();
        if (this.#phase === "over") {
            const isIdle = this.#machine.isIdle();
            this.#tellCancelled(isIdle);
            if (isIdle && this.#open === 0) return this.#free();
            if (isIdle) {
                // R6: a late reply may still ask for one more release. It is waited for as long as a key that was
                // set just now would live.
                const now = clock.end();
                this.#lingerUntil ??= now + this.#ttl;
                if (now >= this.#lingerUntil) return this.#free();
                at = Math.min(at, this.#lingerUntil);
            } else {
                this.#lingerUntil = undefined;
            }
        }
        for (const { deadline } of this.#flights) at = Math.min(at, deadline);
        if (at < this.#timerAt || this.#phase === "held") {
            const now = clock.end();
            let delay = at - now;
            if (this.#phase === "held") delay = Math.min(delay, LOOK_MS);
            if (this.#timerAt > now + delay) {
                this.#unwake();
                this.#timerAt = now + delay;
                this.#timer = wakeAfter(delay, () => this.#wake());
            }
        }
        if (this.#timer !== undefined) (this.#isAwaited() ? inForeground : inBackground)(this.#timer);
    }

    /** Whether the process should stay for what is going to happen. That a lease ends is no reason. */
    #isAwaited(): boolean {
        if (this.#settlers.length > 0) return true;
        if (this.#phase !== "held") return !this.#isBackground;
        return this.#isRenewed || this.#extenders.length > 0 || this.#losers.length > 0;
    }

    /** An acquire that was given up ends when every node was told, or has had its time. */
    #tellCancelled(isIdle: boolean): void {
        if (this.#canceller === undefined) return;
        if (isIdle || this.#flights.length === 0) {
            const done = this.#canceller;
            this.#canceller = undefined;
            this.#background();
            done();
        }
    }

    #unwake(): void {
        clearTimeout(this.#timer);
        this.#timer = undefined;
        this.#timerAt = Infinity;
    }

    #free(): void {
        if (this.#isFreed) return;
        this.#isFreed = true;
        this.#unwake();
        for (const { ballot } of this.#flights) ballot?.end();
        this.#machine.free();
        for (const settler of this.#settlers.splice(0)) settler();
    }
}

/** What one node said of a lock, or why it did not. @internal */
export interface Said {
    readonly holder?: string | null;
    readonly error?: NodeError;
}

/** Asks all nodes who holds the lock, until `isEnough` or all have had their time. @internal */
export function look(
    context: Context,
    inspection: Machine,
    nodeTimeout: number,
    isEnough: (said: Said[]) => boolean,
): Promise<(Said | undefined)[]> {
    const { nodes } = context;
    const args = split(inspection.inspectArgs());
    const controller = new AbortController();
    return new Promise((resolve) => {
        const said: (Said | undefined)[] = nodes.map(() => undefined);
        let left = nodes.length;
        let isOver = false;
        const end = (): void => {
            isOver = true;
            resolve(said);
            // Whoever has not answered is given up in time, which keeps no process alive.
            inBackground(timer);
        };
        const timer = wakeAfter(nodeTimeout, () => {
            controller.abort(overdue());
            // Whoever heeds the signal says so by now, and whoever does not is not waited for.
            if (!isOver) setTimeout(() => isOver || end(), 0);
        });
        const note = (index: number, one: () => Said): void => {
            left -= 1;
            if (left === 0) clearTimeout(timer);
            if (isOver) return;
            said[index] = one();
            if (left === 0 || isEnough(answered(said))) end();
        };
        nodes.forEach((node, index) => {
            ask(node, args, { signal: controller.signal as Signal }).then(
                (reply) => note(index, () => {
                    push(inspection, reply);
                    const isOdd = inspection.sight(index) === NodeState.Unknown;
                    return isOdd ? { error: oddAnswer() } : { holder: text(reply) };
                }),
                (error: unknown) => note(index, () => ({ error: nodeError(error) })),
            );
        });
    });
}

/** Sends a copy of the arguments, which are the node's to change. Whatever it throws is a rejection. */
function ask(node: Node, args: readonly string[], options: { signal: Signal }): Promise<Reply> {
    return new Promise((resolve) => resolve(node.send([...args], options)));
}

function answered(said: readonly (Said | undefined)[]): Said[] {
    return said.filter((one): one is Said => one !== undefined && one.error === undefined);
}

/** What a node's answer to a look says of the lock with this token. */
function sighted(node: string, said: Said | undefined, token: string): Vote {
    if (said === undefined) return { node, vote: "silent" };
    const { holder, error } = said;
    if (error !== undefined) return { node, vote: "failed", error };
    return { node, vote: holder === token ? "applied" : "refused" };
}

/** What is in the key, of an answer that was understood. */
function text(reply: unknown): string | null {
    const [holder] = reply as [string | Uint8Array | null];
    return holder instanceof Uint8Array ? new TextDecoder().decode(holder) : holder;
}

/**
 * A list of strings, as the module takes it: behind a separator and divided by it. It is in none of the strings, nor
 * in any argument of a command, which the module divides by the same. Names that have every one of the private use
 * characters are too long to be locked.
 *
 * @internal
 */
export function join(strings: readonly string[]): string {
    let code = 0;
    while (strings.some((text) => text.includes(String.fromCharCode(code)))) code = Math.max(code + 1, 0xe000);
    const separator = String.fromCharCode(code);
    return separator + strings.join(separator);
}

/** The same, as the module gives it. */
function split(text: string): string[] {
    return text.slice(1).split(text.charAt(0));
}

/** Hands a reply to the machine, piece by piece. */
function push(machine: Machine, reply: unknown): void {
    if (!Array.isArray(reply)) return pushItem(machine, reply);
    if (reply.length > ITEMS_MAX) return machine.pushOther();
    machine.pushArray(reply.length);
    for (const item of reply) pushItem(machine, item);
}

function pushItem(machine: Machine, item: unknown): void {
    if (item === null) machine.pushNil();
    else if (typeof item === "number" || typeof item === "bigint") machine.pushInt(Number(item));
    else if (typeof item === "string") machine.pushText(item);
    else if (item instanceof Uint8Array) machine.pushText(new TextDecoder().decode(item));
    else machine.pushOther();
}
