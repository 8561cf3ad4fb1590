import { Redlatch } from "./index.workerd.js";
import type { Client } from "./client.js";
import type { Node } from "./node.js";
import { RedlockClient } from "./redlock-client.js";

export * from "./redlock-exports.js";

/** The drop-in face for users of node-redlock 5. */
export default class Redlock extends RedlockClient {
    /** @internal */
    protected override make(nodes: Node[]): Client {
        return new Redlatch(nodes);
    }
}
