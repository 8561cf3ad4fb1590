import { InvalidRequestError, NodeError, nodeError } from "../error.js";
import type { Signal } from "../node.js";

/** What this package reads of a `Response`. */
export interface ResponseLike {
    readonly status: number;
    text(): Promise<string>;
}

/** `fetch`, as this package calls it. */
export type FetchLike = (
    url: string,
    init: {
        method: "POST";
        headers: Record<string, string>;
        body: string;
        redirect: "manual";
        signal: Signal;
    },
) => Promise<ResponseLike>;

/** Where an HTTP proxy of a node is. */
export interface HttpOptions {
    /** The address of the proxy, without credentials in it. */
    readonly url: string;
    /** What errors call the node; the host of the address unless given. */
    readonly name?: string;
    /** Sends credentials even over plain HTTP, where everybody on the way can read them. */
    readonly insecure?: boolean;
    /** Used instead of the global `fetch`. */
    readonly fetch?: FetchLike;
}

/** @internal */
export interface HttpProxy {
    readonly name: string;
    post(path: string, body: string, signal: Signal): Promise<unknown>;
}

/**
 * Posts, and understands nothing but 200 with JSON in it. Whatever fails says so without secrets.
 *
 * @internal
 */
export function httpProxy(
    options: HttpOptions,
    headers: Record<string, string>,
    secrets: readonly string[],
    errorOf: (json: unknown) => string | undefined,
): HttpProxy {
    const url = address(options, secrets.length > 0);
    // An address is no secret, but a path may be one.
    const base = url.href.replace(/\/$/, "");
    const given = options.fetch;
    return {
        name: options.name ?? url.host,
        async post(path, body, signal) {
            try {
                // Called as a plain function: some runtimes insist on it.
                const send = given ?? (globalThis.fetch as FetchLike);
                const response = await send(base + path, {
                    method: "POST",
                    headers,
                    body,
                    redirect: "manual",
                    signal,
                });
                // Read in any case: a body that nobody reads keeps its connection busy.
                const text = await response.text();
                const json = parse(text);
                if (response.status !== 200) {
                    const error = errorOf(json);
                    throw new Error(`HTTP ${response.status}${error === undefined ? "" : `: ${error}`}`);
                }
                if (json === undefined) throw new NodeError("the answer is no JSON");
                return json;
            } catch (error) {
                throw nodeError(error, secrets);
            }
        },
    };
}

function parse(text: string): unknown {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}

/** The error never repeats the address: it may have a password in it. */
function address({ url, insecure }: HttpOptions, hasCredentials: boolean): URL {
    let address;
    try {
        address = new URL(url);
    } catch {
        // Said below.
    }
    if (address === undefined || !/^https?:$/.test(address.protocol)) {
        throw new InvalidRequestError("the address of a node must be a URL that begins with https:// or http://");
    }
    const { protocol, username, password, search, hash } = address;
    if (username || password || search || hash) {
        throw new InvalidRequestError(
            "the address of a node must have no credentials, query or fragment, which end up in logs",
        );
    }
    if (protocol === "http:" && hasCredentials && !insecure) {
        throw new InvalidRequestError(
            `credentials for ${address.host} would be sent over plain HTTP; use https://, or say ` +
                "`insecure: true` if everybody on the way may read them",
        );
    }
    return address;
}
