/** An `AbortSignal`, as far as this package needs it where nobody declares the real one. */
export interface AbortSignalLike {
    readonly aborted: boolean;
    readonly reason: any;
    addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
    removeEventListener(type: "abort", listener: () => void): void;
}

/** `AbortSignal`, from whatever library declares it. */
export type Signal = typeof globalThis extends { AbortSignal: { prototype: infer S } } ? S : AbortSignalLike;

/**
 * What a node answers to a command: null, an integer, a string, or an array of these. An error of the node is
 * none: it is thrown.
 */
export type Reply = null | number | bigint | string | readonly Reply[];

/** One Redis node, or whatever can ask it. */
export interface Node {
    /** What errors call the node, `node 1` for example unless given. */
    readonly name?: string;
    /**
     * Sends one command and resolves to its reply. Whatever goes wrong is a rejection: an error of the node,
     * a broken connection, an answer that is none. It retries nothing, and gives up when `signal` aborts, at
     * the time after which nobody waits any more; if it cannot, a late reply does no harm.
     */
    send(args: string[], options: { signal: Signal }): Promise<Reply>;
}
