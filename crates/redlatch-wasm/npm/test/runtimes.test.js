// The same scenario in every runtime, from the packed tarball.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { startFleet } from "./lib/fleet.js";
import { run } from "./lib/processes.js";
import { faultNames } from "./lib/stub.js";
import { otherNode } from "./lib/tools.js";

/** The results of a run, as tests. */
async function report(t, results) {
    assert.ok(results.length > 0, "no step was run");
    for (const { name, error } of results) {
        await t.test(name, () => {
            if (error !== undefined) assert.fail(error);
        });
    }
}

const runtimes = {
    async "this Node"(config) {
        return program(await run(process.execPath, ["programs/node.js", JSON.stringify(config)]));
    },
    async "another Node"(config) {
        return program(await run(otherNode(), ["programs/node.js", JSON.stringify(config)]));
    },
};

function program({ code, out, log }) {
    assert.equal(code, 0, log);
    return JSON.parse(out);
}

for (const [runtime, play] of Object.entries(runtimes)) {
    suite(runtime, () => {
        let fleet;
        before(async () => {
            fleet = await startFleet(["webdis", "stub", "peer"]);
        });
        after(() => fleet?.close());
        test("the scenario", async (t) => {
            await report(t, await play({ ...fleet.config, faultNames, name: runtime }));
        });
    });
}
