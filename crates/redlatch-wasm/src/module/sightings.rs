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
pub(crate) fn state(quorum: Quorum, sightings: &[Option<Sighting>]) -> State {
    let majority = quorum.majority();
    let count = |same: &dyn Fn(&Sighting) -> bool| {
        sightings.iter().flatten().filter(|one| same(one)).count()
    };
    if count(&|one| one.holder.is_none()) >= majority {
        return State::Free;
    }
    let mut longest = None;
    for one in sightings.iter().flatten() {
        // Whether a majority has the same holder for at least as long.
        let is_held =
            count(&|other| other.holder == one.holder && left(other) >= left(one)) >= majority;
        if one.holder.is_some() && is_held {
            longest = longest.max(Some(left(one)));
        }
    }
    match longest {
        None => State::Undecided,
        Some(Duration::MAX) => State::Held { remaining: None },
        remaining => State::Held { remaining },
    }
}

fn left(sighting: &Sighting) -> Duration {
    sighting.remaining.unwrap_or(Duration::MAX)
}
