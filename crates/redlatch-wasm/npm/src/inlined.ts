import base64 from "./core_b64.js";

let module: WebAssembly.Module | undefined;

/** The module out of the JavaScript that it is part of. @internal */
export function inlined(): WebAssembly.Module {
    module ??= new WebAssembly.Module(Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)));
    return module;
}
