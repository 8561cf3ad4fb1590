// What is in the tarball: types, sizes, and nothing else.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync, inflateRawSync } from "node:zlib";
import { build, transformSync } from "esbuild";
import { publint } from "publint";
import { run } from "./lib/processes.js";

const root = "node_modules/redlatch";
const require = createRequire(import.meta.url);
const sources = readdirSync(join(root, "dist"), { recursive: true }).filter((name) => name.endsWith(".js"));
const source = (name) => readFileSync(join(root, "dist", name), "utf8");

async function bundle(contents, options = {}) {
    const { outputFiles } = await build({
        stdin: { contents, resolveDir: "." }, bundle: true, minify: true, format: "esm", write: false, logLevel: "error",
        ...options,
    });
    return outputFiles[0].text;
}

test("publint has nothing to say", async () => {
    const { messages } = await publint({ pkgDir: root, strict: true });
    assert.deepEqual(messages, []);
});

test("it has what it needs and nothing more", () => {
    const files = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json", "--silent"], { cwd: root }))[0].files;
    const odd = files.map(({ path }) => path).filter((path) => !/^(dist\/.*\.(js|d\.ts|wasm)|package\.json|README\.md|MIGRATING\.md|LICENSE-.*)$/.test(path));
    assert.deepEqual(odd, []);
    const manifest = JSON.parse(readFileSync(join(root, "package.json")));
    assert.deepEqual(manifest.dependencies ?? {}, {});
    for (const name of ["README.md", "MIGRATING.md", "LICENSE-MIT", "LICENSE-APACHE"]) assert.ok(files.some(({ path }) => path === name), name);
});

test("it imports nothing but itself, and waits for nothing while it is loaded", () => {
    for (const name of sources) {
        // Without the comments.
        const text = transformSync(source(name), { minifyWhitespace: true, target: "esnext" }).code;
        for (const [, from] of text.matchAll(/\b(?:import|from)["']([^"']+)["']/g)) {
            assert.match(from, /^\.\.?\//, `${name} imports ${from}`);
        }
        assert.doesNotMatch(text, /\brequire\(|\bprocess\.|\bBuffer\b|["']node:/, name);
    }
});

test("both forms of the module are the same", async () => {
    const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
    const { default: deflated } = await import(new URL("core_deflated.js", import.meta.resolve("redlatch")));
    assert.equal(hash(inflateRawSync(Buffer.from(deflated, "base64"))), hash(readFileSync(require.resolve("redlatch/core.wasm"))));
});

test("the module imports nothing but its glue", () => {
    const module = new WebAssembly.Module(readFileSync(require.resolve("redlatch/core.wasm")));
    const imports = WebAssembly.Module.imports(module);
    const glue = readdirSync(join(root, "dist")).filter((name) => name.endsWith(".js")).map(source).join("\n");
    const [, object] = glue.match(/function __wbg_get_imports\(\) \{\n([^]*?)\n\}/);
    for (const { module: from, name, kind } of imports) {
        assert.deepEqual({ from, kind }, { from: "a", kind: "function" });
        assert.ok(object.includes(`${name}: function(`), `the glue gives ${name}`);
    }
});

/** In bytes with gzip. The first, which is what a program has in it, is the aim; the others are what there is, with some room. */
const bundles = [
    ["a client of Upstash", 'export { Redlatch, upstash } from "redlatch"', {}, 24_576],
    ["its JavaScript, without the module", 'export { Redlatch, upstash } from "redlatch"', { conditions: ["workerd"], external: ["*.wasm"] }, 8_600],
    ["all that there is", 'export * from "redlatch"', {}, 26_300],
    ["the drop-in face", 'export { default } from "redlatch/redlock"', {}, 25_900],
];

for (const [what, code, options, max] of bundles) {
    test(`a bundle of ${what} does not grow`, async (t) => {
        const size = gzipSync(await bundle(code, options), { level: 9 }).length;
        t.diagnostic(`${size} bytes`);
        assert.ok(size <= max, `${size} bytes are more than ${max}`);
    });
}

test("the README tells the size", () => {
    const [[, , , max]] = bundles;
    assert.ok(readFileSync(join(root, "README.md"), "utf8").includes(`less than ${Math.ceil(max / 1024)} KB with gzip`));
});

test("what is not used is not in a bundle", async () => {
    assert.equal(await bundle('import { Redlatch } from "redlatch"; import Redlock from "redlatch/redlock"; console.log(1)'), "console.log(1);\n");
    const part = await bundle('import { upstash } from "redlatch"; console.log(upstash)');
    assert.ok(part.length < 4000 && !part.includes("WebAssembly"), `${part.length} bytes`);
    for (const code of ['export { Redlatch } from "redlatch"', 'export { default } from "redlatch/redlock"']) {
        const worker = await bundle(code, { conditions: ["workerd"], external: ["*.wasm"] });
        assert.ok(worker.includes('"./core_bg.wasm"') && !worker.includes("DecompressionStream"), "workers import the module");
    }
});

test("CommonJS can require it", async () => {
    const { code, log } = await run(process.execPath, ["--input-type=commonjs", "-e", `
        const { Redlatch, upstash } = require("redlatch");
        const { default: Redlock } = require("redlatch/redlock");
        new Redlatch([upstash({ url: "https://example.org", token: "t" })]);
        if (typeof Redlock !== "function") process.exit(1);
    `]);
    assert.equal(code, 0, log);
});

for (const [resolution, module] of [["nodenext", "nodenext"], ["bundler", "esnext"]]) {
    for (const lib of [["es2022", "dom"], ["es2022"]]) {
        test(`the types hold under ${resolution} with ${lib}`, async () => {
            const name = `types.${resolution}.${lib.length}`;
            // Beside the package, so that it is found, and without the types of Node where there is no DOM.
            writeFileSync(`${name}.json`, JSON.stringify({
                compilerOptions: {
                    strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, noEmit: true, target: "es2022",
                    module, moduleResolution: resolution, lib, types: [],
                },
                files: [lib.includes("dom") ? "programs/types.ts" : "programs/types-alone.ts"],
            }));
            const tsc = join(require.resolve("typescript/package.json"), "../bin/tsc");
            const { code, log } = await run(process.execPath, [tsc, "--project", `${name}.json`]);
            assert.equal(code, 0, log);
        });
    }
}

test("the types fit ioredis, node-redis and node:net", async () => {
    writeFileSync("types.clients.json", JSON.stringify({
        compilerOptions: {
            // The clients' own declarations are not ours to check.
            strict: true, skipLibCheck: true, noEmit: true, target: "es2022", module: "nodenext", lib: ["es2023", "esnext.disposable"],
            types: ["node"], typeRoots: [join(require.resolve("@types/node/package.json"), "../..")],
        },
        files: ["programs/types-clients.ts"],
    }));
    const tsc = join(require.resolve("typescript/package.json"), "../bin/tsc");
    const { code, log } = await run(process.execPath, [tsc, "--project", "types.clients.json"]);
    assert.equal(code, 0, log);
});

test("the module can be brought by the caller", async () => {
    const { Redlatch } = await import("redlatch/web");
    const nodes = [{ send: async ([command]) => (command === "SET" ? "OK" : [1]) }];
    const bytes = readFileSync(require.resolve("redlatch/core.wasm"));
    for (const wasm of [bytes, new WebAssembly.Module(bytes)]) {
        const lock = await new Redlatch(wasm, nodes, { plain: true }).acquire("a", 1000);
        await lock.release();
    }
});
