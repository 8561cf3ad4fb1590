import { InvalidRequestError, NodeError, answeredError } from "../error.js";
import type { Node, Reply, Signal } from "../node.js";
import { type HttpOptions, httpProxy } from "./http.js";

/** A Webdis server. */
export interface WebdisOptions extends HttpOptions {
    /** For HTTP Basic authentication, as `http_basic_auth` of its `acl` has it. */
    readonly user?: string;
    readonly password?: string;
}

/** A node behind Webdis. */
export function webdis(options: WebdisOptions): Node {
    const { user, password = "" } = options;
    const headers: Record<string, string> = { "Content-Type": "text/plain" };
    const secrets: string[] = [];
    if (user !== undefined) {
        if (user.includes(":")) throw new InvalidRequestError("a user of Webdis has no colon in its name");
        const credentials = base64(`${user}:${password}`);
        headers.Authorization = `Basic ${credentials}`;
        secrets.push(credentials, password);
    }
    const proxy = httpProxy(options, headers, secrets, () => undefined);
    const escape = escaper();
    return {
        name: proxy.name,
        async send(args, { signal }) {
            const json = await proxy.post("/", args.map(escape).join("/"), signal as Signal);
            return reply(json, args[0] as string, secrets);
        },
    };
}

/**
 * Every byte that Webdis could misread: `/` divides, `?` ends, `+` is a space, `.txt` at the end is a format,
 * and more is not worth knowing.
 */
function escapeBytes(text: string): string {
    return encodeURIComponent(text).replace(
        /[.!~*'()]/g,
        (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
    );
}

/** Scripts are long, few, and always the same. */
const SCRIPT_LENGTH_MIN = 200;
const SCRIPTS_MAX = 8;

/** Remembers the escaped form of scripts. */
function escaper(): (text: string) => string {
    const scripts = new Map<string, string>();
    return (text) => {
        if (text.length < SCRIPT_LENGTH_MIN) return escapeBytes(text);
        let escaped = scripts.get(text);
        if (escaped === undefined) {
            escaped = escapeBytes(text);
            // Names of resources may be long, too.
            if (scripts.size < SCRIPTS_MAX) scripts.set(text, escaped);
        }
        return escaped;
    };
}

/** `{"NAME": value}`, where `[true, text]` is a status and `[false, text]` an error. */
function reply(json: unknown, name: string, secrets: readonly string[]): Reply {
    if (typeof json !== "object" || json === null || !Object.hasOwn(json, name)) {
        throw new NodeError("the answer has no result");
    }
    const value = (json as Record<string, unknown>)[name];
    if (!Array.isArray(value) || typeof value[0] !== "boolean") return value as Reply;
    const [isStatus, text] = value as [boolean, unknown];
    if (isStatus) return text as Reply;
    throw answeredError(String(text), secrets);
}

function base64(text: string): string {
    return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
