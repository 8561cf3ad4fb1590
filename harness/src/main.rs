//! The command `redlatch-harness`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
