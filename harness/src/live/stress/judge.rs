//! Judges each claim when it is made, and forgets what can say nothing any more.
//!
//! All clients are in one process, so what is compared was true at one moment: nothing is allowed for pipes and
//! for who had to wait for the processor.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// How many findings are kept; the rest are counted.
const FINDINGS_MAX: usize = 20;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What does not hold, in one word.
    pub what: String,
    /// What happened, in one plain sentence.
    pub story: String,
}

impl Finding {
    pub(super) fn of(what: &str, story: &str) -> Self {
        Self { what: what.to_owned(), story: story.to_owned() }
    }
}

/// A lease, as its holder sees it.
pub(super) trait Lease {
    /// Whether it is held at this moment.
    fn is_valid(&self) -> bool;
}

impl Lease for redlatch::LeaseView {
    fn is_valid(&self) -> bool {
        Self::is_valid(self)
    }
}

/// What was claimed of all resources, as far as it can still be contradicted.
pub(super) struct Judge<L> {
    cells: Vec<Mutex<Cell<L>>>,
    findings: Mutex<(Vec<Finding>, u64)>,
}

/// One resource. It knows fences, as what a lock protects should.
struct Cell<L> {
    /// Who was granted it and has not given it up.
    holders: Vec<Holder<L>>,
    /// The largest fence granted so far.
    granted: u64,
    /// Fences granted that an acquire which has not ended could still be granted again.
    recent: BTreeSet<u64>,
    /// What was the largest fence granted when each acquire that has not ended was asked for.
    floors: Vec<(u64, u64)>,
    /// The number of the next acquire.
    next: u64,
    /// The largest fence that has come by.
    highest: u64,
    /// What is in it: each write puts another number there.
    value: u64,
    writes: u64,
}

struct Holder<L> {
    number: u64,
    client: usize,
    fence: u64,
    lease: L,
}

/// An acquire that has been asked for.
#[derive(Clone, Copy, Debug)]
#[must_use = "an acquire that is not ended is never forgotten"]
pub(super) struct Ask {
    resource: usize,
    number: u64,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It was let in.
    Yes,
    /// Its fence was too low.
    Refused,
}

/// A holder that is to be looked for on the nodes.
pub(super) struct Believer<L> {
    pub(super) resource: usize,
    pub(super) client: usize,
    pub(super) fence: u64,
    pub(super) lease: L,
    number: u64,
}

impl<L: Lease + Clone> Judge<L> {
    pub(super) fn new(resources: usize) -> Self {
        let cell = || Cell {
            holders: Vec::new(),
            granted: 0,
            recent: BTreeSet::new(),
            floors: Vec::new(),
            next: 0,
            highest: 0,
            value: 0,
            writes: 0,
        };
        let cells = (0..resources).map(|_| Mutex::new(cell())).collect();
        Self { cells, findings: Mutex::default() }
    }

    /// An acquire is about to be asked for.
    pub(super) fn asked(&self, resource: usize) -> Ask {
        let mut cell = self.cell(resource);
        let number = cell.next;
        cell.next += 1;
        let floor = cell.granted;
        cell.floors.push((number, floor));
        Ask { resource, number }
    }

    /// It was not granted.
    pub(super) fn refused(&self, ask: Ask) {
        self.cell(ask.resource).forget(ask);
    }

    /// It was granted. From now on, until [`given_up`](Self::given_up), the client relies on it while it is valid.
    pub(super) fn granted(&self, ask: Ask, client: usize, fence: u64, lease: L) {
        let Ask { resource, number } = ask;
        let mut cell = self.cell(resource);
        let floor = cell.floors.iter().find(|(of, _)| *of == number).map_or(0, |(_, floor)| *floor);
        if fence <= floor {
            self.found(
                "fence-order",
                format!(
                    "c{client} was granted r{resource} with fence {fence}, but {floor} had been granted before \
                     it was asked for"
                ),
            );
        }
        if !cell.recent.insert(fence) {
            let story =
                format!("fence {fence} of r{resource} was granted to c{client}, and before");
            self.found("fence-unique", story);
        }
        for other in &cell.holders {
            // In this order: the other one is still valid, and this one is afterwards.
            if other.lease.is_valid() && lease.is_valid() {
                self.found(
                    "mutex",
                    format!(
                        "c{} holds r{resource} with fence {}, and c{client} was granted it with fence {fence}",
                        other.client, other.fence
                    ),
                );
            }
        }
        cell.granted = cell.granted.max(fence);
        cell.forget(ask);
        cell.holders.push(Holder { number, client, fence, lease });
    }

    /// The client relies on it no longer; said before anything is done about it.
    pub(super) fn given_up(&self, ask: Ask) {
        self.cell(ask.resource).holders.retain(|holder| holder.number != ask.number);
    }

    /// A read under the lock, with its fence; nothing if the resource has seen a larger one.
    pub(super) fn read(
        &self,
        resource: usize,
        client: usize,
        fence: u64,
        lease: &L,
    ) -> Option<u64> {
        let mut cell = self.cell(resource);
        if self.admits(&mut cell, resource, client, fence, lease) { Some(cell.value) } else { None }
    }

    /// A write over what was read, which may be late.
    pub(super) fn write(
        &self,
        resource: usize,
        client: usize,
        fence: u64,
        lease: &L,
        read: u64,
    ) -> Written {
        let mut cell = self.cell(resource);
        if !self.admits(&mut cell, resource, client, fence, lease) {
            return Written::Refused;
        }
        if cell.value != read {
            let story = format!(
                "c{client} wrote to r{resource} with fence {fence}, over a write that it had not read, and the \
                 resource let it in"
            );
            self.found("resource", story);
        }
        cell.writes += 1;
        cell.value = cell.writes;
        Written::Yes
    }

    fn admits(
        &self,
        cell: &mut Cell<L>,
        resource: usize,
        client: usize,
        fence: u64,
        lease: &L,
    ) -> bool {
        let (admits, highest) = (fence >= cell.highest, cell.highest);
        cell.highest = highest.max(fence);
        if !admits && lease.is_valid() {
            let story = format!(
                "c{client} relies on r{resource} with fence {fence}, but the resource has seen {highest}"
            );
            self.found("hold-order", story);
        }
        admits
    }

    /// Somebody who relies on this resource, if anybody does.
    pub(super) fn believer(&self, resource: usize) -> Option<Believer<L>> {
        let cell = self.cell(resource);
        let holder = cell.holders.iter().find(|holder| holder.lease.is_valid())?;
        let Holder { number, client, fence, ref lease } = *holder;
        Some(Believer { resource, client, fence, lease: lease.clone(), number })
    }

    /// Whether it still relies on it, and has all the time.
    pub(super) fn still_believes(&self, believer: &Believer<L>) -> bool {
        let cell = self.cell(believer.resource);
        let is_its = |holder: &Holder<L>| holder.number == believer.number;
        cell.holders.iter().any(is_its) && believer.lease.is_valid()
    }

    pub(super) fn found(&self, what: &str, story: String) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.1 += 1;
        if findings.0.len() < FINDINGS_MAX {
            findings.0.push(Finding { what: what.to_owned(), story });
        }
    }

    /// The first findings, and how many there are in all.
    pub(super) fn findings(&self) -> (Vec<Finding>, u64) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn cell(&self, resource: usize) -> MutexGuard<'_, Cell<L>> {
        self.cells[resource].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L> Cell<L> {
    /// An acquire has ended. Fences that are lower than whatever was known when the oldest that goes on was asked
    /// for cannot be granted to it without being out of order.
    fn forget(&mut self, ask: Ask) {
        self.floors.retain(|(number, _)| *number != ask.number);
        let oldest = self.floors.iter().map(|(_, floor)| *floor).min().unwrap_or(self.granted);
        self.recent = self.recent.split_off(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Clone)]
    struct Told(Arc<AtomicBool>);

    impl Told {
        fn new() -> Self {
            Self(Arc::new(AtomicBool::new(true)))
        }

        fn ends(&self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    impl Lease for Told {
        fn is_valid(&self) -> bool {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn whats(judge: &Judge<Told>) -> Vec<String> {
        judge.findings().0.into_iter().map(|finding| finding.what).collect()
    }

    fn grant(judge: &Judge<Told>, client: usize, fence: u64) -> (Ask, Told) {
        let (ask, lease) = (judge.asked(0), Told::new());
        judge.granted(ask, client, fence, lease.clone());
        (ask, lease)
    }

    #[test]
    fn locks_that_follow_each_other_are_well() {
        let judge = Judge::new(1);
        for fence in 1..=100 {
            let (ask, lease) = grant(&judge, 0, fence);
            let read = judge.read(0, 0, fence, &lease).expect("nobody was later");
            assert_eq!(judge.write(0, 0, fence, &lease, read), Written::Yes);
            judge.given_up(ask);
        }
        assert_eq!(whats(&judge), [""; 0]);
    }

    #[test]
    fn two_that_believe_at_once_are_found() {
        let judge = Judge::new(1);
        let (_, first) = grant(&judge, 0, 1);
        drop(grant(&judge, 1, 2));
        assert_eq!(whats(&judge), ["mutex"]);
        // Neither believes any more: a third is welcome.
        let judge = Judge::new(1);
        let (ask, second) = grant(&judge, 0, 1);
        first.ends();
        second.ends();
        drop(grant(&judge, 2, 3));
        assert_eq!(whats(&judge), [""; 0]);
        judge.given_up(ask);
    }

    #[test]
    fn a_fence_that_was_there_before_is_found() {
        let judge = Judge::new(1);
        let (first, second) = (judge.asked(0), judge.asked(0));
        let (one, two) = (Told::new(), Told::new());
        judge.granted(first, 0, 7, one.clone());
        one.ends();
        judge.granted(second, 1, 7, two);
        assert_eq!(whats(&judge), ["fence-unique"]);
    }

    #[test]
    fn a_fence_that_is_lower_than_one_before_it_was_asked_for_is_found() {
        let judge = Judge::new(1);
        let early = judge.asked(0);
        let (ask, _) = grant(&judge, 0, 7);
        judge.given_up(ask);
        // This one was asked for before.
        judge.granted(early, 1, 6, Told::new());
        judge.given_up(early);
        assert_eq!(whats(&judge), [""; 0]);
        drop(grant(&judge, 2, 6));
        assert_eq!(whats(&judge), ["fence-order"]);
    }

    #[test]
    fn a_late_write_is_refused_and_one_that_is_let_in_is_found() {
        let judge = Judge::new(1);
        let (_, late) = grant(&judge, 0, 1);
        let read = judge.read(0, 0, 1, &late).expect("the first");
        late.ends();
        let (_, lease) = grant(&judge, 1, 2);
        let again = judge.read(0, 1, 2, &lease).expect("a larger fence");
        assert_eq!(judge.write(0, 0, 1, &late, read), Written::Refused);
        assert_eq!(judge.write(0, 1, 2, &lease, again), Written::Yes);
        assert_eq!(whats(&judge), [""; 0]);
        // A fence that does not grow protects nothing.
        assert_eq!(judge.write(0, 0, 2, &late, read), Written::Yes);
        assert_eq!(whats(&judge), ["resource"]);
    }

    #[test]
    fn whoever_relies_on_a_lock_and_is_refused_is_found() {
        let judge = Judge::new(1);
        let (_, lease) = grant(&judge, 0, 1);
        let read = judge.read(0, 0, 1, &lease).expect("the first");
        let late = Told::new();
        late.ends();
        assert_eq!(judge.read(0, 1, 2, &late), Some(0));
        assert_eq!(judge.write(0, 0, 1, &lease, read), Written::Refused);
        assert_eq!(whats(&judge), ["hold-order"]);
    }

    #[test]
    fn nothing_is_kept_of_what_is_over() {
        let judge = Judge::new(1);
        for fence in 1..=10_000 {
            let (ask, _) = grant(&judge, 0, fence);
            judge.given_up(ask);
            judge.refused(judge.asked(0));
        }
        let cell = judge.cell(0);
        assert!(cell.holders.is_empty() && cell.floors.is_empty());
        assert!(cell.recent.len() <= 1, "{}", cell.recent.len());
    }
}
