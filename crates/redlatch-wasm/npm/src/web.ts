import { Client } from "./client.js";
import type { Node } from "./node.js";
import type { ClientOptions } from "./options.js";

export * from "./exports.js";

/** Takes locks on a majority of independent Redis nodes. Every client must have the same nodes. */
export class Redlatch extends Client {
    readonly #wasm: unknown;

    /**
     * `wasm` is `redlatch/core.wasm`: its bytes, or a `WebAssembly.Module` made of it, for runtimes and policies
     * that want modules to be loaded in their own way.
     */
    constructor(wasm: object, nodes: Iterable<Node>, options: ClientOptions = {}) {
        super(nodes, options);
        this.#wasm = wasm;
    }

    /** @internal */
    protected override wasm(): WebAssembly.Module {
        return this.#wasm as WebAssembly.Module;
    }
}
