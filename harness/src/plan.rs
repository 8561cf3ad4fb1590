//! Fault plans: everything that is put to a lock under test, as data.
//!
//! A [`Plan`] is a seed, a [`Shape`] (how many nodes and clients, what the lock is configured with, what
//! the network and the clocks are like, what the workers do) and a list of [`Fault`]s. It is drawn from a
//! seed ([`Plan::draw`]) or by proptest ([`plans`]), printed by `Display`, and stored as JSON with a
//! version. Equal plans give equal runs.
//!
//! What the plan does not say is a hash of the seed and of the identity of what happens: the fate of the
//! second acquire of client 1 to node 2 is the same whatever else is in the plan. So a plan can be
//! shrunk by deleting what does not matter, and a replay survives changes elsewhere.

mod assume;
mod draw;
mod fault;
mod shape;
mod simpler;
mod strategy;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use fault::{Direction, Fault, FaultKind, Keep, Who};
pub use shape::{
    CLIENTS_MAX, Clocks, NODES_MAX, Network, RESOURCES_MAX, ResourceMode, Retries, Shape, Sizes,
    Work,
};
pub(crate) use simpler::simpler;
pub use strategy::{PlanTree, Plans, plans};

/// The version of the JSON form.
pub const VERSION: u32 = 1;

/// What the faults of a plan may break, and therefore what has to hold under it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Faults stay within the protocol's assumptions: clocks drift within the allowance, and a node that
    /// forgets has its restart guard. Everything holds.
    #[default]
    Synchronous,
    /// Nodes forget locks without a guard. Fence numbers survive; fences and the resource hold.
    Lossy,
    /// Clocks jump, stand still and race, and nodes forget as well. Fences and the resource hold.
    Asynchronous,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Synchronous, Self::Lossy, Self::Asynchronous];

    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Synchronous => "synchronous",
            Self::Lossy => "lossy",
            Self::Asynchronous => "asynchronous",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Profile {
    type Err = PlanError;

    fn from_str(name: &str) -> Result<Self, PlanError> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| PlanError::new(format!("there is no profile {name:?}")))
    }
}

/// One world and what befalls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// Decides every fate; in JSON a hexadecimal string.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub seed: u64,
    /// What has to hold.
    pub profile: Profile,
    /// What the world is made of.
    pub shape: Shape,
    /// What befalls it, in no particular order.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// A plan of the smallest shape in which locks contend, without a fault. To be changed by hand.
    #[must_use]
    pub fn calm(seed: u64, profile: Profile) -> Self {
        Self { version: VERSION, seed, profile, shape: Shape::calm(), faults: Vec::new() }
    }

    /// The plan of `seed`. Which kinds of fault, how many nodes and clients, how bad the weather: each
    /// seed has its own selection (swarm testing), so that rare combinations are not rare.
    #[must_use]
    pub fn draw(seed: u64, profile: Profile) -> Self {
        Self::draw_sized(seed, profile, Sizes::DRAWN)
    }

    /// The plan of `seed` for so many nodes and clients.
    #[must_use]
    pub fn draw_sized(seed: u64, profile: Profile, sizes: Sizes) -> Self {
        let mut plan = Self::calm(seed, profile);
        plan.redraw(seed, profile, sizes);
        plan
    }

    /// Becomes the plan of `seed`, without giving memory back.
    pub fn redraw(&mut self, seed: u64, profile: Profile, sizes: Sizes) {
        draw::draw(self, seed, profile, sizes);
    }

    /// The plan as one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The plan as JSON for people.
    #[must_use]
    pub fn to_json_pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The plan that [`Plan::to_json`] wrote.
    ///
    /// # Errors
    /// [`PlanError`] for another version, an unknown field, or a plan that makes no world.
    pub fn from_json(json: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(json).map_err(|e| PlanError::new(e.to_string()))?;
        check_version(plan.version, VERSION)?;
        plan.checked()?;
        Ok(plan)
    }

    /// Whether a world can be made of it, and its faults break no more than its profile says.
    ///
    /// # Errors
    /// [`PlanError`] says what is in the way.
    pub fn checked(&self) -> Result<(), PlanError> {
        self.shape.checked()?;
        let faults = self.faults.len();
        if faults > FAULTS_MAX {
            return Err(PlanError::new(format!("{faults} faults; at most {FAULTS_MAX}")));
        }
        assume::check(self)
    }
}

/// The most faults of a plan.
pub const FAULTS_MAX: usize = 10_000;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {:#x}, {}: {}", self.seed, self.profile, self.shape)?;
        let mut faults: Vec<&Fault> = self.faults.iter().collect();
        faults.sort_by_key(|fault| fault.at_us);
        for fault in faults {
            writeln!(f, "  {fault}")?;
        }
        Ok(())
    }
}

/// The plan makes no world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(String);

/// Whether a plan of version `found` can be read by what reads `reads`.
pub(crate) fn check_version(found: u32, reads: u32) -> Result<(), PlanError> {
    if found == reads {
        return Ok(());
    }
    let text = format!("the plan has version {found}; this program reads version {reads}");
    Err(PlanError::new(text))
}

impl PlanError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

pub(crate) fn to_hex<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{seed:#x}"))
}

pub(crate) fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_seed(&text).map_err(serde::de::Error::custom)
}

/// A seed as people write it: decimal, or hexadecimal after `0x`.
///
/// # Errors
/// [`PlanError`] if it is neither.
pub fn parse_seed(text: &str) -> Result<u64, PlanError> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| PlanError::new(format!("{text:?} is no seed; 17 and 0x11 are")))
}
