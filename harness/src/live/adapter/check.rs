//! Whether an adapter keeps to the protocol: each rule of `docs/adapters.md` tried on real nodes.

mod nodes;
mod rules;

use std::fmt;
use std::time::Duration;

use super::{AdapterCommand, AdapterError};
use nodes::Nodes;

/// What came of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is kept.
    Ok,
    /// It is kept, and there is something to know.
    Note,
    /// It was not tried.
    Skipped,
    /// It is not kept.
    Wrong,
}

/// One rule, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The rule's name, as in `docs/adapters.md`.
    pub name: &'static str,
    /// The rule: what was expected.
    pub rule: &'static str,
    /// Whether it is kept.
    pub mark: Mark,
    /// What was seen and what to do, if there is anything to be said.
    pub told: String,
}

/// Why nothing is known.
#[derive(Debug)]
#[non_exhaustive]
pub enum CheckError {
    /// The adapter's process could not be started.
    NotStarted(AdapterError),
    /// A server could not be asked. It is named by its place in the list, because its URL may be secret.
    Server(usize, redis::RedisError),
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(error) => error.fmt(f),
            Self::Server(index, error) => {
                write!(f, "server {index} (they are counted from 0) does not answer: {error}")
            }
        }
    }
}

impl std::error::Error for CheckError {}

impl From<(usize, redis::RedisError)> for CheckError {
    fn from((index, error): (usize, redis::RedisError)) -> Self {
        Self::Server(index, error)
    }
}

/// The names of the rules, each with its text.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    rules::Rule::ALL.iter().map(|rule| (rule.name(), rule.text()))
}

/// Tries the rules with fresh processes on fresh keys, and tells each as soon as it is known. `only`
/// are names of rules, none for all; the first one, `start`, is always tried.
///
/// # Errors
/// If the adapter cannot be started at all, or a server does not answer: then nothing is known.
pub async fn check(
    command: &AdapterCommand,
    servers: &[String],
    patience: Duration,
    only: &[String],
    told: &mut dyn FnMut(&Point),
) -> Result<Vec<Point>, CheckError> {
    let mut trial =
        rules::Trial { command, servers, patience, nodes: Nodes::connect(servers)?, hello: None };
    let mut points = Vec::new();
    let is_chosen = |rule: &rules::Rule| {
        *rule == rules::Rule::Start || only.is_empty() || only.iter().any(|it| it == rule.name())
    };
    for rule in rules::Rule::ALL.iter().copied().filter(is_chosen) {
        let outcome = match points.first() {
            Some(Point { mark: Mark::Wrong, .. }) => {
                Ok(rules::Found::Skipped("it needs a client that starts".into()))
            }
            _ => trial.attempt(rule).await,
        };
        let (mark, told_of_it) = match outcome {
            Ok(rules::Found::Kept) => (Mark::Ok, String::new()),
            Ok(rules::Found::Note(text)) => (Mark::Note, text),
            Ok(rules::Found::Skipped(text)) => (Mark::Skipped, text),
            Err(rules::Trouble::Wrong { seen, advice }) => {
                (Mark::Wrong, format!("seen:  {seen}\nto do: {advice}"))
            }
            Err(rules::Trouble::Ended(error)) => return Err(error),
        };
        let point = Point { name: rule.name(), rule: rule.text(), mark, told: told_of_it };
        told(&point);
        points.push(point);
    }
    Ok(points)
}
