//! One client and what it has in the network: everything that its next steps depend on.

use std::hash::Hash;

use redlatch_core::{
    Cause, Command, CommandId, Config, Event, Instant, Lease, NodeSet, Op, Proposal, Reply, Token,
};

use super::bounds::{
    Bounds, BoundsError, CLIENTS_MAX, Choice, MARGIN_MS, Reductions, TICK_NANOS, Time,
};
use super::dissect::{CLIENT_EPOCH, Dissector, Frame};
use super::site::PLACE;
use crate::system::Machine;

/// Commands that one input may lead to: far more than any machine hands out.
const COMMANDS_MAX: usize = 64;

/// What the clients of a model have in common.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    configs: Vec<Config>,
    proposals: Option<[Proposal; CLIENTS_MAX]>,
    pub(crate) time: Time,
    cancels: Choice,
    queues: Choice,
    past: u64,
    pub(crate) reductions: Reductions,
}

/// A client's machine, its application, and its messages. Two of them that differ in the origin of
/// time alone have one number in the table, so each keeps to a frame of its own.
#[derive(Clone, Debug)]
pub(crate) struct Local<M> {
    pub(crate) client: u8,
    /// Nanoseconds of the client's clock.
    pub(crate) now: u64,
    pub(crate) machine: M,
    pub(crate) app: App,
    pub(crate) messages: Vec<Message>,
}

/// The application that uses the machine, in any order that it permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct App {
    acquires_left: u8,
    pub(crate) acquires: u8,
    extensions_left: u8,
    pub(crate) stage: Stage,
}

/// How far the application has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Nothing is under way.
    Ready,
    Acquiring,
    /// Between two attempts.
    Waiting,
    Held,
    /// The operation is over; the machine may be tidying up.
    Over,
    /// Nothing will ever be under way again.
    Retired,
}

/// A message between the client and a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) node: u8,
    pub(crate) op: Op,
    /// What the reply is handed in with; `None` if nobody waits for it.
    pub(crate) id: Option<CommandId>,
    /// The reply, once the node has carried out the request.
    pub(crate) reply: Option<Reply>,
}

impl Message {
    /// Whether it can do nothing but delete a key: nobody waits for the reply, and nobody joins a queue.
    const fn is_idle(&self) -> bool {
        self.id.is_none() && !matches!(self.op, Op::Release { place: Some(_), .. })
    }
}

/// What a client does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Acquire,
    Extend,
    Release,
    Timer,
    /// Is called by a node.
    Called {
        node: u8,
    },
    /// Takes some replies, by their places among the messages, and the last one last.
    Hear {
        others: u32,
        last: u8,
    },
}

/// What an input led to, as far as others can see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) granted: Option<Lease>,
    /// The lock was refused by a rival.
    pub(crate) contended: bool,
    pub(crate) lost: bool,
    pub(crate) extended: bool,
    pub(crate) retrying: bool,
    pub(crate) sealed: bool,
    commands: bool,
    event: bool,
}

impl Rules {
    pub(crate) fn new(bounds: &Bounds) -> Result<Self, BoundsError> {
        let configs =
            (0..bounds.clients).map(|client| bounds.config(client)).collect::<Result<_, _>>()?;
        let proposals = match &bounds.fences {
            None => None,
            Some(fences) => {
                let mut proposals = [Proposal::from_unix_micros(1); CLIENTS_MAX];
                for (proposal, number) in proposals.iter_mut().zip(fences.proposals) {
                    *proposal = Proposal::from_unix_micros(number);
                }
                let [Ok(a), Ok(b), Ok(c)] = proposals else { return Err(BoundsError::Empty) };
                Some([a, b, c])
            }
        };
        Ok(Self {
            configs,
            proposals,
            time: bounds.time,
            cancels: bounds.cancels,
            queues: bounds.queues,
            // What is older than a promise is over. Only the time that a later proposal adds would
            // tell two such ages apart.
            past: (u64::from(bounds.validity_ticks) + MARGIN_MS + 1) * TICK_NANOS,
            reductions: bounds.reductions,
        })
    }
}

impl Told {
    /// Whether nothing could be seen.
    fn is_silent(&self) -> bool {
        !self.commands && !self.event
    }
}

/// The nonce of an `acquire`: names the client and the call, as a `TokenName` reads it.
pub(crate) const fn nonce(client: u8, call: u8) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[0] = client;
    nonce[4] = call;
    nonce
}

/// Whose token it is.
pub(crate) const fn client_of(token: &Token) -> u8 {
    token.nonce()[0]
}

impl<M: Machine> Local<M> {
    pub(crate) fn new(rules: &Rules, client: u8, bounds: &Bounds) -> Self {
        let index = usize::from(client);
        Self {
            client,
            now: CLIENT_EPOCH,
            machine: M::new(rules.configs[index]),
            app: App {
                acquires_left: bounds.acquires[index],
                acquires: 0,
                extensions_left: bounds.extensions,
                stage: Stage::Ready,
            },
            messages: Vec::new(),
        }
    }

    /// What the client believes to hold, by its clock.
    pub(crate) fn belief(&self) -> Option<Lease> {
        self.machine.lease().filter(|lease| self.now < lease.valid_until.as_nanos())
    }

    /// Whether something is under way that may never end.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.machine.is_idle()
            && self.machine.lease().is_none()
            && self.machine.poll_timeout().is_none()
    }

    /// Whether no `acquire` is under way.
    pub(crate) const fn is_at_rest(&self) -> bool {
        match self.app.stage {
            Stage::Acquiring | Stage::Waiting => false,
            Stage::Ready | Stage::Held | Stage::Over | Stage::Retired => true,
        }
    }

    /// Whether nothing is under way, neither here nor in the network.
    pub(crate) fn is_quiet(&self) -> bool {
        self.machine.is_idle() && self.messages.is_empty()
    }

    /// The requests that nobody has carried out yet, by their places.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (usize, &Message)> {
        self.messages.iter().enumerate().filter(|(_, message)| message.reply.is_none())
    }

    /// All that the client may do next by itself.
    pub(crate) fn steps(&self, rules: &Rules) -> Vec<(Act, Self, Told)> {
        let mut steps = Vec::new();
        if self.app.stage == Stage::Retired {
            return steps;
        }
        if self.app.stage == Stage::Ready && self.app.acquires_left > 0 && self.machine.is_idle() {
            let mut next = self.clone();
            next.app.acquires_left -= 1;
            next.app.acquires += 1;
            next.app.stage = Stage::Acquiring;
            let nonce = nonce(self.client, next.app.acquires);
            let proposal = rules.proposals.map(|proposals| proposals[usize::from(self.client)]);
            // In a wrong phase it answers with an error, and nothing has changed.
            let place = (rules.queues == Choice::Allowed).then_some(PLACE);
            let told = next.feed(|machine, now| {
                machine.set_place(place);
                let _ = machine.acquire(now, nonce, proposal);
            });
            steps.push((Act::Acquire, next, told));
        }
        if self.app.stage == Stage::Held && self.app.extensions_left > 0 {
            let mut next = self.clone();
            next.app.extensions_left -= 1;
            let told = next.feed(|machine, now| {
                let _ = machine.extend(now);
            });
            steps.push((Act::Extend, next, told));
        }
        if self.may_release(rules) {
            let mut next = self.clone();
            next.app.stage = Stage::Over;
            let told = next.feed(|machine, now| {
                let _ = machine.release(now);
            });
            next.app.stage = Stage::Over;
            steps.push((Act::Release, next, told));
        }
        if let Some(at) = self.timer(rules) {
            let mut next = self.clone();
            next.now = next.now.max(at);
            let told = next.feed(M::handle_timeout);
            steps.push((Act::Timer, next, told));
        }
        if rules.queues == Choice::Allowed && !self.is_at_rest() {
            let nodes = rules.configs[usize::from(self.client)].quorum().nodes();
            for node in nodes {
                let mut next = self.clone();
                let told = next.feed(|machine, now| machine.handle_call(now, node));
                if next.machine != self.machine {
                    steps.push((Act::Called { node: node.index() as u8 }, next, told));
                }
            }
        }
        self.hear(rules, &mut steps);
        for (_, next, _) in &mut steps {
            next.settle(rules);
        }
        steps
    }

    fn may_release(&self, rules: &Rules) -> bool {
        match self.app.stage {
            Stage::Held => true,
            Stage::Acquiring | Stage::Waiting => rules.cancels == Choice::Allowed,
            Stage::Ready | Stage::Over | Stage::Retired => false,
        }
    }

    /// When the client's next timer may fire, on its clock.
    fn timer(&self, rules: &Rules) -> Option<u64> {
        let at = self.machine.poll_timeout()?.as_nanos();
        match rules.time {
            Time::Timed | Time::TimedLate => (at <= self.now).then_some(at),
            Time::Untimed => Some(at),
        }
    }

    /// A tick later. Timers that are due fire on it, unless they may be late.
    pub(crate) fn tick(&self, rules: &Rules) -> (Self, Told) {
        let mut next = self.clone();
        if self.app.stage == Stage::Retired {
            return (next, Told::default());
        }
        next.now += TICK_NANOS;
        let due = self.machine.poll_timeout().is_some_and(|at| at.as_nanos() <= next.now);
        // A timer that may be late stays due. Any other call is early and harmless (it says so in the
        // contract), and keeps the time of the last input from telling states apart.
        let late = rules.time == Time::TimedLate || self.app.stage == Stage::Waiting;
        let told = if due && late { Told::default() } else { next.feed(M::handle_timeout) };
        next.settle(rules);
        (next, told)
    }

    /// All ways to take replies.
    fn hear(&self, rules: &Rules, steps: &mut Vec<(Act, Self, Told)>) {
        let pending: Vec<usize> = (0..self.messages.len())
            .filter(|&place| self.messages[place].reply.is_some())
            .collect();
        if !rules.reductions.lazy.is_on() {
            for &last in &pending {
                let (next, told) = self.heard(last, 0);
                steps.push((Act::Hear { others: 0, last: last as u8 }, next, told));
            }
            return;
        }
        // What is left after some replies that changed nothing to be seen. Such replies commute, so
        // they are taken in order of their places.
        let mut quiet = vec![(0_u32, self.clone())];
        let mut index = 0;
        while let Some((others, before)) = quiet.get(index).cloned() {
            index += 1;
            for &last in pending.iter().filter(|&&last| others >> last & 1 == 0) {
                let (next, told) = before.heard(last, others);
                if told.is_silent() && before.looks_like(&next) {
                    if others >> last == 0 {
                        quiet.push((others | 1 << last, next));
                    }
                } else {
                    steps.push((Act::Hear { others, last: last as u8 }, next, told));
                }
            }
        }
    }

    /// Takes the reply at `place`, as it was before those in `taken` were removed.
    fn heard(&self, place: usize, taken: u32) -> (Self, Told) {
        let mut next = self.clone();
        let before = taken & ((1 << place) - 1);
        let message = next.messages.remove(place - before.count_ones() as usize);
        let told = match (message.id, message.reply) {
            (Some(id), Some(reply)) => {
                next.feed(|machine, now| machine.handle_reply(now, id, reply))
            }
            (None, _) | (_, None) => Told::default(),
        };
        (next, told)
    }

    fn looks_like(&self, other: &Self) -> bool {
        self.machine.lease() == other.machine.lease()
            && self.machine.is_idle() == other.machine.is_idle()
    }

    /// One input, and all that comes of it.
    fn feed(&mut self, input: impl FnOnce(&mut M, Instant)) -> Told {
        let mut told = Told::default();
        input(&mut self.machine, Instant::from_nanos(self.now));
        for _ in 0..COMMANDS_MAX {
            let Some(Command { id, op, .. }) = self.machine.poll_command() else { break };
            told.commands = true;
            match op {
                Op::Acquire { .. } if self.app.stage == Stage::Waiting => {
                    self.app.stage = Stage::Acquiring;
                }
                Op::Seal { .. } => told.sealed = true,
                Op::Acquire { .. } | Op::Extend { .. } | Op::Release { .. } => {}
            }
            let node = id.node().index() as u8;
            self.messages.push(Message { node, op, id: Some(id), reply: None });
        }
        if let Some(event) = self.machine.poll_event() {
            self.told(&event, &mut told);
        }
        if self.app.stage == Stage::Over && self.machine.is_idle() {
            self.app.stage = Stage::Ready;
        }
        told
    }

    fn told(&mut self, event: &Event, told: &mut Told) {
        told.event = true;
        match event {
            Event::Granted(lease) => {
                self.app.stage = Stage::Held;
                told.granted = Some(*lease);
            }
            Event::Retrying { cause, .. } => {
                self.app.stage = Stage::Waiting;
                told.retrying = true;
                told.contended = matches!(cause, Cause::Contended { .. });
            }
            Event::Failed { cause, .. } => {
                self.app.stage = Stage::Over;
                told.contended = matches!(cause, Cause::Contended { .. });
            }
            Event::Lost { .. } => {
                self.app.stage = Stage::Over;
                told.lost = true;
            }
            Event::Released(_) => self.app.stage = Stage::Over,
            Event::Extended(_) => told.extended = true,
            Event::AtRisk { .. } => {}
        }
    }

    /// The request at `place` was answered with `reply`, which arrives `copies` times. The request may
    /// stay, to be carried out again.
    pub(crate) fn answered(
        &self,
        rules: &Rules,
        place: usize,
        reply: Reply,
        copies: usize,
        stays: bool,
    ) -> Self {
        let mut next = self.clone();
        let message = next.messages[place];
        if !stays {
            next.messages.remove(place);
        }
        if message.id.is_some() {
            let answer = Message { reply: Some(reply), ..message };
            next.messages.extend(std::iter::repeat_n(answer, copies));
        }
        next.settle(rules);
        next
    }

    /// The same without the requests to `node` for whose replies nobody waits.
    pub(crate) fn swept(&self, rules: &Rules, node: usize) -> Self {
        let mut next = self.clone();
        next.messages.retain(|message| usize::from(message.node) != node || !message.is_idle());
        next.settle(rules);
        next
    }

    /// Nodes at which requests could be swept, if the key is none of this client's: nobody waits for
    /// their replies, and no acquire is in flight that could give them something to do.
    pub(crate) fn sweepable(&self) -> NodeSet {
        let nodes = |messages: &dyn Fn(&Message) -> bool| -> NodeSet {
            let nodes = self.requests().filter(|(_, message)| messages(message));
            nodes
                .filter_map(|(_, message)| redlatch_core::NodeId::new(message.node.into()))
                .collect()
        };
        let idle = nodes(&Message::is_idle);
        let busy = nodes(&|message| matches!(message.op, Op::Acquire { .. }));
        idle.minus(busy)
    }

    /// Forgets what can make no difference any more, and puts messages in order.
    fn settle(&mut self, rules: &Rules) {
        let Reductions { retire, dead, .. } = rules.reductions;
        let over = matches!(self.app.stage, Stage::Over | Stage::Ready | Stage::Retired)
            && self.app.acquires_left == 0
            && self.machine.lease().is_none();
        if retire.is_on() && over {
            self.retire(rules);
        } else if dead.is_on() {
            self.drop_dead_messages();
        }
        let frame = self.frame(rules);
        self.messages.sort_by_cached_key(|message| {
            (message.node, Dissector::unnamed(frame, [0; CLIENTS_MAX], message))
        });
    }

    fn retire(&mut self, rules: &Rules) {
        self.now = CLIENT_EPOCH;
        self.machine = M::new(rules.configs[usize::from(self.client)]);
        self.app = App { acquires_left: 0, acquires: 0, extensions_left: 0, stage: Stage::Retired };
        self.messages.retain(|message| message.reply.is_none());
        for message in &mut self.messages {
            message.id = None;
        }
    }

    fn drop_dead_messages(&mut self) {
        // Whether a release arrived matters only to whoever will acquire again, or waits in a queue for it.
        if self.app.acquires_left == 0 {
            let is_release =
                |message: &Message| matches!(message.op, Op::Release { place: None, .. });
            self.messages.retain(|message| !(is_release(message) && message.reply.is_some()));
            for message in self.messages.iter_mut().filter(|message| is_release(message)) {
                message.id = None;
            }
        }
        // A machine that ignores a *no* ignores it for good; a *yes* may yet have to be undone.
        let now = Instant::from_nanos(self.now);
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            return;
        }
        let mut fresh = self.machine.clone();
        fresh.handle_timeout(now);
        self.messages.retain(|message| match (message.id, message.reply) {
            (Some(id), Some(reply)) if !matches!(reply, Reply::Applied { .. }) => {
                let mut machine = fresh.clone();
                machine.handle_reply(now, id, reply);
                machine != fresh
            }
            (None, _) | (_, None) | (Some(_), Some(_)) => true,
        });
    }

    const fn frame(&self, rules: &Rules) -> Frame {
        Frame { epoch: CLIENT_EPOCH, now: self.now, past: rules.past }
    }

    /// The client, taken apart, without its name.
    pub(crate) fn dissect(&self, rules: &Rules) -> Dissector {
        let frame = self.frame(rules);
        let names = [0; CLIENTS_MAX];
        let mut parts = Dissector::new(frame, names);
        self.app.hash(&mut parts);
        self.machine.hash(&mut parts);
        if let (Some(proposals), false) = (rules.proposals, self.app.stage == Stage::Retired) {
            parts.scalars.push(proposals[usize::from(self.client)].fence().get());
        }
        for message in &self.messages {
            let words = Dissector::unnamed(frame, names, &(message.op, message.id, message.reply));
            parts.nodes[usize::from(message.node)].extend(words);
        }
        parts
    }
}
