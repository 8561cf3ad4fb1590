// Headless Chromium, and the fresh folder served to it.
import { once } from "node:events";
import { createReadStream, existsSync } from "node:fs";
import http from "node:http";
import { extname, join, normalize } from "node:path";
import { chromium as playwright } from "playwright-core";
import { chromium } from "./tools.js";

const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

/** A page of this folder, in Chromium. */
export async function openPage(path, headers = {}) {
    const server = http.createServer((request, response) => {
        const file = join(".", normalize(new URL(request.url, "http://page").pathname));
        if (!existsSync(file)) return response.writeHead(404).end();
        response.writeHead(200, { "content-type": types[extname(file)] ?? "text/plain", ...headers });
        createReadStream(file).pipe(response);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const browser = await playwright.launch({ executablePath: chromium(), args: ["--no-sandbox", "--disable-gpu"] });
    const page = await browser.newPage();
    const log = [];
    page.on("console", (message) => log.push(message.text()));
    page.on("pageerror", (error) => log.push(String(error)));
    await page.goto(`http://127.0.0.1:${server.address().port}/${path}`);
    return {
        page,
        log,
        async close() {
            await browser.close();
            server.closeAllConnections();
            server.close();
        },
    };
}
