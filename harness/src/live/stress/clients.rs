//! The clients: all in one process, so that what is left of them can be seen, and judged as they go.
//!
//! The process that starts this one says on its standard input what to do, a line for each step, and reads JSON
//! lines from its standard output.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use redlatch::{AcquireError, Guard, Options, Redlatch};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::judge::{Ask, Finding, Judge, Written};
use super::{Counts, Plant, heap, witness};

/// How long anything may take beyond what it was given, with two hundred clients on a machine that does other things as
/// well, and that stood still for some seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a node may take to answer.
const NODE_TIMEOUT: Duration = Duration::from_millis(300);
/// How often the numbers are told.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How long a task that has nothing more to do may take to end.
const ENDED_MAX: Duration = Duration::from_secs(5);
/// What a state of a lock takes.
const STATE_BYTES: usize = 512;

/// What the process is told first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Init {
    /// For each way, the URL of each node.
    pub(super) ways: Vec<Vec<String>>,
    /// The URL that leads straight to each node.
    pub(super) nodes: Vec<String>,
    pub(super) clients: u16,
    pub(super) resources: Vec<String>,
    pub(super) ttl_ms: u64,
    pub(super) seed: u64,
    pub(super) plant: Option<Plant>,
}

/// What it tells at the end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) counts: Counts,
    /// The first findings, and how many there are in all.
    pub(super) findings: Vec<Finding>,
    pub(super) found: u64,
    /// Tasks of the process itself that have not ended.
    pub(super) tasks: usize,
}

/// What it tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Ready,
    Counts(Counts),
    Report(Report),
}

/// The steps after the first line.
pub(super) const GO: &str = "go";
pub(super) const STOP: &str = "stop";

/// Does what its standard input says, until that ends.
///
/// # Errors
/// If nobody reads what it tells, or what it is told makes no sense.
pub fn run() -> io::Result<()> {
    let mut first = String::new();
    io::stdin().lock().read_line(&mut first)?;
    let init: Init = serde_json::from_str(&first)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(init))
}

fn tell(line: &Line) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A thread reads: the standard input of a process cannot be waited for by a runtime without one.
fn steps() -> mpsc::UnboundedReceiver<String> {
    let (step, steps) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if step.send(line).is_err() {
                break;
            }
        }
    });
    steps
}

async fn play(init: Init) -> io::Result<()> {
    let mut steps = steps();
    tell(&Line::Ready)?;
    let gone = || io::Error::other("nobody says what to do any more");
    if steps.recv().await.ok_or_else(gone)? != GO {
        return Err(io::Error::other("that is no step"));
    }
    let shared = Arc::new(Shared::new(init));
    let (stop, is_stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for client in 0..usize::from(shared.init.clients) {
        workers.spawn(Worker::new(client, &shared, &is_stopped).run());
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut witness = JoinSet::new();
    witness.spawn(witness::watch(
        Arc::clone(&shared.judge),
        shared.init.nodes.clone(),
        Arc::clone(&shared.resources),
        Arc::clone(&is_over),
        Arc::clone(&shared.numbers.looks),
    ));
    loop {
        tokio::select! {
            step = steps.recv() => match step.ok_or_else(gone)?.as_str() {
                STOP => break,
                _ => return Err(io::Error::other("that is no step")),
            },
            () = sleep(TELL_EVERY) => tell(&Line::Counts(shared.numbers.counts()))?,
        }
    }
    stop.send_replace(true);
    while let Some(worker) = workers.join_next().await {
        if let Err(error) = worker {
            shared.judge.found("panic", error.to_string());
        }
    }
    is_over.store(true, Ordering::Relaxed);
    while witness.join_next().await.is_some() {}
    shared.demand().await;
    if shared.is_planted(Plant::Key) {
        shared.leave_a_key().await;
    }
    let (findings, found) = shared.judge.findings();
    let tasks = tasks_left().await;
    tell(&Line::Report(Report { counts: shared.numbers.counts(), findings, found, tasks }))?;
    // Whoever asked looks at what is left, and then closes this.
    while steps.recv().await.is_some() {}
    Ok(())
}

/// How many tasks there are beside this one, when those of connections that were dropped have had the time to end.
async fn tasks_left() -> usize {
    let metrics = tokio::runtime::Handle::current().metrics();
    let due = Instant::now() + ENDED_MAX;
    while metrics.num_alive_tasks() > 0 && Instant::now() < due {
        sleep(Duration::from_millis(5)).await;
    }
    metrics.num_alive_tasks()
}

/// What all workers have in common.
struct Shared {
    init: Init,
    resources: Arc<Vec<String>>,
    judge: Arc<Judge<redlatch::LeaseView>>,
    numbers: Numbers,
}

#[derive(Default)]
struct Numbers {
    acquires: AtomicU64,
    grants: AtomicU64,
    contended: AtomicU64,
    unavailable: AtomicU64,
    dropped: AtomicU64,
    extensions: AtomicU64,
    losses: AtomicU64,
    handovers: AtomicU64,
    replaced: AtomicU64,
    writes: AtomicU64,
    refused_writes: AtomicU64,
    looks: Arc<AtomicU64>,
}

impl Numbers {
    fn counts(&self) -> Counts {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Counts {
            acquires: of(&self.acquires),
            grants: of(&self.grants),
            contended: of(&self.contended),
            unavailable: of(&self.unavailable),
            dropped: of(&self.dropped),
            extensions: of(&self.extensions),
            losses: of(&self.losses),
            handovers: of(&self.handovers),
            replaced: of(&self.replaced),
            writes: of(&self.writes),
            refused_writes: of(&self.refused_writes),
            looks: of(&self.looks),
            heap: heap::in_use(),
        }
    }
}

fn count(number: &AtomicU64) {
    number.fetch_add(1, Ordering::Relaxed);
}

impl Shared {
    fn new(mut init: Init) -> Self {
        let resources = Arc::new(std::mem::take(&mut init.resources));
        let judge = Arc::new(Judge::new(resources.len()));
        Self { init, resources, judge, numbers: Numbers::default() }
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.init.ttl_ms)
    }

    fn is_planted(&self, plant: Plant) -> bool {
        self.init.plant == Some(plant)
    }

    /// A client by one of the ways.
    fn connect(&self, client: usize) -> Option<Redlatch> {
        let urls = &self.init.ways[client % self.init.ways.len()];
        let builder = urls.iter().fold(Redlatch::builder(), |builder, url| builder.node(url));
        let builder = match self.is_planted(Plant::Exclusion) && client.is_multiple_of(2) {
            true => builder.key_prefix("apart:"),
            false => builder,
        };
        match builder.restart_guard(self.ttl()).build() {
            Ok(redlatch) => Some(redlatch),
            Err(error) => {
                self.judge.found("client", format!("c{client} cannot be made: {error}"));
                None
            }
        }
    }

    async fn leave_a_key(&self) {
        let (Some(url), Some(name)) = (self.init.nodes.first(), self.resources.first()) else {
            return;
        };
        let Ok(client) = redis::Client::open(url.as_str()) else { return };
        if let Ok(mut connection) = client.get_multiplexed_async_connection().await {
            let set = redis::cmd("SET").arg(name).arg("for ever").to_owned();
            drop(set.exec_async(&mut connection).await);
        }
    }

    /// All is well again and nobody works: each lock can be had.
    async fn demand(&self) {
        let Some(redlatch) = self.connect(1) else { return };
        for (place, resource) in self.resources.iter().enumerate() {
            let options = Options::new(self.ttl()).wait(self.ttl() * 3);
            match timeout(PATIENCE, redlatch.acquire(resource, options)).await {
                Ok(Ok(guard)) => drop(guard.release().await),
                Ok(Err(error)) => {
                    self.judge.found("progress", format!("r{place} cannot be had: {error}"));
                }
                Err(_) => self.judge.found("termination", format!("acquiring r{place} hangs")),
            }
        }
        redlatch.shutdown().await;
    }
}

/// One client at work.
struct Worker {
    client: usize,
    shared: Arc<Shared>,
    is_stopped: watch::Receiver<bool>,
    rng: Rng,
}

impl Worker {
    fn new(client: usize, shared: &Arc<Shared>, is_stopped: &watch::Receiver<bool>) -> Self {
        let rng = Rng::with_seed(shared.init.seed.wrapping_mul(31).wrapping_add(client as u64));
        Self { client, shared: Arc::clone(shared), is_stopped: is_stopped.clone(), rng }
    }

    async fn run(mut self) {
        if self.shared.is_planted(Plant::Task) {
            tokio::spawn(std::future::pending::<()>());
        }
        let Some(mut redlatch) = self.shared.connect(self.client) else { return };
        if self.shared.is_planted(Plant::Client) && self.client == 0 {
            std::mem::forget(redlatch.clone());
        }
        // Not all at once.
        let mut rest = Duration::from_millis(self.rng.u64(..3_000));
        loop {
            if timeout(rest, self.is_stopped.wait_for(|stopped| *stopped)).await.is_ok() {
                break;
            }
            self.turn(&redlatch).await;
            if self.rng.u16(..1_000) < 4 {
                count(&self.shared.numbers.replaced);
                // Its guards are gone; whatever it still has to clean up it does without its owner.
                if self.rng.bool() {
                    redlatch.shutdown().await;
                }
                let Some(another) = self.shared.connect(self.client) else { return };
                redlatch = another;
            }
            rest = Duration::from_millis(self.rng.u64(100..900));
        }
        redlatch.shutdown().await;
    }

    /// Asks for one lock, works under it, and gives it up, in one of many ways.
    async fn turn(&mut self, redlatch: &Redlatch) {
        let shared = Arc::clone(&self.shared);
        let place = self.rng.usize(..shared.resources.len());
        let resource = &*shared.resources[place];
        let wait = Duration::from_millis(self.rng.u64(..1_500));
        let mut options = Options::new(shared.ttl()).node_timeout(NODE_TIMEOUT).wait(wait);
        let is_renewed = self.rng.u8(..100) < 5;
        if is_renewed {
            options = options.renew_up_to(shared.ttl() * 3);
        }
        count(&shared.numbers.acquires);
        if shared.is_planted(Plant::Memory) {
            std::mem::forget(std::hint::black_box(vec![1_u8; STATE_BYTES]));
        }
        let ask = shared.judge.asked(place);
        let asking = redlatch.acquire(resource, options.clone());
        let granted = match self.rng.u8(..100) {
            // Whoever asked goes away.
            ..=4 => match timeout(Duration::from_millis(self.rng.u64(..30)), asking).await {
                Ok(granted) => granted,
                Err(_) => {
                    count(&shared.numbers.dropped);
                    shared.judge.refused(ask);
                    return;
                }
            },
            _ => match timeout(wait + shared.ttl() + PATIENCE, asking).await {
                Ok(granted) => granted,
                Err(_) => {
                    let client = self.client;
                    shared
                        .judge
                        .found("termination", format!("c{client}'s acquire of r{place} hangs"));
                    shared.judge.refused(ask);
                    return;
                }
            },
        };
        let guard = match granted {
            Ok(guard) => guard,
            Err(error) => {
                shared.judge.refused(ask);
                let is_contended = matches!(error, AcquireError::Contended { .. });
                count(match is_contended {
                    true => &shared.numbers.contended,
                    false => &shared.numbers.unavailable,
                });
                return;
            }
        };
        count(&shared.numbers.grants);
        let fence = guard.fence().unwrap_or(0);
        shared.judge.granted(ask, self.client, fence, guard.view());
        let view = guard.view();
        let read = shared.judge.read(place, self.client, fence, &view);
        let held = self.hold(redlatch, guard, ask, &options, is_renewed).await;
        if let (Some(read), true) = (read, held.writes) {
            let written = shared.judge.write(place, self.client, fence, &view, read);
            count(match written {
                Written::Yes => &shared.numbers.writes,
                Written::Refused => &shared.numbers.refused_writes,
            });
        }
        shared.judge.given_up(ask);
        if let Some(guard) = held.guard {
            self.give_up(guard, place).await;
        }
    }

    /// Holds the lock for a while, or until it is lost.
    async fn hold(
        &mut self,
        redlatch: &Redlatch,
        guard: Guard,
        ask: Ask,
        options: &Options,
        is_renewed: bool,
    ) -> Held {
        let shared = Arc::clone(&self.shared);
        let ttl = shared.ttl();
        let short = Duration::from_millis(self.rng.u64(2..60));
        match self.rng.u8(..100) {
            _ if is_renewed => {
                let lost = timeout(ttl + short, guard.lost()).await;
                self.still_held(guard, lost.is_ok()).await
            }
            // It works for longer than its lease.
            ..=2 => match timeout(ttl + PATIENCE, guard.lost()).await {
                Ok(_) => self.still_held(guard, true).await,
                Err(_) => {
                    let client = self.client;
                    shared.judge.found("termination", format!("c{client} is not told of a loss"));
                    Held { guard: None, writes: false }
                }
            },
            3..=17 => {
                let lost = timeout(short, guard.lost()).await;
                match timeout(ttl + PATIENCE, guard.extend()).await {
                    Ok(Ok(())) => count(&shared.numbers.extensions),
                    Ok(Err(_)) => {}
                    Err(_) => {
                        let client = self.client;
                        shared.judge.found("termination", format!("c{client}'s extension hangs"));
                    }
                }
                self.still_held(guard, lost.is_ok()).await
            }
            18..=19 => {
                // While it is on its way nobody relies on it.
                shared.judge.given_up(ask);
                let Ok(parts) = guard.into_parts().await else {
                    return Held { guard: None, writes: false };
                };
                let Ok(guard) = redlatch.adopt(&parts, options) else {
                    return Held { guard: None, writes: false };
                };
                count(&shared.numbers.handovers);
                Held { writes: guard.is_valid(), guard: Some(guard) }
            }
            _ => {
                let lost = timeout(short, guard.lost()).await;
                self.still_held(guard, lost.is_ok()).await
            }
        }
    }

    /// After some work. Some write without a look at the lease, which is what fences are for.
    async fn still_held(&mut self, guard: Guard, is_lost: bool) -> Held {
        if is_lost {
            count(&self.shared.numbers.losses);
            if guard.is_valid() {
                let story = format!("c{} was told of a loss of what is valid", self.client);
                self.shared.judge.found("api", story);
            }
            // Somebody else has time to come first.
            sleep(Duration::from_millis(self.rng.u64(..40))).await;
            return Held { guard: Some(guard), writes: true };
        }
        Held { writes: guard.is_valid(), guard: Some(guard) }
    }

    async fn give_up(&mut self, guard: Guard, place: usize) {
        // In the background.
        if self.rng.u8(..100) < 10 {
            return;
        }
        let due = Instant::now() + self.shared.ttl() + PATIENCE;
        if timeout_at(due, guard.release()).await.is_err() {
            let story = format!("c{}'s release of r{place} hangs", self.client);
            self.shared.judge.found("termination", story);
        }
    }
}

/// What there is after a hold.
struct Held {
    guard: Option<Guard>,
    /// Whether it writes what it has worked for.
    writes: bool,
}
