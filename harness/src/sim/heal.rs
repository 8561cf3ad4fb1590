//! After the horizon nothing fails any more, and progress is demanded: I9, I10, I11.
//!
//! ```text
//! Chaos ──▶ Contend ──▶ Drain ──▶ Settle ──▶ Lone ──▶ Hung ──▶ Lockstep ──▶ Last ──▶ Done
//! anything  a grant of  nobody    nothing is one      a        all at the   nothing
//! may fail  each        acquires; left on    acquires minority same time,   is left
//!           resource    all idle  any node   at once  hangs    someone wins
//! ```

use crate::check::{Invariant, Mark, Nodes};
use crate::history::{Process, TokenName, What};
use crate::node::is_reservation;
use crate::sim::node::View;
use crate::sim::queue::Due;
use crate::sim::system::{Client, System};
use crate::sim::world::{QUEUE, RESERVATION, Rules, World};

/// How many attempts clients that are in lock-step may lose, each, before somebody wins. If each
/// attempt fails with probability 0.8, all do with one of 10^38.
const LOCKSTEP_ATTEMPTS: u32 = 400;

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// Anything may fail.
    Chaos,
    /// Nothing fails; all clients want the lock, and somebody must get it.
    Contend,
    /// Nobody acquires any more, and everybody must become idle.
    Drain,
    /// Time passes, until no key may be left.
    Settle,
    /// One client acquires a free lock, through a proxy that sends everything twice.
    Lone,
    /// One client acquires a free lock while a minority of nodes hangs.
    Hung,
    /// All clients acquire at the same time, and each is first at some nodes.
    Lockstep,
    /// Everybody must become idle again.
    Last,
    /// The run is over.
    Done,
}

impl Stage {
    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Chaos,
            1 => Self::Contend,
            2 => Self::Drain,
            3 => Self::Settle,
            4 => Self::Lone,
            5 => Self::Hung,
            6 => Self::Lockstep,
            7 => Self::Last,
            _ => Self::Done,
        }
    }

    /// Whether workers acquire by themselves, or are told to.
    pub(super) const fn may_acquire(self) -> bool {
        match self {
            Self::Chaos | Self::Contend | Self::Lone | Self::Hung | Self::Lockstep => true,
            Self::Drain | Self::Settle | Self::Last | Self::Done => false,
        }
    }

    /// The longest pause of a worker between two acquires; `None` if it waits to be told.
    pub(super) fn pause(self, rules: &Rules) -> Option<u64> {
        match self {
            Self::Chaos => Some(rules.think),
            Self::Contend => Some(rules.ttl / 4 + 4 * rules.latency),
            Self::Lockstep => Some(0),
            Self::Drain | Self::Settle | Self::Lone | Self::Hung | Self::Last | Self::Done => None,
        }
    }

    /// When to acquire: in lock-step, all clients at the same times.
    pub(super) const fn align(self, at: u64, rules: &Rules) -> u64 {
        match self {
            Self::Lockstep => at.next_multiple_of(rules.ttl),
            Self::Chaos
            | Self::Contend
            | Self::Drain
            | Self::Settle
            | Self::Lone
            | Self::Hung
            | Self::Last
            | Self::Done => at,
        }
    }

    /// Whether a proxy sends each request again because it did not hear the reply.
    pub(super) const fn is_retried_by_proxy(self) -> bool {
        matches!(self, Self::Lone)
    }
}

impl<S: System> World<S> {
    /// The time of a stage is up.
    pub(super) fn stage_is_over(&mut self, rules: &Rules, number: u8) {
        let stage = Stage::from_number(number);
        if stage != self.stage {
            return;
        }
        match stage {
            Stage::Chaos => self.heal(rules),
            Stage::Contend => self.demand_progress(
                Invariant::Progress,
                "the lock is not granted to anybody, long after everything has healed",
            ),
            Stage::Drain | Stage::Last => self.demand_idle(),
            Stage::Settle => {
                self.demand_no_key(0, "though nobody wants the lock for more than a ttl");
                if rules.queues && !self.overtime {
                    // Whoever went without a word is in some queue for as long as that is kept.
                    self.overtime = true;
                    let kept = 2 * QUEUE + rules.setbacks;
                    self.queue.push(self.now + kept, Due::Phase(stage as u8));
                } else {
                    self.enter(rules, Stage::Lone);
                }
            }
            Stage::Lone if self.progressed == 0 => {
                self.demand_progress(Invariant::Progress, "a free lock is not granted in time");
            }
            // It was granted, and released at once: that takes no longer than the grant.
            Stage::Lone if !self.overtime => {
                self.overtime = true;
                self.queue.push(self.now + 4 * rules.node_timeout, Due::Phase(stage as u8));
            }
            Stage::Lone => self.demand_idle(),
            Stage::Hung => self.demand_progress(
                Invariant::Progress,
                "a free lock is not granted in time while a minority of nodes hangs",
            ),
            Stage::Lockstep => self.demand_progress(
                Invariant::Progress,
                "clients that began at the same time keep each other from the lock",
            ),
            Stage::Done => {}
        }
    }

    fn heal(&mut self, rules: &Rules) {
        self.history.note(self.now, Process::Harness, What::Healed);
        for client in &mut self.clients {
            client.acquires_before = client.acquires;
        }
        self.enter(rules, Stage::Contend);
        for client in 0..self.clients.len() {
            self.let_go(client);
            self.hurry(client);
        }
    }

    fn enter(&mut self, rules: &Rules, stage: Stage) {
        self.stage = stage;
        self.progressed = 0;
        self.lost_attempts = 0;
        self.overtime = false;
        self.history.note(self.now, Process::Harness, What::Demand { step: stage as u8 });
        let guard = rules.guard_ms.unwrap_or(0) * 1_000_000;
        let time = match stage {
            Stage::Contend | Stage::Drain | Stage::Last => rules.patience,
            Stage::Settle => {
                let kept = if rules.queues { 2 * RESERVATION } else { 0 };
                kept + 2 * (rules.ttl + guard + rules.setbacks) + 10_000_000
            }
            Stage::Lone | Stage::Hung => rules.node_timeout,
            Stage::Lockstep => {
                u64::from(LOCKSTEP_ATTEMPTS) * (rules.patience + rules.ttl) + rules.patience
            }
            Stage::Chaos | Stage::Done => return,
        };
        self.queue.push(self.now + time, Due::Phase(stage as u8));
        match stage {
            Stage::Lone => self.hurry(rules.seed as usize % rules.clients),
            Stage::Hung => {
                for node in 0..rules.nodes {
                    // A minority, another one for each seed.
                    let place = (node + rules.seed as usize) % rules.nodes;
                    self.nodes[node].hung = place > rules.nodes / 2;
                }
                self.hurry((rules.seed as usize + 1) % rules.clients);
            }
            Stage::Lockstep => {
                for client in 0..self.clients.len() {
                    if self.is_resting(client) {
                        self.rest(rules, client);
                        self.rearm(client);
                    }
                }
            }
            Stage::Chaos
            | Stage::Contend
            | Stage::Drain
            | Stage::Settle
            | Stage::Last
            | Stage::Done => {}
        }
    }

    /// The lock was granted.
    pub(super) fn stage_granted(&mut self, client: usize) {
        let winner = &self.clients[client];
        // An acquire from before may have left out, or not met, what has healed since.
        if winner.acquires > winner.acquires_before {
            self.progressed |= 1 << self.checker.resource_of(client);
        }
        if self.stage == Stage::Hung {
            self.checker.mark(Mark::MinorityHung);
        }
    }

    /// An attempt was lost.
    pub(super) fn stage_refused(&mut self) {
        match self.stage {
            Stage::Lone | Stage::Hung => self.demand_progress(
                Invariant::Progress,
                "a free lock is not granted at the first attempt, with nobody else around",
            ),
            Stage::Lockstep if self.lost_attempts > LOCKSTEP_ATTEMPTS * self.wanting() => self
                .demand_progress(
                    Invariant::Progress,
                    "clients that began at the same time keep each other from the lock",
                ),
            Stage::Chaos
            | Stage::Contend
            | Stage::Drain
            | Stage::Settle
            | Stage::Lockstep
            | Stage::Last
            | Stage::Done => {}
        }
    }

    fn wanting(&self) -> u32 {
        self.clients.len() as u32
    }

    /// Goes on to the next stage when this one has what it wants.
    pub(super) fn advance_stage(&mut self, rules: &Rules) {
        let all = (1 << rules.resources.min(rules.clients)) - 1;
        match self.stage {
            Stage::Contend if self.progressed == all => self.enter(rules, Stage::Drain),
            Stage::Drain if self.is_quiet() => {
                self.demand_no_key(
                    1,
                    "though everybody who got it since the end of faults is done",
                );
                self.enter(rules, Stage::Settle);
            }
            Stage::Lone if self.progressed > 0 && self.is_quiet() => {
                self.demand_no_key(0, "though it was released");
                self.enter(rules, Stage::Hung);
            }
            Stage::Hung if self.progressed > 0 => {
                for node in &mut self.nodes {
                    node.hung = false;
                }
                // The release is still under way; whoever was hung takes it now.
                let next = if is_lockstep_possible(rules) { Stage::Lockstep } else { Stage::Last };
                self.enter(rules, next);
            }
            Stage::Lockstep if self.progressed == all => self.enter(rules, Stage::Last),
            Stage::Last if self.is_quiet() => {
                self.demand_no_key(0, "though it was released");
                self.stage = Stage::Done;
            }
            Stage::Chaos
            | Stage::Contend
            | Stage::Drain
            | Stage::Settle
            | Stage::Lone
            | Stage::Hung
            | Stage::Lockstep
            | Stage::Last
            | Stage::Done => {}
        }
    }

    /// Whether everybody is idle and nothing is under way.
    fn is_quiet(&self) -> bool {
        let all_idle = self.clients.iter().all(|client| client.lock.is_idle());
        let all_arrived = self.messages.len() + self.accesses.len() + self.calls.len() == 0;
        all_idle && all_arrived
    }

    fn demand_progress(&mut self, invariant: Invariant, story: &str) {
        self.checker.violate(invariant, self.now, None, || story.into());
        self.stage = Stage::Done;
    }

    /// The run does not end by itself.
    pub(super) fn demand_end(&mut self, story: &str) {
        self.demand_progress(Invariant::Termination, story);
    }

    fn demand_idle(&mut self) {
        let clients = 0..self.clients.len();
        let busy = clients.rev().find(|&client| !self.clients[client].lock.is_idle());
        let story = match busy {
            Some(client) => format!("c{client} does not become idle"),
            None => "messages go back and forth without an end".into(),
        };
        self.demand_progress(Invariant::Termination, &story);
    }

    /// No node has a key; or (`since` 1) none of an acquire since everything has healed, but for those that
    /// are kept for waiters of before, who went without a word.
    fn demand_no_key(&mut self, since: u32, why: &str) {
        let view = View { nodes: &self.nodes, guarded: false };
        for node in 0..view.count() {
            for resource in 0..self.rules.map_or(1, |rules| rules.resources) {
                let Some(token) = view.owner(node, resource, self.now) else { continue };
                let name = TokenName::of(&token);
                let client = usize::from(name.client);
                let before =
                    self.clients.get(client).map_or(0, |client| client.acquires_before * since);
                if name.acquire > before && (since == 0 || !is_reservation(&token)) {
                    self.checker.violate(Invariant::NoGhost, self.now, Some(client), || {
                        format!("n{node} still has the key of {name}, {why}")
                    });
                    return;
                }
            }
        }
    }

    /// In lock-step, client c is first at node c, and so on around: each way takes exactly as long each
    /// time, so that only jitter can break a tie.
    pub(super) fn lockstep_latency(&self, rules: &Rules, client: usize, node: usize) -> u64 {
        let latency = rules.latency.min(rules.node_timeout / 16);
        let turn = (client / rules.resources + node) % rivals(rules);
        latency / 2 + latency / 2 * turn as u64 / rivals(rules) as u64
    }
}

/// How many clients want the same resource.
const fn rivals(rules: &Rules) -> usize {
    rules.clients.div_ceil(rules.resources)
}

/// Whether clients in lock-step can keep each other from a majority, and the lock has the means to break
/// it: tries, and delays that can differ by more than a few round trips.
const fn is_lockstep_possible(rules: &Rules) -> bool {
    rivals(rules) > 1 && rules.nodes.div_ceil(rivals(rules)) <= rules.nodes / 2 && rules.jitter
}
