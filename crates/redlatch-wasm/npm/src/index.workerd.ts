import wasm from "./core_bg.wasm";
import { Client } from "./client.js";

export * from "./exports.js";

/** Takes locks on a majority of independent Redis nodes. Every client must have the same nodes. */
export class Redlatch extends Client {
    /** @internal */
    protected override wasm(): WebAssembly.Module {
        return wasm;
    }
}
