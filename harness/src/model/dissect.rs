//! Takes a machine apart by listening to its `Hash`.
//!
//! Two states are the same if they differ only by the origin of time, by the names of clients, or by
//! the order of nodes. The fields of a machine are its own affair, but its `Hash` names them all, in
//! order, and what matters can be told apart by its type: an instant lies in a range of its own, a set
//! of nodes is the only 16-bit number, a table of nodes has 16 places, a nonce has 16 bytes. So the
//! [`Dissector`] is a `Hasher` that writes down a machine as one list of scalars and one list for each
//! node, with instants counted from now.
//!
//! Two machines with equal lists behave alike, because the protocol compares instants only with each
//! other, and treats nodes alike. `tests/model.rs` checks that: with and without these symmetries, the
//! verdicts agree.

use std::hash::{Hash, Hasher};

use super::bounds::{CLIENTS_MAX, NODES_MAX};

/// The places of a table of nodes.
const TABLE: usize = redlatch_core::NODES_MAX;
/// Where the clock of a client starts. Nothing but instants is so large, except `MAX`.
pub(crate) const CLIENT_EPOCH: u64 = 1 << 60;
/// Where the wall clock of a node starts. Nothing but instants is so large: fences stay small.
pub(crate) const NODE_EPOCH: u64 = 1 << 44;

/// Which numbers are instants, and what they are counted from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Instants are not below half of it.
    pub(crate) epoch: u64,
    pub(crate) now: u64,
    /// Everything at least so long ago is equally long ago.
    pub(crate) past: u64,
}

impl Frame {
    fn relative(&self, number: u64) -> u64 {
        if number < self.epoch / 2 || number == u64::MAX {
            return number;
        }
        // Now is written as a number that is never a count.
        let age = self.now.saturating_sub(number).min(self.past);
        self.epoch + number.saturating_sub(self.now) - age
    }
}

/// A value, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Dissector {
    frame: Frame,
    /// What each client is called, by the first byte of its nonce.
    names: [u8; CLIENTS_MAX],
    /// Whether bytes are the names of nodes, to be left out.
    nodes_unnamed: bool,
    /// Places of a table that are still to come.
    table: usize,
    pub(crate) scalars: Vec<u64>,
    pub(crate) nodes: [Vec<u64>; NODES_MAX],
}

impl Dissector {
    pub(crate) fn new(frame: Frame, names: [u8; CLIENTS_MAX]) -> Self {
        Self {
            frame,
            names,
            nodes_unnamed: false,
            table: 0,
            scalars: Vec::with_capacity(64),
            nodes: Default::default(),
        }
    }

    /// Writes down `value`, which belongs to one node, without the name of that node.
    pub(crate) fn unnamed(frame: Frame, names: [u8; CLIENTS_MAX], value: &impl Hash) -> Vec<u64> {
        let mut dissector = Self::new(frame, names);
        dissector.nodes_unnamed = true;
        value.hash(&mut dissector);
        dissector.scalars
    }

    /// The next place of a table, if one is open.
    fn place(&mut self) -> Option<&mut Vec<u64>> {
        let index = TABLE - self.table;
        self.table = self.table.checked_sub(1)?;
        // No model has so many nodes: those places are empty.
        self.nodes.get_mut(index)
    }

    fn word(&mut self, word: u64) {
        // A table that holds more than numbers is written down as it stands.
        self.table = 0;
        self.scalars.push(word);
    }
}

impl Hasher for Dissector {
    fn finish(&self) -> u64 {
        digest(&self.scalars)
    }

    fn write(&mut self, bytes: &[u8]) {
        let is_table = std::mem::take(&mut self.table) == TABLE;
        match (is_table, bytes.len()) {
            (true, TABLE) => {
                let mut nonce = [0; TABLE];
                nonce.copy_from_slice(bytes);
                let name = &mut nonce[0];
                *name = self.names.get(usize::from(*name)).copied().unwrap_or(*name);
                self.scalars.extend(nonce.chunks(8).map(little_endian));
            }
            (true, len) if len % TABLE == 0 => {
                for (place, bytes) in self.nodes.iter_mut().zip(bytes.chunks_exact(len / TABLE)) {
                    let number = little_endian(bytes);
                    place.push(self.frame.relative(number));
                }
            }
            (true, _) | (false, _) => {
                for bytes in bytes.chunks(8) {
                    let number = little_endian(bytes);
                    self.scalars.push(self.frame.relative(number));
                }
            }
        }
    }

    fn write_u8(&mut self, number: u8) {
        if !self.nodes_unnamed {
            self.word(number.into());
        }
    }

    fn write_u16(&mut self, set: u16) {
        self.table = 0;
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.push((set >> index & 1).into());
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.word(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        let number = self.frame.relative(number);
        if self.table == 0 {
            self.scalars.push(number);
        } else if let Some(place) = self.place() {
            place.push(number);
        }
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.word(discriminant as u64);
    }

    fn write_usize(&mut self, len: usize) {
        self.table = if len == TABLE { TABLE } else { 0 };
        self.scalars.push(len as u64);
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Sixty-four well-mixed bits of `words`.
pub(crate) fn digest(words: &[u64]) -> u64 {
    words.iter().fold(words.len() as u64, |hash, word| mix(hash, *word))
}

/// Mixes `word` into `hash`: the finaliser of SplitMix64, which is a bijection of either argument.
pub(crate) const fn mix(hash: u64, word: u64) -> u64 {
    let mut z = hash.rotate_left(23).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ word;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
