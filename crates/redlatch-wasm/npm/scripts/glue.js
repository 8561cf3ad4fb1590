// Makes the module and its glue short: what wasm-bindgen says in many words, and does when it is loaded, would be in
// every program of every user. What both do for
// this package stays as it is.
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What the module uses of WebAssembly, all of it in every runtime that the package runs in. */
const FEATURES = ["bulk-memory", "bulk-memory-opt", "multivalue", "mutable-globals", "nontrapping-float-to-int", "reference-types", "sign-ext"];

/** What fits nothing changes nothing: a test sees to it that the bundle does not grow. */
const CUTS = [
    // The declarations have the enums in a form whose members are inlined.
    [/^export const \w+ = Object\.freeze\(\{\n[^]*?^\}\);\n/gm, ""],
    // Nobody writes `using` with a machine.
    [/^if \(Symbol\.dispose\) .*\n/m, ""],
    // Every runtime of the package has these.
    [/^if \(!\('encodeInto' in cachedTextEncoder\)\) \{\n[^]*?^\}\n/m, ""],
    [/\(typeof FinalizationRegistry === 'undefined'\)\s*\? .*\n\s*: /, ""],
    // Work at load time, which would keep the glue in bundles that do not use it.
    [/^cachedTextDecoder\.decode\(\);\n/m, ""],
    [/= new (?=TextDecoder|TextEncoder|FinalizationRegistry)/g, "= /* @__PURE__ */ new "],
    // Fills a table of JavaScript values when the module starts, which takes and gives none: `cut` sees to it.
    [/^ {8}__wbindgen_init_externref_table: function\(\) \{\n[^]*?^ {8}\},\n/m, ""],
    [/^function __wbg_finalize_init\([^]*?^\}\n/m, ""],
    // Strings are encoded before there is room for them, so it is never too small.
    [/, wasm\.__wbindgen_realloc\b/g, ""],
    // Loads the module by URL or from a response, which the package never does.
    [/^async function __wbg_load[^]*?^\}\n/m, ""],
    [/^let __wbg_init_promise;\n[^]*?(?=^export \{)/m, ""],
    [/, __wbg_init as default/, ""],
];

/**
 * In the place of functions of the glue that do the same in more words: they keep what costs next to nothing to make
 * again, encode in two ways, count what one decoder has decoded, and take modules in several forms.
 */
const OWN = [
    `function decodeText(bytes) {
        return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    }`,
    `function passStringToWasm0(text, malloc) {
        return passArray8ToWasm0(new TextEncoder().encode(text), malloc);
    }`,
    `function getUint8ArrayMemory0() {
        return new Uint8Array(wasm.memory.buffer);
    }`,
    `function getFloat64ArrayMemory0() {
        return new Float64Array(wasm.memory.buffer);
    }`,
    `function initSync(module) {
        if (wasm !== undefined) return;
        if (!(module instanceof WebAssembly.Module)) module = new WebAssembly.Module(module);
        wasm = new WebAssembly.Instance(module, __wbg_get_imports()).exports;
    }`,
].map((text) => [new RegExp(`^${text.match(/^function \w+\(/)[0].replace("(", "\\(")}[^]*?^\\}$`, "m"), text]);

const MACHINE = /^export class Machine \{\n[^]*?^\}\n/m;
const METHOD = /^ {4}([a-z]\w*)\(.*\) \{\n[^]*?^ {4}\}\n/gm;

/** The glue in `folder`, of which it keeps those of the machine's methods that `isUsed` tells. */
export function cut(folder, isUsed) {
    let text = readFileSync(join(folder, "core.js"), "utf8");
    for (const [pattern, replacement] of [...CUTS, ...OWN]) text = text.replace(pattern, replacement);
    if (/externref/i.test(text)) throw new Error("glue: the module takes or gives JavaScript values, but their table is cut");
    return text.replace(MACHINE, (machine) => machine.replace(METHOD, (method, name) => (isUsed(name) ? method : "")));
}

/** The names of the machine's methods that no user of the package sees, of which `seen` is all that they see. */
export function internals(folder, seen) {
    const [machine] = readFileSync(join(folder, "core.d.ts"), "utf8").match(MACHINE);
    const methods = [...machine.matchAll(/^ {4}([a-z]+[A-Z]\w*)\(/gm)].map(([, name]) => name);
    return ["__wbg_ptr", "__destroy_into_raw", ...methods.filter((name) => !new RegExp(`\\b${name}\\b`).test(seen))];
}

/**
 * Writes the module in `folder` to `to`, without exports that the glue does not use, and with short names for the others.
 * Gives the glue with these names, as one TypeScript module that has the enums, too.
 */
export function shorten(folder, glue, to, bin) {
    const from = join(folder, "core_bg.wasm");
    const features = FEATURES.map((feature) => `--enable-${feature}`);
    const tool = (name, ...args) => execFileSync(join(bin, name), [...features, ...args, "-o", to], { encoding: "utf8" });
    const used = [...new Set(glue.match(/(?<=\bwasm\.)\w+/g))];
    const imported = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(from)));
    const graph = `${to}.json`;
    writeFileSync(graph, JSON.stringify([
        { name: "glue", root: true, reaches: used.map((name) => `export ${name}`) },
        ...used.map((name) => ({ name: `export ${name}`, export: name })),
        ...imported.map(({ module, name }) => ({ name: `import ${name}`, import: [module, name] })),
    ]));
    tool("wasm-metadce", from, "--graph-file", graph);
    rmSync(graph);
    const { imports, exports } = JSON.parse(tool("wasm-opt", "-Oz", "--minify-imports-and-exports-and-modules", to));
    const names = new Map([...imports.map(([, name, letter]) => [name, letter]), ...exports]);
    const short = (name) => {
        if (!names.has(name)) throw new Error(`glue: the module knows no ${name}`);
        return names.get(name);
    };
    const enums = readFileSync(join(folder, "core.d.ts"), "utf8").match(/^export enum \w+ \{\n[^]*?^\}\n/gm).join("\n");
    const text = glue.replace(/(?<=\bwasm\.)\w+/g, short).replace(/__wb\w+(?=: function)/g, short).replace('"./core_bg.js"', '"a"');
    return `// @ts-nocheck\n${text}\n${enums}`;
}
