import { Client } from "./client.js";
import { inlined } from "./inlined.js";

export * from "./exports.js";

/** Takes locks on a majority of independent Redis nodes. Every client must have the same nodes. */
export class Redlatch extends Client {
    /** @internal */
    protected override wasm(): Promise<WebAssembly.Module> {
        return inlined();
    }
}
