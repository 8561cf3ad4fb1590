// Processes that the tests start, all of which are gone when the tests are.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const running = new Set();
const folders = new Set();

function sweep() {
    for (const child of running) child.kill("SIGKILL");
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}
process.once("exit", sweep);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));

/** Starts a program; it is killed when this process ends, however it does. */
export function start(command, args, options = {}) {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    running.add(child);
    child.log = "";
    child.stdout?.on("data", (bytes) => (child.log += bytes));
    child.stderr?.on("data", (bytes) => (child.log += bytes));
    child.ended = new Promise((resolve) => {
        child.once("exit", (code, signal) => {
            running.delete(child);
            resolve({ code, signal });
        });
        child.once("error", (error) => {
            running.delete(child);
            child.log += error.message;
            resolve({ code: -1 });
        });
    });
    return child;
}

export async function stop(child, signal = "SIGKILL") {
    child.kill("SIGCONT");
    child.kill(signal);
    await child.ended;
}

/** Runs a program to its end. */
export async function run(command, args, options = {}) {
    const child = start(command, args, options);
    let out = "";
    child.stdout.on("data", (bytes) => (out += bytes));
    const { code } = await child.ended;
    return { code, out, log: child.log };
}

export function folder() {
    const path = mkdtempSync(join(tmpdir(), "redlatch-"));
    folders.add(path);
    return path;
}

/** A port that was free a moment ago, never given twice. */
const given = new Set();
export async function port() {
    for (;;) {
        const server = net.createServer();
        server.listen(0, "127.0.0.1");
        await once(server, "listening");
        const { port } = server.address();
        await new Promise((resolve) => server.close(resolve));
        if (!given.has(port)) {
            given.add(port);
            return port;
        }
    }
}

/** Tries until it works. The limit is there to tell what did not, not to measure. */
export async function until(what, check, limitMs = 60_000) {
    const limit = Date.now() + limitMs;
    let last;
    for (;;) {
        try {
            const value = await check();
            if (value) return value;
        } catch (error) {
            last = error;
        }
        if (Date.now() > limit) throw new Error(`it never came about that ${what}`, { cause: last });
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}
