//! Arguments and exit codes. Each subcommand is a file: its arguments, and `run`.

mod demo;
mod fidelity;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Doubts Redlock clients: nodes to test on, faults, and checks.
#[derive(Debug, Parser)]
#[command(name = "redlatch-harness", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the lock at work while nodes hang, die, come back and drift; needs nothing installed
    Demo(demo::Args),
    /// Serves embedded nodes for any client, until Ctrl-C
    Serve(serve::Args),
    /// Compares the model node with a real server, reply for reply
    Fidelity(fidelity::Args),
}

/// What a run came to, as an exit code tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything that was checked holds: 0.
    Valid,
    /// Something does not: 1.
    Violation,
    /// Nothing is known: the run was empty, or could not be made. 2, as for wrong arguments.
    Unknown,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        Self::from(match verdict {
            Verdict::Valid => 0,
            Verdict::Violation => 1,
            Verdict::Unknown => 2,
        })
    }
}

/// Runs what the arguments ask for. An error is told, and nothing is known then.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Fidelity(args) => fidelity::run(&args),
    };
    match result {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            eprintln!("redlatch-harness: {error}");
            Verdict::Unknown.into()
        }
    }
}

/// What ends a subcommand early.
pub(crate) type Error = Box<dyn std::error::Error>;

/// The commit that is being doubted, where its tree is at hand.
pub(crate) fn commit() -> String {
    let git = std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"])
        .stderr(std::process::Stdio::null())
        .output();
    let commit = git.ok().filter(|git| git.status.success());
    let commit = commit.map(|git| String::from_utf8_lossy(&git.stdout).trim().to_owned());
    commit.map(|commit| format!("  commit {commit}")).unwrap_or_default()
}
