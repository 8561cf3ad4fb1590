//! What is going to happen, in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::sim::clock::TrueTime;

/// Something that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The message in this slot arrives.
    Message(u32),
    /// A timer of this client's lock or worker.
    Wake(u8),
    /// A fault of the plan begins.
    FaultBegins(u16),
    /// A fault of the plan ends.
    FaultEnds(u16),
    /// A belief of this client is expected to lose its backing.
    Recheck(u8),
    /// This stage of the run is over at the latest now.
    Phase(u8),
    /// The access of a resource in this slot arrives.
    Access(u32),
    /// The call of a node in this slot arrives.
    Call(u32),
}

impl Due {
    const fn pack(self) -> u32 {
        match self {
            Self::Message(slot) => slot,
            Self::Wake(client) => 1 << 28 | client as u32,
            Self::FaultBegins(fault) => 2 << 28 | fault as u32,
            Self::FaultEnds(fault) => 3 << 28 | fault as u32,
            Self::Recheck(client) => 4 << 28 | client as u32,
            Self::Phase(stage) => 5 << 28 | stage as u32,
            Self::Access(slot) => 6 << 28 | slot,
            Self::Call(slot) => 7 << 28 | slot,
        }
    }

    const fn unpack(word: u32) -> Self {
        let low = word & 0x0FFF_FFFF;
        match word >> 28 {
            0 => Self::Message(low),
            1 => Self::Wake(low as u8),
            2 => Self::FaultBegins(low as u16),
            3 => Self::FaultEnds(low as u16),
            4 => Self::Recheck(low as u8),
            5 => Self::Phase(low as u8),
            6 => Self::Access(low),
            _ => Self::Call(low),
        }
    }
}

/// A heap of what is due, earliest first, and of equal times what was put in first. One number per
/// entry, so that comparing is one instruction or two, and nothing is allocated once it has grown.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<u128>>,
    order: u32,
}

impl Queue {
    pub(crate) fn clear(&mut self) {
        self.heap.clear();
        self.order = 0;
    }

    pub(crate) fn push(&mut self, at: TrueTime, due: Due) {
        self.order = self.order.wrapping_add(1);
        let tail = u64::from(self.order) << 32 | u64::from(due.pack());
        self.heap.push(Reverse(u128::from(at) << 64 | u128::from(tail)));
    }

    pub(crate) fn pop(&mut self) -> Option<(TrueTime, Due)> {
        let Reverse(entry) = self.heap.pop()?;
        Some(((entry >> 64) as u64, Due::unpack(entry as u32)))
    }
}

/// Values at fixed places, which are used again when free.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    values: Vec<T>,
    free: Vec<u32>,
}

impl<T: Copy> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { values: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.free.clear();
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.values[slot as usize] = value;
            return slot;
        }
        self.values.push(value);
        (self.values.len() - 1) as u32
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        self.free.push(slot);
    }

    pub(crate) fn at(&self, slot: u32) -> &T {
        &self.values[slot as usize]
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut T {
        &mut self.values[slot as usize]
    }

    /// How many are in use.
    pub(crate) fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }
}
