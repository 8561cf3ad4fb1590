//! What will happen to the nodes, drawn from a seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use redlatch_harness::embedded::Cluster;
use redlatch_harness::history::Process;
use redlatch_harness::redis::Keep;
use redlatch_harness::report::{self, Effect};

use super::record::{Record, What};

/// No more than a minority is disturbed at a time, so that there is progress to look at.
const DISTURBED_MAX: usize = 2;
/// Clocks run at rates within this of the true one: half of what the lock's validity allows for.
const DRIFT_PPM_MAX: i32 = 5_000;
/// Between two faults.
const PAUSE_MS: std::ops::Range<u64> = 60..260;
/// How long one lasts.
const LENGTH_MS: std::ops::Range<u64> = 100..700;

/// Something that befalls a node, and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It stands still, and later carries out what waited.
    Hang,
    /// What is sent to it is lost.
    Deafen,
    /// What it answers is lost.
    Mute,
    /// It is slow, by so many milliseconds.
    Slow(u64),
    /// It dies, and comes back having kept this.
    Kill(Keep),
    /// It forgets every key, there and then.
    Flush,
    /// Its clock runs faster by so many parts per million, until the next time.
    Drift(i32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hang => f.write_str("hangs"),
            Self::Deafen => f.write_str("loses what is sent to it"),
            Self::Mute => f.write_str("loses its answers"),
            Self::Slow(millis) => write!(f, "is slow by {millis} ms"),
            Self::Kill(Keep::All) => f.write_str("dies, with its keys on disk"),
            Self::Kill(Keep::Synced) => f.write_str("dies, with old keys on disk"),
            Self::Kill(Keep::Nothing) => f.write_str("dies, and loses its keys"),
            Self::Flush => f.write_str("is flushed"),
            Self::Drift(ppm) => {
                write!(f, "has a clock that runs {:+.2} % off", f64::from(*ppm) / 10_000.0)
            }
        }
    }
}

/// A fault with its place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// Its place in the plan.
    pub(super) place: usize,
    pub(super) at: Duration,
    pub(super) node: usize,
    pub(super) fault: Fault,
    /// When it is over; a drift and a flush are over at once.
    pub(super) until: Duration,
}

/// The faults of a run, in order of time.
pub(super) fn draw(
    seed: u64,
    nodes: usize,
    length: Duration,
    quarantine: Duration,
) -> Vec<Planned> {
    let mut rng = Rng::with_seed(seed);
    let mut plan: Vec<Planned> = Vec::new();
    // Every clock is wrong from the beginning.
    for node in 0..nodes {
        let fault = Fault::Drift(rng.i32(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX));
        plan.push(Planned { place: node, at: Duration::ZERO, node, fault, until: Duration::ZERO });
    }
    let mut busy_until = vec![Duration::ZERO; nodes];
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(rng.u64(PAUSE_MS));
        let lasts = Duration::from_millis(rng.u64(LENGTH_MS));
        let node = rng.usize(..nodes);
        let fault = fault(&mut rng);
        if at + lasts > length {
            return plan;
        }
        let disturbed = busy_until.iter().filter(|until| at < **until).count();
        let is_harmless = matches!(fault, Fault::Drift(_));
        if at < busy_until[node] || (disturbed >= DISTURBED_MAX && !is_harmless) {
            continue;
        }
        // A node that forgot does not vote for a while after it is back.
        let (until, undisturbed) = match fault {
            Fault::Drift(_) => (at, at),
            Fault::Flush => (at, at + quarantine),
            Fault::Kill(_) => (at + lasts, at + lasts + quarantine),
            Fault::Hang | Fault::Deafen | Fault::Mute | Fault::Slow(_) => (at + lasts, at + lasts),
        };
        busy_until[node] = undisturbed;
        plan.push(Planned { place: plan.len(), at, node, fault, until });
    }
}

fn fault(rng: &mut Rng) -> Fault {
    match rng.u8(..12) {
        0..=2 => Fault::Hang,
        3 => Fault::Deafen,
        4 => Fault::Mute,
        5 => Fault::Slow(rng.u64(5..30)),
        6 => Fault::Kill(Keep::All),
        7 => Fault::Kill(Keep::Synced),
        8 | 9 => Fault::Kill(Keep::Nothing),
        10 => Fault::Flush,
        11..=255 => Fault::Drift(rng.i32(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX)),
    }
}

impl Planned {
    /// In the words of the report.
    pub(super) fn reported(&self) -> report::Fault {
        let effect = match self.fault {
            Fault::Hang => Effect::Stops,
            Fault::Flush | Fault::Drift(_) => Effect::Moment,
            Fault::Deafen | Fault::Mute | Fault::Slow(_) | Fault::Kill(_) => Effect::Lasts,
        };
        let node = u8::try_from(self.node).unwrap_or(u8::MAX);
        let text = format!("n{node} {}", self.fault);
        report::Fault { who: vec![Process::Node(node)], text, effect }
    }

    /// Lets the fault begin.
    pub(super) fn begin(&self, cluster: &Cluster, record: &Record) {
        let (index, node) = (self.node, &cluster[self.node]);
        let text = self.fault.to_string();
        record.note(What::FaultBegan { node: index, place: self.place, text });
        match self.fault {
            Fault::Hang => node.hang(),
            Fault::Deafen => node.deafen(),
            Fault::Mute => node.mute(),
            Fault::Slow(millis) => node.slow(Duration::from_millis(millis)),
            Fault::Kill(_) => {
                node.kill();
                record.note(What::Crashed { node: index });
            }
            Fault::Flush => node.flush(),
            Fault::Drift(rate_ppm) => {
                node.drift(rate_ppm);
                let ahead_ms = node.clock_offset_ms();
                record.note(What::Clock { node: index, ahead_ms, rate_ppm });
            }
        }
    }

    /// Ends it.
    pub(super) fn end(&self, cluster: &Cluster, record: &Record) -> std::io::Result<()> {
        let (index, node) = (self.node, &cluster[self.node]);
        match self.fault {
            Fault::Hang | Fault::Deafen | Fault::Mute => node.resume(),
            Fault::Slow(_) => node.slow(Duration::ZERO),
            Fault::Kill(keep) => {
                node.restart(keep)?;
                record.note(What::Restarted { node: index });
            }
            // They do not last.
            Fault::Flush | Fault::Drift(_) => return Ok(()),
        }
        record.note(What::FaultEnded { node: index, place: self.place });
        Ok(())
    }
}

/// The plan in one line.
pub(super) fn shape(plan: &[Planned]) -> String {
    let count =
        |wanted: fn(&Fault) -> bool| plan.iter().filter(|planned| wanted(&planned.fault)).count();
    format!(
        "{} hangs, {} deaths, {} flushes, {} lossy or slow links, {} changes of clock rates",
        count(|fault| matches!(fault, Fault::Hang)),
        count(|fault| matches!(fault, Fault::Kill(_))),
        count(|fault| matches!(fault, Fault::Flush)),
        count(|fault| matches!(fault, Fault::Deafen | Fault::Mute | Fault::Slow(_))),
        count(|fault| matches!(fault, Fault::Drift(_))),
    )
}
