//! `redlatch-wasm-build MODULE FOLDER`: writes the glue of a wasm module that cargo built, and the module
//! that goes with it, as `core.js`, `core.d.ts` and `core_bg.wasm`.

use std::error::Error;
use std::path::PathBuf;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(module), Some(folder), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: redlatch-wasm-build MODULE FOLDER".into());
    };
    // The one target that runs everywhere: the caller hands in a module, and nothing is loaded by URL.
    Bindgen::new()
        .input_path(module)
        .out_name("core")
        .web(true)?
        .omit_default_module_path(true)
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)?;
    Ok(())
}
