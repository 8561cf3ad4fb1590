// The scenario in Deno.
import { resp } from "redlatch";
import { play, socketSteps } from "./scenario.js";

const config = JSON.parse(Deno.args[0]);
const sockets = socketSteps("a connection of Deno", (port, index) =>
    resp({ connect: () => Deno.connect({ hostname: "127.0.0.1", port }), name: `n${index}` }));
console.log(JSON.stringify(await play(config, sockets)));
