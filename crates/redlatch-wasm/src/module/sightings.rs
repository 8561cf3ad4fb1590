//! What several looks at a lock amount to.

use redlatch_core::wire::Sighting;
use redlatch_core::{Fence, Quorum};

use super::clock;

/// What one node knows of a lock, in JavaScript's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// As [`Sighting::holder`].
    pub(crate) holder: Option<u64>,
    /// For how many ms the key still lives; infinite if it never expires or is not there.
    pub(crate) left: f64,
    /// 0 if there is none.
    pub(crate) fence: f64,
}

impl Seen {
    pub(crate) fn new(sighting: &Sighting) -> Self {
        Self {
            holder: sighting.holder,
            left: sighting.remaining.map_or(f64::INFINITY, clock::millis_of),
            fence: sighting.fence.map_or(0, Fence::get) as f64,
        }
    }
}

/// Whether a lock is held, as far as its nodes told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    /// A majority has no key.
    Free,
    /// A majority has one token in its keys, for so many ms.
    Held { left: f64 },
    /// Neither.
    Undecided,
}

/// Held if a majority has the same token, until the q-th largest of their remaining times has passed.
pub(crate) fn state(quorum: Quorum, seen: &[Option<Seen>]) -> State {
    let mut longest = None;
    for one in seen.iter().flatten() {
        let alike = seen.iter().flatten();
        let alike = alike.filter(|other| other.holder == one.holder && other.left >= one.left);
        if alike.count() < quorum.majority() {
            continue;
        }
        if one.holder.is_none() {
            return State::Free;
        }
        longest = Some(one.left.max(longest.unwrap_or(0.0)));
    }
    longest.map_or(State::Undecided, |left| State::Held { left })
}
