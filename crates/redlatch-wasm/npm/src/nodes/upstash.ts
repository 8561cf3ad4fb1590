import { NodeError, answeredError, nodeError } from "../error.js";
import type { Node, Reply, Signal } from "../node.js";
import { type HttpOptions, type HttpProxy, httpProxy } from "./http.js";

/** An Upstash database, or a proxy that speaks as one does. */
export interface UpstashOptions extends HttpOptions {
    /** The REST token. One that may only read cannot lock. */
    readonly token: string;
    /** Sends commands that are given at one moment as one `/pipeline` request. */
    readonly batch?: boolean;
}

/** A node behind the REST interface of Upstash. */
export function upstash(options: UpstashOptions): Node {
    const secrets = [options.token];
    const headers = { Authorization: `Bearer ${options.token}`, "Content-Type": "application/json" };
    const proxy = httpProxy(options, headers, secrets, errorOf);
    if (options.batch) return new Batches(proxy, secrets);
    return {
        name: proxy.name,
        async send(args, { signal }) {
            return result(await proxy.post("", JSON.stringify(args), signal as Signal), secrets);
        },
    };
}

function errorOf(json: unknown): string | undefined {
    const error = (json as { error?: unknown } | null | undefined)?.error;
    return typeof error === "string" ? error : undefined;
}

/** What is in `{"result": …}`. Members that we do not know are none of our business. */
function result(json: unknown, secrets: readonly string[]): Reply {
    const error = errorOf(json);
    if (error !== undefined) throw answeredError(error, secrets);
    if (typeof json !== "object" || json === null || !Object.hasOwn(json, "result")) {
        throw new NodeError("the answer has no result");
    }
    return (json as { result: Reply }).result;
}

interface Item {
    readonly args: string[];
    readonly signal: Signal;
    resolve(reply: Reply): void;
    reject(error: unknown): void;
}

/**
 * Commands of the same turn of the event loop, as one request. A turn belongs to one request of a worker, so
 * nothing is shared between two of them.
 */
class Batches implements Node {
    readonly name: string;
    readonly #proxy: HttpProxy;
    readonly #secrets: readonly string[];
    #items: Item[] = [];

    constructor(proxy: HttpProxy, secrets: readonly string[]) {
        this.name = proxy.name;
        this.#proxy = proxy;
        this.#secrets = secrets;
    }

    send(args: string[], { signal }: { signal: Signal }): Promise<Reply> {
        return new Promise((resolve, reject) => {
            const item = { args, signal, resolve, reject };
            if (this.#items.push(item) === 1) {
                queueMicrotask(() => {
                    const items = this.#items;
                    this.#items = [];
                    void this.#post(items);
                });
            }
        });
    }

    async #post(items: Item[]): Promise<void> {
        // The request is given up when nobody waits for any of its answers.
        const controller = new AbortController();
        let waiting = 0;
        const gone = items.map((item) => () => {
            item.reject(nodeError(item.signal.reason));
            if (--waiting === 0) controller.abort(item.signal.reason);
        });
        items.forEach(({ signal }, index) => {
            waiting += 1;
            if (signal.aborted) gone[index]?.();
            else signal.addEventListener("abort", gone[index] as () => void, { once: true });
        });
        try {
            const body = JSON.stringify(items.map(({ args }) => args));
            const json = await this.#proxy.post("/pipeline", body, controller.signal);
            if (!Array.isArray(json) || json.length !== items.length) {
                throw new NodeError("the answer to a pipeline has another length");
            }
            json.forEach((one: unknown, index) => {
                const item = items[index] as Item;
                try {
                    item.resolve(result(one, this.#secrets));
                } catch (error) {
                    item.reject(error);
                }
            });
        } catch (error) {
            for (const item of items) item.reject(error);
        } finally {
            items.forEach(({ signal }, index) => {
                signal.removeEventListener("abort", gone[index] as () => void);
            });
        }
    }
}
