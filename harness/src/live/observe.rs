//! What each node keeps for each resource, over time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::node::Node;

/// Looks at some keys on all nodes, over direct connections, about every millisecond.
///
/// Each node has a thread of its own, so that one which hangs keeps nobody from looking at the others.
#[derive(Debug)]
pub struct Watch {}

impl Watch {
    /// Begins to look; times are counted from `origin`.
    #[must_use]
    pub fn start(_nodes: &[Arc<dyn Node>], _keys: Vec<String>, _origin: Instant) -> Self {
        Self {}
    }

    /// Ends, and tells what was seen to change, in the order in which it was seen.
    #[must_use]
    pub fn stop(self) -> Vec<Sighting> {
        Vec::new()
    }
}

/// What was seen on one node for one key, where it differs from what was seen there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which node, by its place.
    pub node: usize,
    /// Which key, by its place.
    pub key: usize,
    /// When the question was sent: what was seen was so at some moment between this and `until`.
    pub at: Duration,
    /// When the answer was there.
    pub until: Duration,
    /// What was seen.
    pub seen: Seen,
}

/// What a node keeps for a key.
#[derive(Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: anybody can lock it.
    Nobody,
    /// Nothing, and nobody can lock it: the node is in redlatch's quarantine.
    Withheld,
    /// A value: the token of whoever holds it.
    Value {
        /// The token.
        value: Vec<u8>,
        /// What it has still to live; `None` for ever.
        remaining: Option<Duration>,
    },
    /// The node did not answer.
    Unreachable,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Withheld => f.write_str("Withheld"),
            Self::Value { value, remaining } => {
                write!(f, "Value({} bytes, {remaining:?} left)", value.len())
            }
            Self::Unreachable => f.write_str("Unreachable"),
        }
    }
}
