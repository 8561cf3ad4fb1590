//! What is wrong in a [`Record`], if anything is: a pure function over recorded data.
//!
//! It is conservative: whatever a busy machine may have delayed speaks for the client. A grant counts
//! from when its line was read, and until [`PIPE`] before the client said that it ends; from what nodes
//! were seen to keep, only what they surely kept counts; and nothing shorter than [`SHORTEST`] does.

mod belief;
mod fences;
mod left;
mod told;
mod witness;

use std::fmt;
use std::time::Duration;

use crate::check::Invariant;
use crate::live::record::{End, Hold, Record};

pub use belief::{Belief, beliefs};

/// How long a line may take from the client that wrote it to the harness that reads it.
pub const PIPE: Duration = Duration::from_millis(20);
/// Two things that are true together for less than this are not said to be.
pub const SHORTEST: Duration = Duration::from_millis(3);
/// How late a client may be to tell a loss: it takes a thread that is woken, a line, and a reader.
pub const LOSS_LATE: Duration = Duration::from_millis(250);
/// How long a client may take to clean up behind it.
pub const CLEAN_UP: Duration = Duration::from_millis(200);

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What does not hold.
    pub invariant: Invariant,
    /// What it amounts to.
    pub word: Word,
    /// When.
    pub at: Duration,
    /// The client that it is about, if it is about one.
    pub client: Option<usize>,
    /// What happened, in one plain sentence.
    pub story: String,
}

/// What a finding amounts to, for somebody who uses the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Word {
    /// Two may work at once, or the resource cannot tell who is late.
    Violated,
    /// Without a fence the resource let a late write in.
    LateWrite,
    /// An operation did not end.
    Hung,
    /// A free lock could not be had, or none while most nodes were well.
    Stuck,
    /// A key stayed for longer than its ttl, for ever if it has none.
    KeyBeyondTtl,
    /// A key of a dead attempt stayed until its ttl was over.
    KeyLeft,
    /// The loss of a lock was told late, or never.
    LossLate,
    /// The error does not tell that nodes were out from that the lock was taken.
    ErrorUnclear,
}

impl Word {
    /// Every word, the gravest first.
    pub const ALL: [Self; 8] = [
        Self::Violated,
        Self::LateWrite,
        Self::Hung,
        Self::Stuck,
        Self::KeyBeyondTtl,
        Self::KeyLeft,
        Self::LossLate,
        Self::ErrorUnclear,
    ];

    /// As it is written in a cell.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Violated => "violated",
            Self::LateWrite => "late write let in",
            Self::Hung => "hung",
            Self::Stuck => "not granted",
            Self::KeyBeyondTtl => "key beyond its ttl",
            Self::KeyLeft => "key left behind",
            Self::LossLate => "loss not told in time",
            Self::ErrorUnclear => "error unclear",
        }
    }

    /// What it means.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Violated => {
                "two clients relied on the lock at once, or one did that too few nodes backed, or fences \
                 were out of order"
            }
            Self::LateWrite => {
                "the client hands out no fence, so the resource could not refuse a write over one that it \
                 had not read"
            }
            Self::Hung => "an operation did not end by its deadline",
            Self::Stuck => {
                "the lock could not be had although a majority of nodes was well, or after all had healed"
            }
            Self::KeyBeyondTtl => "a key stayed for longer than its ttl",
            Self::KeyLeft => {
                "a key of an attempt that was over stayed until its ttl ran out, although nothing was in \
                 the way of removing it"
            }
            Self::LossLate => "a client that tells of losses told one late, or not at all",
            Self::ErrorUnclear => {
                "with a majority of nodes out, the error did not say that nodes were out"
            }
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What came of looking at a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What is wrong, in order of time.
    pub findings: Vec<Finding>,
    /// Numbers that say how much there was to look at.
    pub counts: Counts,
}

/// How much there was to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Locks granted.
    pub grants: usize,
    /// Acquires that were not.
    pub refusals: usize,
    /// Locks held for longer.
    pub extensions: usize,
    /// Locks that a client could not but lose, being one that tells of it, and of them those told in
    /// time.
    pub losses: usize,
    /// Those of them that were told in time.
    pub losses_in_time: usize,
    /// Writes that the resource let in.
    pub writes: usize,
    /// Writes that it refused.
    pub refused_writes: usize,
}

/// What is wrong in `record`.
#[must_use]
pub fn judge(record: &Record) -> Judgement {
    let beliefs = beliefs(record);
    let mut findings = Vec::new();
    witness::check(record, &beliefs, &mut findings);
    belief::check_mutex(&beliefs, &mut findings);
    fences::check(record, &beliefs, &mut findings);
    left::check(record, &mut findings);
    told::check(record, &mut findings);
    findings.sort_by_key(|finding| finding.at);
    Judgement { findings, counts: counts(record) }
}

fn counts(record: &Record) -> Counts {
    let mut counts = Counts::default();
    for acquire in &record.acquires {
        match &acquire.end {
            End::Granted(hold) => {
                counts.grants += 1;
                let extended = |at: &&crate::live::record::Extension| at.until.is_some();
                counts.extensions += hold.extensions.iter().filter(extended).count();
            }
            End::Refused { .. } => counts.refusals += 1,
            End::Hung { .. } | End::Killed { .. } => {}
        }
    }
    let (losses, in_time) = told::losses(record);
    (counts.losses, counts.losses_in_time) = (losses, in_time);
    for access in record.accesses.iter().filter(|access| access.kind.is_write()) {
        match access.accepted {
            true => counts.writes += 1,
            false => counts.refused_writes += 1,
        }
    }
    counts
}

/// How much of `from..to` the client or the harness may have stood still for.
fn standstill(record: &Record, client: usize, from: Duration, to: Duration) -> Duration {
    let own = record.pauses.iter().filter(|(who, _)| *who == client).map(|(_, span)| span);
    let spans = own.chain(&record.stalls);
    spans.map(|span| span.end.min(to).saturating_sub(span.start.max(from))).sum()
}

/// How much of `from..to` the harness may have stood still for.
fn stalled(record: &Record, from: Duration, to: Duration) -> Duration {
    let spans = record.stalls.iter();
    spans.map(|span| span.end.min(to).saturating_sub(span.start.max(from))).sum()
}

/// When the client was killed, if it was.
fn killed(record: &Record, client: usize) -> Option<Duration> {
    record.killed.iter().find(|(who, _)| *who == client).map(|(_, at)| *at)
}

/// Until when the client relies on `hold` at the latest, if nobody gives it up.
pub(super) fn until_max(hold: &Hold) -> Duration {
    let extended = hold.extensions.iter().filter_map(|extension| extension.until);
    extended.fold(hold.until, Duration::max)
}

/// `412.3 ms`.
fn ms(at: Duration) -> String {
    let micros = at.as_micros();
    format!("{}.{} ms", micros / 1_000, micros / 100 % 10)
}

/// A node as people name it.
fn node(node: usize) -> String {
    format!("n{node}")
}
