//! What is put to a lock client on real servers, as data.
//!
//! A [`Plan`] names its scenario and its seed, how many of everything there are, what the workers do, and
//! what befalls whom. It is stored as JSON with a version. Faults are in the words of [`crate::plan`]
//! where those fit; others are those of single commands, which only a proxy on real connections knows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{FaultKind, PlanError, Who, check_version, from_hex, to_hex};

/// The version of the JSON form.
pub const VERSION: u32 = 1;

/// One run on real servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// The scenario that it was drawn for.
    pub scenario: String,
    /// What it was drawn from; in JSON a hexadecimal string.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub seed: u64,
    /// How many of everything.
    pub shape: Shape,
    /// What the workers do.
    pub work: Work,
    /// What befalls whom.
    pub faults: Vec<Fault>,
}

/// How many of everything, and how long locks live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// How many nodes.
    pub nodes: u8,
    /// How many client processes.
    pub clients: u8,
    /// How many resources they contend for.
    pub resources: u8,
    /// How long a lock lives that nobody gives up.
    pub ttl_ms: u32,
    /// How long an acquire may wait for others to go.
    pub wait_ms: u32,
    /// How long one node may take to answer.
    pub node_timeout_ms: u32,
}

/// What the workers do: one for each client, one lock at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The shortest and the longest time for which a lock is held.
    pub hold_ms: (u32, u32),
    /// The shortest and the longest rest in between.
    pub rest_ms: (u32, u32),
    /// How many of a thousand locks are extended.
    pub extend_permille: u16,
    /// How many of a thousand locks are held until they are lost.
    pub lapse_permille: u16,
    /// How client 0 works, if not as the others do.
    pub first: First,
    /// How long all is well in the beginning, once every client has had a lock.
    pub before_ms: u32,
    /// How long the faults go on at least, and their end is waited for.
    pub during_ms: u32,
    /// How long the work goes on when all is well again.
    pub after_ms: u32,
}

/// How client 0 works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum First {
    /// As the others do.
    #[default]
    Alike,
    /// It takes the first resource only, and holds it for most of its lease.
    Slow,
    /// It takes the first resource only, and holds it beyond its lease.
    Careless,
}

/// Something that befalls somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What has to happen first.
    #[serde(default)]
    pub when: Cue,
    /// How long after that it begins.
    pub at_ms: u32,
    /// How long it lasts.
    pub for_ms: u32,
    /// Whom it befalls.
    pub who: Who,
    /// What it is.
    pub kind: Kind,
}

/// What a fault waits for. Clients on a real machine do not come to the same point at the same time twice; a
/// fault that has to meet them at one is told by them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cue {
    /// Nothing: times are counted from the end of the calm beginning.
    #[default]
    Start,
    /// Client 0 is about to ask for the first resource; it does so when the fault has begun.
    Asking,
    /// Client 0 has been granted what it asked for then.
    Granted,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kind {
    /// What can go wrong in every tier.
    Known(FaultKind),
    /// What can go wrong only here.
    Live(LiveKind),
}

/// What can go wrong only on real connections to real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveKind {
    /// The next command that names a lock's key is held back; the connection is reset, so that what comes
    /// after it by another connection overtakes it. It arrives when the fault ends.
    Overtaken,
    /// Commands that name a lock's key arrive twice.
    Duplicated,
    /// The next command that names a lock's key is carried out, and the client never hears of it, nor of
    /// anything else by this connection.
    ReplyLost,
    /// The next command that names a lock's key is carried out, and the connection is reset.
    ResetAfter,
    /// Connections are reset and new ones refused.
    Refused,
    /// The node forgets all scripts, again and again.
    ScriptsForgotten,
    /// Somebody else has the key of the first resource, until client 0 has been granted it.
    Occupied,
}

impl Plan {
    /// As JSON for people.
    #[must_use]
    pub fn to_json_pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The plan that [`Plan::to_json_pretty`] wrote.
    ///
    /// # Errors
    /// [`PlanError`] for another version, an unknown field, or a plan that nobody can carry out.
    pub fn from_json(json: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(json).map_err(|e| PlanError::new(e.to_string()))?;
        check_version(plan.version, VERSION)?;
        let Shape { nodes, clients, resources, .. } = plan.shape;
        if nodes == 0 || clients == 0 || resources == 0 {
            return Err(PlanError::new("there is nobody in it"));
        }
        Ok(plan)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, clients, resources, ttl_ms, wait_ms, node_timeout_ms } = self;
        write!(
            f,
            "n{nodes} k{clients} r{resources}, ttl {ttl_ms} ms, wait {wait_ms} ms, node timeout "
        )?;
        write!(f, "{node_timeout_ms} ms")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(FaultKind::Slow { by_us }) => write!(f, "slow by {} ms", by_us / 1_000),
            Self::Known(FaultKind::Jump { by_us }) => {
                write!(f, "clock jumps by {:+} ms", by_us / 1_000)
            }
            Self::Known(FaultKind::Rate { ppm }) => write!(f, "clock {:+} %", ppm / 10_000),
            Self::Known(kind) => kind.fmt(f),
            Self::Live(kind) => kind.fmt(f),
        }
    }
}

impl fmt::Display for LiveKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overtaken => "a command is overtaken",
            Self::Duplicated => "commands arrive twice",
            Self::ReplyLost => "a reply is lost",
            Self::ResetAfter => "connection reset after a request",
            Self::Refused => "connections refused",
            Self::ScriptsForgotten => "scripts forgotten",
            Self::Occupied => "key taken by a stranger",
        })
    }
}
