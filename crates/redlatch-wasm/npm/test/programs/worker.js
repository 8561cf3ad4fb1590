// The scenario in a worker.
import { connect } from "cloudflare:sockets";
import { Redlatch, resp, upstash } from "redlatch";
import { Stage, play, socketSteps } from "./scenario.js";

// At global scope nothing may happen that needs time, randomness, or the network.
new Redlatch([upstash({ url: "https://example.org", token: "none" })]);

const sockets = socketSteps("a socket of workers", (port, index) =>
    resp({ connect: () => connect({ hostname: "127.0.0.1", port }), name: `n${index}` }));

/** One client for all requests. */
let shared;

export default {
    async fetch(request, _env, ctx) {
        const config = await request.json();
        if (new URL(request.url).pathname === "/scenario") return Response.json(await play(config, sockets));
        shared ??= new Stage(config).client();
        const waitUntil = (work) => ctx.waitUntil(work);
        const lock = await shared.acquire("shared", 10_000, { wait: 60_000, retryDelay: [5, 20], waitUntil });
        const { fence } = lock;
        await lock.release();
        return Response.json({ fence });
    },
};
