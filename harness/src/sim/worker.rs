//! Clients at work: they wait, acquire, hold for a while, use the resource, extend, release.

use redlatch_core::{Event, Instant, Place, Proposal, Released, Reply, Token};

use crate::check::{Mark, Resource};
use crate::history::{Asked, Process, TokenName, What};
use crate::plan::ResourceMode;
use crate::sim::clock::TrueTime;
use crate::sim::dice::{fate, mix, part};
use crate::sim::heal::Stage;
use crate::sim::node::View;
use crate::sim::queue::Due;
use crate::sim::system::{Client, Input, Request, System};
use crate::sim::world::{EPOCH, Rules, World, topic};

/// The most steps of one hold.
const STEPS_MAX: u64 = 4;

/// What a worker is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    doing: Doing,
    /// When it does its next step; `TrueTime::MAX` if it waits for the lock.
    pub(super) next: TrueTime,
    /// Whether an access of the resource is under way.
    busy: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Resting,
    /// It would acquire, but its lock is not idle yet.
    Wanting,
    Acquiring,
    Holding {
        token: Option<Token>,
        fence: u64,
        steps: u8,
        done: u8,
        /// Between two steps.
        pause: u64,
        lapses: bool,
    },
}

/// A resource: a counter that workers read and write back, increased by one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Register {
    value: u64,
    /// The largest fence it has seen.
    highest: u64,
}

/// A read or a write on its way to the resource, or back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    client: u8,
    run: u16,
    token: Token,
    fence: u64,
    is_write: bool,
    is_answer: bool,
    accepted: bool,
    /// What was read.
    value: u64,
    luck: u64,
}

impl<S: System> World<S> {
    /// Makes `client` rest for a while before it acquires.
    pub(super) fn rest(&mut self, rules: &Rules, client: usize) {
        let next = match self.stage.pause(rules) {
            Some(longest) => {
                let acquires = u64::from(self.clients[client].acquires);
                let luck = fate(rules.seed, topic::WORK | client as u64, acquires);
                let pause = part(luck, 0, longest) + part(luck, 1, 1_000);
                self.stage.align(self.now + pause, rules)
            }
            None => TrueTime::MAX,
        };
        let work = &mut self.clients[client].work;
        work.doing = Doing::Resting;
        work.next = next;
    }

    /// Makes a resting worker acquire now.
    pub(super) fn hurry(&mut self, client: usize) {
        let work = &mut self.clients[client].work;
        if matches!(work.doing, Doing::Resting | Doing::Wanting) {
            work.doing = Doing::Resting;
            work.next = self.now;
        }
        self.rearm(client);
    }

    /// Whether the worker waits for its next acquire.
    pub(super) fn is_resting(&self, client: usize) -> bool {
        matches!(self.clients[client].work.doing, Doing::Resting | Doing::Wanting)
    }

    /// Makes a holder release now.
    pub(super) fn let_go(&mut self, client: usize) {
        let work = &mut self.clients[client].work;
        if let Doing::Holding { steps, done, lapses, .. } = &mut work.doing {
            *done = *steps;
            *lapses = false;
            work.next = self.now;
        }
        self.rearm(client);
    }

    /// The client has a new process: whatever it did is forgotten.
    pub(super) fn reborn(&mut self, rules: &Rules, client: usize) {
        self.clients[client].work.busy = false;
        self.rest(rules, client);
    }

    /// A timer of the client fires.
    pub(super) fn wake(&mut self, rules: &Rules, client: usize) {
        let sleeper = &mut self.clients[client];
        if sleeper.scheduled != self.now {
            return;
        }
        sleeper.scheduled = TrueTime::MAX;
        if sleeper.down > 0 {
            return;
        }
        if sleeper.paused_until > self.now {
            sleeper.scheduled = sleeper.paused_until;
            self.queue.push(sleeper.paused_until, Due::Wake(client as u8));
            return;
        }
        self.events += 1;
        let reading = sleeper.clock.read(self.now);
        if sleeper.wake_at <= reading {
            self.drive(rules, client, Input::Timeout);
        }
        if self.clients[client].work.next <= self.now {
            self.work(rules, client);
        }
        self.rearm(client);
    }

    /// Puts the client's next timer into the queue, unless an earlier one is there.
    pub(super) fn rearm(&mut self, client: usize) {
        let sleeper = &mut self.clients[client];
        if sleeper.down > 0 {
            return;
        }
        let timeout = sleeper.clock.when(sleeper.wake_at);
        let next = timeout.min(sleeper.work.next).max(self.now);
        if next < sleeper.scheduled {
            sleeper.scheduled = next;
            self.queue.push(next, Due::Wake(client as u8));
        }
    }

    fn work(&mut self, rules: &Rules, client: usize) {
        let worker = &mut self.clients[client];
        worker.work.next = TrueTime::MAX;
        match worker.work.doing {
            Doing::Resting | Doing::Wanting => self.acquire(rules, client),
            // The time to call it off.
            Doing::Acquiring => self.give_up(rules, client),
            Doing::Holding { steps, done, lapses: false, .. } if done >= steps => {
                self.give_up(rules, client);
            }
            Doing::Holding { steps, done, .. } if done >= steps => {}
            Doing::Holding { token, fence, done, pause, .. } => {
                if let Doing::Holding { done, .. } = &mut worker.work.doing {
                    *done += 1;
                }
                worker.work.next = self.now + pause;
                let which = u64::from(worker.acquires) << 8 | u64::from(done);
                let luck = fate(rules.seed, topic::ACCESS | client as u64, which);
                if part(luck, 0, 1_000) < rules.extend_permille {
                    let process = Process::Client(client as u8);
                    self.history.note(self.now, process, What::Extend);
                    self.drive(rules, client, Input::Extend);
                } else if part(luck, 1, 1_000) < rules.access_permille {
                    self.begin_access(rules, client, token, fence, luck);
                }
            }
        }
    }

    fn acquire(&mut self, rules: &Rules, client: usize) {
        if !self.stage.may_acquire() {
            return;
        }
        let process = Process::Client(client as u8);
        let resource = self.checker.resource_of(client) as u8;
        let worker = &mut self.clients[client];
        if !worker.lock.is_idle() {
            worker.work.doing = Doing::Wanting;
            return;
        }
        worker.acquires += 1;
        worker.ordinals = Default::default();
        let acquire = worker.acquires;
        let nonce = TokenName::nonce(rules.seed, client as u8, acquire);
        let wall = ((EPOCH + self.now) / 1_000).saturating_add_signed(worker.skew);
        let proposal = if rules.fenced { Proposal::from_unix_micros(wall).ok() } else { None };
        worker.seen = worker.seen.max(worker.clock.read(self.now));
        worker.work.doing = Doing::Acquiring;
        let luck = fate(rules.seed, topic::WORK | client as u64, u64::from(acquire));
        if self.stage == Stage::Chaos && part(luck, 2, 1_000) < rules.cancel_permille {
            worker.work.next = self.now + part(luck, 3, rules.latency * 8 + rules.ttl / 10);
        }
        let seen = worker.seen;
        self.checker.acquire(client, seen);
        self.history.note(self.now, process, What::Acquire { resource, acquire });
        let place = if rules.queues { Some(Place::since_millis(wall / 1_000)) } else { None };
        self.drive(rules, client, Input::Acquire { nonce, proposal, place });
    }

    fn give_up(&mut self, rules: &Rules, client: usize) {
        let process = Process::Client(client as u8);
        self.history.note(self.now, process, What::Release);
        let worker = &mut self.clients[client];
        worker.seen = worker.seen.max(worker.clock.read(self.now));
        let seen = worker.seen;
        self.checker.release(client, seen);
        self.rest(rules, client);
        self.drive(rules, client, Input::Release);
    }

    /// Hands one input to the client's lock, and carries out what follows.
    pub(super) fn drive(&mut self, rules: &Rules, client: usize, input: Input<S::Request>) {
        let mut out = std::mem::replace(&mut self.outbox, crate::sim::system::Outbox::new());
        out.clear();
        let late = late_yes::<S>(&input);
        let is_call = matches!(input, Input::Call { .. });
        let driven = &mut self.clients[client];
        let reading = driven.clock.read(self.now);
        driven.seen = driven.seen.max(reading);
        let seen = driven.seen;
        driven.lock.input(Instant::from_nanos(reading), input, &mut out);
        let lease = driven.lock.lease();
        if let Some((_, begun)) =
            out.requests.iter().find(|(_, request)| request.asked() == Asked::Acquire)
        {
            self.clients[client].called = is_call.then(|| begun.token());
        } else if is_call {
            self.checker.mark(Mark::CalledInVain);
        }
        for &(node, request) in &out.requests {
            let (asked, token) = (request.asked(), request.token());
            self.checker.sent(client, self.now, seen, asked, &token, lease.as_ref());
            if asked == Asked::Release && late == Some((usize::from(node), token)) {
                self.checker.mark(Mark::LateYesReleased);
            }
            self.send(rules, client, node.into(), request);
        }
        for event in &out.events {
            self.checker.told(client, self.now, seen, event);
            self.heed(rules, client, event);
        }
        self.sync_belief(client, lease.as_ref(), &out.events);
        let worker = &mut self.clients[client];
        let wake_at = worker.lock.wake_at().map(Instant::as_nanos);
        worker.wake_at = wake_at.unwrap_or(u64::MAX);
        self.checker.settled(client, self.now, seen, lease.as_ref(), wake_at);
        if worker.work.doing == Doing::Wanting && worker.lock.is_idle() {
            worker.work.next = self.now;
        }
        self.outbox = out;
        self.rearm(client);
    }

    /// Tells the checker what the client believes now.
    fn sync_belief(
        &mut self,
        client: usize,
        lease: Option<&redlatch_core::Lease>,
        events: &[Event],
    ) {
        let Some(lease) = lease else { return };
        let valid_until = lease.valid_until.as_nanos();
        let view = View { nodes: &self.nodes, guarded: self.is_guarded() };
        let granted = events.iter().any(|event| matches!(event, Event::Granted(_)));
        let gone = match self.checker.belief(client) {
            None if granted => {
                let ends = self.clients[client].clock.when(valid_until);
                self.checker.believe(&view, client, self.now, lease, ends)
            }
            Some(belief) if belief.valid_until != valid_until => {
                let ends = self.clients[client].clock.when(valid_until);
                let token = TokenName::of(&lease.token);
                let process = Process::Client(client as u8);
                self.history.note(self.now, process, What::Extended { token, until: ends });
                self.checker.move_belief(&view, client, self.now, valid_until, ends)
            }
            Some(_) | None => None,
        };
        if let Some(gone) = gone {
            self.queue.push(gone, Due::Recheck(client as u8));
        }
    }

    /// What the worker makes of an event.
    fn heed(&mut self, rules: &Rules, client: usize, event: &Event) {
        let process = Process::Client(client as u8);
        match event {
            Event::Granted(lease) => {
                let until = self.clients[client].clock.when(lease.valid_until.as_nanos());
                let token = TokenName::of(&lease.token);
                let fence = lease.fence.map_or(0, redlatch_core::Fence::get);
                self.history.note(self.now, process, What::Granted { token, fence, until });
                self.grants += 1;
                if self.clients[client].called == Some(lease.token) {
                    self.checker.mark(Mark::CalledAndGranted);
                }
                self.hold(rules, client, lease.token, fence);
                self.stage_granted(client);
            }
            Event::Retrying { .. } => {
                self.history.note(self.now, process, What::Retrying);
                self.lost_attempts += 1;
                self.stage_refused();
            }
            Event::Failed { .. } => {
                self.history.note(self.now, process, What::Failed);
                self.lost_attempts += 1;
                self.stage_refused();
                self.rest(rules, client);
            }
            // Noted where the belief moves, which it also does without this event.
            Event::Extended(_) => {}
            Event::AtRisk { .. } => self.history.note(self.now, process, What::AtRisk),
            Event::Lost { lease, .. } => {
                let token = TokenName::of(&lease.token);
                self.history.note(self.now, process, What::Lost { token });
                self.rest(rules, client);
            }
            Event::Released(released) => {
                let confirmed = matches!(released, Released::Confirmed);
                self.history.note(self.now, process, What::Released { confirmed });
            }
        }
    }

    fn hold(&mut self, rules: &Rules, client: usize, token: Token, fence: u64) {
        let worker = &mut self.clients[client];
        let luck = mix(fate(rules.seed, topic::WORK | client as u64, worker.acquires.into()));
        let (steps, pause, lapses) = if self.stage == Stage::Chaos {
            let steps = part(luck, 0, STEPS_MAX);
            let pause = part(luck, 1, rules.hold) / (steps + 1);
            (steps, pause, part(luck, 2, 1_000) < rules.lapse_permille)
        } else {
            (0, rules.latency.min(rules.ttl / 20), false)
        };
        let steps = steps as u8;
        worker.work.doing =
            Doing::Holding { token: Some(token), fence, steps, done: 0, pause, lapses };
        worker.work.next = self.now + pause;
    }

    /// Reads the resource, and, when the answer comes, writes it.
    fn begin_access(
        &mut self,
        rules: &Rules,
        client: usize,
        token: Option<Token>,
        fence: u64,
        luck: u64,
    ) {
        let worker = &mut self.clients[client];
        let Some(token) = token.filter(|_| !worker.work.busy) else { return };
        worker.work.busy = true;
        let access = Access {
            client: client as u8,
            run: worker.run,
            token,
            fence,
            is_write: false,
            is_answer: false,
            accepted: false,
            value: 0,
            luck,
        };
        self.send_access(rules, access);
    }

    fn send_access(&mut self, rules: &Rules, access: Access) {
        let luck = mix(access.luck);
        let slot = self.accesses.insert(Access { luck, ..access });
        let mut delay = rules.latency / 2 + part(luck, 0, rules.latency);
        // A garbage collection, a stuck proxy: a write may come long after its lease.
        if luck >> 60 == 0 {
            delay += part(luck, 1, rules.ttl * 2);
        }
        self.queue.push(self.now + delay, Due::Access(slot));
    }

    pub(super) fn access_arrives(&mut self, rules: &Rules, slot: u32) {
        let access = *self.accesses.at(slot);
        let client = usize::from(access.client);
        let paused_until = self.clients[client].paused_until;
        if access.is_answer && paused_until > self.now {
            self.queue.push(paused_until, Due::Access(slot));
            return;
        }
        self.events += 1;
        self.accesses.remove(slot);
        if access.is_answer {
            self.access_answered(rules, client, access);
            return;
        }
        let resource = self.checker.resource_of(client);
        let register = &mut self.registers[resource];
        let fenced = match rules.mode {
            ResourceMode::Unfenced => false,
            ResourceMode::FencedWrites => access.is_write,
            ResourceMode::FencedReadsAndWrites => true,
        };
        let accepted = !fenced || S::admits(register.highest, access.fence);
        let Access { fence, token, is_write, .. } = access;
        let mut loses_update = false;
        if accepted && fenced {
            register.highest = register.highest.max(fence);
        }
        if accepted && is_write {
            loses_update = register.value != access.value;
            register.value += 1;
        }
        let value = register.value;
        let process = Process::Resource(resource as u8);
        let what = if is_write {
            What::Written {
                client: access.client,
                fence,
                accepted,
                value,
                lost_update: loses_update,
            }
        } else {
            What::Read { client: access.client, fence, accepted, value }
        };
        self.history.note(self.now, process, what);
        self.checker.accessed(
            self.now,
            &Resource { client, resource, token, fence, accepted, is_write, loses_update },
        );
        self.send_access(rules, Access { is_answer: true, accepted, value, ..access });
    }

    fn access_answered(&mut self, rules: &Rules, client: usize, access: Access) {
        let worker = &self.clients[client];
        if worker.down > 0 || worker.run != access.run {
            return;
        }
        let reading = worker.clock.read(self.now);
        let valid = worker.lock.lease().is_some_and(|lease| {
            lease.token == access.token && reading < lease.valid_until.as_nanos()
        });
        // Some applications do not look again.
        let careless = access.luck >> 61 == 0;
        if access.accepted && !access.is_write && (valid || careless) {
            self.send_access(rules, Access { is_write: true, is_answer: false, ..access });
        } else {
            self.clients[client].work.busy = false;
        }
    }
}

/// The node and token of a yes, which the lock answers with a release if it comes too late.
fn late_yes<S: System>(input: &Input<S::Request>) -> Option<(usize, Token)> {
    match input {
        Input::Reply { node, request, reply: Reply::Applied { .. } }
            if request.asked() != Asked::Release =>
        {
            Some((*node, request.token()))
        }
        Input::Acquire { .. }
        | Input::Extend
        | Input::Release
        | Input::Reply { .. }
        | Input::Call { .. }
        | Input::Timeout => None,
    }
}
