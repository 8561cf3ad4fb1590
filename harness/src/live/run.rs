//! One plan, carried out on real servers with real clients.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::act::{self, Field};
use super::adapter::{Ability, Adapter, AdapterCommand, AdapterError, Hello, Init, Options};
use super::gather::{self, Seed};
use super::judge::{self, Finding, Judgement};
use super::ledger::Ledger;
use super::network::Network;
use super::node::{Ability as NodeAbility, Backend, Fsync, Node, NodeError};
use super::observe::{Guard, Sighting, Watch};
use super::plan::{Kind, Plan};
use super::proxy::Told;
use super::record::{Acquire, Caps, Demand, End, Record, Strike};
use super::scenario::Scenario;
use super::story;
use super::workload::{Cues, Worker};
use crate::check::Violation;
use crate::plan::{FaultKind, Keep};
use crate::report::Case;

/// How long a client's process may take to start and connect: interpreters take a second, on a busy machine more.
const START_MAX: Duration = Duration::from_secs(30);
/// How long the first locks may take on nodes that are well: a ttl if there is a guard, and connections.
const WARM_MAX: Duration = Duration::from_secs(10);
/// Between two looks at whether something has come about.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much longer than two ttls a free lock may take: clients retry in their own time.
const PROGRESS_MAX: Duration = Duration::from_secs(2);
/// How long a replica may take to have everything.
const FOLLOW_MAX: Duration = Duration::from_secs(5);
/// A thread that wants to run every few milliseconds and does not for so long: so does nothing else.
const STALL_MIN: Duration = Duration::from_millis(12);
/// In a run with fewer grants there was nothing to see.
const GRANTS_MIN: usize = 6;

/// What a plan is carried out with.
#[derive(Debug)]
pub struct Setup {
    /// Where nodes come from.
    pub backend: Arc<dyn Backend + Send + Sync>,
    /// The client.
    pub adapter: AdapterCommand,
    /// The seed's first part of resource names, so that runs on one server do not meet.
    pub prefix: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Run {
    /// What was carried out.
    pub plan: Plan,
    /// What the client says of itself.
    pub hello: Hello,
    /// What was recorded.
    pub record: Record,
    /// What is wrong in it.
    pub judgement: Judgement,
    /// What is told of it: in a scenario that breaks an assumption not all that is found is.
    pub told: Vec<Finding>,
    /// What breaks a promise.
    pub broken: Vec<Finding>,
    /// Why it says little, if it does.
    pub unknown: Option<String>,
    /// As artefacts are made of it.
    pub case: Case,
}

/// Nothing came of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The nodes.
    Nodes(NodeError),
    /// The client did not start.
    Adapter(AdapterError),
    /// The harness.
    Io(std::io::Error),
    /// The plan.
    Plan(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(error) => error.fmt(f),
            Self::Adapter(error) => write!(f, "the client under test: {error}"),
            Self::Io(error) => error.fmt(f),
            Self::Plan(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Nodes(error) => Some(error),
            Self::Adapter(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Plan(_) => None,
        }
    }
}

impl From<NodeError> for RunError {
    fn from(error: NodeError) -> Self {
        Self::Nodes(error)
    }
}

impl From<AdapterError> for RunError {
    fn from(error: AdapterError) -> Self {
        Self::Adapter(error)
    }
}

impl From<std::io::Error> for RunError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Carries `plan` out and judges what came of it. Blocks for some seconds.
///
/// # Errors
/// [`RunError`] if it could not be carried out.
pub fn run(setup: &Setup, plan: &Plan) -> Result<Run, RunError> {
    let scenario = Scenario::named(&plan.scenario)
        .ok_or_else(|| RunError::Plan(format!("there is no scenario {:?}", plan.scenario)))?;
    let origin = Instant::now();
    let nodes = start_nodes(setup, plan)?;
    let count = usize::from(plan.shape.nodes);
    let network = Network::start(&nodes[..count], plan.shape.clients.into(), origin)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stage =
        Stage { setup, plan: Arc::new(plan.clone()), nodes, network: Arc::new(network), origin };
    let raw = runtime.block_on(stage.play())?;
    // What is still blocked is blocked by something that will end by itself.
    runtime.shutdown_background();
    Ok(finish(setup, scenario, plan, raw, origin.elapsed()))
}

/// The nodes, as the plan's faults want them; behind them one that follows the first if there is a failover.
fn start_nodes(setup: &Setup, plan: &Plan) -> Result<Vec<Arc<dyn Node>>, RunError> {
    let is_failover = has(plan, |kind| matches!(kind, FaultKind::Failover));
    let count = usize::from(plan.shape.nodes) + usize::from(is_failover);
    let nodes = setup.backend.start(count)?;
    keep_on_disk(&nodes, plan)?;
    if is_failover && let [first, .., replica] = nodes.as_slice() {
        follow(&**replica, &**first)?;
    }
    Ok(nodes)
}

/// Whether such a fault is in the plan.
pub(super) fn has(plan: &Plan, wanted: impl Fn(FaultKind) -> bool) -> bool {
    plan.faults.iter().any(|fault| match fault.kind {
        Kind::Known(kind) => wanted(kind),
        Kind::Live(_) => false,
    })
}

/// Makes the nodes write what the plan's crashes are to find again.
pub(super) fn keep_on_disk(nodes: &[Arc<dyn Node>], plan: &Plan) -> Result<(), NodeError> {
    let crash = |keep| has(plan, move |kind| kind == FaultKind::Crash { keep });
    let fsync = match (crash(Keep::Synced), crash(Keep::All)) {
        (true, _) => Fsync::EverySecond,
        (false, true) => Fsync::Always,
        (false, false) => return Ok(()),
    };
    nodes
        .iter()
        .filter(|node| node.can(NodeAbility::Process))
        .try_for_each(|node| node.set_fsync(fsync))
}

/// Makes `replica` follow `node`, and waits until it does.
fn follow(replica: &(dyn Node + 'static), node: &(dyn Node + 'static)) -> Result<(), RunError> {
    // Else a server waits for further replicas for 5 s.
    node.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])?;
    let there = node.addr_among_nodes()?;
    let (host, port) = (there.ip().to_string(), there.port().to_string());
    replica.command(&["REPLICAOF", &host, &port])?;
    let deadline = Instant::now() + FOLLOW_MAX;
    loop {
        let info: String = replica.query(&["INFO", "replication"])?;
        if info.contains("master_link_status:up") {
            return Ok(());
        }
        if Instant::now() > deadline {
            let what = format!("{} did not follow {}", replica.name(), node.name());
            return Err(RunError::Plan(what));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Everything that a run takes.
struct Stage<'a> {
    setup: &'a Setup,
    plan: Arc<Plan>,
    nodes: Vec<Arc<dyn Node>>,
    network: Arc<Network>,
    origin: Instant,
}

/// What was seen and logged.
struct Raw {
    hello: Hello,
    keys: Vec<String>,
    workers: Vec<Worker>,
    accesses: Vec<super::record::Access>,
    sightings: Vec<Sighting>,
    looks: Vec<Vec<Duration>>,
    told: Vec<Told>,
    missed: u64,
    strikes: Vec<Strike>,
    armed: Duration,
    healed: Duration,
    demands: Vec<Demand>,
    stalls: Vec<Range<Duration>>,
    ended: Duration,
    cold: Option<String>,
}

impl Stage<'_> {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn play(self) -> Result<Raw, RunError> {
        let plan = Arc::clone(&self.plan);
        let clients = usize::from(plan.shape.clients);
        let (adapters, hello) = self.start_clients(clients).await?;
        let resources: Vec<String> = (0..plan.shape.resources)
            .map(|place| format!("{}-r{place}", self.setup.prefix))
            .collect();
        let keys: Vec<String> = resources.iter().map(|name| hello.key_of(name)).collect();
        let guard = if hello.can(Ability::Guard) { Guard::On } else { Guard::Off };
        let watch = Watch::start_with(&self.nodes, keys.clone(), self.origin, guard)?;
        let pulse = Pulse::start(self.origin);
        let cues = Arc::new(Cues::new(&plan));
        let ledger = Arc::new(Ledger::new(self.origin, resources.len()));
        let resources = Arc::new(resources);

        let mut orders = Vec::new();
        let mut tasks = Vec::new();
        for (client, adapter) in adapters.into_iter().enumerate() {
            let (order, to_worker) = mpsc::channel(4);
            orders.push(order);
            let worker = Worker {
                client,
                adapter,
                plan: Arc::clone(&plan),
                resources: Arc::clone(&resources),
                ledger: Arc::clone(&ledger),
                cues: Arc::clone(&cues),
                orders: to_worker,
                can_extend: hello.can(Ability::Extend),
                origin: self.origin,
                rng: Rng::with_seed(plan.seed.wrapping_mul(31).wrapping_add(client as u64 + 1)),
                acquires: Vec::new(),
                pauses: Vec::new(),
                killed: None,
                broken: None,
                is_warm: false,
            };
            tasks.push(tokio::spawn(worker.run()));
        }

        let deadline = Instant::now() + WARM_MAX;
        while cues.warm() < clients && Instant::now() < deadline {
            sleep(LOOK_EVERY).await;
        }
        let cold = (cues.warm() < clients).then(|| {
            let warm = cues.warm();
            format!("only {warm} of {clients} clients were granted a lock on healthy nodes")
        });
        sleep(Duration::from_millis(plan.work.before_ms.into())).await;
        let armed = self.now();
        cues.arm();
        let field = Arc::new(Field {
            plan: Arc::clone(&plan),
            nodes: self.nodes.clone(),
            network: Arc::clone(&self.network),
            keys: keys.clone(),
            cues: Arc::clone(&cues),
            clients,
            orders,
            origin: self.origin,
        });
        let strikes = match cold {
            Some(_) => Vec::new(),
            None => {
                let during = sleep(Duration::from_millis(plan.work.during_ms.into()));
                tokio::join!(act::act(&field), during).0
            }
        };
        let network = Arc::clone(&self.network);
        drop(spawn_blocking(move || network.heal()).await);
        let healed = self.now();
        sleep(Duration::from_millis(plan.work.after_ms.into())).await;
        cues.stop();
        let mut workers = Vec::new();
        for task in tasks {
            workers.extend(task.await.ok());
        }
        // Whoever was told to stop while it stood still goes on.
        drop(field);
        let demands = match cold {
            Some(_) => Vec::new(),
            None => self.demand(&mut workers, resources.len()).await,
        };
        self.wait_until_free(&plan, keys.clone()).await;
        let ended = self.now();
        let stalls = pulse.stop();
        let looks = watch.looks();
        let sightings = spawn_blocking(move || watch.stop()).await.unwrap_or_default();
        let log = self.network.log();
        let accesses = ledger.take();
        Ok(Raw {
            hello,
            keys,
            workers,
            accesses,
            sightings,
            looks,
            told: log.told,
            missed: log.missed,
            strikes,
            armed,
            healed,
            demands,
            stalls,
            ended,
            cold,
        })
    }

    /// All clients, at the same time.
    async fn start_clients(&self, clients: usize) -> Result<(Vec<Adapter>, Hello), RunError> {
        let options = Options {
            ttl_max: Duration::from_millis(self.plan.shape.ttl_ms.into()),
            restart_guard: true,
            node_timeout: Some(Duration::from_millis(self.plan.shape.node_timeout_ms.into())),
        };
        let mut starting = Vec::new();
        for client in 0..clients {
            let init =
                Init { nodes: self.network.urls(client), client: format!("c{client}"), options };
            let command = self.setup.adapter.clone();
            starting.push(tokio::spawn(
                async move { Adapter::start(&command, &init, START_MAX).await },
            ));
        }
        let (mut adapters, mut first) = (Vec::new(), None);
        for started in starting {
            let started = started.await.map_err(|error| RunError::Plan(error.to_string()))?;
            let (adapter, hello) = started?;
            adapters.push(adapter);
            first.get_or_insert(hello);
        }
        let hello = first.ok_or_else(|| RunError::Plan("there are no clients".to_owned()))?;
        Ok((adapters, hello))
    }

    /// Everything has healed and nobody works: whoever asks is granted, one after the other.
    async fn demand(&self, workers: &mut [Worker], resources: usize) -> Vec<Demand> {
        let bound = Duration::from_millis(self.plan.shape.ttl_ms.into()) * 2 + PROGRESS_MAX;
        let mut demands = Vec::new();
        for resource in 0..resources {
            for worker in workers.iter_mut().filter(|worker| worker.is_well()) {
                demands.push(worker.demand(resource, self.now() + bound).await);
            }
        }
        demands
    }

    /// Waits until no node keeps a key any more, or until none may.
    async fn wait_until_free(&self, plan: &Plan, keys: Vec<String>) {
        let ttl = Duration::from_millis(plan.shape.ttl_ms.into());
        let deadline = Instant::now() + ttl * 2 + judge::CLEAN_UP * 2;
        let nodes = self.nodes.clone();
        let wait = move || {
            let args: Vec<&str> =
                std::iter::once("EXISTS").chain(keys.iter().map(String::as_str)).collect();
            while Instant::now() < deadline {
                // One that does not answer keeps nothing that anybody could take.
                let keeps =
                    |node: &Arc<dyn Node>| node.query::<u64>(&args).is_ok_and(|keys| keys > 0);
                if !nodes.iter().any(keeps) {
                    return;
                }
                thread::sleep(LOOK_EVERY);
            }
        };
        drop(spawn_blocking(wait).await);
    }
}

/// A thread that notes when threads do not get to run.
struct Pulse {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Range<Duration>>>,
}

impl Pulse {
    fn start(origin: Instant) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut stalls = Vec::new();
            let mut before = origin.elapsed();
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(LOOK_EVERY);
                let now = origin.elapsed();
                if now - before > STALL_MIN {
                    stalls.push(before..now);
                }
                before = now;
            }
            stalls
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<Range<Duration>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn finish(setup: &Setup, scenario: &Scenario, plan: &Plan, raw: Raw, elapsed: Duration) -> Run {
    let caps = Caps {
        extend: raw.hello.can(Ability::Extend),
        fence: raw.hello.can(Ability::Fence),
        lost_event: raw.hello.can(Ability::LostEvent),
        guard: raw.hello.can(Ability::Guard),
    };
    let acquires: Vec<Acquire> =
        raw.workers.iter().flat_map(|worker| worker.acquires.clone()).collect();
    let seed = Seed {
        plan,
        caps,
        keys: &raw.keys,
        acquires,
        sightings: &raw.sightings,
        looks: &raw.looks,
        told: &raw.told,
        strikes: raw.strikes,
    };
    let mut record = gather::gather(seed);
    record.accesses = raw.accesses;
    for worker in &raw.workers {
        record.pauses.extend(worker.pauses.iter().map(|span| (worker.client, span.clone())));
        record.killed.extend(worker.killed.map(|at| (worker.client, at)));
    }
    record.stalls = raw.stalls;
    record.healed = Some(raw.healed);
    record.demands = raw.demands;
    record.ended = raw.ended;
    let window = window(&record, raw.armed);
    let lasts = window.end.saturating_sub(window.start) >= record.ttl;
    record.goes_on = (scenario.goes_on && lasts).then(|| window.clone());
    record.outage = scenario.is_outage.then_some(window);
    let judgement = judge::judge(&record);
    let is_told = |finding: &&Finding| scenario.is_told(finding, caps);
    let told: Vec<Finding> = judgement.findings.iter().filter(is_told).cloned().collect();
    let breaks = |finding: &&Finding| scenario.is_broken_promise(finding, caps);
    let broken: Vec<Finding> = told.iter().filter(breaks).cloned().collect();
    let unknown = raw
        .cold
        .map(|cold| match last_words(&record, &raw.workers) {
            Some(words) => format!("{cold}: {words}"),
            None => cold,
        })
        .or_else(|| unknown(scenario, plan, &record, &judgement, &raw.workers, raw.missed));
    let first = broken.first().or(told.first());
    let case = Case {
        tier: "live".to_owned(),
        title: format!("{}: {}", plan.scenario, raw.hello.name),
        seed: Some(plan.seed),
        elapsed,
        shape: story::shape(plan, &record),
        plan: Some(plan.to_json_pretty()),
        history: story::history(
            plan,
            &record,
            first.map(|it| it.at),
            &raw.keys,
            &raw.sightings,
            &raw.told,
        ),
        violation: first.map(|finding| Violation {
            invariant: finding.invariant,
            time: u64::try_from(finding.at.as_nanos()).unwrap_or(u64::MAX),
            client: finding.client,
            story: finding.story.clone(),
        }),
        ..Case::default()
    };
    let _ = setup;
    Run { plan: plan.clone(), hello: raw.hello, record, judgement, told, broken, unknown, case }
}

/// When all faults went on at the same time.
fn window(record: &Record, armed: Duration) -> Range<Duration> {
    let began = record.strikes.iter().filter_map(|strike| strike.began).max();
    let ended = record.strikes.iter().filter_map(|strike| strike.ended).min();
    let healed = record.healed.unwrap_or(armed);
    began.unwrap_or(armed)..ended.unwrap_or(healed)
}

/// What a client said last when it was not granted a lock.
fn last_words(record: &Record, workers: &[Worker]) -> Option<String> {
    let broken = workers.iter().find_map(|worker| worker.broken.clone());
    broken.or_else(|| {
        record.acquires.iter().rev().find_map(|acquire| match &acquire.end {
            End::Refused { text, .. } => Some(text.clone()),
            End::Granted(_) | End::Hung { .. } | End::Killed { .. } => None,
        })
    })
}

/// Why the run says little, if it does: a fault that did not strike, or a client that broke.
fn unknown(
    scenario: &Scenario,
    plan: &Plan,
    record: &Record,
    judgement: &Judgement,
    workers: &[Worker],
    missed: u64,
) -> Option<String> {
    for (fault, strike) in plan.faults.iter().zip(&record.strikes) {
        // A client that uses one node only is not met by what befalls the others.
        let used = (0..record.nodes).any(|node| fault.who.is_node(node));
        let of_client = (0..record.clients).any(|client| {
            fault.who.is_client(client)
                || (0..record.nodes).any(|node| fault.who.is_link(client, node))
        });
        if let Some(trouble) = &strike.trouble {
            return Some(format!("{fault}: {trouble}"));
        }
        if strike.evidence.is_none() && (used || of_client) {
            return Some(format!("a fault did not strike ({fault})"));
        }
    }
    let broke = workers.iter().find(|worker| {
        let hung = |acquire: &Acquire| match &acquire.end {
            End::Hung { .. } => true,
            End::Granted(hold) => hold.hung.is_some(),
            End::Refused { .. } | End::Killed { .. } => false,
        };
        worker.broken.is_some() && !worker.acquires.iter().any(hung)
    });
    if let Some(worker) = broke {
        let words = worker.broken.clone().unwrap_or_default();
        return Some(format!("c{} broke: {words}", worker.client));
    }
    if missed > 0 {
        return Some("there was more to log than there is room for".to_owned());
    }
    let hung = judgement.findings.iter().any(|finding| finding.word == judge::Word::Hung);
    if judgement.counts.grants < GRANTS_MIN && !hung {
        let grants = judgement.counts.grants;
        return Some(format!("only {grants} locks were granted in all of {}", scenario.name));
    }
    None
}
