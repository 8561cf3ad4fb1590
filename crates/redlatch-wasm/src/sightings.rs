//! What several looks at a lock amount to.

use core::time::Duration;

use redlatch_core::Quorum;
use redlatch_core::wire::Sighting;

/// Whether a lock is held, as far as its nodes told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A majority has no key.
    Free,
    /// A majority has one token in its keys; `None` if it never expires.
    Held { remaining: Option<Duration> },
    /// Neither.
    Undecided,
}

/// Held if a majority has the same token, until the q-th largest of their remaining times has passed.
pub(crate) fn state<'a>(
    quorum: Quorum,
    sightings: impl Iterator<Item = &'a Sighting> + Clone,
) -> State {
    let majority = quorum.majority();
    if sightings.clone().filter(|sighting| sighting.holder.is_none()).count() >= majority {
        return State::Free;
    }
    // Of each, whether a majority has the same holder for at least as long.
    let held = |one: &&Sighting| {
        let others = sightings.clone().filter(|other| other.holder == one.holder);
        others.filter(|other| left(other) >= left(one)).count() >= majority
    };
    let remaining = sightings.clone().filter(|one| one.holder.is_some()).filter(held).map(left);
    match remaining.max() {
        None => State::Undecided,
        Some(Duration::MAX) => State::Held { remaining: None },
        remaining => State::Held { remaining },
    }
}

fn left(sighting: &Sighting) -> Duration {
    sighting.remaining.unwrap_or(Duration::MAX)
}
