// Puts dist/ together: the TypeScript bundled, its declarations, and the module of `just wasm` in both forms.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { cut, internals, shorten } from "./glue.js";

const here = join(import.meta.dirname, "..");
const module = join(here, "../../../target/wasm/pkg");
const tools = join(here, "../build/node_modules/.bin");
const dist = join(here, "dist");

if (!existsSync(join(module, "core_bg.wasm"))) {
    console.error("build: target/wasm/pkg is empty; run `just wasm` first");
    process.exit(1);
}
if (!existsSync(join(tools, "wasm-opt"))) {
    console.error("build: wasm-opt is missing; run `just setup`");
    process.exit(1);
}

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "--project", here], { stdio: "inherit" });

// What is not reachable from a declaration that users import would make them need libraries of a browser.
const kept = new Set();
const queue = ["index.d.ts", "web.d.ts", "redlock.d.ts"];
for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (kept.has(name) || !existsSync(join(dist, name))) continue;
    kept.add(name);
    for (const [, other] of readFileSync(join(dist, name), "utf8").matchAll(/from "(\.[^"]+)\.js"/g)) {
        queue.push(join(name, "..", `${other}.d.ts`));
    }
}
for (const name of readdirSync(dist, { recursive: true })) {
    if (name.endsWith(".d.ts") && !kept.has(name)) rmSync(join(dist, name));
}

const sources = readdirSync(join(here, "src"), { recursive: true }).filter((name) => name.endsWith(".ts"));
const written = sources.map((name) => readFileSync(join(here, "src", name), "utf8")).join("\n");
const isUsed = (method) => method === "constructor" || new RegExp(`\\.${method}\\(`).test(written);
const glue = shorten(module, cut(module, isUsed), join(dist, "core_bg.wasm"), tools);

const seen = [...kept].map((name) => readFileSync(join(dist, name), "utf8")).join("\n");
const core = {
    name: "core",
    setup({ onResolve, onLoad }) {
        onResolve({ filter: /\/core\.js$/ }, () => ({ path: "core", namespace: "core", sideEffects: false }));
        onLoad({ filter: /.*/, namespace: "core" }, () => ({ contents: glue, loader: "ts" }));
    },
};
// Bundled here, and not only by users, because enums and names can be made short only where all of their uses are known.
// Still to be read, because it is what stack traces and debuggers show.
const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: ["index", "index.workerd", "web", "redlock", "redlock.workerd"].map((name) => `src/${name}.ts`),
    outdir: "dist",
    bundle: true,
    splitting: true,
    chunkNames: "[name]-[hash]",
    format: "esm",
    target: "es2022",
    charset: "utf8",
    external: ["*/core_deflated.js", "*.wasm"],
    mangleProps: new RegExp(`^(${internals(module, seen).join("|")})$`),
    plugins: [core],
    write: false,
    logLevel: "warning",
});
/**
 * Bundlers put modules in the order in which they are imported. The deflated one comes before all others, because gzip
 * makes its codes for stretches of text: one in the midst of JavaScript would spoil those of what stands around it.
 */
const DEFLATED_LAST = /^([^]*?\n)(import \w+ from "\.\/core_deflated\.js";\n)/;
for (const { path, text } of outputFiles) {
    // Nothing happens when a file is loaded, so nothing needs to be loaded for that.
    writeFileSync(path, text.replaceAll(/^import "\.\/[^"]+";\n/gm, "").replace(DEFLATED_LAST, "$2$1"));
}

// Not before now: when it is loaded, it makes a long story of whatever is thrown.
const { deflateAsync } = await import("@gfx/zopfli");
const deflated = Buffer.from(await deflateAsync(readFileSync(join(dist, "core_bg.wasm")), {}));
writeFileSync(join(dist, "core_deflated.js"), `export default "${deflated.toString("base64")}";\n`);

for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join(here, "../../..", name), join(here, name));
copyFileSync(join(here, "../../../docs/migrating-from-node-redlock.md"), join(here, "MIGRATING.md"));
