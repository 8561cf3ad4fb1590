// The same scenario in every runtime, from the packed tarball.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { openPage } from "./lib/browser.js";
import { startFleet } from "./lib/fleet.js";
import { run } from "./lib/processes.js";
import { faultNames } from "./lib/stub.js";
import { deno, otherNode } from "./lib/tools.js";
import { startMiniflare, startWorkerd } from "./lib/worker.js";

const runtimes = {
    async "this Node"(config) {
        return program(await run(process.execPath, ["programs/node.js", JSON.stringify(config)]));
    },
    async "another Node"(config) {
        return program(await run(otherNode(), ["programs/node.js", JSON.stringify(config)]));
    },
    async Deno(config) {
        const args = ["run", "--allow-net", "--node-modules-dir=manual", "--no-lock", "--cached-only"];
        return program(await run(deno(), [...args, "programs/deno.js", JSON.stringify(config)]));
    },
    async workerd(config, t) {
        return worker(await startWorkerd("programs/worker.js"), config, t);
    },
    async miniflare(config, t) {
        return worker(await startMiniflare("programs/worker.js"), config, t);
    },
    async Chromium(config) {
        const { page, log, close } = await openPage("programs/page.html");
        try {
            await page.waitForFunction(() => globalThis.play !== undefined);
            return await page.evaluate((config) => globalThis.play(config), config);
        } catch (error) {
            throw new Error(log.join("\n"), { cause: error });
        } finally {
            await close();
        }
    },
};

const kinds = {
    "this Node": ["webdis", "stub", "peer", "webdis", "stub"],
    // Pages of other origins cannot ask the server that npm has.
    Chromium: ["webdis", "stub", "webdis"],
};

function program({ code, out, log }) {
    assert.equal(code, 0, log);
    return JSON.parse(out);
}

async function worker({ url, log, close }, config, t) {
    try {
        await t.test("one client serves many requests at once", async () => {
            const one = async () => {
                const response = await fetch(url, { method: "POST", body: JSON.stringify(config) });
                assert.equal(response.status, 200, `${await response.clone().text()} ${log()}`);
                return (await response.json()).fence;
            };
            const fences = await Promise.all(Array.from({ length: 20 }, one));
            assert.equal(new Set(fences).size, 20);
        });
        const response = await fetch(`${url}/scenario`, { method: "POST", body: JSON.stringify(config) });
        assert.equal(response.status, 200, `${await response.clone().text()} ${log()}`);
        return await response.json();
    } finally {
        await close();
    }
}

for (const [runtime, play] of Object.entries(runtimes)) {
    suite(runtime, () => {
        let fleet;
        before(async () => {
            fleet = await startFleet(kinds[runtime] ?? ["webdis", "stub", "peer"]);
        });
        after(() => fleet?.close());
        test("the scenario", async (t) => {
            const results = await play({ ...fleet.config, faultNames, name: runtime }, t);
            assert.ok(results.length > 0, "no step was run");
            for (const { name, error } of results) {
                await t.test(name, () => {
                    if (error !== undefined) assert.fail(error);
                });
            }
        });
    });
}
