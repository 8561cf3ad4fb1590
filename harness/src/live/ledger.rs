//! The resources that the locks protect. They know fences.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::record::{Access, AccessKind};

/// All resources of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    origin: Instant,
    inner: Mutex<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    cells: Vec<Cell>,
    accesses: Vec<Access>,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    /// The largest fence that has come by.
    highest: u64,
    /// What is in it: each write puts another number there.
    value: u64,
    writes: u64,
}

impl Ledger {
    pub(super) fn new(origin: Instant, resources: usize) -> Self {
        let inner = Cells { cells: vec![Cell::default(); resources], accesses: Vec::new() };
        Self { origin, inner: Mutex::new(inner) }
    }

    /// A read under the lock: what was read, if the resource let it.
    pub(super) fn read(
        &self,
        client: usize,
        acquire: u32,
        resource: usize,
        fence: Option<u64>,
    ) -> Option<u64> {
        let mut inner = self.lock();
        let cell = &mut inner.cells[resource];
        let accepted = cell.admits(fence);
        let value = cell.value;
        let at = self.origin.elapsed();
        let kind = AccessKind::Read;
        inner.accesses.push(Access { at, client, acquire, resource, fence, accepted, value, kind });
        accepted.then_some(value)
    }

    /// A write over what was read.
    pub(super) fn write(
        &self,
        client: usize,
        acquire: u32,
        resource: usize,
        fence: Option<u64>,
        read: u64,
    ) {
        let mut inner = self.lock();
        let cell = &mut inner.cells[resource];
        let accepted = cell.admits(fence);
        let kind = match cell.value == read {
            true => AccessKind::Write,
            false => AccessKind::LostUpdate,
        };
        if accepted {
            cell.writes += 1;
            cell.value = cell.writes;
        }
        let value = cell.value;
        let at = self.origin.elapsed();
        inner.accesses.push(Access { at, client, acquire, resource, fence, accepted, value, kind });
    }

    pub(super) fn take(&self) -> Vec<Access> {
        std::mem::take(&mut self.lock().accesses)
    }

    fn lock(&self) -> MutexGuard<'_, Cells> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cell {
    /// Refuses a fence that is lower than the highest seen; without a fence it cannot tell.
    fn admits(&mut self, fence: Option<u64>) -> bool {
        let Some(fence) = fence else { return true };
        let admits = fence >= self.highest;
        self.highest = self.highest.max(fence);
        admits
    }
}
