// The scenario in Node: configuration in, results out, both JSON.
import net from "node:net";
import { resp } from "redlatch";
import { play, socketSteps } from "./scenario.js";

const config = JSON.parse(process.argv[2]);
const sockets = socketSteps("a socket of node:net", (port, index) =>
    resp({ connect: () => net.connect(port, "127.0.0.1"), name: `n${index}` }));
console.log(JSON.stringify(await play(config, sockets)));
