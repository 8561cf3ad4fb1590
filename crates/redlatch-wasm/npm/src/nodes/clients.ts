import { InvalidRequestError } from "../error.js";
import type { Node, Reply, Signal } from "../node.js";

/** What this package uses of a client, or a cluster, of ioredis. */
export interface IoredisLike {
    call(command: string, ...args: any[]): Promise<unknown>;
    readonly options?: object;
}

/**
 * A node by a client of ioredis that the application has already. Nobody needs to wait for a command that its
 * queue holds back: a late answer does no harm.
 */
export function ioredis(client: IoredisLike, name?: string): Node {
    const options = (client.options ?? {}) as {
        host?: string;
        port?: number;
        path?: string;
        stringNumbers?: boolean;
    };
    if (options.stringNumbers) {
        throw new InvalidRequestError("a client with `stringNumbers` cannot lock: numbers must be numbers");
    }
    const address = options.path ?? (options.host && `${options.host}:${options.port}`);
    return {
        ...named(name ?? address),
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
