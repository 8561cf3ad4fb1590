//! Many seeds over many cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::check::{Invariants, Mark, Marks, Violation};
use crate::plan::{Plan, Profile, Sizes};
use crate::sim::dice::mix;
use crate::sim::system::System;
use crate::sim::world::World;

/// Seeds that a thread takes at a time.
const CHUNK: u64 = 32;

/// A range of seeds to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// What the plans may break.
    pub profile: Profile,
    /// How many nodes and clients, where they are not drawn.
    pub sizes: Sizes,
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many threads; 0 for one per core.
    pub jobs: usize,
    /// What is checked, where it can hold.
    pub checked: Invariants,
    /// Whether to go on after a violation.
    pub after_violation: AfterViolation,
    /// No seed is begun after this time. Where it ends the campaign, how many seeds were run, and so
    /// the hash, depends on the machine.
    pub time_max: Option<Duration>,
}

/// What a campaign does after a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterViolation {
    /// It stops. The violation of the lowest seed is reported, whatever the number of jobs.
    Stop,
    /// It goes on and collects.
    GoOn,
}

/// What a campaign found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was run.
    pub profile: Profile,
    /// Seeds run.
    pub runs: u64,
    /// Messages, timers and faults.
    pub events: u64,
    /// Locks granted.
    pub grants: u64,
    /// Nanoseconds of virtual time.
    pub simulated: u128,
    /// How long it took.
    pub elapsed: Duration,
    /// Of all histories; the same for any number of jobs.
    pub hash: u64,
    /// In how many runs each mark was met, in the order of [`Mark::ALL`].
    pub marks: [u64; Mark::ALL.len()],
    /// By seed, lowest first.
    pub failures: Vec<(u64, Violation)>,
}

/// What a report amounts to; its number is the exit code of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// 0: nothing was violated, and everything that has to happen sometimes did.
    Valid,
    /// 1: something was violated.
    Violated,
    /// 2: nothing was violated, but these did not happen, so the run proves little.
    Unknown(Vec<Mark>),
}

impl Verdict {
    /// 0, 1 or 2.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Violated => 1,
            Self::Unknown(_) => 2,
        }
    }
}

impl Report {
    const fn empty(profile: Profile) -> Self {
        Self {
            profile,
            runs: 0,
            events: 0,
            grants: 0,
            simulated: 0,
            elapsed: Duration::ZERO,
            hash: 0,
            marks: [0; Mark::ALL.len()],
            failures: Vec::new(),
        }
    }

    /// What it amounts to.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.failures.is_empty() {
            return Verdict::Violated;
        }
        let mut met = Marks::default();
        for (mark, count) in Mark::ALL.into_iter().zip(self.marks) {
            if count > 0 {
                met.insert(mark);
            }
        }
        let missing: Vec<Mark> = met.missing(self.profile).collect();
        if missing.is_empty() { Verdict::Valid } else { Verdict::Unknown(missing) }
    }

    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.events += other.events;
        self.grants += other.grants;
        self.simulated += other.simulated;
        self.hash = self.hash.wrapping_add(other.hash);
        for (sum, count) in self.marks.iter_mut().zip(other.marks) {
            *sum += count;
        }
        self.failures.extend(other.failures);
    }
}

impl Campaign {
    /// The first `seeds` seeds of `profile`, all invariants, on all cores, up to the first violation.
    #[must_use]
    pub const fn new(profile: Profile, seeds: u64) -> Self {
        Self {
            profile,
            sizes: Sizes::DRAWN,
            first: 0,
            seeds,
            jobs: 0,
            checked: Invariants::ALL,
            after_violation: AfterViolation::Stop,
            time_max: None,
        }
    }

    /// Runs it. `progress` hears, from any thread, how many more seeds were run.
    pub fn run<S: System + Sync>(&self, system: &S, progress: impl Fn(u64) + Sync) -> Report {
        let began = Instant::now();
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let jobs = if self.jobs == 0 { cores() } else { self.jobs };
        let shared = Shared {
            next: AtomicU64::new(0),
            failed: AtomicU64::new(u64::MAX),
            report: Mutex::new(Report::empty(self.profile)),
            began,
        };
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| self.work(system, &shared, &progress));
            }
        });
        let mut report = match shared.report.into_inner() {
            Ok(report) => report,
            Err(poisoned) => poisoned.into_inner(),
        };
        report.failures.sort_by_key(|(seed, _)| *seed);
        if self.after_violation == AfterViolation::Stop {
            report.failures.truncate(1);
        }
        report.elapsed = began.elapsed();
        report
    }

    /// One thread: takes chunks of seeds in order, until there are none or a lower seed has failed.
    fn work<S: System>(&self, system: &S, shared: &Shared, progress: &(impl Fn(u64) + Sync)) {
        let mut world = World::new();
        let mut plan = Plan::draw_sized(self.first, self.profile, self.sizes);
        let mut report = Report::empty(self.profile);
        loop {
            let start = shared.next.fetch_add(CHUNK, Ordering::Relaxed);
            let late = self.time_max.is_some_and(|time_max| shared.began.elapsed() > time_max);
            if start >= self.seeds || late {
                break;
            }
            let end = (start + CHUNK).min(self.seeds);
            for offset in start..end {
                let seed = self.first.wrapping_add(offset);
                if offset > shared.failed.load(Ordering::Relaxed) {
                    break;
                }
                plan.redraw(seed, self.profile, self.sizes);
                let failed = self.run_one(system, &mut world, &plan, &mut report);
                if failed && self.after_violation == AfterViolation::Stop {
                    shared.failed.fetch_min(offset, Ordering::Relaxed);
                }
            }
            progress(end - start);
        }
        let mut sum = match shared.report.lock() {
            Ok(sum) => sum,
            Err(poisoned) => poisoned.into_inner(),
        };
        sum.add(report);
    }

    fn run_one<S: System>(
        &self,
        system: &S,
        world: &mut World<S>,
        plan: &Plan,
        report: &mut Report,
    ) -> bool {
        // A drawn plan always makes a world; the tests see to that.
        let Ok(outcome) = world.run(system, plan, self.checked, false) else { return false };
        report.runs += 1;
        report.events += outcome.events;
        report.grants += outcome.grants;
        report.simulated += u128::from(outcome.time);
        report.hash = report.hash.wrapping_add(mix(outcome.hash ^ plan.seed));
        for (mark, count) in Mark::ALL.into_iter().zip(&mut report.marks) {
            *count += u64::from(outcome.marks.contains(mark));
        }
        let Some(violation) = outcome.violation else { return false };
        report.failures.push((plan.seed, violation));
        true
    }
}

/// What the threads of a campaign share.
#[derive(Debug)]
struct Shared {
    next: AtomicU64,
    /// The lowest seed, counted from the first, that failed.
    failed: AtomicU64,
    report: Mutex<Report>,
    began: Instant,
}
