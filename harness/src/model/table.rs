//! Things that are kept once and named by a number, shared between threads.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustc_hash::FxBuildHasher;

/// Enough that a few dozen threads rarely meet.
const SHARDS: usize = 64;
/// The first part of an arena has this many places; each further part has twice as many.
const PART_MIN: usize = 1 << 10;
const PARTS: usize = 22;

/// Values by key, each with a number by which it is found again without a lock.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    shards: Vec<Mutex<HashMap<K, u32, FxBuildHasher>>>,
    parts: [OnceLock<Box<[OnceLock<V>]>>; PARTS],
    len: AtomicU32,
}

impl<K: Hash + Eq, V> Table<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            parts: std::array::from_fn(|_| OnceLock::new()),
            len: AtomicU32::new(0),
        }
    }

    /// The number of the value with this key, which is made if it is new.
    pub(crate) fn number(&self, key: K, value: impl FnOnce() -> V) -> u32 {
        let shard = (FxBuildHasher.hash_one(&key) >> 7) as usize % SHARDS;
        match lock(&self.shards[shard]).entry(key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let number = self.len.fetch_add(1, Ordering::Relaxed);
                self.place(number).get_or_init(value);
                *entry.insert(number)
            }
        }
    }

    /// The value with this number.
    pub(crate) fn get(&self, number: u32) -> &V {
        let Some(value) = self.place(number).get() else {
            unreachable!("a number is handed out when its value is in place")
        };
        value
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
    }

    fn place(&self, number: u32) -> &OnceLock<V> {
        let index = number as usize + PART_MIN;
        let part = (index / PART_MIN).ilog2() as usize;
        let len = PART_MIN << part;
        let places = self.parts[part].get_or_init(|| (0..len).map(|_| OnceLock::new()).collect());
        &places[index - len]
    }
}

/// A poisoned lock is as good as any: whoever panicked takes the run down anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
