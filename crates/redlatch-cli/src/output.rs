//! What is said on standard error, and how results get to standard output.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use crate::args::Verbosity;
use crate::exit::{Exit, Failure};

/// Says on standard error what happens, in lines that begin with `redlatch:`.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    level: Level,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Nothing,
    /// What went wrong.
    Warnings,
    /// What went right as well.
    Everything,
}

impl Log {
    pub(crate) fn new(verbosity: &Verbosity) -> Self {
        let level = match (verbosity.quiet, verbosity.verbose) {
            (true, _) => Level::Nothing,
            (false, false) => Level::Warnings,
            (false, true) => Level::Everything,
        };
        Self { level }
    }

    /// What somebody should know.
    pub(crate) fn warn(self, message: impl fmt::Display) {
        self.say(Level::Warnings, message);
    }

    /// What somebody may want to know.
    pub(crate) fn note(self, message: impl fmt::Display) {
        self.say(Level::Everything, message);
    }

    fn say(self, level: Level, message: impl fmt::Display) {
        if level <= self.level {
            // Nobody can be told that standard error is gone.
            drop(writeln!(io::stderr(), "redlatch: {message}"));
        }
    }
}

/// What clap says of wrong arguments, as our own errors begin, and without passwords in URLs that are
/// not where they should be.
pub(crate) fn usage_error(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = match text.strip_prefix("error: ") {
        Some(reason) => format!("redlatch: {reason}"),
        None => text,
    };
    let mut pieces = text.split("://");
    let mut safe = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let word = piece.find(|c: char| c.is_whitespace()).unwrap_or(piece.len());
        let (address, rest) = piece.split_at(word);
        let host = address.rfind('@').map_or(0, |at| at + 1);
        safe.extend(["://", &address[host..], rest]);
    }
    safe
}

/// Writes a result to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        Failure::new(Exit::File, format!("standard output cannot be written: {error}"))
    })
}

/// A value as indented JSON, as people read it and programs do not mind.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    // Only maps with keys that are no strings fail, and we have none.
    text.map(|text| text + "\n").map_err(|error| Failure::new(Exit::Internal, error.to_string()))
}

/// A duration as people write it, in whole milliseconds.
pub(crate) fn human(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::new(
        duration.as_secs(),
        duration.subsec_millis() * 1_000_000,
    ))
}

/// Whole milliseconds of a duration.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
