import { InvalidRequestError, NodeError, answeredError, nodeError } from "../error.js";
import type { Node, Reply, Signal } from "../node.js";

/** A connection that the application opened: a socket of `cloudflare:sockets` is one as it is. */
export interface Connection {
    readonly readable: {
        getReader(): {
            read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
            cancel(reason?: unknown): Promise<void>;
        };
    };
    readonly writable: {
        getWriter(): { write(bytes: Uint8Array): Promise<void>; abort(reason?: unknown): Promise<void> };
    };
    close?(): unknown;
}

/** What this package uses of a `Socket` of `node:net` or `node:tls`. */
export interface NodeSocketLike {
    on(event: "data", listener: (bytes: Uint8Array) => void): unknown;
    on(event: "error", listener: (error: Error) => void): unknown;
    on(event: "close", listener: () => void): unknown;
    write(bytes: Uint8Array): unknown;
    destroy(): unknown;
}

/** A node that speaks RESP, the protocol of Redis. */
export interface RespOptions {
    /**
     * Opens a connection, or begins to: with `connect` of Workers, or `net.connect` or `tls.connect` of Node. A socket
     * of Node that is not connected yet is given as it is, and not as a promise: it may fail before that is kept.
     */
    connect(): Connection | NodeSocketLike | Promise<Connection | NodeSocketLike>;
    /** The user to authenticate as; `default` unless given. */
    readonly user?: string;
    /** Sent as the connection is: whoever opens it decides whether it is encrypted. */
    readonly password?: string;
    /** What errors call the node. */
    readonly name?: string;
}

/**
 * A node by connections that the application opens, one for each command: on workers, connections cannot be
 * shared between requests.
 */
export function resp(options: RespOptions | RespOptions["connect"]): Node {
    const { connect, user, password, name }: RespOptions =
        typeof options === "function" ? { connect: options } : options;
    if (user !== undefined && password === undefined) {
        throw new InvalidRequestError("a user of Redis has a password");
    }
    const login = password === undefined ? [] : [user === undefined ? ["AUTH", password] : ["AUTH", user, password]];
    const secrets = password === undefined ? [] : [password];
    return {
        ...(name === undefined ? {} : { name }),
        async send(args, { signal }) {
            try {
                const parser = new Parser(secrets);
                return await exchange(connect, [...login, args], parser, signal as Signal);
            } catch (error) {
                throw nodeError(error, secrets);
            }
        },
    };
}

/** Sends all commands, and resolves to the reply to the last one if none before it is an error. */
async function exchange(
    connect: RespOptions["connect"],
    commands: string[][],
    parser: Parser,
    signal: Signal,
): Promise<Reply> {
    if (signal.aborted) throw signal.reason;
    let channel: Channel | undefined;
    let isOver = false;
    let leave = (): void => {};
    const gone = new Promise<never>((_, reject) => {
        leave = () => reject(signal.reason);
    });
    signal.addEventListener("abort", leave, { once: true });
    const talk = async (): Promise<Reply> => {
        const connection = connect();
        // A socket may fail before a promise of it is kept, and must be listened to by then.
        channel = channelOf("then" in connection ? await connection : connection);
        // Whoever gave up while the connection was being made has left it to be closed here.
        if (isOver) channel.close();
        return converse(channel, commands, parser);
    };
    try {
        return await Promise.race([talk(), gone]);
    } finally {
        isOver = true;
        signal.removeEventListener("abort", leave);
        channel?.close();
    }
}

async function converse(channel: Channel, commands: string[][], parser: Parser): Promise<Reply> {
    channel.write(encode(commands));
    let last: Reply = null;
    for (const _command of commands) {
        let reply = parser.next();
        while (reply === undefined) {
            const bytes = await channel.read();
            if (bytes === undefined) throw new NodeError("the connection was closed");
            parser.push(bytes);
            reply = parser.next();
        }
        if (reply instanceof NodeError) throw reply;
        last = reply;
    }
    return last;
}

interface Channel {
    /** The next bytes, or nothing when the connection has ended. */
    read(): Promise<Uint8Array | undefined>;
    write(bytes: Uint8Array): void;
    close(): void;
}

function channelOf(connection: Connection | NodeSocketLike): Channel {
    return "readable" in connection && typeof connection.readable === "object"
        ? streamChannel(connection as Connection)
        : socketChannel(connection as NodeSocketLike);
}

function streamChannel(connection: Connection): Channel {
    const reader = connection.readable.getReader();
    const writer = connection.writable.getWriter();
    const ignore = (): void => {};
    return {
        async read() {
            const { value } = await reader.read();
            return value;
        },
        write(bytes) {
            // A connection that cannot be written to cannot be read either, which is where it is told.
            writer.write(bytes).catch(ignore);
        },
        close() {
            reader.cancel().catch(ignore);
            writer.abort().catch(ignore);
            // Where closing the streams has closed the connection, this throws.
            void (async () => connection.close?.())().catch(ignore);
        },
    };
}

function socketChannel(socket: NodeSocketLike): Channel {
    const chunks: Uint8Array[] = [];
    let end: { error?: Error } | undefined;
    let wake: () => void = () => {};
    socket.on("data", (bytes) => {
        chunks.push(bytes);
        wake();
    });
    socket.on("error", (error) => {
        end ??= { error };
        wake();
    });
    socket.on("close", () => {
        end ??= {};
        wake();
    });
    return {
        async read() {
            while (chunks.length === 0 && end === undefined) {
                await new Promise<void>((resolve) => {
                    wake = resolve;
                });
            }
            const bytes = chunks.shift();
            if (bytes === undefined && end?.error !== undefined) throw end.error;
            return bytes;
        },
        write(bytes) {
            socket.write(bytes);
        },
        close() {
            socket.destroy();
        },
    };
}

function encode(commands: string[][]): Uint8Array {
    const encoder = new TextEncoder();
    const parts: string[] = [];
    for (const args of commands) {
        parts.push(`*${args.length}\r\n`);
        for (const arg of args) parts.push(`$${encoder.encode(arg).length}\r\n${arg}\r\n`);
    }
    return encoder.encode(parts.join(""));
}

/** The longest reply to our commands is far shorter. */
const REPLY_BYTES_MAX = 65_536;
/** The replies to our commands are flat. */
const DEPTH_MAX = 2;

/** RESP2, as far as a node answers it to our commands. */
class Parser {
    readonly #secrets: readonly string[];
    #bytes = new Uint8Array(0);
    #at = 0;

    constructor(secrets: readonly string[]) {
        this.#secrets = secrets;
    }

    push(bytes: Uint8Array): void {
        const rest = this.#bytes.subarray(this.#at);
        if (rest.length + bytes.length > REPLY_BYTES_MAX) throw new NodeError("the reply is too long");
        this.#bytes = new Uint8Array(rest.length + bytes.length);
        this.#bytes.set(rest);
        this.#bytes.set(bytes, rest.length);
        this.#at = 0;
    }

    /** The next reply; `undefined` if it has not arrived in full. */
    next(): Reply | NodeError | undefined {
        const start = this.#at;
        const reply = this.#reply(DEPTH_MAX);
        if (reply === undefined) this.#at = start;
        return reply;
    }

    #reply(depth: number): Reply | NodeError | undefined {
        const line = this.#line();
        if (line === undefined) return undefined;
        const rest = line.slice(1);
        switch (line[0]) {
            case "+":
                return rest;
            case "-":
                return answeredError(rest, this.#secrets);
            case ":":
                return number(rest);
            case "$":
                return this.#bulk(number(rest));
            case "*":
                return this.#array(number(rest), depth);
            default:
                throw new NodeError("the answer is no RESP");
        }
    }

    #bulk(length: number): Reply | undefined {
        if (length === -1) return null;
        const end = this.#at + length;
        if (length < 0 || length > REPLY_BYTES_MAX) throw new NodeError("the answer is no RESP");
        if (end + 2 > this.#bytes.length) return undefined;
        const text = new TextDecoder().decode(this.#bytes.subarray(this.#at, end));
        this.#at = end + 2;
        return text;
    }

    #array(length: number, depth: number): Reply | undefined {
        if (length === -1) return null;
        if (length < 0 || length > REPLY_BYTES_MAX || depth === 0) throw new NodeError("the answer is no RESP");
        const items: Reply[] = [];
        while (items.length < length) {
            const item = this.#reply(depth - 1);
            if (item === undefined) return undefined;
            // No script of ours has an error inside an array.
            if (item instanceof NodeError) throw item;
            items.push(item);
        }
        return items;
    }

    #line(): string | undefined {
        const end = this.#bytes.indexOf(13, this.#at);
        if (end < 0 || end + 1 >= this.#bytes.length) return undefined;
        const line = new TextDecoder().decode(this.#bytes.subarray(this.#at, end));
        this.#at = end + 2;
        return line;
    }
}

function number(text: string): number {
    if (!/^-?\d{1,16}$/.test(text)) throw new NodeError("the answer is no RESP");
    return Number(text);
}
