import deflated from "./core_deflated.js";

let module: WebAssembly.Module | undefined;

/** The module out of the JavaScript that it is part of. @internal */
export async function inlined(): Promise<WebAssembly.Module> {
    if (module === undefined) {
        const bytes = Uint8Array.from(atob(deflated), (char) => char.charCodeAt(0));
        const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
        const wasm = await new Response(stream).arrayBuffer();
        // Others may have been as fast; nobody waits for what somebody else has begun.
        module ??= new WebAssembly.Module(wasm);
    }
    return module;
}
