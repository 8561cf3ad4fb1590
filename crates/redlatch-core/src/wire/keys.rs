//! Names of resources, and the keys that stand for them.

use core::fmt;

/// What the names of our own keys begin with.
const RESERVED_PREFIX: &[u8] = b"redlatch:";

/// Prefix of the key in which a node keeps a resource's fence number.
pub(super) const FENCE: &[u8] = b"redlatch:fence:";
/// Prefix of the key in which a node keeps who waits for a resource.
pub(super) const QUEUE: &[u8] = b"redlatch:queue:";

const KEYS_MAX: usize = 8;

/// The key in which a node with a restart guard keeps the `run_id` it last answered under.
pub const MARKER: &[u8] = b"redlatch:run_id";
/// The key that keeps a node with a restart guard from voting while it is there.
pub const QUARANTINE: &[u8] = b"redlatch:quarantine";

/// The keys of one lock: one resource, or several that are locked together, all or none on each node.
///
/// A resource's name is its key, byte for byte, so that other Redlock clients and this one exclude each
/// other. Several keys must be in one Redis Cluster slot, because one script handles them all.
///
/// ```
/// use redlatch_core::wire::Keys;
///
/// let one = Keys::new(&[b"report"])?;
/// let two = Keys::new(&[b"{order:7}:stock", b"{order:7}:invoice"])?;
/// assert!(Keys::new(&[b"stock", b"invoice"]).is_err());
/// # Ok::<(), redlatch_core::wire::KeysError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys<'a> {
    names: [&'a [u8]; KEYS_MAX],
    len: usize,
}

impl<'a> Keys<'a> {
    /// The most keys of one lock.
    pub const MAX: usize = KEYS_MAX;
    /// The longest name of a resource, in bytes.
    pub const NAME_MAX: usize = 1024;

    /// The keys of `resources`.
    ///
    /// # Errors
    /// [`KeysError`] if there are none or more than [`Keys::MAX`], one is empty, longer than
    /// [`Keys::NAME_MAX`], named as the library's own keys are, or named twice, or they are not in
    /// one slot.
    pub fn new(resources: &[&'a [u8]]) -> Result<Self, KeysError> {
        if resources.is_empty() || resources.len() > Self::MAX {
            return Err(KeysError::Count { count: resources.len() });
        }
        let mut names: [&'a [u8]; KEYS_MAX] = [b""; KEYS_MAX];
        for (index, &name) in resources.iter().enumerate() {
            if name.is_empty() || name.len() > Self::NAME_MAX {
                return Err(KeysError::Length { index, len: name.len() });
            }
            if name.starts_with(RESERVED_PREFIX) {
                return Err(KeysError::Reserved { index });
            }
            if names[..index].contains(&name) {
                return Err(KeysError::Duplicate { index });
            }
            if index > 0 {
                let (slot, first) = (slot(name), slot(resources[0]));
                if slot != first {
                    return Err(KeysError::Slots { index, slot, first });
                }
            }
            names[index] = name;
        }
        Ok(Self { names, len: resources.len() })
    }

    /// The names, in the order in which they were given.
    #[must_use]
    pub fn names(&self) -> &[&'a [u8]] {
        &self.names[..self.len]
    }

    /// Whether every name has a fence key in its own slot: not one that has a `}` but no hash tag.
    ///
    /// # Errors
    /// [`KeysError::FenceSlot`] otherwise.
    pub fn check_fence_keys(&self) -> Result<(), KeysError> {
        match self.names().iter().position(|name| OwnKey::of(FENCE, name).is_none()) {
            Some(index) => Err(KeysError::FenceSlot { index }),
            None => Ok(()),
        }
    }

    /// Whether every name has a queue of its own in its slot: not `{b}`, whose queue would be that of `b`.
    pub(super) fn have_queues(&self) -> bool {
        self.names().iter().all(|name| match hash_tag(name) {
            Some(tag) => tag.len() + 2 < name.len(),
            None => !name.contains(&b'}'),
        })
    }
}

/// A key of the library's own for a resource, in parts.
pub(super) struct OwnKey<'a> {
    parts: [&'a [u8]; 4],
}

impl<'a> OwnKey<'a> {
    /// The key that begins with `prefix` for `name`, in the slot of `name`. A name with a hash tag brings
    /// its own; any other becomes one, unless a `}` in it would end the tag too early.
    pub(super) fn of(prefix: &'a [u8], name: &'a [u8]) -> Option<Self> {
        if hash_tag(name).is_some() {
            Some(Self { parts: [prefix, b"", name, b""] })
        } else if name.contains(&b'}') {
            None
        } else {
            Some(Self { parts: [prefix, b"{", name, b"}"] })
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Writes the key into `buffer`, which has its length.
    pub(super) fn write(&self, mut buffer: &mut [u8]) {
        for part in self.parts {
            let (head, tail) = buffer.split_at_mut(part.len());
            head.copy_from_slice(part);
            buffer = tail;
        }
    }
}

/// What is between the first `{` and the first `}` after it, if that is not empty: all that Redis
/// Cluster hashes of a key that has it.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let start = key.iter().position(|&byte| byte == b'{')? + 1;
    let len = key[start..].iter().position(|&byte| byte == b'}')?;
    (len > 0).then(|| &key[start..start + len])
}

/// The Redis Cluster slot of `key`.
fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % 16_384
}

/// CRC-16/XMODEM, as the Redis Cluster specification asks for.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for &byte in bytes {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc
}

/// The resources cannot be locked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeysError {
    /// None, or too many.
    Count {
        /// How many were given.
        count: usize,
    },
    /// A name is empty or too long.
    Length {
        /// Its place, from 0.
        index: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// A name begins with `redlatch:`, as the names of the library's own keys do.
    Reserved {
        /// Its place, from 0.
        index: usize,
    },
    /// A name was given before.
    Duplicate {
        /// The place of the second one, from 0.
        index: usize,
    },
    /// A name is in another slot than the first.
    Slots {
        /// Its place, from 0.
        index: usize,
        /// Its slot.
        slot: u16,
        /// The first name's slot.
        first: u16,
    },
    /// A fence is wanted, and there is no key for its number in the slot of this name.
    FenceSlot {
        /// Its place, from 0.
        index: usize,
    },
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Count { count } => {
                write!(f, "{count} resources were named; a lock takes 1 to {}", Keys::MAX)
            }
            Self::Length { index, len } => write!(
                f,
                "the name of resource {} has {len} bytes; it must have 1 to {}",
                index + 1,
                Keys::NAME_MAX
            ),
            Self::Reserved { index } => write!(
                f,
                "the name of resource {} begins with `redlatch:`, which is kept for the library's own \
                 keys; choose another",
                index + 1
            ),
            Self::Duplicate { index } => {
                write!(f, "resource {} was named before; name each one once", index + 1)
            }
            Self::Slots { index, slot, first } => write!(
                f,
                "resource {} is in Redis Cluster slot {slot} and the first one in slot {first}; \
                 resources that are locked together must share a slot: give their names one hash \
                 tag, as in {{order:7}}:stock and {{order:7}}:invoice",
                index + 1
            ),
            Self::FenceSlot { index } => write!(
                f,
                "the name of resource {} has a closing brace but no hash tag, so no key for its \
                 fence can share its slot: give it a hash tag, as in {{order:7}}:stock, take the \
                 brace out, or lock it without a fence",
                index + 1
            ),
        }
    }
}

impl core::error::Error for KeysError {}
