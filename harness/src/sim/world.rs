//! One deterministic world: clients, nodes, links and resources under one plan, in virtual time.

use redlatch_core::{Config, Token};

use crate::check::{Checker, Invariants, Marks, Violation};
use crate::history::{Asked, History, Process, What};
use crate::node::{QUEUE_MS, RESERVATION_MS};
use crate::plan::{
    CLIENTS_MAX, NODES_MAX, Plan, PlanError, RESOURCES_MAX, ResourceMode, Retries, Shape,
};
use crate::sim::clock::{Clock, TrueTime};
use crate::sim::dice::fate;
use crate::sim::heal::Stage;
use crate::sim::network::{Link, Message, Ring};
use crate::sim::node::{Fences, SimNode, View};
use crate::sim::queue::{Due, Queue, Slots};
use crate::sim::system::{Outbox, System};
use crate::sim::worker::{Access, Register, Work};

/// More events than this in one run are a livelock: of the lock under test, or of the harness.
const EVENTS_MAX: u64 = 20_000_000;
/// Unix time at the beginning of every run, in nanoseconds.
pub(super) const EPOCH: u64 = 1_790_000_000_000_000_000;

/// For how long a node keeps a key for a waiter, and a queue that nobody joins, in nanoseconds.
pub(super) const RESERVATION: u64 = RESERVATION_MS * 1_000_000;
pub(super) const QUEUE: u64 = QUEUE_MS * 1_000_000;
/// The most waiters that went without a word, in a queue.
const GHOSTS_MAX: u64 = 8;

/// What is asked for when a world draws a fate; see [`fate`].
pub(super) mod topic {
    pub(crate) const CLOCK: u64 = 1 << 56;
    pub(crate) const WORK: u64 = 2 << 56;
    pub(crate) const ACCESS: u64 = 3 << 56;
    pub(crate) const SCRIPT: u64 = 4 << 56;
    pub(crate) const SKEW: u64 = 5 << 56;
    pub(crate) const CALL: u64 = 6 << 56;
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was violated first, if anything was.
    pub violation: Option<Violation>,
    /// The hash of the history.
    pub hash: u64,
    /// Messages that arrived, timers that fired, faults that began or ended.
    pub events: u64,
    /// How long the run was, in nanoseconds of true time.
    pub time: TrueTime,
    /// How many locks were granted.
    pub grants: u64,
    /// What happened that has to happen sometimes.
    pub marks: Marks,
}

/// The plan's numbers in the units of the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    pub(super) clients: usize,
    pub(super) resources: usize,
    pub(super) config: Config,
    pub(super) horizon: u64,
    pub(super) ttl: u64,
    pub(super) node_timeout: u64,
    pub(super) guard_ms: Option<u64>,
    pub(super) fences: Fences,
    pub(super) fenced: bool,
    pub(super) queues: bool,
    pub(super) mode: ResourceMode,
    pub(super) sync: u64,
    pub(super) latency: u64,
    pub(super) tail_permille: u64,
    pub(super) tail: u64,
    pub(super) loss_permille: u64,
    pub(super) duplicate_permille: u64,
    pub(super) ordered: bool,
    pub(super) think: u64,
    pub(super) hold: u64,
    pub(super) extend_permille: u64,
    pub(super) access_permille: u64,
    pub(super) lapse_permille: u64,
    pub(super) cancel_permille: u64,
    /// How long the world may take to settle when everything has healed: far more than it should.
    pub(super) patience: u64,
    /// How much longer than true time anything that is measured by some clock may take, at most.
    pub(super) setbacks: u64,
    /// Whether the lock tries often enough, and at times that differ enough, to break a tie.
    pub(super) jitter: bool,
}

impl Rules {
    fn of(plan: &Plan) -> Result<Self, PlanError> {
        plan.checked()?;
        let shape = &plan.shape;
        let ms = |millis: u32| u64::from(millis) * 1_000_000;
        let (network, work) = (&shape.network, &shape.work);
        let fences = if shape.fences_survive { Fences::Survive } else { Fences::AreForgotten };
        let mut rules = Self {
            seed: plan.seed,
            nodes: shape.nodes.into(),
            clients: shape.clients.into(),
            resources: shape.resources.into(),
            config: shape.config()?,
            horizon: ms(shape.horizon_ms),
            ttl: ms(shape.ttl_ms),
            node_timeout: ms(shape.node_timeout_ms),
            guard_ms: shape.restart_guard_ms.map(u64::from),
            fences,
            fenced: shape.fenced,
            queues: shape.queues,
            mode: if shape.fenced { shape.resource } else { ResourceMode::Unfenced },
            sync: ms(shape.sync_ms).max(1),
            latency: u64::from(network.latency_us) * 1_000,
            tail_permille: network.tail_permille.into(),
            tail: ms(network.tail_ms),
            loss_permille: network.loss_permille.into(),
            duplicate_permille: network.duplicate_permille.into(),
            ordered: network.ordered,
            think: ms(work.think_ms),
            hold: ms(work.hold_ms),
            extend_permille: work.extend_permille.into(),
            access_permille: work.access_permille.into(),
            lapse_permille: work.lapse_permille.into(),
            cancel_permille: work.cancel_permille.into(),
            patience: 0,
            setbacks: 0,
            jitter: can_break_ties(shape),
        };
        let setbacks: u64 = plan.faults.iter().map(crate::sim::faults::setback).sum();
        let retry = ms(shape.retries.delay_max_ms) + rules.node_timeout + rules.think;
        let guard = rules.guard_ms.unwrap_or(0) * 1_000_000;
        rules.setbacks = setbacks;
        // A waiter that went without a word keeps each key for itself for as long as that takes.
        let kept = if rules.queues { GHOSTS_MAX * RESERVATION } else { 0 };
        rules.patience =
            kept + 4 * (4 * rules.ttl + guard + setbacks + rules.tail + rules.latency) + 60 * retry;
        Ok(rules)
    }
}

/// Whether the delays between attempts, whose ceiling doubles with each, come to differ by more than a
/// few round trips before the last one.
fn can_break_ties(shape: &Shape) -> bool {
    let Retries { attempts_max, wait_ms, delay_min_ms, delay_max_ms } = shape.retries;
    let doublings = attempts_max.saturating_sub(1).min(16);
    let ceiling = (u64::from(delay_min_ms) << doublings).min(delay_max_ms.into());
    let spread_us = ceiling.saturating_sub(delay_min_ms.into()) * 1_000;
    spread_us >= 8 * u64::from(shape.network.latency_us)
        && wait_ms.is_none_or(|wait| wait >= shape.ttl_ms)
}

/// A client's process.
#[derive(Debug)]
pub(super) struct SimClient<L> {
    pub(super) lock: L,
    pub(super) clock: Clock,
    /// How far off the clock is without a fault.
    pub(super) ppm: i64,
    /// The latest reading of its clock that its lock has seen.
    pub(super) seen: u64,
    /// How far its wall clock is off, in microseconds.
    pub(super) skew: i64,
    /// The number of this run of the process.
    pub(super) run: u16,
    /// How many faults keep the process down.
    pub(super) down: u8,
    pub(super) paused_until: TrueTime,
    /// When the earliest timer in the queue fires.
    pub(super) scheduled: TrueTime,
    pub(super) work: Work,
    /// When the lock wants to be woken, on the client's clock, as of its last input.
    pub(super) wake_at: u64,
    /// Acquires so far, over all runs.
    pub(super) acquires: u32,
    /// Those before everything healed.
    pub(super) acquires_before: u32,
    /// Those of earlier runs: nobody listens to calls for them any more.
    pub(super) acquires_buried: u32,
    /// The attempt that calls began, if they began the latest one.
    pub(super) called: Option<Token>,
    /// How many requests of each kind went to each node in this acquire.
    pub(super) ordinals: [[u16; 4]; NODES_MAX],
    /// How many calls each node has made to the client.
    pub(super) calls: [u32; NODES_MAX],
}

/// A world. It is used again for run after run, so that nothing is allocated in the long run.
#[derive(Debug)]
pub struct World<S: System> {
    pub(super) rules: Option<Rules>,
    pub(super) now: TrueTime,
    pub(super) stage: Stage,
    pub(super) queue: Queue,
    pub(super) messages: Slots<Message<S::Request>>,
    /// The number of the next message.
    pub(super) next_message: u32,
    /// How many requests of each kind are under way.
    pub(super) in_flight: [u32; 4],
    pub(super) accesses: Slots<Access>,
    pub(super) calls: Slots<Ring>,
    /// The reservation that was last seen in each cell.
    pub(super) reserved: [[Option<Token>; RESOURCES_MAX]; NODES_MAX],
    pub(super) registers: [Register; RESOURCES_MAX],
    pub(super) nodes: Vec<SimNode<S::Node>>,
    pub(super) clients: Vec<SimClient<S::Client>>,
    pub(super) links: [[Link; NODES_MAX]; CLIENTS_MAX],
    pub(super) outbox: Outbox<S::Request>,
    pub(super) active: Vec<bool>,
    pub(super) checker: Checker,
    pub(super) history: History,
    pub(super) events: u64,
    pub(super) grants: u64,
    /// Resources that were granted since everything healed, as a mask.
    pub(super) progressed: u8,
    /// Attempts lost in the present stage.
    pub(super) lost_attempts: u32,
    /// Whether the present stage has got its extra time.
    pub(super) overtime: bool,
}

impl<S: System> Default for World<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: System> World<S> {
    /// An empty world.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rules: None,
            now: 0,
            stage: Stage::Chaos,
            queue: Queue::default(),
            messages: Slots::new(),
            next_message: 0,
            in_flight: [0; 4],
            accesses: Slots::new(),
            calls: Slots::new(),
            reserved: [[None; RESOURCES_MAX]; NODES_MAX],
            registers: [Register::default(); RESOURCES_MAX],
            nodes: Vec::new(),
            clients: Vec::new(),
            links: [[Link::default(); NODES_MAX]; CLIENTS_MAX],
            outbox: Outbox::new(),
            active: Vec::new(),
            checker: Checker::new(),
            history: History::default(),
            events: 0,
            grants: 0,
            progressed: 0,
            lost_attempts: 0,
            overtime: false,
        }
    }

    /// Runs `plan` from beginning to end, or to the first violation of one of `checked`. The history is
    /// kept if `recording`; its hash always is, and is the same.
    ///
    /// # Errors
    /// [`PlanError`] if no world can be made of the plan.
    pub fn run(
        &mut self,
        system: &S,
        plan: &Plan,
        checked: Invariants,
        recording: bool,
    ) -> Result<Outcome, PlanError> {
        let rules = Rules::of(plan)?;
        self.restart(system, plan, &rules, checked, recording);
        while let Some((at, due)) = self.queue.pop() {
            self.now = at;
            self.step(system, plan, &rules, due);
            if self.checker.is_violated() || self.stage == Stage::Done {
                break;
            }
            if self.events > EVENTS_MAX {
                self.demand_end("the run does not come to an end");
                break;
            }
        }
        let violation = self.checker.take_violation();
        if let Some(violation) = &violation {
            let invariant = violation.invariant;
            self.history.note(self.now, Process::Harness, What::Violated { invariant });
        }
        Ok(Outcome {
            violation,
            hash: self.history.hash(),
            events: self.events,
            time: self.now,
            grants: self.grants,
            marks: self.checker.marks(),
        })
    }

    /// The history of the last run, if it was recorded.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    fn restart(
        &mut self,
        system: &S,
        plan: &Plan,
        rules: &Rules,
        checked: Invariants,
        recording: bool,
    ) {
        self.rules = Some(*rules);
        self.now = 0;
        self.stage = Stage::Chaos;
        self.queue.clear();
        self.messages.clear();
        self.next_message = 0;
        self.in_flight = [0; 4];
        self.accesses.clear();
        self.calls.clear();
        self.reserved = [[None; RESOURCES_MAX]; NODES_MAX];
        self.registers = [Register::default(); RESOURCES_MAX];
        self.links = [[Link::default(); NODES_MAX]; CLIENTS_MAX];
        self.checker.restart(plan, checked);
        self.history.restart(recording);
        self.events = 0;
        self.grants = 0;
        self.progressed = 0;
        self.lost_attempts = 0;
        self.populate(system, plan, rules);
        self.active.clear();
        self.active.resize(plan.faults.len(), false);
        for (number, fault) in plan.faults.iter().enumerate() {
            let begin = (fault.at_us * 1_000).min(rules.horizon);
            let end = (fault.at_us + fault.for_us) * 1_000;
            self.queue.push(begin, Due::FaultBegins(number as u16));
            if !fault.kind.is_instant() {
                self.queue.push(end.min(rules.horizon), Due::FaultEnds(number as u16));
            }
        }
        self.queue.push(rules.horizon, Due::Phase(Stage::Chaos as u8));
        for client in 0..self.clients.len() {
            self.rest(rules, client);
            self.rearm(client);
        }
    }

    fn populate(&mut self, system: &S, plan: &Plan, rules: &Rules) {
        let rate = i64::from(plan.shape.clocks.rate_ppm);
        let skew = i64::from(plan.shape.clocks.wall_skew_ms) * 1_000;
        self.nodes.clear();
        for node in 0..rules.nodes {
            let luck = fate(rules.seed, topic::CLOCK, node as u64);
            let reading = EPOCH + luck % 1_000_000_000_000;
            self.nodes.push(SimNode::new(reading, off_by(luck, rate)));
        }
        self.clients.clear();
        for client in 0..rules.clients {
            let luck = fate(rules.seed, topic::CLOCK, 0x100 | client as u64);
            let reading = 1_000_000_000_000_000 + luck % 1_000_000_000_000;
            let ppm = off_by(luck, rate);
            self.clients.push(SimClient {
                lock: system.client(&rules.config),
                clock: Clock::new(reading, ppm),
                ppm,
                seen: 0,
                skew: off_by(fate(rules.seed, topic::SKEW, client as u64), skew),
                run: 0,
                down: 0,
                paused_until: 0,
                scheduled: TrueTime::MAX,
                work: Work::default(),
                wake_at: u64::MAX,
                acquires: 0,
                acquires_before: 0,
                acquires_buried: 0,
                called: None,
                calls: [0; NODES_MAX],
                ordinals: [[0; 4]; NODES_MAX],
            });
        }
        self.note_clocks();
    }

    /// What clocks read at the beginning, without which nobody can tell later what a jump was.
    fn note_clocks(&mut self) {
        let nodes = self.nodes.iter().map(|node| (node.clock, node.ppm));
        let nodes = (0..).map(Process::Node).zip(nodes);
        let clients = self.clients.iter().map(|client| (client.clock, client.ppm));
        let clients = (0..).map(Process::Client).zip(clients);
        for (process, (clock, ppm)) in nodes.chain(clients) {
            let ahead = clock.read(0).cast_signed();
            self.history.note_state(0, process, What::Clock { ahead, ppm: ppm as i32 });
        }
    }

    fn step(&mut self, system: &S, plan: &Plan, rules: &Rules, due: Due) {
        match due {
            Due::Message(slot) => self.arrive(rules, slot),
            Due::Access(slot) => self.access_arrives(rules, slot),
            Due::Call(slot) => self.call_arrives(rules, slot),
            Due::Wake(client) => self.wake(rules, client.into()),
            Due::FaultBegins(fault) => self.fault_begins(plan, rules, fault.into()),
            Due::FaultEnds(fault) => self.fault_ends(system, plan, rules, fault.into()),
            Due::Recheck(client) => self.rejudge(client.into()),
            Due::Phase(stage) => self.stage_is_over(rules, stage),
        }
        if self.stage != Stage::Chaos {
            self.advance_stage(rules);
        }
    }

    /// Judges what `client` believes, and again when its backing is expected to be gone.
    pub(super) fn rejudge(&mut self, client: usize) {
        let view = View { nodes: &self.nodes, guarded: self.is_guarded() };
        if let Some(gone) = self.checker.rejudge(&view, client, self.now) {
            self.queue.push(gone, Due::Recheck(client as u8));
        }
    }

    /// Judges every belief in `resource`.
    pub(super) fn rejudge_all(&mut self, resource: usize) {
        if !self.checker.is_backing_checked() || !self.checker.is_believed(resource) {
            return;
        }
        for client in (resource..self.clients.len()).step_by(self.resources()) {
            self.rejudge(client);
        }
    }

    pub(super) fn resources(&self) -> usize {
        self.rules.map_or(1, |rules| rules.resources)
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.rules.is_some_and(|rules| rules.guard_ms.is_some())
    }
}

/// Between −`most` and `most`, often one of the two.
fn off_by(luck: u64, most: i64) -> i64 {
    match luck >> 60 {
        0..=4 => most,
        5..=9 => -most,
        _ => (luck >> 8 & 0xFFFF) as i64 * (2 * most + 1) / 0x1_0000 - most,
    }
}

/// The index of a kind of request in counters.
pub(super) const fn kind(asked: Asked) -> usize {
    asked as usize
}
