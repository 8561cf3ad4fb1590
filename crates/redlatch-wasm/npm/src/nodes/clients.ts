import { InvalidRequestError } from "../error.js";
import type { Node, Reply, Signal } from "../node.js";

/** What this package uses of a client, or a cluster, of ioredis. */
export interface IoredisLike {
    call(command: string, ...args: any[]): Promise<unknown>;
    readonly options?: object;
}

/** What a client is asked about. A cluster has its clients' options in its own. */
interface Options {
    host?: string;
    port?: number;
    path?: string;
    keyPrefix?: unknown;
    stringNumbers?: boolean;
    redisOptions?: Options;
}

/**
 * A node by a client of ioredis that the application has already. Nobody needs to wait for a command that its
 * queue holds back: a late answer does no harm.
 */
export function ioredis(client: IoredisLike, name?: string): Node {
    if (hasKeyPrefix(client)) {
        throw new InvalidRequestError(
            "a client with a `keyPrefix` cannot lock, because it renames the library's own keys, too; give the prefix " +
                "to `Redlatch`, whose option `keyPrefix` does the same for resources",
        );
    }
    return commands(client, name);
}

/** @internal */
export function hasKeyPrefix(client: IoredisLike): boolean {
    const { keyPrefix, redisOptions }: Options = client.options ?? {};
    return Boolean(keyPrefix || redisOptions?.keyPrefix);
}

/** A node by a client that may have a prefix for keys. @internal */
export function commands(client: IoredisLike, name?: string): Node {
    const { host, port, path, stringNumbers, redisOptions }: Options = client.options ?? {};
    if (stringNumbers || redisOptions?.stringNumbers) {
        throw new InvalidRequestError("a client with `stringNumbers` cannot lock: numbers must be numbers");
    }
    return {
        ...named(name ?? path ?? (host && `${host}:${port}`)),
        send([command = "", ...args]) {
            return client.call(command, ...args) as Promise<Reply>;
        },
    };
}

/** What this package uses of a client of node-redis. */
export interface NodeRedisLike {
    sendCommand(args: string[], options?: any): Promise<unknown>;
}

/** A node by a connected client of node-redis that the application has already. */
export function nodeRedis(client: NodeRedisLike, name?: string): Node {
    return {
        ...named(name),
        send(args, { signal }) {
            return client.sendCommand(args, { abortSignal: signal as Signal }) as Promise<Reply>;
        },
    };
}

function named(name: string | undefined): { name?: string } {
    return name ? { name } : {};
}
