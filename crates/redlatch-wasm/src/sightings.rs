//! What several looks at a lock amount to.

use alloc::vec::Vec;
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
    for holder in sightings.clone().filter_map(|sighting| sighting.holder) {
        let same = sightings.clone().filter(|sighting| sighting.holder == Some(holder));
        let mut remaining: Vec<_> =
            same.map(|sighting| sighting.remaining.unwrap_or(Duration::MAX)).collect();
        if remaining.len() >= majority {
            remaining.sort_unstable();
            let remaining = remaining[remaining.len() - majority];
            return State::Held { remaining: (remaining < Duration::MAX).then_some(remaining) };
        }
    }
    State::Undecided
}
