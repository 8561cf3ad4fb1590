//! The process of a subject in Rust: it does what it is told and measures itself.

use std::alloc::System;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::record::{Contention, Line, Measured, Spread, Task};
use crate::scenario::{Clients, HELD, Shape, WORK};
use crate::subject::{Apart, Client, Ours, Raw, Redlock, Rslock};

/// Counts what this process allocates.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How long each worker warms up.
const WARM_UP: Duration = Duration::from_millis(200);
/// How long after the end a call may take before its worker counts as stuck.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one worker alone is measured before the crowd.
const SOLO_SHARE: f64 = 0.5;
/// The longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(600);

type Outcome = Result<(), String>;

/// Does the task as the subject that it names.
pub fn run(task: &Task) -> Outcome {
    match task.subject.as_str() {
        "ours-plain" => on_one_thread(measure::<Ours<0>>(task)),
        "ours-fenced" => on_one_thread(measure::<Ours<1>>(task)),
        "ours-unfenced" => on_one_thread(measure::<Ours<2>>(task)),
        "ours-renewed" => on_one_thread(measure::<Ours<3>>(task)),
        "ours-plain-here" => on_one_thread(measure::<Ours<4>>(task)),
        "ours-fenced-here" => on_one_thread(measure::<Ours<5>>(task)),
        "raw-2t" => on_two_threads(measure::<Raw>(task)),
        "raw-1t" => on_one_thread(measure::<Raw>(task)),
        "raw-apart" => on_one_thread(measure::<Apart>(task)),
        "rslock" => on_two_threads(measure::<Rslock>(task)),
        "redlock-rs" => on_two_threads(measure::<Redlock>(task)),
        other => Err(format!("there is no subject {other} in Rust")),
    }
}

fn on_one_thread(measuring: impl Future<Output = Outcome>) -> Outcome {
    on(runtime::Builder::new_current_thread().enable_all(), measuring)
}

fn on_two_threads(measuring: impl Future<Output = Outcome>) -> Outcome {
    on(runtime::Builder::new_multi_thread().worker_threads(2).enable_all(), measuring)
}

fn on(builder: &mut runtime::Builder, measuring: impl Future<Output = Outcome>) -> Outcome {
    let runtime = builder.build().map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(measuring);
    runtime.shutdown_background();
    outcome
}

async fn measure<C: Client>(task: &Task) -> Outcome {
    let mut conductor = Conductor::start();
    let client = C::connect(&task.nodes).await?;
    match task.scenario.shape {
        Shape::Pairs { workers } => {
            let crowd = Crowd { clients: vec![client.clone()], workers, resource: Resource::Each };
            crowd.warm_up().await?;
            conductor.say(&Line::Ready).await?;
            let measured = crowd.measure(task, task.seconds).await;
            conductor.say(&Line::Measured(Box::new(measured))).await?;
        }
        Shape::Held => {
            let locks = hold(&client).await?;
            conductor.say(&Line::Ready).await?;
            let measured = watch(&client, &locks, task.seconds).await;
            conductor.say(&Line::Measured(Box::new(measured))).await?;
            drop(locks);
        }
        Shape::Contention { workers, clients } => {
            let mut all = vec![client.clone()];
            if clients == Clients::Own {
                for _ in 1..workers {
                    all.push(C::connect(&task.nodes).await?);
                }
            }
            let solo =
                Crowd { clients: vec![client.clone()], workers: 1, resource: Resource::Shared };
            solo.warm_up().await?;
            let crowd = Crowd { clients: all, workers, resource: Resource::Each };
            crowd.warm_up().await?;
            let crowd = Crowd { resource: Resource::Shared, ..crowd };
            conductor.say(&Line::Ready).await?;
            let measured = solo.measure(task, task.seconds * SOLO_SHARE).await;
            conductor.say(&Line::Measured(Box::new(measured))).await?;
            let measured = crowd.measure(task, task.seconds).await;
            conductor.say(&Line::Measured(Box::new(measured))).await?;
            for own in crowd.clients.into_iter().skip(1) {
                own.drain().await;
            }
        }
    }
    client.drain().await;
    Ok(())
}

/// Who says when to go on, over stdin and stdout.
struct Conductor {
    lines: mpsc::UnboundedReceiver<()>,
}

impl Conductor {
    fn start() -> Self {
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                if line.is_err() || sender.send(()).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    async fn say(&mut self, line: &Line) -> Outcome {
        let text = serde_json::to_string(line).map_err(|error| error.to_string())?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| error.to_string())?;
        drop(out);
        self.lines.recv().await.ok_or_else(|| "whoever measures has gone".to_owned())
    }
}

/// What the process has used so far.
#[derive(Clone, Copy)]
struct Used {
    at: Instant,
    cpu: Duration,
    allocations: usize,
    allocated_bytes: usize,
}

impl Used {
    fn now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let heap = ALLOCATOR.stats();
        Self {
            at: Instant::now(),
            cpu: Duration::new(
                u64::try_from(cpu.tv_sec).unwrap_or_default(),
                u32::try_from(cpu.tv_nsec).unwrap_or_default(),
            ),
            allocations: heap.allocations + heap.reallocations,
            allocated_bytes: heap.bytes_allocated,
        }
    }

    fn until(&self, end: &Self) -> Measured {
        Measured {
            elapsed_us: micros(end.at - self.at),
            cpu_us: micros(end.cpu - self.cpu),
            allocations: Some((end.allocations - self.allocations) as u64),
            allocated_bytes: Some((end.allocated_bytes - self.allocated_bytes) as u64),
            ..Measured::default()
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Workers and what they want.
struct Crowd<C> {
    clients: Vec<C>,
    workers: usize,
    resource: Resource,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Each,
    Shared,
}

/// When a measurement begins and ends.
#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

/// What one worker saw.
struct Tally {
    pair: Histogram<u64>,
    acquire: Histogram<u64>,
    release: Histogram<u64>,
    handover: Histogram<u64>,
    pairs_counted: u64,
    turns: u64,
    errors: u64,
    wait_max: Duration,
    hold: Duration,
}

impl Tally {
    fn new() -> Self {
        let latencies = || {
            let max = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
            let mut histogram = Histogram::new_with_bounds(1_000, max, 3).expect("legal bounds");
            histogram.auto(true);
            histogram
        };
        Self {
            pair: latencies(),
            acquire: latencies(),
            release: latencies(),
            handover: latencies(),
            pairs_counted: 0,
            turns: 0,
            errors: 0,
            wait_max: Duration::ZERO,
            hold: Duration::ZERO,
        }
    }

    fn add(&mut self, other: &Self) {
        let both = [
            (&mut self.pair, &other.pair),
            (&mut self.acquire, &other.acquire),
            (&mut self.release, &other.release),
            (&mut self.handover, &other.handover),
        ];
        for (sum, part) in both {
            sum.add(part).expect("it grows");
        }
        self.pairs_counted += other.pairs_counted;
        self.turns += other.turns;
        self.errors += other.errors;
        self.wait_max = self.wait_max.max(other.wait_max);
        self.hold += other.hold;
    }
}

/// The resource that a crowd shares: who was the last to have it, and since when he has not.
#[derive(Default)]
struct Section {
    is_taken: AtomicBool,
    violations: AtomicU64,
    last: Mutex<Option<(usize, Instant)>>,
}

impl<C: Client> Crowd<C> {
    /// Every worker locks a resource of its own, over and over.
    async fn warm_up(&self) -> Outcome {
        let mut workers = JoinSet::new();
        let end = Instant::now() + WARM_UP;
        for worker in 0..self.workers {
            let client = self.client_of(worker);
            let resource = format!("bench:warm:{worker}");
            workers.spawn(async move {
                loop {
                    let lock = client.acquire(&resource).await?;
                    client.release(lock).await?;
                    if Instant::now() >= end {
                        return Ok(());
                    }
                }
            });
        }
        workers.join_all().await.into_iter().collect()
    }

    fn client_of(&self, worker: usize) -> C {
        self.clients[worker % self.clients.len()].clone()
    }

    async fn measure(&self, task: &Task, seconds: f64) -> Measured {
        let start = Instant::now() + Duration::from_secs_f64(task.settle_seconds);
        let window = Window { start, end: start + Duration::from_secs_f64(seconds) };
        let section = Arc::new(Section::default());
        let mut workers = JoinSet::new();
        for worker in 0..self.workers {
            let client = self.client_of(worker);
            match self.resource {
                Resource::Each => workers.spawn(lock_own(client, worker, window)),
                Resource::Shared => {
                    workers.spawn(lock_shared(client, worker, window, section.clone()))
                }
            };
        }
        sleep_until(window.start.into()).await;
        let before = Used::now();
        sleep_until(window.end.into()).await;
        let after = Used::now();

        let mut sum = Tally::new();
        let mut turns = Vec::new();
        let deadline = window.end + PATIENCE;
        while let Ok(Some(joined)) = timeout_at(deadline.into(), workers.join_next()).await {
            if let Ok(tally) = joined {
                turns.push(tally.turns);
                sum.add(&tally);
            }
        }
        let mut measured = before.until(&after);
        measured.pairs = sum.turns;
        measured.pairs_counted = sum.pairs_counted;
        measured.errors = sum.errors;
        measured.stuck = workers.len() as u64;
        measured.pair_us = Spread::of_nanos(&sum.pair);
        measured.acquire_us = Spread::of_nanos(&sum.acquire);
        measured.release_us = Spread::of_nanos(&sum.release);
        turns.resize(self.workers, 0);
        measured.contention = (self.resource == Resource::Shared).then(|| Contention {
            hold_us: micros(sum.hold) / sum.turns.max(1) as f64,
            turns,
            wait_max_us: micros(sum.wait_max),
            handover_us: Spread::of_nanos(&sum.handover),
            violations: section.violations.load(Ordering::Relaxed),
        });
        measured
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Locks and unlocks a resource of its own until the end.
async fn lock_own<C: Client>(client: C, worker: usize, window: Window) -> Tally {
    let mut tally = Tally::new();
    let resource = format!("bench:{worker}");
    loop {
        let asked = Instant::now();
        if asked >= window.end {
            return tally;
        }
        let acquired = client.acquire(&resource).await;
        let got = Instant::now();
        let released = match acquired {
            Ok(lock) => client.release(lock).await,
            Err(error) => Err(error),
        };
        let done = Instant::now();
        match released {
            Ok(()) => tally.pairs_counted += 1,
            Err(_) => tally.errors += u64::from(asked >= window.start),
        }
        if asked >= window.start && released.is_ok() {
            tally.acquire.saturating_record(nanos(got - asked));
            tally.release.saturating_record(nanos(done - got));
            tally.pair.saturating_record(nanos(done - asked));
            tally.turns += u64::from(done <= window.end);
        }
    }
}

/// Works under the one lock that all want, over and over, until the end.
async fn lock_shared<C: Client>(
    client: C,
    worker: usize,
    window: Window,
    section: Arc<Section>,
) -> Tally {
    let mut tally = Tally::new();
    let resource = "bench:shared";
    loop {
        let asked = Instant::now();
        if asked >= window.end {
            return tally;
        }
        let acquired = client.acquire(resource).await;
        let got = Instant::now();
        let waited = got.min(window.end).saturating_duration_since(asked.max(window.start));
        tally.wait_max = tally.wait_max.max(waited);
        let Ok(lock) = acquired else {
            tally.errors += 1;
            continue;
        };
        let is_taken = section.is_taken.swap(true, Ordering::SeqCst);
        section.violations.fetch_add(is_taken.into(), Ordering::Relaxed);
        work().await;
        section.is_taken.store(false, Ordering::SeqCst);
        let worked = Instant::now();
        let is_measured = got >= window.start && worked <= window.end;
        let last =
            section.last.lock().unwrap_or_else(PoisonError::into_inner).replace((worker, worked));
        if let Some((other, freed)) = last
            && other != worker
            && is_measured
        {
            tally.handover.saturating_record(nanos(got.saturating_duration_since(freed)));
        }
        let released = client.release(lock).await;
        let done = Instant::now();
        tally.pairs_counted += 1;
        tally.errors += u64::from(released.is_err());
        if is_measured {
            tally.turns += 1;
            tally.hold += worked - got;
            tally.acquire.saturating_record(nanos(got - asked));
            tally.release.saturating_record(nanos(done - worked));
            tally.pair.saturating_record(nanos(done - asked - (worked - got)));
        }
    }
}

/// Timers of tokio have a resolution of a millisecond, which is as long as the work: threads can sleep
/// for as long as they are told.
async fn work() {
    let worked = tokio::task::spawn_blocking(|| std::thread::sleep(WORK)).await;
    debug_assert!(worked.is_ok(), "nothing there panics");
}

/// Takes many locks, and keeps them.
async fn hold<C: Client>(client: &C) -> Result<Vec<C::Lock>, String> {
    let mut workers = JoinSet::new();
    for number in 0..HELD {
        let client = client.clone();
        workers.spawn(async move { client.acquire(&format!("bench:held:{number}")).await });
    }
    workers.join_all().await.into_iter().collect()
}

/// What it takes to keep them.
async fn watch<C: Client>(client: &C, locks: &[C::Lock], seconds: f64) -> Measured {
    let before = Used::now();
    sleep(Duration::from_secs_f64(seconds)).await;
    let after = Used::now();
    let held = locks.iter().filter(|lock| client.is_held(lock)).count();
    Measured { held: Some(held as u64), ..before.until(&after) }
}
