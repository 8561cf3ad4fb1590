//! The benchmark's command: see the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    redlatch_bench::cli::main()
}
