//! Arguments and exit codes. Each subcommand is a file: its arguments, and `run`.

/// As `println!`, but whoever reads may stop: what a run comes to does not depend on its readers.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($words)*));
    }};
}
/// As `print!`, likewise.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(write!(std::io::stdout(), $($words)*));
    }};
}

mod adapter;
mod artefacts;
mod demo;
mod fidelity;
mod live;
mod model;
mod mutants;
mod replay;
mod scorecard;
mod serve;
mod sim;
mod stress;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

/// Doubts Redlock clients: nodes to test on, faults, and checks.
#[derive(Debug, Parser)]
#[command(name = "redlatch-harness", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds of hostile schedules in virtual time, on the shipped state machine
    Sim(sim::Args),
    /// Explores every interleaving of small worlds
    Model(model::Args),
    /// Plants bugs one at a time, each of which has to be found
    Mutants(mutants::Args),
    /// Runs one failure, or one seed, again
    Replay(replay::Args),
    /// Puts a lock client, in any language, on real servers that fail
    Live(live::Args),
    /// Hundreds of clients of this project's driver on real servers that fail, for minutes
    Stress(stress::Args),
    /// Puts every client that comes with the harness to every scenario, and writes a table
    Scorecard(scorecard::Args),
    /// Shows the lock at work while nodes hang, die, come back and drift; needs nothing installed
    Demo(demo::Args),
    /// Serves embedded nodes for any client, until Ctrl-C
    Serve(serve::Args),
    /// Compares the model node with a real server, reply for reply
    Fidelity(fidelity::Args),
    /// Lock clients under test, in any language: what there is, and whether one keeps to the protocol
    Adapter(adapter::Args),
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

impl Verdict {
    /// The worse of two: a violation is worse than not to know.
    pub(crate) fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Violation, _) | (_, Self::Violation) => Self::Violation,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Valid, Self::Valid) => Self::Valid,
        }
    }
}

/// Runs what the arguments ask for. An error is told, and nothing is known then.
pub(crate) fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            eprintln!("redlatch-harness: {error}");
            Verdict::Unknown.into()
        }
    }
}

fn execute(cli: Cli) -> Result<Verdict, Error> {
    match cli.command {
        Command::Sim(args) => sim::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Live(args) => live::run(&args),
        Command::Stress(args) => stress::run(&args),
        Command::Scorecard(args) => scorecard::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Fidelity(args) => fidelity::run(&args),
        Command::Adapter(args) => adapter::run(&args),
    }
}

/// What ends a subcommand early.
pub(crate) type Error = Box<dyn std::error::Error>;

/// The commit that was built, where its tree was at hand; with `-dirty` if that had been changed.
pub(crate) fn commit() -> Option<String> {
    option_env!("REDLATCH_COMMIT").map(str::to_owned)
}

/// A first line: what is run, and on which code.
pub(crate) fn heading(what: &str) -> String {
    match commit() {
        Some(commit) => format!("{what}  commit {commit}"),
        None => what.to_owned(),
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn progress(length: u64, unit: &str) -> Result<ProgressBar, Error> {
    let bar = match io::stdout().is_terminal() {
        true => ProgressBar::new(length),
        false => ProgressBar::hidden(),
    };
    let template = format!("{{bar:30}} {{pos}}/{{len}} {unit}  {{eta}} left");
    bar.set_style(ProgressStyle::with_template(&template)?);
    Ok(bar)
}

/// Something that turns on a terminal while `what` goes on, nothing elsewhere.
pub(crate) fn spinner(what: &str) -> Result<ProgressBar, Error> {
    let bar = match io::stdout().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}  {elapsed}")?);
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}
