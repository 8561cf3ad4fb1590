// Work that only one request at a time may do, wherever in the world it runs.
import { ContendedError, Redlatch, upstash, webdis } from "redlatch";
import page from "./page.html";

/** Built once for all requests; nothing is connected before a lock is asked for. */
let redlatch;

function client(env) {
    // [{ "url": …, "token": … }] for Upstash, [{ "url": …, "user": …, "password": … }] for Webdis.
    redlatch ??= new Redlatch(JSON.parse(env.NODES).map((node) => ("token" in node ? upstash(node) : webdis(node))));
    return redlatch;
}

async function work(request, env, ctx) {
    const hold = Math.min(Number(new URL(request.url).searchParams.get("hold") ?? 1500), 5000);
    const asked = Date.now();
    const options = { signal: request.signal, wait: 20_000, retryDelay: [20, 100], waitUntil: (rest) => ctx.waitUntil(rest) };
    try {
        const [fence, from] = await client(env).using("report", 2000, options, async (signal, lock) => {
            const from = Date.now();
            // Stands for work; the signal would end it if the lock were lost.
            await new Promise((resolve, reject) => {
                setTimeout(resolve, hold);
                signal.addEventListener("abort", () => reject(signal.reason), { once: true });
            });
            return [lock.fence, from];
        });
        return Response.json({ fence, asked, from, until: Date.now() });
    } catch (error) {
        return Response.json({ error: error.message }, { status: error instanceof ContendedError ? 423 : 500 });
    }
}

export default {
    fetch(request, env, ctx) {
        switch (`${request.method} ${new URL(request.url).pathname}`) {
            case "GET /":
                return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
            case "POST /work":
                return work(request, env, ctx);
            default:
                return new Response("not found\n", { status: 404 });
        }
    },
};
