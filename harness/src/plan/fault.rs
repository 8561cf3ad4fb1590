//! What befalls a world.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something goes wrong, at some time, for some time, for somebody. It ends at the horizon at the
/// latest. A fault that names somebody who is not there does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins, in microseconds of true time.
    pub at_us: u64,
    /// How long it lasts.
    pub for_us: u64,
    /// Whom it befalls.
    pub who: Who,
    /// What it is.
    pub kind: FaultKind,
}

/// Whom a fault befalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The node, or all its links.
    Node(u8),
    /// The client, or all its links.
    Client(u8),
    /// The link between a client and a node; processes and clocks are not concerned.
    Link(u8, u8),
    /// Everybody.
    All,
}

impl Who {
    pub(crate) fn is_node(self, node: usize) -> bool {
        match self {
            Self::Node(who) => usize::from(who) == node,
            Self::All => true,
            Self::Client(_) | Self::Link(..) => false,
        }
    }

    pub(crate) fn is_client(self, client: usize) -> bool {
        match self {
            Self::Client(who) => usize::from(who) == client,
            Self::All => true,
            Self::Node(_) | Self::Link(..) => false,
        }
    }

    pub(crate) fn is_link(self, client: usize, node: usize) -> bool {
        match self {
            Self::Link(from, to) => usize::from(from) == client && usize::from(to) == node,
            Self::Node(_) | Self::Client(_) | Self::All => {
                self.is_node(node) || self.is_client(client)
            }
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The process dies, and is started again when the fault ends. A client keeps nothing.
    Crash {
        /// What a node still has when it is started again.
        keep: Keep,
    },
    /// The process does not run. Its clock goes on, and messages wait for it.
    Pause,
    /// The machine sleeps, and the clock by which leases are measured stands still meanwhile.
    Suspend,
    /// Messages do not pass; some are lost, the others arrive when the fault ends.
    Cut {
        /// Which ones.
        direction: Direction,
    },
    /// Clients in one half see nodes of that half only, the others the other nodes only. Bit i of a
    /// mask is node or client i.
    Split {
        /// Nodes of one half.
        nodes: u8,
        /// Clients of the same half.
        clients: u8,
    },
    /// As `Split`, but both halves of the clients see this node.
    Bridge {
        /// Nodes of one half.
        nodes: u8,
        /// Clients of the same half.
        clients: u8,
        /// The node that all see.
        node: u8,
    },
    /// Client c sees a majority that begins at node c + this: each client another one.
    MajoritiesRing {
        /// Where the majority of client 0 begins.
        first: u8,
    },
    /// Each message takes this much longer.
    Slow {
        /// How much.
        by_us: u32,
    },
    /// Messages are lost.
    Loss {
        /// How many of a thousand.
        permille: u16,
    },
    /// Messages arrive twice.
    Duplicate {
        /// How many of a thousand.
        permille: u16,
    },
    /// Messages do not keep their order: each takes up to this much longer.
    Reorder {
        /// How much.
        by_us: u32,
    },
    /// The clock runs at another rate.
    Rate {
        /// How much faster than true time.
        ppm: i32,
    },
    /// The clock jumps, once.
    Jump {
        /// How far, back if negative.
        by_us: i64,
    },
    /// The clock stands still; the process runs.
    Freeze,
    /// A client's wall clock, which it proposes as a fence, is off.
    WallSkew {
        /// How far, back if negative.
        by_us: i64,
    },
    /// The node evicts its lock keys, once.
    Evict,
    /// The node forgets everything, once, but runs on.
    Flush,
    /// The node is replaced by a replica that stopped to follow when the fault began.
    Failover,
    /// Scripts stop half-way.
    HalfScripts {
        /// How many of a thousand.
        permille: u16,
    },
}

/// What a node still has after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Everything that it acknowledged.
    All,
    /// What it had when it last wrote to disk.
    Synced,
    /// Nothing.
    Nothing,
}

/// Which messages a cut stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// All.
    Both,
    /// Those to the node.
    Requests,
    /// Those from the node.
    Replies,
}

impl FaultKind {
    /// Whether it happens at one moment, so that its duration says nothing.
    #[must_use]
    pub const fn is_instant(&self) -> bool {
        match self {
            Self::Jump { .. } | Self::Evict | Self::Flush => true,
            Self::Crash { .. }
            | Self::Pause
            | Self::Suspend
            | Self::Cut { .. }
            | Self::Split { .. }
            | Self::Bridge { .. }
            | Self::MajoritiesRing { .. }
            | Self::Slow { .. }
            | Self::Loss { .. }
            | Self::Duplicate { .. }
            | Self::Reorder { .. }
            | Self::Rate { .. }
            | Self::Freeze
            | Self::WallSkew { .. }
            | Self::Failover
            | Self::HalfScripts { .. } => false,
        }
    }

    /// Whether it acts on links between clients and nodes.
    #[must_use]
    pub const fn is_of_links(&self) -> bool {
        match self {
            Self::Cut { .. }
            | Self::Split { .. }
            | Self::Bridge { .. }
            | Self::MajoritiesRing { .. }
            | Self::Slow { .. }
            | Self::Loss { .. }
            | Self::Duplicate { .. }
            | Self::Reorder { .. } => true,
            Self::Crash { .. }
            | Self::Pause
            | Self::Suspend
            | Self::Rate { .. }
            | Self::Jump { .. }
            | Self::Freeze
            | Self::WallSkew { .. }
            | Self::Evict
            | Self::Flush
            | Self::Failover
            | Self::HalfScripts { .. } => false,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "n{node}"),
            Self::Client(client) => write!(f, "c{client}"),
            Self::Link(client, node) => write!(f, "c{client}–n{node}"),
            Self::All => f.write_str("all"),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { keep: Keep::All } => f.write_str("crash"),
            Self::Crash { keep: Keep::Synced } => f.write_str("crash, back to the last sync"),
            Self::Crash { keep: Keep::Nothing } => f.write_str("crash, all lost"),
            Self::Pause => f.write_str("pause"),
            Self::Suspend => f.write_str("suspend, clock and all"),
            Self::Cut { direction: Direction::Both } => f.write_str("cut off"),
            Self::Cut { direction: Direction::Requests } => f.write_str("requests cut off"),
            Self::Cut { direction: Direction::Replies } => f.write_str("replies cut off"),
            Self::Split { nodes, clients } => {
                write!(f, "split, nodes {nodes:#b} with clients {clients:#b}")
            }
            Self::Bridge { nodes, clients, node } => {
                write!(f, "split, nodes {nodes:#b} with clients {clients:#b}, bridged by n{node}")
            }
            Self::MajoritiesRing { first } => write!(f, "ring of majorities from n{first}"),
            Self::Slow { by_us } => write!(f, "slow by {by_us} µs"),
            Self::Loss { permille } => write!(f, "{permille}‰ lost"),
            Self::Duplicate { permille } => write!(f, "{permille}‰ twice"),
            Self::Reorder { by_us } => write!(f, "reordered by up to {by_us} µs"),
            Self::Rate { ppm } => write!(f, "clock {ppm:+} ppm"),
            Self::Jump { by_us } => write!(f, "clock jumps by {by_us:+} µs"),
            Self::Freeze => f.write_str("clock stands still"),
            Self::WallSkew { by_us } => write!(f, "wall clock off by {by_us:+} µs"),
            Self::Evict => f.write_str("keys evicted"),
            Self::Flush => f.write_str("flushed"),
            Self::Failover => f.write_str("replaced by a replica that lagged"),
            Self::HalfScripts { permille } => write!(f, "{permille}‰ of scripts stop half-way"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| (us / 1_000, us % 1_000);
        let ((at, at_us), (lasts, lasts_us)) = (ms(self.at_us), ms(self.for_us));
        write!(f, "{at:6}.{at_us:03} ms  {}: {}", self.who, self.kind)?;
        if !self.kind.is_instant() {
            write!(f, " for {lasts}.{lasts_us:03} ms")?;
        }
        Ok(())
    }
}
