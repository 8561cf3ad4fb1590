//! The states that were found, by fingerprint, each with that of a state from which it was reached.
//!
//! Nearly all of the time of a large model goes into looking states up: the table is much larger than any
//! cache, and nine of ten states that are looked up are known. So a look takes one cache line, no lock, and
//! nothing that keeps the processor from beginning the next one meanwhile.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Slots to begin with.
const SLOTS_MIN: usize = 1 << 16;
/// States that one state leads to, at most: more than five nodes and three clients can do.
const SUCCESSORS_MAX: usize = 1 << 8;
/// What an empty slot holds in place of a fingerprint.
const EMPTY: u64 = 0;

/// Open addressing, linear probing; shared by threads as long as it does not grow.
#[derive(Debug)]
pub(crate) struct Known {
    slots: Box<[Slot]>,
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Slot {
    state: AtomicU64,
    from: AtomicU64,
}

impl Known {
    /// A table with so much room that all successors of `at_once` states can still be inserted when it
    /// [is crowded](Known::is_crowded).
    pub(crate) fn new(at_once: usize) -> Self {
        Self::with_slots((2 * at_once * SUCCESSORS_MAX).max(SLOTS_MIN).next_power_of_two())
    }

    fn with_slots(count: usize) -> Self {
        Self { slots: (0..count).map(|_| Slot::default()).collect(), len: AtomicUsize::new(0) }
    }

    /// Whether `state` is new. It is known from now on, as reached from `from`.
    ///
    /// The table has to have room: see [`Known::is_crowded`].
    pub(crate) fn insert(&self, state: u64, from: u64) -> bool {
        let state = named(state);
        for slot in self.probe(state) {
            // Nothing else is published with a fingerprint, so no order is needed: whoever finds it
            // knows all there is to know. Parents are read when all threads have joined.
            let mut found = slot.state.load(Ordering::Relaxed);
            if found == EMPTY {
                let order = Ordering::Relaxed;
                match slot.state.compare_exchange(EMPTY, state, order, order) {
                    Ok(_) => {
                        slot.from.store(from, Ordering::Relaxed);
                        self.len.fetch_add(1, Ordering::Relaxed);
                        return true;
                    }
                    Err(other) => found = other,
                }
            }
            if found == state {
                return false;
            }
        }
        unreachable!("a table that grows when it is crowded has a free slot")
    }

    /// Whether it should grow before anybody takes more states in hand.
    pub(crate) fn is_crowded(&self) -> bool {
        self.len.load(Ordering::Relaxed) > self.slots.len() / 2
    }

    /// Becomes large enough for what is to come.
    pub(crate) fn grow(&mut self) {
        let larger = Self::with_slots(self.slots.len() * 4);
        for slot in &self.slots {
            let state = slot.state.load(Ordering::Relaxed);
            if state != EMPTY {
                larger.insert(state, slot.from.load(Ordering::Relaxed));
            }
        }
        *self = larger;
    }

    /// The fingerprints from the first state to this one.
    pub(crate) fn path(&self, mut state: u64) -> Vec<u64> {
        let mut path = vec![state];
        while let Some(from) = self.from(state).filter(|from| *from != state) {
            path.push(from);
            state = from;
        }
        path.reverse();
        path
    }

    fn from(&self, state: u64) -> Option<u64> {
        let state = named(state);
        let held = |slot: &&Slot| slot.state.load(Ordering::Relaxed);
        let slot = self.probe(state).find(|slot| [state, EMPTY].contains(&held(slot)))?;
        (held(&slot) == state).then(|| slot.from.load(Ordering::Relaxed))
    }

    /// All slots, beginning with the one where `state` should be.
    fn probe(&self, state: u64) -> impl Iterator<Item = &Slot> {
        // The number of slots is a power of two, and fingerprints are mixed already.
        let first = state as usize & (self.slots.len() - 1);
        let (before, after) = self.slots.split_at(first);
        after.iter().chain(before)
    }
}

/// One state in 2^64 shares its fingerprint with another.
const fn named(state: u64) -> u64 {
    if state == EMPTY { 1 } else { state }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_new_once_however_often_the_table_grows() {
        let mut known = Known::with_slots(4);
        let states: Vec<u64> =
            (0..1_000).map(|number: u64| number.wrapping_mul(7 << 60 | 5)).collect();
        for pair in states.windows(2) {
            if known.is_crowded() {
                known.grow();
            }
            assert!(known.insert(pair[1], pair[0]), "{} is new", pair[1]);
            assert!(!known.insert(pair[1], pair[1]), "{} is known", pair[1]);
        }
        assert_eq!(known.path(states[999])[1..], states[1..]);
    }

    #[test]
    fn of_threads_that_find_a_state_at_once_one_is_told_that_it_is_new() {
        let known = Known::with_slots(1 << 12);
        let found = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let new = (1..=1_000).filter(|state| known.insert(state << 20 | state, 1));
                    found.fetch_add(new.count(), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(found.into_inner(), 1_000);
    }
}
