//! What a world is made of.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use redlatch_core::{Config, Drift, Quorum, Renewal, Retry, Ttl};
use serde::{Deserialize, Serialize};

use crate::plan::PlanError;

/// The most nodes of a world. Quorum intersection is an argument about one node: more find no more.
pub const NODES_MAX: usize = 7;
/// The most clients of a world.
pub const CLIENTS_MAX: usize = 5;
/// The most resources of a world; they share nothing but the nodes.
pub const RESOURCES_MAX: usize = 2;

/// How many of everything, and how the lock is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Redis nodes, 1 to [`NODES_MAX`].
    pub nodes: u8,
    /// Clients, 1 to [`CLIENTS_MAX`]; each has one lock and one worker.
    pub clients: u8,
    /// Resources, 1 to [`RESOURCES_MAX`]; client c wants resource c modulo this.
    pub resources: u8,
    /// How long anything may fail. Then everything heals.
    pub horizon_ms: u32,
    /// The lock's time to live.
    pub ttl_ms: u32,
    /// How long a node may take to answer.
    pub node_timeout_ms: u32,
    /// What the lock allows for clocks, in parts per million of the ttl.
    pub drift_ppm: u32,
    /// How often the lock tries.
    pub retries: Retries,
    /// Whether the clients wait in the queues of the nodes, and are called (R18).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queues: bool,
    /// Renewal by itself, up to this long.
    pub renewal_ms: Option<u32>,
    /// Whether the workers ask for fences.
    pub fenced: bool,
    /// The restart guard's longest ttl, if nodes have a guard (R16).
    pub restart_guard_ms: Option<u32>,
    /// Whether fence numbers outlive whatever a node forgets.
    pub fences_survive: bool,
    /// How often nodes write to disk what is kept by a crash that keeps what was synced.
    pub sync_ms: u32,
    /// What the resource checks.
    pub resource: ResourceMode,
    /// What clocks are like.
    pub clocks: Clocks,
    /// What the network is like.
    pub network: Network,
    /// What the workers do.
    pub work: Work,
}

/// What of a shape is given, where the rest is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    nodes: Option<u8>,
    clients: Option<u8>,
}

impl Sizes {
    /// Nothing is given.
    pub const DRAWN: Self = Self { nodes: None, clients: None };

    /// So many nodes and clients; what is `None` is drawn.
    ///
    /// # Errors
    /// [`PlanError`] if there are none, or too many: [`NODES_MAX`], [`CLIENTS_MAX`].
    pub fn new(nodes: Option<u8>, clients: Option<u8>) -> Result<Self, PlanError> {
        within("nodes", nodes.unwrap_or(1).into(), NODES_MAX)?;
        within("clients", clients.unwrap_or(1).into(), CLIENTS_MAX)?;
        Ok(Self { nodes, clients })
    }

    pub(super) fn nodes(self, drawn: u8) -> u8 {
        self.nodes.unwrap_or(drawn)
    }

    pub(super) fn clients(self, drawn: u8) -> u8 {
        self.clients.unwrap_or(drawn)
    }
}

fn within(name: &str, value: usize, max: usize) -> Result<(), PlanError> {
    if value == 0 || value > max {
        return Err(PlanError::new(format!("{name} is {value}; it may be 1 to {max}")));
    }
    Ok(())
}

/// The lock's retry policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Attempts of one acquire, at least 1.
    pub attempts_max: u32,
    /// How long one acquire goes on.
    pub wait_ms: Option<u32>,
    /// The shortest delay between two attempts.
    pub delay_min_ms: u32,
    /// The longest delay between two attempts.
    pub delay_max_ms: u32,
}

/// What the resource checks before it lets a holder in.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ResourceMode {
    /// Nothing: whoever writes last, wins.
    #[default]
    Unfenced,
    /// The fence of writes.
    FencedWrites,
    /// The fence of reads and writes.
    FencedReadsAndWrites,
}

/// What clocks are like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// Each clock is off by up to this much, one way or the other; many are off by all of it.
    pub rate_ppm: u32,
    /// Each client's wall clock, which it proposes as a fence, is off by up to this much.
    pub wall_skew_ms: u32,
}

/// What the network is like, faults apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The usual time of one way; single messages take half to one and a half of it.
    pub latency_us: u32,
    /// How many of a thousand messages take up to `tail_ms`.
    pub tail_permille: u16,
    /// How long those take at most.
    pub tail_ms: u32,
    /// How many of a thousand are lost.
    pub loss_permille: u16,
    /// How many of a thousand arrive twice.
    pub duplicate_permille: u16,
    /// Whether messages of one client to one node keep their order, as on one connection.
    pub ordered: bool,
}

/// What the workers do, one after the other: wait, acquire, hold, release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The longest pause between two acquires.
    pub think_ms: u32,
    /// The longest hold.
    pub hold_ms: u32,
    /// How many of a thousand steps in a hold are extensions.
    pub extend_permille: u16,
    /// How many of a thousand steps in a hold read and write the resource.
    pub access_permille: u16,
    /// How many of a thousand holds are not released, but left to lapse.
    pub lapse_permille: u16,
    /// How many of a thousand acquires are called off.
    pub cancel_permille: u16,
}

impl Shape {
    /// Three nodes, two clients, a ttl of 100 ms, good weather.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            nodes: 3,
            clients: 2,
            resources: 1,
            horizon_ms: 1_000,
            ttl_ms: 100,
            node_timeout_ms: 20,
            drift_ppm: 10_000,
            retries: Retries { attempts_max: 5, wait_ms: None, delay_min_ms: 2, delay_max_ms: 20 },
            queues: false,
            renewal_ms: None,
            fenced: true,
            restart_guard_ms: None,
            fences_survive: true,
            sync_ms: 1_000,
            resource: ResourceMode::FencedReadsAndWrites,
            clocks: Clocks { rate_ppm: 0, wall_skew_ms: 0 },
            network: Network {
                latency_us: 500,
                tail_permille: 0,
                tail_ms: 0,
                loss_permille: 0,
                duplicate_permille: 0,
                ordered: true,
            },
            work: Work {
                think_ms: 20,
                hold_ms: 80,
                extend_permille: 0,
                access_permille: 500,
                lapse_permille: 0,
                cancel_permille: 0,
            },
        }
    }

    /// The lock's configuration.
    ///
    /// # Errors
    /// [`PlanError`] if no lock can be configured so.
    pub fn config(&self) -> Result<Config, PlanError> {
        let bad = |what: &dyn fmt::Display| PlanError::new(format!("the shape is illegal: {what}"));
        let quorum = Quorum::of(self.nodes.into()).map_err(|e| bad(&e))?;
        let ttl = Ttl::from_millis(self.ttl_ms.into()).map_err(|e| bad(&e))?;
        let drift = Drift::from_ppm(self.drift_ppm).ok_or_else(|| bad(&"drift above one half"))?;
        let mut config = Config::new(quorum, ttl)
            .and_then(|config| config.with_drift(drift))
            .and_then(|config| config.with_node_timeout(millis(self.node_timeout_ms)))
            .map_err(|e| bad(&e))?;
        if let Some(hold_max) = self.renewal_ms {
            config = config.with_renewal(Renewal::up_to(millis(hold_max)));
        }
        Ok(config.with_retry(self.retries.policy().ok_or_else(|| bad(&"no attempt at all"))?))
    }

    /// Whether a world can be made of it.
    pub(crate) fn checked(&self) -> Result<(), PlanError> {
        within("nodes", self.nodes.into(), NODES_MAX)?;
        within("clients", self.clients.into(), CLIENTS_MAX)?;
        within("resources", self.resources.into(), RESOURCES_MAX)?;
        within("horizon_ms", self.horizon_ms as usize, 86_400_000)?;
        if self.clocks.rate_ppm > 500_000 {
            return Err(PlanError::new("rate_ppm is above 500000"));
        }
        self.config().map(|_| ())
    }

    /// q = ⌊n/2⌋ + 1, by the harness's own arithmetic.
    #[must_use]
    pub const fn majority(&self) -> usize {
        self.nodes as usize / 2 + 1
    }
}

impl Retries {
    fn policy(&self) -> Option<Retry> {
        let attempts = NonZeroU32::new(self.attempts_max)?;
        let policy = match self.wait_ms {
            Some(wait) => Retry::within(millis(wait)).with_attempts_max(attempts),
            None => Retry::attempts(attempts),
        };
        Some(policy.with_delays(millis(self.delay_min_ms), millis(self.delay_max_ms)))
    }
}

fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, clients, resources, horizon_ms, ttl_ms, node_timeout_ms, .. } = self;
        write!(f, "n{nodes} k{clients} r{resources}, ttl {ttl_ms} ms, node timeout ")?;
        write!(f, "{node_timeout_ms} ms, drift {} ppm", self.drift_ppm)?;
        write!(f, ", clocks ±{} ppm ±{} ms", self.clocks.rate_ppm, self.clocks.wall_skew_ms)?;
        let Network { latency_us, tail_permille, tail_ms, .. } = self.network;
        write!(f, ", latency {latency_us} µs")?;
        if tail_permille > 0 {
            write!(f, " ({tail_permille}‰ up to {tail_ms} ms)")?;
        }
        write!(f, ", loss {}‰", self.network.loss_permille)?;
        write!(f, ", twice {}‰", self.network.duplicate_permille)?;
        f.write_str(if self.network.ordered { ", ordered" } else { ", unordered" })?;
        f.write_str(if self.fenced { ", fenced" } else { ", no fence" })?;
        f.write_str(if self.queues { ", queues" } else { "" })?;
        if let Some(hold_max) = self.renewal_ms {
            write!(f, ", renewal up to {hold_max} ms")?;
        }
        if let Some(ttl_max) = self.restart_guard_ms {
            write!(f, ", restart guard {ttl_max} ms")?;
        }
        write!(f, ", {horizon_ms} ms")
    }
}
