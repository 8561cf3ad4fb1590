//! An examination of the nodes: what the client's warnings see, and what only a closer look does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redlatch_core::wire::{Compare, Dialect};
use redlatch_core::{Config, Instant};

use crate::builder::guarded;
use crate::clock;
use crate::drive::NodeDialect;
use crate::failure::{Failure, Nature, Trouble};
use crate::finding::{
    Aspect, ClockReading, Finding, Guarded, Problem, Told, clock_findings, count_problem,
    latency_problem,
};
use crate::node::{Link, Node};

/// How long a node may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long all answers of a node may take, and the connection before them.
const BUDGET: Duration = Duration::from_secs(10);
/// How often a node's clock is read: enough for a median, few enough to pass in a moment.
const READINGS: usize = 7;

/// What was found of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examination {
    /// Every node, in the order in which they were given.
    pub nodes: Vec<NodeExamination>,
    /// What is wrong with them or not known of them: node by node, and then of all.
    pub findings: Vec<Finding>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeExamination {
    /// Its name.
    pub node: Arc<str>,
    /// Name and version of its server, if it told.
    pub server: Option<String>,
    /// The median of some answers, if it answered.
    pub latency: Option<Duration>,
    /// Its clock, if it told.
    pub clock: Option<ClockReading>,
}

/// What a node said to all that it was asked.
struct Answers {
    told: Told,
    latency: Duration,
    clock: Result<ClockReading, Failure>,
    /// Why it runs no scripts, if it does not.
    scripts: Option<Failure>,
    /// Its `appendfsync`, if that matters.
    sync: Option<Result<String, Failure>>,
}

pub(crate) async fn examine(
    nodes: Arc<[Arc<Node>]>,
    dialect: NodeDialect,
    config: Config,
) -> Examination {
    let asked = join_all(nodes.iter().map(|node| ask_all(node, dialect))).await;
    let node_timeout = config.node_timeout();
    let mut examination = Examination { nodes: Vec::new(), findings: Vec::new() };
    for (node, answers) in nodes.iter().zip(&asked) {
        let problems = match answers {
            Ok(answers) => answers.problems(guarded(dialect), node_timeout),
            Err(failure) => vec![refusal(failure)],
        };
        let name = node.name();
        let finding = |problem| Finding { node: Some(name.clone()), problem };
        examination.findings.extend(problems.into_iter().map(finding));
        let answers = answers.as_ref().ok();
        examination.nodes.push(NodeExamination {
            node: name.clone(),
            server: answers.and_then(|answers| answers.told.version()),
            latency: answers.map(|answers| answers.latency),
            clock: answers.and_then(|answers| answers.clock.as_ref().ok()).copied(),
        });
    }
    let clocks = examination.nodes.iter().filter_map(|node| Some((node.node.clone(), node.clock?)));
    let allowance = config.drift().margin(config.ttl());
    let differing = clock_findings(clocks.collect(), allowance);
    examination.findings.extend(differing);
    let count = count_problem(nodes.len()).map(|problem| Finding { node: None, problem });
    examination.findings.extend(count);
    examination
}

/// What it means that a node ran no script. It may do so later, while it loads its data for example.
fn script_problem(failure: &Failure) -> Problem {
    let error = failure.to_string();
    match &failure.nature {
        Nature::Forbidden => Problem::ScriptsForbidden { error },
        Nature::Denied | Nature::Twin(_) | Nature::Other => Problem::Unreachable { error },
    }
}

/// What it means that a node cannot be asked.
fn refusal(failure: &Failure) -> Problem {
    let error = failure.to_string();
    match &failure.nature {
        Nature::Denied | Nature::Forbidden => Problem::Denied { error },
        Nature::Twin(other) => Problem::SameServer { other: other.clone() },
        Nature::Other => Problem::Unreachable { error },
    }
}

impl Answers {
    fn problems(&self, guarded: Guarded, node_timeout: Duration) -> Vec<Problem> {
        let mut problems = self.told.problems(guarded);
        problems.extend(self.scripts.as_ref().map(script_problem));
        problems.extend(latency_problem(self.latency, node_timeout));
        problems.extend(match &self.sync {
            None => None,
            Some(Ok(appendfsync)) if appendfsync == "always" => None,
            Some(Ok(appendfsync)) => Some(Problem::SyncsLater { appendfsync: appendfsync.clone() }),
            Some(Err(failure)) => Some(untold(Aspect::Sync, "CONFIG GET", failure)),
        });
        problems.extend(self.told.untold(guarded));
        problems.extend(
            self.clock.as_ref().err().map(|failure| untold(Aspect::Clock, "TIME", failure)),
        );
        problems
    }
}

fn untold(aspect: Aspect, command: &'static str, failure: &Failure) -> Problem {
    Problem::Untold { aspects: vec![aspect], command, error: Some(failure.to_string()) }
}

async fn ask_all(node: &Arc<Node>, dialect: NodeDialect) -> Result<Answers, Failure> {
    let deadline = clock::now().saturating_add(BUDGET);
    let answers = node.ask(deadline, |link, _| questions(node, link, dialect));
    tokio::time::timeout(BUDGET, answers).await.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> Failure {
    Failure::from("no answer within 1 s")
}

async fn questions(node: &Node, link: Link, dialect: NodeDialect) -> Result<Answers, Trouble> {
    let asker = Asker { node, link };
    let (latency, clock) = asker.read_clock().await?;
    let told = tokio::time::timeout(TIMEOUT, asker.link.ask_told()).await;
    let told = told.unwrap_or_else(|_| Err(silent())).map_err(Trouble::Ours)?;
    let scripts = match dialect.of(asker.link.compare) {
        Dialect::Scripts { .. } | Dialect::Plain { compare: Compare::Script } => {
            asker.try_scripts().await?
        }
        Dialect::Plain { compare: Compare::Delex | Compare::Delifeq } => None,
    };
    let is_file_enough = told.has_append_only_file() == Some(true);
    let depends_on_sync = guarded(dialect) == Guarded::No && is_file_enough;
    let sync = if depends_on_sync { Some(asker.ask_sync().await?) } else { None };
    Ok(Answers { told, latency, clock, scripts, sync })
}

/// Asks one node by one connection.
struct Asker<'a> {
    node: &'a Node,
    link: Link,
}

impl Asker<'_> {
    /// One command, bounded in time. What the node answers, be it an error, is an answer.
    async fn send(&self, command: redis::Cmd) -> Result<redis::RedisResult<redis::Value>, Trouble> {
        let sent = tokio::time::timeout(TIMEOUT, self.node.send(&self.link, command)).await;
        let Ok(sent) = sent else { return Err(Trouble::Ours(silent())) };
        match sent.and_then(redis::Value::extract_error) {
            Err(error) if error.is_unrecoverable_error() => Err(error.into()),
            answer => Ok(answer),
        }
    }

    /// The median of the times that the node takes to answer, and its clock by the answer that came
    /// soonest. One that may not be asked for its clock takes as long to say so.
    async fn read_clock(&self) -> Result<(Duration, Result<ClockReading, Failure>), Trouble> {
        let (begin, wall) = (clock::now(), clock::wall());
        let mut latencies = Vec::with_capacity(READINGS);
        let mut best: Option<ClockReading> = None;
        let mut failure = Failure::from("the answer is no time");
        for _ in 0..READINGS {
            let asked = clock::now();
            let answer = self.send(redis::cmd("TIME")).await?;
            let answered = clock::now();
            latencies.push(answered.saturating_duration_since(asked));
            match answer {
                Ok(value) => {
                    let readings = [best, reading(&value, wall, [begin, asked, answered])];
                    best = readings.into_iter().flatten().min_by_key(|one| one.uncertainty);
                }
                Err(error) => failure = Failure::from(&error),
            }
            // Of a node that is so slow, a few answers tell enough.
            if answered >= begin.saturating_add(TIMEOUT) {
                break;
            }
        }
        latencies.sort_unstable();
        let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
        Ok((median, best.ok_or(failure)))
    }

    /// Whether the node runs scripts, by their text and by their hash: why not, if it does not. Nothing
    /// is written, and of the hash it is enough that the node looks for it.
    async fn try_scripts(&self) -> Result<Option<Failure>, Trouble> {
        let mut by_text = redis::cmd("EVAL");
        by_text.arg("return 1").arg(0);
        let mut by_hash = redis::cmd("EVALSHA");
        by_hash.arg("0".repeat(40)).arg(0);
        for command in [by_text, by_hash] {
            match self.send(command).await? {
                Err(error) if error.code() != Some("NOSCRIPT") => {
                    return Ok(Some(Failure::from(&error)));
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }

    /// When the node syncs its append-only file.
    async fn ask_sync(&self) -> Result<Result<String, Failure>, Trouble> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("appendfsync");
        let answer = match self.send(command).await? {
            Ok(value) => value,
            Err(error) => return Ok(Err(Failure::from(&error))),
        };
        let pairs = redis::from_redis_value::<Vec<(String, String)>>(answer).unwrap_or_default();
        let value = pairs.into_iter().next().map(|(_, value)| value);
        Ok(value.ok_or_else(|| Failure::from("the answer is no setting")))
    }
}

/// What a node's clock was against ours, which was `wall` at `begin`, half-way between question and
/// answer.
fn reading(
    value: &redis::Value,
    wall: Duration,
    [begin, asked, answered]: [Instant; 3],
) -> Option<ClockReading> {
    let redis::Value::Array(parts) = value else { return None };
    let [seconds, micros] = parts.as_slice() else { return None };
    let number = |part: &redis::Value| redis::from_redis_value_ref::<u64>(part).ok();
    let micros = Duration::from_micros(number(micros)?);
    let theirs = Duration::from_secs(number(seconds)?).checked_add(micros)?;
    let uncertainty = answered.saturating_duration_since(asked) / 2;
    let ours = wall + asked.saturating_duration_since(begin) + uncertainty;
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).ok();
    let ahead_us = micros(theirs)?.checked_sub(micros(ours)?)?;
    Some(ClockReading { ahead_us, uncertainty })
}
