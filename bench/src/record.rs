//! What a subject measured, and what its nodes saw of it: the words of the JSON.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;

/// What a subject is told to do: the argument of its process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub subject: String,
    /// What to do.
    pub scenario: Scenario,
    /// The URLs of the nodes.
    pub nodes: Vec<String>,
    /// How long to measure.
    pub seconds: f64,
    /// How many workers there are, for programs that read no scenario's name.
    pub workers: usize,
    /// Whether they all want one resource.
    pub contended: bool,
    /// Whether each has a client of its own.
    pub own_clients: bool,
    /// How long to go on before the clock counts, so that a fault is known by then.
    pub settle_seconds: f64,
}

/// A line that a subject's process writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// Connected and warm: the next line that it reads begins the first phase.
    Ready,
    /// A phase is over: the next line that it reads begins the next, or the end.
    Measured(Box<Measured>),
}

/// What a subject measured in one phase. Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// How long it was measured.
    pub elapsed_us: f64,
    /// Locks acquired and released in that time.
    pub pairs: u64,
    /// As well, from when the phase began: what the nodes counted belongs to these.
    pub pairs_counted: u64,
    /// Attempts that ended in an error.
    pub errors: u64,
    /// Workers that were still in a call long after the end.
    pub stuck: u64,
    /// From the call of acquire to the return of release, less the work between.
    pub pair_us: Spread,
    /// The call of acquire alone.
    pub acquire_us: Spread,
    /// The call of release alone.
    pub release_us: Spread,
    /// Time of processors that the process used.
    pub cpu_us: f64,
    /// Allocations on the heap; none where nobody counts them.
    pub allocations: Option<u64>,
    /// Their bytes.
    pub allocated_bytes: Option<u64>,
    /// Locks still held at the end, of those that were to be.
    pub held: Option<u64>,
    /// Of contending workers.
    pub contention: Option<Contention>,
}

/// How workers shared one resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contention {
    /// How often each worker got it.
    pub turns: Vec<u64>,
    /// The longest that one waited, an end of the measurement counting as an end of waiting.
    pub wait_max_us: f64,
    /// How long they worked, on average.
    pub hold_us: f64,
    /// From the call of release to the return of acquire in another worker.
    pub handover_us: Spread,
    /// How often two worked at the same time, which must be never.
    pub violations: u64,
}

/// Percentiles of a latency, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of them were no longer.
    pub p50: f64,
    /// 99 of 100 were no longer.
    pub p99: f64,
    /// 999 of 1,000 were no longer.
    pub p999: f64,
    /// The average.
    pub mean: f64,
    /// The longest.
    pub max: f64,
}

impl Spread {
    /// Of nanoseconds.
    #[must_use]
    pub fn of_nanos(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            mean: histogram.mean() / 1_000.0,
            max: micros(histogram.max()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of minutes are far below 2^53")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}

/// What the nodes that answer saw of one phase, on average.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Calls of each command, those inside scripts too.
    pub calls: BTreeMap<String, f64>,
    /// Times that a node read from its connections.
    pub reads: f64,
    /// Time of processors that a node used, in microseconds.
    pub cpu_us: f64,
    /// The most calls that a node got in any tenth of a second, as a multiple of the average.
    pub peak: Option<f64>,
}

/// One phase of one subject in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// What the subject measured.
    pub measured: Measured,
    /// What the nodes saw.
    pub seen: Seen,
}

/// One subject in one scenario in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Which round.
    pub round: usize,
    /// What was measured.
    pub scenario: Scenario,
    /// Whose.
    pub subject: String,
    /// Its phases; none if it did not come to an end.
    pub phases: Vec<Phase>,
    /// Locks left on any node after it had ended, all faults healed.
    pub keys_left: u64,
    /// Why there is nothing to see.
    pub failure: Option<String>,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When it began, by the wall clock, in seconds since 1970.
    pub started_unix: u64,
    /// Processors, kernel and servers.
    pub machine: String,
    /// How long each measurement took.
    pub seconds: f64,
    /// Subjects that are not installed, and what installs them.
    pub missing: BTreeMap<String, String>,
    /// Processors that others used meanwhile, on average.
    pub others: f64,
    /// What was measured.
    pub records: Vec<Record>,
}
