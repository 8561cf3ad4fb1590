declare module "*/core_bg.wasm" {
    const module: WebAssembly.Module;
    export default module;
}
