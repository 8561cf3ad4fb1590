//! Hundreds of clients, tens of resources, and random faults for minutes.
//!
//! The other runs of this tier keep all that happened and judge it when they are over. Here nothing is kept:
//! the clients are those of this project's driver, in one process of their own ([`clients`]), where each claim is
//! judged the moment it is made; the nodes are looked at meanwhile; faults are drawn from a seed, some at a
//! time. So a run takes no more memory at its end than in its beginning, and that is one of the things that are
//! checked: when all clients have gone, nothing may be left of them, in their process and on the nodes.

pub mod clients;
mod faults;
mod heap;
mod judge;
mod leftovers;
mod process;
mod witness;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::network::Network;
use super::node::{Backend, Fsync, Node};
use super::run::RunError;
use faults::{Storm, Struck};
use leftovers::Leftovers;
use process::Clients;

pub use judge::Finding;

/// How many ways there are to each node: a fault of a way meets the clients that go by it.
const WAYS: usize = 4;
/// How long a lock lives that nobody gives up; nodes that may have forgotten do not vote for as long.
const TTL: Duration = Duration::from_secs(2);
/// Between two looks at the process of the clients.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// Connections, threads and buffers are made in the beginning: memory counts from then on.
const WARM_PERCENT: u32 = 40;
/// Into how many stretches the rest is divided.
const STRETCHES: u32 = 6;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Stress {
    /// How many clients.
    pub clients: u16,
    /// How many resources they contend for.
    pub resources: u16,
    /// How many nodes.
    pub nodes: u8,
    /// For how long.
    pub lasts: Duration,
    /// What everything is drawn from.
    pub seed: u64,
    /// The words that run [`clients::run`] in a process of its own.
    pub command: Vec<String>,
    /// Something that is wrong on purpose.
    pub plant: Option<Plant>,
}

/// Something that is wrong on purpose, which has to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plant {
    /// Some clients lock other keys than the rest: they exclude nobody.
    Exclusion,
    /// Half a kilobyte for each acquire is never given back: the size of one state of a lock.
    Memory,
    /// A task for each client never ends.
    Task,
    /// A client is forgotten, with its thread and its connections.
    Client,
    /// A key without an end is left on a node.
    Key,
}

impl Plant {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Exclusion, Self::Memory, Self::Task, Self::Client, Self::Key];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exclusion => "exclusion",
            Self::Memory => "memory",
            Self::Task => "task",
            Self::Client => "client",
            Self::Key => "key",
        }
    }
}

/// What clients did, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Acquires that were asked for.
    pub acquires: u64,
    /// Locks granted.
    pub grants: u64,
    /// Acquires that others were in the way of.
    pub contended: u64,
    /// Acquires that got no majority of nodes, or not in time.
    pub unavailable: u64,
    /// Acquires that were dropped before they ended.
    pub dropped: u64,
    /// Extensions that a majority agreed to.
    pub extensions: u64,
    /// Locks that were lost.
    pub losses: u64,
    /// Locks that were handed from one client to another.
    pub handovers: u64,
    /// Clients that went, another of which came.
    pub replaced: u64,
    /// Writes that the resources let in.
    pub writes: u64,
    /// Late writes that they refused, by their fences.
    pub refused_writes: u64,
    /// Times that a lock that was believed in was looked for on the nodes.
    pub looks: u64,
    /// How many bytes they have allocated and not freed; 0 where that is not known.
    pub heap: u64,
}

/// The memory of the clients' process: once it is warm, the time is divided into stretches, and of each counts the
/// lowest figure. What leaks grows from each to the next; what is high once and stays, as buffers that had to hold
/// what a node did not answer, grows once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What it had from the system, in bytes, in the first stretch and in the last.
    pub resident: (u64, u64),
    /// What it had allocated, in bytes, in the first stretch and in the last.
    pub heap: (u64, u64),
    /// The median of how much that grew from one to the next, in bytes.
    pub growth: u64,
    /// How many acquires there are in a stretch.
    pub acquires: u64,
    /// Whether the run was long enough to tell growth that ends from growth that does not.
    pub is_long: bool,
}

impl Memory {
    /// Before this, clients still make connections that they did not need so far: what was allocated grows for a
    /// minute or two, and then no more.
    pub const LONG: Duration = Duration::from_secs(5 * 60);
    /// How much what is allocated may grow in a stretch for no reason: locks on their way are never the same number.
    pub const NOISE: u64 = 192 << 10;
    /// How much it may grow for each acquire: an eighth of the state of one lock.
    pub const FOR_ACQUIRE: u64 = 64;

    fn of(looks: &[Sample], lasts: Duration) -> Self {
        let warm = lasts * WARM_PERCENT / 100;
        let stretch = (lasts - warm) / STRETCHES;
        let stretches: Vec<Sample> = (0..STRETCHES)
            .filter_map(|number| {
                let (from, to) = (warm + stretch * number, warm + stretch * (number + 1));
                let within = || looks.iter().filter(|look| (from..to).contains(&look.at));
                Some(Sample {
                    at: from,
                    resident: within().map(|look| look.resident).min()?,
                    heap: within().map(|look| look.heap).min()?,
                    acquires: within().map(|look| look.acquires).min()?,
                })
            })
            .collect();
        let (Some(first), Some(last)) = (stretches.first(), stretches.last()) else {
            return Self::default();
        };
        let mut steps: Vec<u64> =
            stretches.windows(2).map(|pair| pair[1].heap.saturating_sub(pair[0].heap)).collect();
        steps.sort_unstable();
        Self {
            resident: (first.resident, last.resident),
            heap: (first.heap, last.heap),
            growth: steps.get(steps.len() / 2).copied().unwrap_or(0),
            acquires: (last.acquires - first.acquires) / u64::from(STRETCHES - 1),
            is_long: lasts >= Self::LONG,
        }
    }

    /// How much may have been allocated from one stretch to the next.
    #[must_use]
    pub const fn tolerance(&self) -> u64 {
        Self::NOISE + Self::FOR_ACQUIRE * self.acquires
    }

    /// Whether no more was, if the run was long; and the system gave no more than half as much again.
    #[must_use]
    pub const fn is_flat(&self) -> bool {
        let (warm, end) = self.resident;
        (!self.is_long || self.growth <= self.tolerance()) && end <= warm + warm / 2
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| bytes >> 10;
        write!(
            f,
            "{} KiB allocated when warm, {} KiB at the end: {} KiB more in each of {STRETCHES} stretches of {} \
             acquires, {} KiB tolerated; resident {} KiB and {} KiB",
            kib(self.heap.0),
            kib(self.heap.1),
            kib(self.growth),
            self.acquires,
            kib(self.tolerance()),
            kib(self.resident.0),
            kib(self.resident.1)
        )
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the clients did.
    pub counts: Counts,
    /// How many faults of each kind struck.
    pub struck: Vec<(String, usize)>,
    /// The memory of their process.
    pub memory: Memory,
    /// What is wrong; the first of them if there is much.
    pub findings: Vec<Finding>,
    /// How much was found in all.
    pub found: u64,
}

impl Outcome {
    /// Why it says nothing, if it does not: there was nothing to see.
    #[must_use]
    pub fn unknown(&self) -> Option<&'static str> {
        match self.counts {
            Counts { grants: 0, .. } => Some("no lock was granted"),
            Counts { looks: 0, .. } => Some("no lock was looked for on the nodes"),
            _ if self.struck.is_empty() => Some("no fault struck"),
            _ => None,
        }
    }
}

/// Carries it out; `tell` is told from time to time how far it is.
///
/// # Errors
/// [`RunError`] if it could not be carried out.
pub fn stress(stress: &Stress, tell: impl FnMut(&Counts)) -> Result<Outcome, RunError> {
    let backend = super::node::Processes::new().without_clocks().fsync(Fsync::EverySecond);
    let origin = Instant::now();
    let nodes = backend.start(stress.nodes.into())?;
    let network = Arc::new(Network::start(&nodes, WAYS, origin)?);
    let resources: Vec<String> =
        (0..stress.resources).map(|place| format!("stress-{:x}-{place}", stress.seed)).collect();
    let mut clients = Clients::start(stress, &nodes, &network, &resources)?;
    let left = Leftovers::begin(&clients)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut run =
        Run { stress, nodes: &nodes, network, resources: &resources, tell, samples: Vec::new() };
    let struck = runtime.block_on(run.go_on(&mut clients))?;
    let report = clients.stop()?;
    let memory = Memory::of(&run.samples, stress.lasts);
    let mut findings = report.findings;
    let mut found = report.found;
    let more = left.after(&clients, report.tasks, &nodes, &resources, TTL)?;
    let grown = (!memory.is_flat()).then(|| Finding::of("memory", &memory.to_string()));
    for finding in more.into_iter().chain(grown) {
        findings.push(finding);
        found += 1;
    }
    clients.quit();
    Ok(Outcome { counts: report.counts, struck, memory, findings, found })
}

/// One look at the process of the clients.
#[derive(Debug)]
struct Sample {
    at: Duration,
    resident: u64,
    heap: u64,
    acquires: u64,
}

struct Run<'a, T> {
    stress: &'a Stress,
    nodes: &'a [Arc<dyn Node>],
    network: Arc<Network>,
    resources: &'a [String],
    tell: T,
    samples: Vec<Sample>,
}

impl<T: FnMut(&Counts)> Run<'_, T> {
    /// Faults until the time is over, and looks at the process meanwhile.
    async fn go_on(&mut self, clients: &mut Clients) -> Result<Struck, RunError> {
        let began = Instant::now();
        let end = began + self.stress.lasts;
        clients.go()?;
        let storm = Storm::new(
            self.stress.seed,
            self.nodes,
            Arc::clone(&self.network),
            self.resources,
            TTL,
        );
        let (pause, mut pauses) = mpsc::unbounded_channel();
        let mut storm = std::pin::pin!(storm.go_on(end, pause));
        let struck = loop {
            tokio::select! {
                struck = &mut storm => break struck?,
                Some(lasts) = pauses.recv() => clients.stand_still(lasts).await?,
                () = tokio::time::sleep(SAMPLE_EVERY) => {
                    let counts = clients.counts();
                    (self.tell)(&counts);
                    let (resident, at) = (clients.resident()?, began.elapsed());
                    let Counts { heap, acquires, .. } = counts;
                    self.samples.push(Sample { at, resident, heap, acquires });
                    // It would be kept for somebody to read it.
                    self.network.link(0, 0).clear_log();
                }
            }
        };
        let network = Arc::clone(&self.network);
        tokio::task::spawn_blocking(move || network.heal()).await.unwrap_or(Ok(()))?;
        Ok(struck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Memory::LONG;

    /// 200 acquires a second, and after so many seconds so much memory.
    fn seen(bytes: impl Fn(u64) -> u64) -> Memory {
        let look = |quarter: u64| {
            let at = Duration::from_millis(quarter * 250);
            let bytes = bytes(at.as_secs());
            Sample { at, resident: bytes, heap: bytes, acquires: quarter * 50 }
        };
        Memory::of(&(0..1200).map(look).collect::<Vec<_>>(), LASTS)
    }

    #[test]
    fn what_grows_in_the_beginning_or_at_once_is_no_leak() {
        let step = |at| if at > 225 { 10 << 20 } else { 0 };
        let flat = seen(|at| (30 << 20) + at.min(20) * (1 << 20) + step(at));
        assert!(flat.is_flat(), "{flat}");
        assert_eq!(flat.heap, (50 << 20, 60 << 20));
        // Peaks are none either.
        let peaks = seen(|at| (50 << 20) + if at % 5 == 0 { 20 << 20 } else { 0 });
        assert!(peaks.is_flat(), "{peaks}");
    }

    #[test]
    fn a_state_of_a_lock_for_each_acquire_is_a_leak() {
        let leak = seen(|at| (50 << 20) + at * 200 * 512);
        assert!(!leak.is_flat(), "{leak}");
        let half = seen(|at| (50 << 20) + if at > 225 { 26 << 20 } else { 0 });
        assert!(!half.is_flat(), "{half}");
    }
}
