// Puts dist/ together: the TypeScript compiled, and the module of `just wasm` in both forms.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";

const here = join(import.meta.dirname, "..");
const module = join(here, "../../../target/wasm/pkg");
const dist = join(here, "dist");

if (!existsSync(join(module, "core_bg.wasm"))) {
    console.error("build: target/wasm/pkg is empty; run `just wasm` first");
    process.exit(1);
}

rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [join(here, "node_modules/typescript/bin/tsc"), "--project", here], { stdio: "inherit" });
copyFileSync(join(module, "core.js"), join(dist, "core.js"));
const wasm = readFileSync(join(module, "core_bg.wasm"));
writeFileSync(join(dist, "core_bg.wasm"), wasm);
const deflated = deflateRawSync(wasm, { level: 9, memLevel: 9 }).toString("base64");
writeFileSync(join(dist, "core_deflated.js"), `export default "${deflated}";\n`);

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

for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join(here, "../../..", name), join(here, name));
copyFileSync(join(here, "../../../docs/migrating-from-node-redlock.md"), join(here, "MIGRATING.md"));
