#![forbid(unsafe_code)]
//! The command `redlatch`: runs a program, or a part of a script, under a distributed lock on a
//! majority of independent Redis nodes. `redlatch --help` is its documentation.
//!
//! | file | what |
//! | --- | --- |
//! | `args`, `config` | what is asked for: arguments, environment, configuration file |
//! | `acquire` | taking a lock |
//! | `run`, `child`, `signals` | a command under a lock |
//! | `lease`, `document` | a lease in the hands of a script, and as text |
//! | `doctor` | what is wrong with the nodes |
//! | `status` | looks that need no lease |
//! | `generate` | completion scripts and manual pages |
//! | `exit`, `output` | codes, errors, messages |

#[cfg(not(unix))]
compile_error!("the command `redlatch` passes Unix signals on; use the crate `redlatch` elsewhere");

mod acquire;
mod args;
mod child;
mod config;
mod doctor;
mod document;
mod exit;
mod generate;
mod lease;
mod output;
mod run;
mod signals;
mod status;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    if let Some(code) = child::become_command() {
        return code;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            eprint!("{}", output::usage_error(&error));
            return Exit::Usage.into();
        }
        // The help or the version, which were asked for.
        Err(text) => return text.print().map_or(Exit::File, |()| Exit::Done).into(),
    };
    let quiet = arguments.command.is_quiet();
    match execute(arguments.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !quiet || failure.exit == Exit::Usage {
                eprintln!("redlatch: {failure}");
            }
            failure.exit.into()
        }
    }
}

fn execute(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => block_on(run::run(args)),
        Command::Acquire(args) => block_on(lease::acquire(args)),
        Command::Extend(args) => block_on(lease::extend(args)),
        Command::Release(args) => block_on(lease::release(args)),
        Command::Status(args) => block_on(status::status(args)),
        Command::Doctor(args) => block_on(doctor::doctor(args)),
        Command::DeclareFresh(args) => block_on(status::declare_fresh(args)),
        Command::Completions { shell } => generate::completions(shell),
        Command::Man { command } => generate::man(command.as_deref()),
    }
}

/// Runs on this thread. The command's process must be started by one that lives as long as redlatch
/// does, or Linux would kill it with the thread.
fn block_on(task: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::Internal, format!("the system denied an event queue: {error}"))
    })?;
    runtime.block_on(task)
}

impl Command {
    /// Whether only the exit code is wanted.
    fn is_quiet(&self) -> bool {
        match self {
            Self::Run(args) => args.verbosity.quiet,
            Self::Acquire(args) => args.verbosity.quiet,
            Self::Extend(args) => args.verbosity.quiet,
            Self::Release(args) => args.verbosity.quiet,
            Self::Status(args) => args.verbosity.quiet,
            Self::Doctor(args) => args.verbosity.quiet,
            Self::DeclareFresh(args) => args.verbosity.quiet,
            Self::Completions { .. } | Self::Man { .. } => false,
        }
    }
}
