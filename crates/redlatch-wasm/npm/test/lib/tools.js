// Programs that the tests need. What is absent fails, and says how to get it.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(import.meta.url);

/** A Node of another major version than this one. */
export function otherNode() {
    const path = process.env.REDLATCH_OTHER_NODE ?? packaged(`node-${process.platform}-${process.arch}`, "bin/node");
    if (path === undefined) throw new Error("set REDLATCH_OTHER_NODE to a Node of another version than this one");
    return path;
}

export function packaged(name, file) {
    try {
        return join(require.resolve(`${name}/package.json`), "..", file);
    } catch {
        return undefined;
    }
}

export function chromium() {
    const known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    const path = process.env.CHROMIUM ?? known.find(existsSync);
    if (path === undefined) throw new Error("Chromium is not here; `just setup` installs it, or set CHROMIUM");
    return path;
}

export function deno() {
    const platform = { linux: "linux", darwin: "darwin" }[process.platform] ?? process.platform;
    const name = `@deno/${platform}-${process.arch}${platform === "linux" ? "-glibc" : ""}`;
    const path = process.env.REDLATCH_DENO ?? packaged(name, "deno");
    if (path === undefined) throw new Error("Deno is not here; `just setup` installs it, or set REDLATCH_DENO");
    return path;
}
