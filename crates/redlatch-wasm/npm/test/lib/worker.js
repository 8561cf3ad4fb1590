// A program for workers: bundled as their users bundle, and run by workerd itself or by miniflare.
import { build } from "esbuild";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Miniflare } from "miniflare";
import { folder, port, start, stop, until } from "./processes.js";
import { packaged } from "./tools.js";

const compatibilityDate = "2026-04-01";

async function bundle(program) {
    const out = folder();
    await build({
        entryPoints: [program], outfile: join(out, "worker.js"), bundle: true, format: "esm", conditions: ["workerd"],
        external: ["*.wasm", "cloudflare:*"], logLevel: "error",
    });
    copyFileSync("node_modules/redlatch/dist/core_bg.wasm", join(out, "core_bg.wasm"));
    return out;
}

/** By workerd alone; it may speak to this machine. */
export async function startWorkerd(program) {
    const out = await bundle(program);
    const httpPort = await port();
    writeFileSync(join(out, "config.capnp"), `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
    services = [
        (name = "main", worker = (
            modules = [
                (name = "worker.js", esModule = embed "worker.js"),
                (name = "core_bg.wasm", wasm = embed "core_bg.wasm"),
            ],
            compatibilityDate = "${compatibilityDate}",
        )),
        (name = "internet", network = (allow = ["private", "public", "local"])),
    ],
    sockets = [(name = "http", address = "127.0.0.1:${httpPort}", http = (), service = "main")],
);
`);
    const binary = packaged(`@cloudflare/workerd-${process.platform}-${process.arch === "x64" ? "64" : process.arch}`, "bin/workerd");
    const process_ = start(binary, ["serve", join(out, "config.capnp")]);
    const url = `http://127.0.0.1:${httpPort}`;
    await until(`workerd answers (${process_.log})`, () => fetch(url, { method: "POST", body: "" }).then(() => true));
    return { url, log: () => process_.log, close: () => stop(process_) };
}

/** By miniflare, as `wrangler dev` does. */
export async function startMiniflare(program) {
    const out = await bundle(program);
    const miniflare = new Miniflare({
        modules: [
            { type: "ESModule", path: join(out, "worker.js") },
            { type: "CompiledWasm", path: join(out, "core_bg.wasm"), contents: readFileSync(join(out, "core_bg.wasm")) },
        ],
        modulesRoot: out,
        compatibilityDate,
        cf: false,
    });
    const url = (await miniflare.ready).href.replace(/\/$/, "");
    return { url, log: () => "", close: () => miniflare.dispose() };
}
