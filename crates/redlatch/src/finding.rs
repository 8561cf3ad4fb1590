//! What is wrong with nodes, as far as they tell: the one place that judges it, for the client's
//! warnings and for [`Redlatch::examine`](crate::Redlatch::examine).

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::node::lock;
use crate::trace;

/// The oldest Redis that the scripts have been run on; it also has the users that the guide asks for.
const VERSION_MIN: (u32, u32) = (6, 2);
/// The share of the time to answer that an answer may usually take: of the slowest answers, some take
/// twice the median and more, and one that comes too late is no vote.
const LATENCY_SHARE: u32 = 2;

/// Something about the nodes that somebody should know. `Display` says what, with the node's name;
/// [`Problem`] says it alone. Neither has a credential in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The node's name; `None` if it is about all of them.
    pub node: Option<Arc<str>>,
    /// What it is.
    pub problem: Problem,
}

/// What a [`Finding`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The node cannot be reached, or does not answer in time.
    Unreachable {
        /// Why.
        error: String,
    },
    /// The node does not let this user in.
    Denied {
        /// What it said.
        error: String,
    },
    /// The node is the same server as another: one vote would count twice.
    SameServer {
        /// The other node's name.
        other: Arc<str>,
    },
    /// The node has replicas, and one that takes over may have forgotten locks (R16).
    HasReplicas {
        /// How many are connected.
        count: u64,
    },
    /// The node is a replica: it takes no locks, or has them overwritten.
    IsReplica,
    /// The node may evict keys when its memory is full.
    Evicts {
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// The node has no append-only file, and clients no restart guard: after a crash it has forgotten
    /// locks.
    NotPersistent,
    /// The node writes its append-only file later than it answers, and clients have no restart guard:
    /// after a crash it has forgotten the latest locks.
    SyncsLater {
        /// Its `appendfsync`.
        appendfsync: String,
    },
    /// The node's server is older than those that Redlatch is tested with.
    OldServer {
        /// Its version.
        version: String,
    },
    /// The node does not run scripts for this user.
    ScriptsForbidden {
        /// What it said.
        error: String,
    },
    /// The node's clock differs from another's by more than the allowance for drift.
    ClockDiffers {
        /// By how much at least; the time that the question took is taken off.
        by: Duration,
        /// The other node's name.
        from: Arc<str>,
        /// The allowance.
        allowance: Duration,
    },
    /// The node usually takes too much of the time that it has to answer.
    Slow {
        /// The median of some answers.
        latency: Duration,
        /// The time that it has.
        node_timeout: Duration,
    },
    /// Of an even number of nodes, one adds nothing: a majority is as large without it.
    EvenCount {
        /// How many there are.
        nodes: usize,
    },
    /// There is one node: without it, there are no locks.
    OneNode,
    /// The node did not tell some of what was to be looked at.
    Untold {
        /// What is not known for it.
        aspects: Vec<Aspect>,
        /// The command that would have told.
        command: &'static str,
        /// What the node said; `None` if its answer is without that.
        error: Option<String>,
    },
}

/// What cannot be known of a node that does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aspect {
    /// Whether it is the same server as another.
    Identity,
    /// Its version.
    Version,
    /// Whether it has replicas, or is one.
    Replication,
    /// Whether it may evict keys.
    Eviction,
    /// Whether it keeps an append-only file.
    Persistence,
    /// Whether that is synced before it answers.
    Sync,
    /// Its clock.
    Clock,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "whether it is the same server as another node",
            Self::Version => "its version",
            Self::Replication => "whether it has replicas or is one",
            Self::Eviction => "whether it may evict keys",
            Self::Persistence => "whether it keeps an append-only file",
            Self::Sync => "whether it syncs its append-only file before it answers",
            Self::Clock => "whether its clock agrees with the others'",
        })
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// Worth a thought; locks are as safe as they can be.
    Advice,
    /// It could not be looked at: all may be well or not.
    Unknown,
    /// Locks are less safe, or less available, than they should be.
    Mend,
}

impl Problem {
    /// A name for programs, which stays.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Denied { .. } => "denied",
            Self::SameServer { .. } => "same_server",
            Self::HasReplicas { .. } => "has_replicas",
            Self::IsReplica => "is_replica",
            Self::Evicts { .. } => "evicts",
            Self::NotPersistent => "not_persistent",
            Self::SyncsLater { .. } => "syncs_later",
            Self::OldServer { .. } => "old_server",
            Self::ScriptsForbidden { .. } => "scripts_forbidden",
            Self::ClockDiffers { .. } => "clock_differs",
            Self::Slow { .. } => "slow",
            Self::EvenCount { .. } => "even_count",
            Self::OneNode => "one_node",
            Self::Untold { .. } => "untold",
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn weight(&self) -> Weight {
        match self {
            Self::EvenCount { .. } | Self::OneNode => Weight::Advice,
            Self::Untold { .. } => Weight::Unknown,
            Self::Unreachable { .. }
            | Self::Denied { .. }
            | Self::SameServer { .. }
            | Self::HasReplicas { .. }
            | Self::IsReplica
            | Self::Evicts { .. }
            | Self::NotPersistent
            | Self::SyncsLater { .. }
            | Self::OldServer { .. }
            | Self::ScriptsForbidden { .. }
            | Self::ClockDiffers { .. }
            | Self::Slow { .. } => Weight::Mend,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreachable { .. } => "start the server, or mend its address or the way to it".into(),
            Self::Denied { .. } => "mend user and password in its URL, or the user on the server".into(),
            Self::SameServer { .. } => "name each server once, by one address".into(),
            Self::HasReplicas { .. } => {
                "remove the replicas, and whatever would let one take over".into()
            }
            Self::IsReplica => {
                "name a server that is no replica, or make it one (`REPLICAOF NO ONE`)".into()
            }
            Self::Evicts { .. } => {
                "set `maxmemory-policy noeviction`, and give the locks a server of their own".into()
            }
            Self::NotPersistent => {
                "set `appendonly yes` and `appendfsync always`, or give every client the same restart \
                 guard"
                    .into()
            }
            Self::SyncsLater { .. } => {
                "set `appendfsync always`, or give every client the same restart guard".into()
            }
            Self::OldServer { .. } => {
                let (major, minor) = VERSION_MIN;
                format!("use Redis {major}.{minor} or newer, or Valkey")
            }
            Self::ScriptsForbidden { .. } => {
                "give the user +eval, +evalsha and the rest (see the guide, Permissions); only the \
                 plain dialect on Redis 8.4 or Valkey 9 and newer needs no scripts"
                    .into()
            }
            Self::ClockDiffers { .. } => {
                "let NTP set both clocks, by slewing: keys end early when a clock steps forward".into()
            }
            Self::Slow { .. } => {
                "move the server nearer or relieve it, or allow a longer node timeout or ttl".into()
            }
            Self::EvenCount { nodes } => {
                let (fewer, more) = (nodes.saturating_sub(1), nodes.saturating_add(1));
                format!("use {fewer}, which is as good, or {more}, which bear one failure more")
            }
            Self::OneNode => "use three or five nodes that fail independently".into(),
            Self::Untold { command, error: Some(_), .. } => {
                let right = command.split(' ').next().unwrap_or_default().to_ascii_lowercase();
                format!("give the user +{right}, or look there yourself")
            }
            Self::Untold { error: None, .. } => "look there yourself".into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { error } => write!(f, "cannot be asked: {error}"),
            Self::Denied { error } => write!(f, "does not let us in: {error}"),
            Self::SameServer { other } => write!(f, "is the same server as {other}"),
            Self::HasReplicas { count } => {
                let replicas = if *count == 1 { "replica" } else { "replicas" };
                write!(f, "has {count} {replicas}; one that takes over may have forgotten locks")
            }
            Self::IsReplica => f.write_str("is a replica of another server"),
            Self::Evicts { policy } => {
                // Lock keys and fence numbers all have an end; the first end is a lock's.
                let what = match policy.as_str() {
                    "volatile-ttl" => "locks, those that end next first, and then fence numbers",
                    _ => "locks and fence numbers",
                };
                write!(f, "may evict {what} when its memory is full (maxmemory-policy {policy})")
            }
            Self::NotPersistent => f.write_str(
                "keeps no append-only file, and there is no restart guard: a restart makes it forget \
                 locks",
            ),
            Self::SyncsLater { appendfsync } => write!(
                f,
                "syncs its append-only file after it answers (appendfsync {appendfsync}), and there \
                 is no restart guard: a crash makes it forget the latest locks"
            ),
            Self::OldServer { version } => write!(f, "has a server of version {version}"),
            Self::ScriptsForbidden { error } => write!(f, "runs no scripts for this user: {error}"),
            Self::ClockDiffers { by, from, allowance } => write!(
                f,
                "has a clock that differs from that of {from} by {} ms or more, where {} ms are \
                 allowed for",
                by.as_millis(),
                allowance.as_millis()
            ),
            Self::Slow { latency, node_timeout } => write!(
                f,
                "takes {} ms to answer, and has {} ms",
                latency.as_millis(),
                node_timeout.as_millis()
            ),
            Self::EvenCount { nodes } => {
                write!(f, "{nodes} nodes bear no more failures than {}", nodes.saturating_sub(1))
            }
            Self::OneNode => f.write_str("one node bears no failure"),
            Self::Untold { aspects, command, error } => {
                match error {
                    Some(error) => write!(f, "does not answer {command} ({error}), so it is not known ")?,
                    None => write!(f, "leaves out of {command}, so that it is not known, ")?,
                }
                for (index, aspect) in aspects.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "; " };
                    write!(f, "{comma}{aspect}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "the node {node} {}", self.problem),
            None => self.problem.fmt(f),
        }
    }
}

/// Whether clients keep nodes from voting that may have forgotten keys (R16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guarded {
    Yes,
    No,
}

/// What a server tells of itself: the sections of `INFO`, empty where it tells nothing.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) server: String,
    pub(crate) replication: String,
    pub(crate) memory: String,
    pub(crate) persistence: String,
    /// Why it does not tell, if it says so.
    pub(crate) error: Option<String>,
}

impl Told {
    pub(crate) fn run_id(&self) -> Option<&str> {
        field(&self.server, "run_id:")
    }

    /// Name and version of the server.
    pub(crate) fn version(&self) -> Option<String> {
        match field(&self.server, "valkey_version:") {
            Some(version) => Some(format!("Valkey {version}")),
            None => field(&self.server, "redis_version:").map(|version| format!("Redis {version}")),
        }
    }

    pub(crate) fn has_append_only_file(&self) -> Option<bool> {
        field(&self.persistence, "aof_enabled:").map(|enabled| enabled != "0")
    }

    /// What is wrong with the server, as far as it tells.
    pub(crate) fn problems(&self, guarded: Guarded) -> Vec<Problem> {
        let replication = [self.replicas(), self.replica()];
        let others = [self.eviction(), self.forgetting(guarded), self.age()];
        replication.into_iter().chain(others).flatten().collect()
    }

    /// What it does not tell and would be a problem if it were otherwise than well.
    pub(crate) fn untold(&self, guarded: Guarded) -> Option<Problem> {
        let memory = (field(&self.memory, "maxmemory:"), field(&self.memory, "maxmemory_policy:"));
        let is_told = |aspect: &Aspect| match aspect {
            Aspect::Identity => self.run_id().is_some(),
            Aspect::Version => self.version().is_some(),
            Aspect::Replication => field(&self.replication, "role:").is_some(),
            Aspect::Eviction => memory.0 == Some("0") || (memory.0.and(memory.1)).is_some(),
            Aspect::Persistence => guarded == Guarded::Yes || self.has_append_only_file().is_some(),
            // Told by other commands.
            Aspect::Sync | Aspect::Clock => true,
        };
        let all = [
            Aspect::Identity,
            Aspect::Version,
            Aspect::Replication,
            Aspect::Eviction,
            Aspect::Persistence,
        ];
        let aspects: Vec<_> = all.into_iter().filter(|aspect| !is_told(aspect)).collect();
        let error = self.error.clone();
        (!aspects.is_empty()).then_some(Problem::Untold { aspects, command: "INFO", error })
    }

    fn replicas(&self) -> Option<Problem> {
        let count = field(&self.replication, "connected_slaves:")?.parse().ok()?;
        (count > 0).then_some(Problem::HasReplicas { count })
    }

    fn replica(&self) -> Option<Problem> {
        (field(&self.replication, "role:")? == "slave").then_some(Problem::IsReplica)
    }

    /// Every key of ours but the restart guard's marker has an end, so that the policies for volatile
    /// keys reach locks, fence numbers and quarantines as well as those for all keys do. Without a
    /// limit there is no eviction.
    fn eviction(&self) -> Option<Problem> {
        let policy = field(&self.memory, "maxmemory_policy:")?;
        let limit = field(&self.memory, "maxmemory:")?;
        let may_evict = limit != "0" && policy != "noeviction";
        may_evict.then(|| Problem::Evicts { policy: policy.to_owned() })
    }

    /// A snapshot is always older than the latest locks, so it does not matter whether there are any.
    fn forgetting(&self, guarded: Guarded) -> Option<Problem> {
        let forgets = guarded == Guarded::No && !self.has_append_only_file()?;
        forgets.then_some(Problem::NotPersistent)
    }

    fn age(&self) -> Option<Problem> {
        // What Valkey calls its `redis_version` is that of the Redis that it came from, 7.2.
        let version = field(&self.server, "redis_version:")?;
        let mut numbers = version.split('.').map(str::parse::<u32>);
        let is_old = (numbers.next()?.ok()?, numbers.next()?.ok()?) < VERSION_MIN;
        is_old.then(|| Problem::OldServer { version: version.to_owned() })
    }
}

/// What is wrong with the number of nodes.
pub(crate) fn count_problem(nodes: usize) -> Option<Problem> {
    match nodes {
        1 => Some(Problem::OneNode),
        even if even % 2 == 0 => Some(Problem::EvenCount { nodes }),
        _ => None,
    }
}

/// What is wrong with the time that a node usually takes.
pub(crate) fn latency_problem(latency: Duration, node_timeout: Duration) -> Option<Problem> {
    (latency > node_timeout / LATENCY_SHARE).then_some(Problem::Slow { latency, node_timeout })
}

/// A node's clock as it was seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// How far it is ahead of this machine's, in microseconds; negative if it is behind.
    pub ahead_us: i64,
    /// By how much that may be wrong: half of the time that the question took.
    pub uncertainty: Duration,
}

/// The clocks that differ, by more than may be due to the questions, from the one in the middle.
pub(crate) fn clock_findings(
    mut clocks: Vec<(Arc<str>, ClockReading)>,
    allowance: Duration,
) -> Vec<Finding> {
    clocks.sort_by_key(|(_, reading)| reading.ahead_us);
    let middle = clocks.len().saturating_sub(1) / 2;
    let Some((from, reference)) = clocks.get(middle).cloned() else { return Vec::new() };
    let differs = clocks.into_iter().filter_map(|(node, reading)| {
        let apart = Duration::from_micros(reading.ahead_us.abs_diff(reference.ahead_us));
        let by = apart.saturating_sub(reading.uncertainty + reference.uncertainty);
        let from = from.clone();
        let problem = Problem::ClockDiffers { by, from, allowance };
        (by > allowance).then_some(Finding { node: Some(node), problem })
    });
    differs.collect()
}

/// Who wants to hear of findings.
pub(crate) type Listener = Arc<dyn Fn(&Finding) + Send + Sync>;

/// Tells what is found of nodes while they are used, once of each.
pub(crate) struct Warnings {
    pub(crate) guarded: Guarded,
    listener: Option<Listener>,
    told: Mutex<HashSet<(Arc<str>, &'static str)>>,
}

impl Warnings {
    pub(crate) fn new(guarded: Guarded, listener: Option<Listener>) -> Self {
        Self { guarded, listener, told: Mutex::default() }
    }

    pub(crate) fn warn(&self, node: &Arc<str>, problem: Problem) {
        if !lock(&self.told).insert((node.clone(), problem.kind())) {
            return;
        }
        let finding = Finding { node: Some(node.clone()), problem };
        trace::found(&finding);
        if let Some(listener) = self.listener.clone() {
            // It is the application's code: if it blocks or panics, no lock must suffer.
            tokio::task::spawn_blocking(move || listener(&finding));
        }
    }
}

/// The value of a field in a section of `INFO`.
fn field<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    section.lines().find_map(|line| line.strip_prefix(name))
}
