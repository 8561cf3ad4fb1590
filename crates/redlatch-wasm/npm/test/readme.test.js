// The README's examples, run as they stand but for the addresses.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { openPage } from "./lib/browser.js";
import { startFleet } from "./lib/fleet.js";
import { run } from "./lib/processes.js";
import { deno } from "./lib/tools.js";
import { startWorkerd } from "./lib/worker.js";

const readme = readFileSync("node_modules/redlatch/README.md", "utf8");
const examples = [...readme.matchAll(/<!-- run: (\w+) -->\n```\w+\n([\s\S]*?)```/g)].map(([, kind, code]) => ({ kind, code }));
const hosts = ["a.example.com", "b.example.com", "c.example.com"];
let proxies;
let pages;

before(async () => {
    [proxies, pages] = await Promise.all([startFleet(["stub", "stub", "stub"]), startFleet(["webdis", "webdis", "webdis"])]);
});

after(() => Promise.all([proxies?.close(), pages?.close()]));

/** The code with addresses of this machine. */
function here(code) {
    for (const [index, host] of hosts.entries()) {
        const [{ kind: _upstash, ...upstash }, { kind: _webdis, ...webdis }] = [proxies.config.nodes[index], pages.config.nodes[index]];
        code = code
            .replaceAll(new RegExp(`upstash\\(\\{ url: "https://${host}"[^}]*\\}\\)`, "g"), `upstash(${JSON.stringify({ ...upstash, insecure: true })})`)
            .replaceAll(new RegExp(`webdis\\(\\{ url: "https://${host}"[^}]*\\}\\)`, "g"), `webdis(${JSON.stringify({ ...webdis, insecure: true })})`)
            .replaceAll(`{ host: "${host}", port: 6379 }`, `{ host: "127.0.0.1", port: ${proxies.config.redis[index]} }`)
            .replaceAll(`redis://${host}:6379`, `redis://127.0.0.1:${proxies.config.redis[index]}`)
            .replaceAll(`6379, "${host}"`, `${proxies.config.redis[index]}, "127.0.0.1"`);
    }
    assert.ok(!code.includes("example.com"), code);
    return code;
}

const runs = {
    async node(file) {
        const { code, out, log } = await run(process.execPath, [file]);
        assert.equal(code, 0, log);
        assert.match(out, /fence \d+/);
    },
    async deno(file) {
        const { code, out, log } = await run(deno(), ["run", "--allow-net", "--allow-env", "--node-modules-dir=manual", "--no-lock", "--cached-only", file]);
        assert.equal(code, 0, log);
        assert.match(out, /fence \d+/);
    },
    async worker(file) {
        const { url, close } = await startWorkerd(file);
        try {
            assert.match(await (await fetch(url)).text(), /^fence \d+\n$/);
        } finally {
            await close();
        }
    },
    async page(file) {
        // With the policy that the README asks for, beside what lets an inline script run.
        const policy = { "content-security-policy": "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'" };
        const { page, log, close } = await openPage(file, policy);
        try {
            await page.waitForFunction(() => /^fence \d+$/.test(document.title)).catch((cause) => {
                throw new Error(log.join("\n"), { cause });
            });
        } finally {
            await close();
        }
    },
};

test("there are examples of every kind", () => {
    assert.deepEqual(new Set(examples.map(({ kind }) => kind)), new Set(Object.keys(runs)));
});

for (const [index, { kind, code }] of examples.entries()) {
    test(`example ${index + 1}, for ${kind}`, async () => {
        const file = `readme-${index + 1}.${kind === "page" ? "html" : "js"}`;
        writeFileSync(file, here(code));
        await runs[kind](file);
    });
}
