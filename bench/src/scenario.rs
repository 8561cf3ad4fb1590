//! What is measured: how many workers do what, and what is wrong with the nodes meanwhile.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The nodes of every scenario.
pub const NODES: usize = 5;
/// How many of them are a majority.
pub const QUORUM: usize = 3;
/// The locks of [`Shape::Held`].
pub const HELD: usize = 1_000;
/// The work under a contended lock.
pub const WORK: Duration = Duration::from_millis(1);

/// One scenario. It is written `one`, `many`, `held`, `hung1`, `down2`, `contention-8`,
/// `contention-8-own`, `contention-8-own-hung1` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scenario {
    /// Who does what.
    pub shape: Shape,
    /// How many nodes stand still.
    pub hung: usize,
    /// How many nodes refuse connections.
    pub down: usize,
}

/// Who does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Workers with a resource each, which lock and unlock it.
    Pairs {
        /// How many.
        workers: usize,
    },
    /// [`HELD`] locks that are held and renewed.
    Held,
    /// Workers with one resource among them.
    Contention {
        /// How many.
        workers: usize,
        /// Whose connections they use.
        clients: Clients,
    },
}

/// How many clients the contending workers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clients {
    /// One, which they share.
    Shared,
    /// One each, with connections of its own.
    Own,
}

impl Scenario {
    const fn healthy(shape: Shape) -> Self {
        Self { shape, hung: 0, down: 0 }
    }

    /// All of them, in the order of the report.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let one = Self::healthy(Shape::Pairs { workers: 1 });
        let mut all = vec![one, Self::healthy(Shape::Pairs { workers: 64 })];
        all.extend([1, 2].map(|hung| Self { hung, ..one }));
        all.extend([1, 2].map(|down| Self { down, ..one }));
        all.push(Self::healthy(Shape::Held));
        for clients in [Clients::Shared, Clients::Own] {
            let crowds = [2, 8, 16, 64].map(|workers| Shape::Contention { workers, clients });
            all.extend(crowds.map(Self::healthy));
            all.push(Self { hung: 1, ..Self::healthy(Shape::Contention { workers: 8, clients }) });
        }
        all
    }

    /// Whether `filter` is this scenario's name, or the beginning of it up to a dash.
    #[must_use]
    pub fn is_meant(&self, filter: &str) -> bool {
        let name = self.to_string();
        let rest = name.strip_prefix(filter);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// How many phases a subject measures: contention begins with one worker alone.
    #[must_use]
    pub const fn phases(&self) -> usize {
        match self.shape {
            Shape::Pairs { .. } | Shape::Held => 1,
            Shape::Contention { .. } => 2,
        }
    }

    /// Whether any node is not well.
    #[must_use]
    pub const fn is_faulty(&self) -> bool {
        self.hung + self.down > 0
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.shape, self.hung, self.down) {
            (Shape::Pairs { workers: 1 }, 0, 0) => f.write_str("one"),
            (Shape::Pairs { workers: 64 }, 0, 0) => f.write_str("many"),
            (Shape::Pairs { .. }, hung, 0) => write!(f, "hung{hung}"),
            (Shape::Pairs { .. }, _, down) => write!(f, "down{down}"),
            (Shape::Held, ..) => f.write_str("held"),
            (Shape::Contention { workers, clients }, hung, _) => {
                write!(f, "contention-{workers}")?;
                match clients {
                    Clients::Shared => {}
                    Clients::Own => f.write_str("-own")?,
                }
                if hung > 0 { write!(f, "-hung{hung}") } else { Ok(()) }
            }
        }
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::all().into_iter().find(|scenario| scenario.to_string() == name);
        known.ok_or_else(|| format!("there is no scenario {name}"))
    }
}

impl TryFrom<String> for Scenario {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Scenario> for String {
    fn from(scenario: Scenario) -> Self {
        scenario.to_string()
    }
}
