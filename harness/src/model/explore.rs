//! Breadth first through all states, level by level, on several threads.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::bounds::{Bounds, BoundsError};
use super::known::Known;
use super::space::{Memo, Sights, Space, State};
use super::story::{self, Story};
use crate::check::Invariant;
use crate::system::{Machine, NodeCell};

/// States that a thread takes at a time.
const CHUNK: usize = 64;
/// A level with fewer states is not worth a second thread.
const LEVEL_SMALL: usize = 512;

/// How much is spent on a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Threads; all cores if `None`.
    pub threads: Option<NonZeroUsize>,
    /// The run is left incomplete when more states than this were found.
    pub states_max: usize,
}

impl Default for Budget {
    /// All cores, and about four gigabytes.
    fn default() -> Self {
        Self { threads: None, states_max: 100_000_000 }
    }
}

/// What a run found.
#[derive(Clone, Debug)]
#[must_use]
pub struct Outcome {
    /// Its bounds, in words.
    pub name: String,
    /// States, of which no two differ only by names.
    pub states: usize,
    /// Steps taken.
    pub transitions: u64,
    /// Steps to the farthest state.
    pub depth: usize,
    /// The most states of one level.
    pub widest: usize,
    /// States of a single client with its messages, and of a single node.
    pub parts: (usize, usize),
    /// Threads that were used.
    pub threads: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether every state was seen.
    pub complete: bool,
    /// What happened at least once.
    pub sights: Sights,
    /// What should have happened within these bounds, and did not: then the run proves less than it
    /// says.
    pub missing: Vec<&'static str>,
    /// The shortest story in which an invariant does not hold.
    pub violation: Option<Story>,
}

impl Outcome {
    /// Transitions per second and thread.
    #[must_use]
    pub fn rate(&self) -> u64 {
        let millis = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        self.transitions * 1_000 / millis / self.threads.max(1) as u64
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = match (&self.violation, self.complete) {
            (Some(story), _) => {
                format!("{} broken in {} steps", story.invariant, story.steps.len())
            }
            (None, true) => "holds".to_owned(),
            (None, false) => "incomplete".to_owned(),
        };
        write!(
            f,
            "{}: {end}; {} states, {} transitions, depth {}, {:.1} s, {:.2} M transitions/s/thread \
             on {}; {} clients, {} nodes; seen: {}",
            self.name,
            self.states,
            self.transitions,
            self.depth,
            self.elapsed.as_secs_f64(),
            self.rate() as f64 / 1e6,
            self.threads,
            self.parts.0,
            self.parts.1,
            self.sights.names().collect::<Vec<_>>().join(" "),
        )
    }
}

/// A step that breaks an invariant: from a state that was reached, to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Breach {
    pub(crate) invariant: Invariant,
    pub(crate) to: u64,
    pub(crate) from: u64,
}

/// Explores every interleaving of `M` on clients and `C` on nodes within `bounds`.
///
/// # Errors
/// [`BoundsError`] if the bounds make no model.
pub fn explore<M: Machine, C: NodeCell>(
    bounds: &Bounds,
    budget: &Budget,
) -> Result<Outcome, BoundsError> {
    let started = Instant::now();
    let space = Space::<M, C>::new(bounds)?;
    let threads = budget
        .threads
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get);
    let mut workers: Vec<Worker> = (0..threads).map(|_| Worker::default()).collect();
    let mut known = Known::new(threads * CHUNK);

    let initial = space.initial();
    let root = space.fingerprint(&initial);
    known.insert(root, root);
    let mut level = vec![(root, initial)];
    let (mut states, mut depth, mut widest) = (1, 0, 1);
    let mut breach =
        space.broken(&initial).map(|invariant| Breach { invariant, from: root, to: root });

    while breach.is_none() && !level.is_empty() && states <= budget.states_max {
        let taken = AtomicUsize::new(0);
        let active = if level.len() < LEVEL_SMALL { 1 } else { threads };
        while taken.load(Ordering::Relaxed) < level.len() {
            if known.is_crowded() {
                known.grow();
            }
            if let [worker] = &mut workers[..active] {
                worker.run(&space, &known, &level, &taken);
            } else {
                std::thread::scope(|scope| {
                    for worker in &mut workers {
                        scope.spawn(|| worker.run(&space, &known, &level, &taken));
                    }
                });
            }
        }
        level.clear();
        for worker in &mut workers {
            level.append(&mut worker.found);
        }
        breach = workers.iter().filter_map(|worker| worker.breach).min();
        states += level.len();
        widest = widest.max(level.len());
        depth += usize::from(!level.is_empty());
    }

    let mut sights = Sights::default();
    workers.iter().for_each(|worker| sights.join(worker.memo.sights));
    let violation = breach.map(|breach| story::tell(&space, &known.path(breach.from), &breach));
    Ok(Outcome {
        name: bounds.name(),
        states,
        transitions: workers.iter().map(|worker| worker.transitions).sum(),
        depth,
        widest,
        parts: space.parts(),
        threads,
        elapsed: started.elapsed(),
        complete: violation.is_none() && level.is_empty(),
        missing: bounds.expected().filter(|name| !sights.has(name)).collect(),
        sights,
        violation,
    })
}

/// One thread's share of a level.
#[derive(Debug, Default)]
struct Worker {
    memo: Memo,
    /// Where the state at hand leads, to be looked up together: see [`Known`].
    next: Vec<(u64, State, Option<Invariant>)>,
    found: Vec<(u64, State)>,
    transitions: u64,
    breach: Option<Breach>,
}

impl Worker {
    /// Takes states until none is left, or `known` has to grow.
    fn run<M: Machine, C: NodeCell>(
        &mut self,
        space: &Space<M, C>,
        known: &Known,
        level: &[(u64, State)],
        taken: &AtomicUsize,
    ) {
        while !known.is_crowded() {
            let start = taken.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(rest) = level.get(start..).filter(|rest| !rest.is_empty()) else { return };
            for (from, state) in &rest[..rest.len().min(CHUNK)] {
                self.step(space, known, *from, state);
            }
        }
    }

    fn step<M: Machine, C: NodeCell>(
        &mut self,
        space: &Space<M, C>,
        known: &Known,
        from: u64,
        state: &State,
    ) {
        let Self { memo, next, found, transitions, breach } = self;
        space.successors(state, memo, |_, state, broken| {
            next.push((space.fingerprint(&state), state, broken));
        });
        *transitions += next.len() as u64;
        for (to, state, broken) in next.drain(..) {
            let is_new = to != from && known.insert(to, from);
            let broken = broken.or_else(|| is_new.then(|| space.broken(&state)).flatten());
            if let Some(invariant) = broken {
                let this = Breach { invariant, from, to };
                *breach = Some(breach.map_or(this, |known| known.min(this)));
            } else if is_new {
                found.push((to, state));
            }
        }
    }
}
