//! Faults: what each does to the world when it begins and when it ends.

use crate::check::Mark;
use crate::history::{Asked, Process, What};
use crate::plan::{Direction, Fault, FaultKind, NODES_MAX, Plan, RESOURCES_MAX};
use crate::sim::clock::TrueTime;
use crate::sim::network::Link;
use crate::sim::system::{Node, System};
use crate::sim::world::{Rules, World, kind};

/// A clock that stands still.
const STILL: i64 = -1_000_000;

/// How much later than usual anything may happen because of `fault`, after it has ended.
pub(super) fn setback(fault: &Fault) -> u64 {
    match fault.kind {
        FaultKind::Jump { by_us } => by_us.min(0).unsigned_abs() * 1_000,
        FaultKind::Slow { by_us } | FaultKind::Reorder { by_us } => u64::from(by_us) * 1_000,
        FaultKind::Crash { .. }
        | FaultKind::Pause
        | FaultKind::Suspend
        | FaultKind::Cut { .. }
        | FaultKind::Split { .. }
        | FaultKind::Bridge { .. }
        | FaultKind::MajoritiesRing { .. }
        | FaultKind::Loss { .. }
        | FaultKind::Duplicate { .. }
        | FaultKind::Rate { .. }
        | FaultKind::Freeze
        | FaultKind::WallSkew { .. }
        | FaultKind::Evict
        | FaultKind::Flush
        | FaultKind::Failover
        | FaultKind::HalfScripts { .. } => 0,
    }
}

impl<S: System> World<S> {
    pub(super) fn fault_begins(&mut self, plan: &Plan, rules: &Rules, number: usize) {
        let fault = &plan.faults[number];
        self.events += 1;
        self.active[number] = true;
        let began = What::FaultBegan { fault: number as u16 };
        self.history.note(self.now, Process::Harness, began);
        if self.in_flight[kind(Asked::Extend)] > 0 {
            self.checker.mark(Mark::ExtensionHit);
        }
        if self.in_flight[kind(Asked::Acquire)] > 0 {
            self.checker.mark(Mark::AcquireHit);
        }
        let ends = ((fault.at_us + fault.for_us) * 1_000).min(rules.horizon);
        for node in (0..self.nodes.len()).filter(|&node| fault.who.is_node(node)) {
            self.begin_at_node(plan, rules, node, &fault.kind, ends);
        }
        for client in (0..self.clients.len()).filter(|&client| fault.who.is_client(client)) {
            self.begin_at_client(plan, client, &fault.kind, ends);
        }
        if fault.kind.is_of_links() {
            self.relink(plan, rules);
        }
    }

    pub(super) fn fault_ends(&mut self, system: &S, plan: &Plan, rules: &Rules, number: usize) {
        let fault = &plan.faults[number];
        self.events += 1;
        self.active[number] = false;
        let ended = What::FaultEnded { fault: number as u16 };
        self.history.note(self.now, Process::Harness, ended);
        for node in (0..self.nodes.len()).filter(|&node| fault.who.is_node(node)) {
            self.end_at_node(plan, rules, node, &fault.kind);
        }
        for client in (0..self.clients.len()).filter(|&client| fault.who.is_client(client)) {
            self.end_at_client(system, plan, rules, client, &fault.kind);
        }
        if fault.kind.is_of_links() {
            self.relink(plan, rules);
        }
    }

    fn begin_at_node(
        &mut self,
        plan: &Plan,
        rules: &Rules,
        node: usize,
        kind: &FaultKind,
        ends: TrueTime,
    ) {
        let now = self.now;
        let process = Process::Node(node as u8);
        let before = self.nodes[node].data.cells;
        let target = &mut self.nodes[node];
        match *kind {
            FaultKind::Crash { keep } => {
                target.crash(now, keep, rules.sync, rules.fences);
                self.history.note(now, process, What::Crashed);
                self.forgot(node, before);
            }
            FaultKind::Pause => target.paused_until = target.paused_until.max(ends),
            FaultKind::Suspend => {
                target.paused_until = target.paused_until.max(ends);
                self.reset_node_clock(plan, node);
            }
            FaultKind::Rate { .. } | FaultKind::Freeze => self.reset_node_clock(plan, node),
            FaultKind::Jump { by_us } => {
                target.clock.jump(now, by_us * 1_000);
                self.reset_node_clock(plan, node);
                self.forgot(node, before);
            }
            FaultKind::Evict => {
                target.evict();
                self.forgot(node, before);
            }
            FaultKind::Flush => {
                target.flush(rules.fences);
                self.forgot(node, before);
            }
            FaultKind::Failover => target.lag(),
            FaultKind::HalfScripts { permille } => target.half_permille = permille,
            FaultKind::Cut { .. }
            | FaultKind::Split { .. }
            | FaultKind::Bridge { .. }
            | FaultKind::MajoritiesRing { .. }
            | FaultKind::Slow { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Reorder { .. }
            | FaultKind::WallSkew { .. } => {}
        }
    }

    fn end_at_node(&mut self, plan: &Plan, rules: &Rules, node: usize, kind: &FaultKind) {
        let process = Process::Node(node as u8);
        let before = self.nodes[node].data.cells;
        let target = &mut self.nodes[node];
        match *kind {
            FaultKind::Crash { .. } => {
                target.down = target.down.saturating_sub(1);
                self.history.note(self.now, process, What::Restarted);
            }
            FaultKind::Suspend | FaultKind::Rate { .. } | FaultKind::Freeze => {
                self.reset_node_clock(plan, node);
            }
            FaultKind::Failover => {
                target.promote(rules.fences);
                self.history.note(self.now, process, What::Restarted);
                self.forgot(node, before);
            }
            FaultKind::HalfScripts { .. } => target.half_permille = 0,
            FaultKind::Pause
            | FaultKind::Jump { .. }
            | FaultKind::Evict
            | FaultKind::Flush
            | FaultKind::Cut { .. }
            | FaultKind::Split { .. }
            | FaultKind::Bridge { .. }
            | FaultKind::MajoritiesRing { .. }
            | FaultKind::Slow { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Reorder { .. }
            | FaultKind::WallSkew { .. } => {}
        }
    }

    fn begin_at_client(&mut self, plan: &Plan, client: usize, kind: &FaultKind, ends: TrueTime) {
        let now = self.now;
        let holds_until = self.checker.belief(client).map(|belief| belief.ends);
        let target = &mut self.clients[client];
        match *kind {
            FaultKind::Crash { .. } => {
                if holds_until.is_some_and(|until| now < until) {
                    self.checker.mark(Mark::HolderCrashed);
                }
                target.down += 1;
                target.run = target.run.wrapping_add(1);
                target.work.next = TrueTime::MAX;
                self.checker.crash(client);
                self.history.note(now, Process::Client(client as u8), What::Crashed);
            }
            FaultKind::Pause | FaultKind::Suspend => {
                target.paused_until = target.paused_until.max(ends);
                if holds_until.is_some_and(|until| now < until && until < ends) {
                    self.checker.mark(Mark::HolderPaused);
                }
                self.reset_client_clock(plan, client);
            }
            FaultKind::Jump { by_us } => {
                target.clock.jump(now, by_us * 1_000);
                self.reset_client_clock(plan, client);
            }
            FaultKind::Rate { .. } | FaultKind::Freeze => self.reset_client_clock(plan, client),
            FaultKind::WallSkew { by_us } => target.skew += by_us,
            FaultKind::Cut { .. }
            | FaultKind::Split { .. }
            | FaultKind::Bridge { .. }
            | FaultKind::MajoritiesRing { .. }
            | FaultKind::Slow { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Reorder { .. }
            | FaultKind::Evict
            | FaultKind::Flush
            | FaultKind::Failover
            | FaultKind::HalfScripts { .. } => {}
        }
    }

    fn end_at_client(
        &mut self,
        system: &S,
        plan: &Plan,
        rules: &Rules,
        client: usize,
        kind: &FaultKind,
    ) {
        let target = &mut self.clients[client];
        match *kind {
            FaultKind::Crash { .. } => {
                target.down = target.down.saturating_sub(1);
                if target.down > 0 {
                    return;
                }
                target.lock = system.client(&rules.config);
                target.seen = 0;
                target.acquires_buried = target.acquires;
                target.called = None;
                target.wake_at = u64::MAX;
                target.scheduled = TrueTime::MAX;
                self.history.note(self.now, Process::Client(client as u8), What::Restarted);
                self.reborn(rules, client);
                self.rearm(client);
            }
            FaultKind::Suspend | FaultKind::Rate { .. } | FaultKind::Freeze => {
                self.reset_client_clock(plan, client);
            }
            FaultKind::WallSkew { by_us } => target.skew -= by_us,
            FaultKind::Pause
            | FaultKind::Jump { .. }
            | FaultKind::Cut { .. }
            | FaultKind::Split { .. }
            | FaultKind::Bridge { .. }
            | FaultKind::MajoritiesRing { .. }
            | FaultKind::Slow { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Reorder { .. }
            | FaultKind::Evict
            | FaultKind::Flush
            | FaultKind::Failover
            | FaultKind::HalfScripts { .. } => {}
        }
    }

    /// Something happened to what the node has; `before` it had this.
    fn forgot(&mut self, node: usize, before: [S::Node; RESOURCES_MAX]) {
        for (resource, before) in before.iter().enumerate().take(self.resources()) {
            let wall = self.nodes[node].wall(self.now);
            let after = self.nodes[node].data.cells[resource];
            let owner = before.owner(wall);
            if owner.is_some_and(|token| self.checker.rests_on(&token, self.now))
                && owner != after.owner(wall)
            {
                self.checker.mark(Mark::NodeForgot);
            }
            if *before != after {
                self.note_cell(node, resource);
            }
            self.rejudge_all(resource);
        }
    }

    fn reset_node_clock(&mut self, plan: &Plan, node: usize) {
        let faults = plan.faults.iter().zip(&self.active).filter(|(_, active)| **active);
        let own = faults.filter(|(fault, _)| fault.who.is_node(node));
        let ppm = own.filter_map(|(fault, _)| rate(&fault.kind)).next_back();
        let target = &mut self.nodes[node];
        target.clock.set_rate(self.now, ppm.unwrap_or(target.ppm));
        let reading = target.clock.read(self.now);
        let ppm = ppm.unwrap_or(target.ppm);
        self.note_clock(Process::Node(node as u8), reading, ppm);
        for resource in 0..self.resources() {
            self.rejudge_all(resource);
        }
    }

    fn reset_client_clock(&mut self, plan: &Plan, client: usize) {
        let faults = plan.faults.iter().zip(&self.active).filter(|(_, active)| **active);
        let own = faults.filter(|(fault, _)| fault.who.is_client(client));
        let ppm = own.filter_map(|(fault, _)| rate(&fault.kind)).next_back();
        let target = &mut self.clients[client];
        target.clock.set_rate(self.now, ppm.unwrap_or(target.ppm));
        let clock = target.clock;
        let ppm = ppm.unwrap_or(target.ppm);
        self.note_clock(Process::Client(client as u8), clock.read(self.now), ppm);
        if let Some(belief) = self.checker.belief(client) {
            let ends = clock.when(belief.valid_until);
            self.checker.move_end(client, ends);
            self.rejudge(client);
        }
        self.rearm(client);
    }

    fn note_clock(&mut self, process: Process, reading: u64, ppm: i64) {
        let ahead = reading.cast_signed().wrapping_sub(self.now.cast_signed());
        self.history.note(self.now, process, What::Clock { ahead, ppm: ppm as i32 });
    }

    /// Works out what the active faults do to each link.
    fn relink(&mut self, plan: &Plan, rules: &Rules) {
        for client in 0..self.clients.len() {
            for node in 0..self.nodes.len() {
                self.links[client][node].heal();
            }
        }
        for (fault, _) in plan.faults.iter().zip(&self.active).filter(|(_, active)| **active) {
            let ends = ((fault.at_us + fault.for_us) * 1_000).min(rules.horizon);
            for client in 0..self.clients.len() {
                for node in 0..self.nodes.len() {
                    let shape = (rules.nodes, client, node);
                    impair(&mut self.links[client][node], fault, ends, shape);
                }
            }
        }
    }
}

/// The rate at which a fault makes a clock run.
fn rate(kind: &FaultKind) -> Option<i64> {
    match *kind {
        FaultKind::Rate { ppm } => Some(ppm.into()),
        FaultKind::Freeze | FaultKind::Suspend => Some(STILL),
        FaultKind::Crash { .. }
        | FaultKind::Pause
        | FaultKind::Cut { .. }
        | FaultKind::Split { .. }
        | FaultKind::Bridge { .. }
        | FaultKind::MajoritiesRing { .. }
        | FaultKind::Slow { .. }
        | FaultKind::Loss { .. }
        | FaultKind::Duplicate { .. }
        | FaultKind::Reorder { .. }
        | FaultKind::Jump { .. }
        | FaultKind::WallSkew { .. }
        | FaultKind::Evict
        | FaultKind::Flush
        | FaultKind::Failover
        | FaultKind::HalfScripts { .. } => None,
    }
}

/// What `fault` does to the link of this client and node.
fn impair(
    link: &mut Link,
    fault: &Fault,
    ends: TrueTime,
    (nodes, client, node): (usize, usize, usize),
) {
    let is_apart = |node_mask: u8, client_mask: u8| {
        node_mask >> (node % NODES_MAX) & 1 != client_mask >> (client % 8) & 1
    };
    let (requests, replies) = match fault.kind {
        FaultKind::Cut { direction } if fault.who.is_link(client, node) => match direction {
            Direction::Both => (true, true),
            Direction::Requests => (true, false),
            Direction::Replies => (false, true),
        },
        FaultKind::Split { nodes, clients } if is_apart(nodes, clients) => (true, true),
        FaultKind::Bridge { nodes, clients, node: bridge }
            if usize::from(bridge) != node && is_apart(nodes, clients) =>
        {
            (true, true)
        }
        FaultKind::MajoritiesRing { first } => {
            let begin = (client + usize::from(first)) % nodes;
            let apart = (node + nodes - begin) % nodes > nodes / 2;
            (apart, apart)
        }
        FaultKind::Slow { by_us } if fault.who.is_link(client, node) => {
            link.slow += u64::from(by_us) * 1_000;
            (false, false)
        }
        FaultKind::Reorder { by_us } if fault.who.is_link(client, node) => {
            link.reorder = link.reorder.max(u64::from(by_us) * 1_000);
            (false, false)
        }
        FaultKind::Loss { permille } if fault.who.is_link(client, node) => {
            link.loss_permille = link.loss_permille.max(permille.into());
            (false, false)
        }
        FaultKind::Duplicate { permille } if fault.who.is_link(client, node) => {
            link.duplicate_permille = link.duplicate_permille.max(permille.into());
            (false, false)
        }
        FaultKind::Cut { .. }
        | FaultKind::Split { .. }
        | FaultKind::Bridge { .. }
        | FaultKind::Slow { .. }
        | FaultKind::Reorder { .. }
        | FaultKind::Loss { .. }
        | FaultKind::Duplicate { .. }
        | FaultKind::Crash { .. }
        | FaultKind::Pause
        | FaultKind::Suspend
        | FaultKind::Rate { .. }
        | FaultKind::Jump { .. }
        | FaultKind::Freeze
        | FaultKind::WallSkew { .. }
        | FaultKind::Evict
        | FaultKind::Flush
        | FaultKind::Failover
        | FaultKind::HalfScripts { .. } => (false, false),
    };
    if requests {
        link.requests_cut = link.requests_cut.max(ends);
    }
    if replies {
        link.replies_cut = link.replies_cut.max(ends);
    }
}
