//! The scenarios: one fault each, what must hold under it, and what its users would notice.
//!
//! The table below is what `live --list`, the scorecard and `docs/live.md` are made of.

mod draw;
mod table;

use std::fmt::{self, Write as _};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::check::{Invariant, Invariants};
use crate::live::judge::{Finding, Word};
use crate::live::node::Ability;
use crate::live::plan::{Fault, First, Plan, Shape, VERSION, Work};
use crate::live::record::Caps;

pub use table::SCENARIOS;

/// A fault with a name.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What kind of fault it is.
    pub group: Group,
    /// What happens.
    pub fault: &'static str,
    /// What must hold.
    pub holds: &'static str,
    /// What users of a lock that does not stand it would notice.
    pub notice: &'static str,
    /// Which assumption of locks it breaks.
    pub breaks: Breaks,
    /// What nodes must be able to do.
    pub needs: &'static [Ability],
    /// How many nodes must be there at least.
    nodes_min: u8,
    /// Whether the number of nodes has to be even.
    even: bool,
    /// Whether locks must be granted while the fault lasts, because a majority of nodes is well.
    pub goes_on: bool,
    /// Whether no lock can be granted while it lasts, because a majority of nodes is out of reach for all.
    pub is_outage: bool,
    first: First,
    draw: fn(&Stage, &mut Rng) -> Vec<Fault>,
}

/// What kind of fault it is: what `--faults` picks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// None at all.
    None,
    /// Nodes die or stand still.
    Node,
    /// Messages are late, lost, doubled, or do not pass.
    Network,
    /// Nodes forget.
    Data,
    /// Clocks of nodes are wrong.
    Clock,
    /// Clients die or stand still.
    Client,
}

impl Group {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Node, Self::Network, Self::Data, Self::Clock, Self::Client];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Node => "node",
            Self::Network => "network",
            Self::Data => "data",
            Self::Clock => "clock",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which assumption of locks a scenario breaks, and therefore what may be demanded under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaks {
    /// None: everything must hold.
    Nothing,
    /// Nodes keep what they said. Everything must hold where the client guards against that; where not,
    /// nobody can promise exclusion.
    Memory,
    /// Nodes keep a key for as long as they said: their clocks are wrong, or they drop it before. Nobody
    /// can promise exclusion; fences must hold.
    Keys,
}

/// What a scenario is drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) shape: Shape,
    /// How long a fault that lasts does so.
    pub(crate) lasts_ms: u32,
}

/// How long things take: servers in containers are slower to kill and to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// For processes, and for servers that nobody restarts.
    Quick,
    /// For containers.
    Containers,
}

/// How many of everything there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// How many nodes.
    pub nodes: u8,
    /// How many clients.
    pub clients: u8,
    /// How long things take.
    pub pace: Pace,
}

/// The table of all scenarios, as it stands in `docs/live.md`.
#[must_use]
pub fn table() -> String {
    let mut out =
        String::from("| scenario | kind | what happens | what must hold | else users notice |\n");
    out.push_str("| --- | --- | --- | --- | --- |\n");
    for Scenario { name, group, fault, holds, notice, .. } in SCENARIOS {
        let _ = writeln!(out, "| `{name}` | {group} | {fault} | {holds} | {notice} |");
    }
    out
}

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Whether so many nodes of these abilities will do.
    #[must_use]
    pub fn is_possible(&self, abilities: &[Ability], nodes: u8) -> bool {
        self.fits(nodes) && self.needs.iter().all(|ability| abilities.contains(ability))
    }

    /// Whether it can be put to so many nodes. An even number is made of an odd one by leaving one out.
    #[must_use]
    pub const fn fits(&self, nodes: u8) -> bool {
        self.nodes_of(nodes) >= self.nodes_min
    }

    const fn nodes_of(&self, nodes: u8) -> u8 {
        if self.even { nodes - nodes % 2 } else { nodes }
    }

    /// The run of this seed.
    #[must_use]
    pub fn plan(&self, seed: u64, sizes: Sizes) -> Plan {
        // Another stream for each scenario: what one draws says nothing about another.
        let mixed = self
            .name
            .bytes()
            .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        let mut rng = Rng::with_seed(mixed);
        let Sizes { nodes, clients, pace } = sizes;
        let (ttl_ms, node_timeout_ms) = match pace {
            Pace::Quick => (500, 80),
            Pace::Containers => (1_600, 200),
        };
        let shape = Shape {
            nodes: self.nodes_of(nodes),
            clients,
            resources: 2,
            ttl_ms,
            wait_ms: ttl_ms * 3 / 4,
            node_timeout_ms,
        };
        let stage = Stage { shape, lasts_ms: ttl_ms * 3 / 2 };
        let work = Work {
            hold_ms: (5, ttl_ms / 8),
            rest_ms: (1, ttl_ms / 20),
            extend_permille: 300,
            lapse_permille: 60,
            first: self.first,
            before_ms: ttl_ms / 4,
            during_ms: match self.first {
                First::Alike => stage.lasts_ms,
                First::Slow | First::Careless => ttl_ms / 2,
            },
            after_ms: ttl_ms / 2,
        };
        let faults = (self.draw)(&stage, &mut rng);
        Plan { version: VERSION, scenario: self.name.to_owned(), seed, shape, work, faults }
    }

    /// What a client of these abilities has to hold under it.
    #[must_use]
    pub fn promised(&self, caps: Caps) -> Invariants {
        let liveness = Invariants::NONE
            .with(Invariant::Progress)
            .with(Invariant::Termination)
            .with(Invariant::Api);
        let fences = liveness
            .with(Invariant::FenceUnique)
            .with(Invariant::FenceOrder)
            .with(Invariant::Resource);
        match self.breaks {
            Breaks::Nothing => Invariants::ALL,
            Breaks::Memory if caps.guard => Invariants::ALL,
            // A number that went with the node may be handed out again.
            Breaks::Memory => liveness.with(Invariant::NoGhost),
            Breaks::Keys => fences,
        }
    }

    /// Whether `finding` is something that a client of these abilities has promised not to happen.
    #[must_use]
    pub fn is_broken_promise(&self, finding: &Finding, caps: Caps) -> bool {
        match finding.word {
            // What only is not nice, and what no lock without a fence can do anything about.
            Word::KeyLeft | Word::ErrorUnclear | Word::LateWrite => false,
            Word::Violated | Word::Hung | Word::Stuck | Word::KeyBeyondTtl | Word::LossLate => {
                self.promised(caps).contains(finding.invariant)
            }
        }
    }

    /// Whether `finding` is worth telling. Where keys go before their time, a lock with fences is judged by what the
    /// resource let in; where there is no fence, nothing else stands between two holders.
    #[must_use]
    pub fn is_told(&self, finding: &Finding, caps: Caps) -> bool {
        match self.breaks {
            Breaks::Nothing | Breaks::Memory => true,
            Breaks::Keys => {
                self.promised(caps).contains(finding.invariant)
                    || !caps.fence && finding.invariant == Invariant::Mutex
            }
        }
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scenario").field(&self.name).finish()
    }
}
