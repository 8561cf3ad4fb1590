//! A story as a history: what the timeline draws. Its times are numbers of steps.

use redlatch_core::{Lease, Op, Reply, Token};

use super::local::{Act, Message};
use super::space::{Client, How, Move, Space, State, Step};
use crate::check::Invariant;
use crate::history::{Answered, Asked, History, Process, TokenName, What};
use crate::sim::clock::TrueTime;
use crate::system::{Machine, NodeCell};

/// How far one step is from the next in the history of a [`Story`](super::Story).
pub const STEP: TrueTime = 1_000_000;
/// After the end of every story: what lasts until something ends it.
const OPEN: TrueTime = STEP * 1_000;

/// A request that was noted, for as long as something may still come of it.
#[derive(Clone, Copy, Debug)]
struct Flight {
    client: u8,
    node: u8,
    op: Op,
    number: u32,
    is_carried: bool,
}

impl Flight {
    fn is_of(&self, client: u8, message: &Message) -> bool {
        self.client == client && self.node == message.node && self.op == message.op
    }
}

/// Notes a story while it is gone through.
#[derive(Debug, Default)]
pub(crate) struct Chronicle {
    history: History,
    step: TrueTime,
    flights: Vec<Flight>,
}

impl Chronicle {
    pub(crate) fn new() -> Self {
        let mut history = History::default();
        history.restart(true);
        Self { history, ..Self::default() }
    }

    /// The history, in which `broken` is broken at the end.
    pub(crate) fn finish(mut self, broken: Invariant) -> History {
        self.note(Process::Harness, What::Violated { invariant: broken });
        self.history
    }

    /// Notes the step from `before` to `after`.
    pub(crate) fn note_step<M: Machine, C: NodeCell>(
        &mut self,
        space: &Space<M, C>,
        before: &State,
        after: &State,
        step: Move,
    ) {
        self.step += 1;
        let mut taken = None;
        match step {
            Move::Client { client, step } => {
                let entry = space.client(before.clients[usize::from(client)]);
                taken = space.steps(entry).get(usize::from(step)).map(|step| (client, step));
                if let Some((client, step)) = taken {
                    self.note_act(client, entry, step.act);
                }
            }
            Move::Carry { client, place, how, heir } => {
                let entry = space.client(before.clients[usize::from(client)]);
                if let Some(message) = entry.local.messages.get(usize::from(place)) {
                    let node = usize::from(message.node);
                    let carried = space.site(before.sites[node]).site.apply(&message.op, heir);
                    if let Some((_, reply)) = carried {
                        self.note_carried(client, message, how, &reply);
                    }
                }
            }
            Move::Crash { node } => {
                self.note(Process::Node(node), What::Crashed);
                self.note(Process::Node(node), What::Restarted);
                if space.site(after.sites[usize::from(node)]).site.is_quarantined() {
                    self.note(Process::Node(node), What::Quarantined { until: OPEN });
                }
            }
            Move::Expire { .. } | Move::Tick => {}
        }
        for client in 0..space.bounds.clients as u8 {
            let entry = |state: &State| space.client(state.clients[usize::from(client)]);
            let own = taken.filter(|(whose, _)| *whose == client).map(|(_, step)| step);
            self.note_client(client, entry(before), entry(after), own);
        }
        for node in 0..space.bounds.nodes {
            self.note_node(space, before, after, node);
        }
    }

    fn note_act<M: Machine>(&mut self, client: u8, entry: &Client<M>, act: Act) {
        let process = Process::Client(client);
        match act {
            Act::Acquire => {
                let acquire = entry.local.app.acquires + 1;
                self.note(process, What::Acquire { resource: 0, acquire: acquire.into() });
            }
            Act::Extend => self.note(process, What::Extend),
            Act::Release => self.note(process, What::Release),
            Act::Timer => {}
            Act::Called { node } => {
                let acquire = entry.local.app.acquires.into();
                let token = TokenName { client, acquire, attempt: 0 };
                self.note(process, What::Called { node, token });
            }
            Act::Hear { others, last } => {
                let heard = (0..32).filter(|place| others >> place & 1 == 1).chain([last]);
                for place in heard {
                    if let Some(message) = entry.local.messages.get(usize::from(place)) {
                        self.note_heard(client, message);
                    }
                }
            }
        }
    }

    /// What a client believes and sends after a step, compared with before. `own` is the step, if it
    /// was this client's.
    fn note_client<M: Machine>(
        &mut self,
        client: u8,
        before: &Client<M>,
        after: &Client<M>,
        own: Option<&Step>,
    ) {
        let process = Process::Client(client);
        let gives_up = own.is_some_and(|step| step.act == Act::Release);
        let granted = own.and_then(|step| step.told.granted);
        match (before.local.belief(), after.local.belief()) {
            (None, Some(lease)) => self.note_granted(client, &lease, OPEN),
            (Some(old), Some(new)) if old.valid_until < new.valid_until => {
                let token = TokenName::of(&new.token);
                self.note(process, What::Extended { token, until: OPEN });
            }
            (Some(old), None) if !gives_up => {
                self.note(process, What::Lost { token: TokenName::of(&old.token) });
            }
            (Some(_), _) => {}
            // A grant that was over before it was told.
            (None, None) => {
                if let Some(lease) = granted {
                    self.note_granted(client, &lease, self.step * STEP);
                }
            }
        }
        let mut old: Vec<&Message> = before.local.requests().map(|(_, message)| message).collect();
        for (_, message) in after.local.requests() {
            let same = |old: &&Message| old.node == message.node && old.op == message.op;
            match old.iter().position(same) {
                Some(place) => {
                    old.swap_remove(place);
                }
                None => self.note_sent(client, message),
            }
        }
    }

    fn note_node<M: Machine, C: NodeCell>(
        &mut self,
        space: &Space<M, C>,
        before: &State,
        after: &State,
        node: usize,
    ) {
        let process = Process::Node(node as u8);
        let (old, new) = (space.site(before.sites[node]), space.site(after.sites[node]));
        if old.owner != new.owner {
            let owner = new.owner.map(|token| TokenName::of(&token));
            let until = if owner.is_some() { OPEN } else { 0 };
            self.note(process, What::Key { resource: 0, owner, until });
        }
        if old.site.fence() != new.site.fence() {
            self.note(process, What::Fence { resource: 0, fence: new.site.fence() });
        }
        if old.site.is_quarantined() && !new.site.is_quarantined() {
            self.note(process, What::Quarantined { until: self.step * STEP });
        }
    }

    fn note_granted(&mut self, client: u8, lease: &Lease, until: TrueTime) {
        let fence = lease.fence.map_or(0, |fence| fence.get());
        let token = TokenName::of(&lease.token);
        self.note(Process::Client(client), What::Granted { token, fence, until });
    }

    fn note_sent(&mut self, client: u8, message: &Message) {
        // A request that will arrive again is the same request.
        let is_same = |flight: &&Flight| flight.is_of(client, message);
        if self.flights.iter().filter(is_same).any(|flight| !flight.is_carried) {
            return;
        }
        let number = self.flights.len() as u32;
        let copies = self.flights.iter().filter(is_same).count() as u8;
        let Message { node, op, .. } = *message;
        self.flights.push(Flight { client, node, op, number, is_carried: false });
        let (asked, token) = (asked(&op), TokenName::of(&token(&op)));
        self.note(
            Process::Client(client),
            What::Sent { message: number, node, asked, token, copy: copies },
        );
    }

    fn note_carried(&mut self, client: u8, message: &Message, how: How, reply: &Reply) {
        let number = self.number(client, message, false);
        if how == How::NotYet {
            self.note(
                Process::Client(client),
                What::Answer { message: number, answered: Answered::Unknown },
            );
            return;
        }
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.number == number) {
            flight.is_carried = true;
        }
        let (answered, fence) = answered(reply);
        let what = What::Executed { message: number, asked: asked(&message.op), answered, fence };
        self.note(Process::Node(message.node), what);
        if how == How::RequestTwice {
            self.note_sent(client, message);
        }
    }

    fn note_heard(&mut self, client: u8, message: &Message) {
        let number = self.number(client, message, true);
        if let Some(reply) = &message.reply {
            let what = What::Answer { message: number, answered: answered(reply).0 };
            self.note(Process::Client(client), what);
        }
    }

    /// The number of a request of which this is what is left.
    fn number(&self, client: u8, message: &Message, is_carried: bool) -> u32 {
        let is_it =
            |flight: &&Flight| flight.is_of(client, message) && flight.is_carried == is_carried;
        self.flights.iter().find(is_it).map_or(u32::MAX, |flight| flight.number)
    }

    fn note(&mut self, process: Process, what: What) {
        self.history.note(self.step * STEP, process, what);
    }
}

const fn asked(op: &Op) -> Asked {
    match op {
        Op::Acquire { .. } => Asked::Acquire,
        Op::Seal { .. } => Asked::Seal,
        Op::Extend { .. } => Asked::Extend,
        Op::Release { .. } => Asked::Release,
    }
}

fn answered(reply: &Reply) -> (Answered, u64) {
    let number = |fence: &Option<redlatch_core::Fence>| fence.map_or(0, |fence| fence.get());
    match reply {
        Reply::Applied { fence } => (Answered::Applied, number(fence)),
        Reply::Refused { fence, .. } => (Answered::Refused, number(fence)),
        Reply::Unknown => (Answered::Unknown, 0),
        Reply::Quarantined { .. } => (Answered::Quarantined, 0),
    }
}

const fn token(op: &Op) -> Token {
    match op {
        Op::Acquire { token, .. }
        | Op::Seal { token, .. }
        | Op::Extend { token, .. }
        | Op::Release { token, .. } => *token,
    }
}
