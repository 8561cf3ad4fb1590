// The example worker, as a person sees it.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium as playwright } from "playwright-core";
import { chromium } from "./lib/tools.js";

let example;
let browser;

before(async () => {
    assert.ok(existsSync("example-worker/start.js"), "scripts/test.js puts the example here");
    const { startExample } = await import("./example-worker/start.js");
    example = await startExample();
    browser = await playwright.launch({ executablePath: chromium(), args: ["--no-sandbox", "--disable-gpu"] });
});

after(async () => {
    await browser?.close();
    await example?.close();
});

test("two requests of a page exclude each other", async () => {
    const page = await browser.newPage();
    await page.goto(`${example.url}?hold=400`);
    await page.click("#go");
    await page.waitForFunction(() => document.querySelectorAll(".row").length === 2);
    if (process.env.REDLATCH_SCREENSHOT) await page.screenshot({ path: process.env.REDLATCH_SCREENSHOT });
    const rows = await page.$$eval(".row", (rows) => rows.map(({ dataset, textContent }) => ({ ...dataset, textContent })));
    const held = rows.map(({ fence, from, until, textContent }) => {
        assert.ok(Number(fence) > 0, textContent);
        return { fence: Number(fence), from: Number(from), until: Number(until) };
    });
    const [first, second] = held.sort((one, other) => one.from - other.from);
    assert.ok(first.until <= second.from + 1, `they do not overlap: ${JSON.stringify(held)}`);
    assert.ok(second.fence > first.fence, "the fence grows");
});
