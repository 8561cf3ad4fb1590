//! Keys with an expiry, in sixteen databases.

use std::collections::HashMap;

/// How many databases a server has, unless told otherwise.
pub(super) const DATABASES: usize = 16;

/// Milliseconds of the node's wall clock; signed, because expiries may be asked for in the past.
pub(super) type Millis = i64;

/// What a server has kept when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// All keys: an append-only file, with fsync on every write.
    All,
    /// What had been synced ([`Redis::sync`](super::Redis::sync)): a snapshot, or an append-only file
    /// with fsync now and then.
    Synced,
    /// No key: no persistence.
    Nothing,
}

/// What is in a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    String(Vec<u8>),
    Sorted(SortedSet),
}

/// Members by score, lowest first, and of equal scores by their bytes.
pub(super) type SortedSet = Vec<(i64, Vec<u8>)>;

impl Value {
    /// A string's bytes.
    pub(super) fn string(&self) -> Option<&Vec<u8>> {
        match self {
            Self::String(bytes) => Some(bytes),
            Self::Sorted(_) => None,
        }
    }
}

/// One key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: Value,
    /// The key is there until the wall clock has passed this.
    pub(super) expires_at: Option<Millis>,
    /// Differs for every change, so that `WATCH` sees it.
    version: u64,
}

/// All keys of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyspace {
    databases: [HashMap<Vec<u8>, Entry>; DATABASES],
    versions: u64,
}

impl Keyspace {
    /// The key's entry, if it is there; one that has expired is deleted first.
    pub(super) fn find(&mut self, now: Millis, db: usize, key: &[u8]) -> Option<&mut Entry> {
        let database = &mut self.databases[db];
        let expired = |entry: &Entry| entry.expires_at.is_some_and(|at| now > at);
        if database.get(key).is_some_and(expired) {
            database.remove(key);
        }
        database.get_mut(key)
    }

    /// As [`find`](Self::find), without touching anything.
    pub(super) fn peek(&self, now: Millis, db: usize, key: &[u8]) -> Option<&Entry> {
        let entry = self.databases[db].get(key);
        entry.filter(|entry| entry.expires_at.is_none_or(|at| now <= at))
    }

    /// Puts `value` into the key, whatever was there.
    pub(super) fn put(&mut self, db: usize, key: &[u8], value: Value, expires_at: Option<Millis>) {
        let version = self.next_version();
        self.databases[db].insert(key.to_vec(), Entry { value, expires_at, version });
    }

    /// Gives a key that is there another expiry.
    pub(super) fn set_expiry(&mut self, db: usize, key: &[u8], expires_at: Option<Millis>) {
        let version = self.next_version();
        if let Some(entry) = self.databases[db].get_mut(key) {
            entry.expires_at = expires_at;
            entry.version = version;
        }
    }

    /// Deletes a key; whether it was there.
    pub(super) fn remove(&mut self, now: Millis, db: usize, key: &[u8]) -> bool {
        self.find(now, db, key).is_some() && self.databases[db].remove(key).is_some()
    }

    /// The version of a key; 0 if it is not there.
    pub(super) fn version(&self, now: Millis, db: usize, key: &[u8]) -> u64 {
        self.peek(now, db, key).map_or(0, |entry| entry.version)
    }

    /// Deletes every key of one database.
    pub(super) fn clear(&mut self, db: usize) {
        self.databases[db].clear();
    }

    /// Deletes every key.
    pub(super) fn clear_all(&mut self) {
        self.databases.iter_mut().for_each(HashMap::clear);
    }

    /// The keys of one database that have not expired, in order, so that replies are the same on every
    /// run.
    pub(super) fn names(&self, now: Millis, db: usize) -> Vec<&[u8]> {
        let live = |entry: &Entry| entry.expires_at.is_none_or(|at| now <= at);
        let mut names: Vec<&[u8]> = self.databases[db]
            .iter()
            .filter(|(_, entry)| live(entry))
            .map(|(name, _)| name.as_slice())
            .collect();
        names.sort_unstable();
        names
    }

    /// Every instant at which a key expires.
    pub(super) fn expiries(&self) -> impl Iterator<Item = Millis> {
        self.databases.iter().flat_map(HashMap::values).filter_map(|entry| entry.expires_at)
    }

    fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }
}
