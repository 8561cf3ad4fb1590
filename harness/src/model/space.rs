//! The states of a model, and the steps between them.
//!
//! A client with its messages, and a node, are each kept once and named by a number, so a state is a
//! row of numbers; and what a client does next is worked out once for all states that it is in.

use std::sync::OnceLock;

use redlatch_core::{NodeId, Op, Reply, Token};
use rustc_hash::FxHashMap;

use super::bounds::{
    Bounds, BoundsError, CLIENTS_MAX, Choice, GRANTS_MAX, NODES_MAX, Switch, Time,
};
use super::dissect::{digest, mix};
use super::local::{Act, Local, Rules, Told, client_of, nonce};
use super::site::{Site, Timed};
use super::table::Table;
use crate::check::Invariant;
use crate::system::{Machine, NodeCell};

/// The most waiters of one queue: one nonce of each client.
const WAITERS_MAX: u8 = CLIENTS_MAX as u8;

/// Renamings of three clients.
const NAMINGS: usize = 6;

/// All that is known of one model.
#[derive(Debug)]
pub(crate) struct Space<M, C> {
    pub(crate) bounds: Bounds,
    rules: Rules,
    timed: Timed,
    /// Each an order of the clients.
    namings: Vec<[u8; CLIENTS_MAX]>,
    clients: Table<Box<[u64]>, Client<M>>,
    sites: Table<Box<[u64]>, Place<C>>,
    ops: Table<Op, Op>,
    replies: Table<Reply, Reply>,
}

/// One state, by the numbers of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) sites: [u32; NODES_MAX],
    pub(crate) clients: [u32; CLIENTS_MAX],
    /// The largest fence that had been granted when each client's `acquire` began.
    floors: [u32; CLIENTS_MAX],
    /// The fences granted, largest first.
    pub(crate) granted: [u32; GRANTS_MAX],
    crashes: u8,
    requests_twice: u8,
    replies_twice: u8,
    unknowns: u8,
}

/// A client, with all that was worked out about it.
#[derive(Debug)]
pub(crate) struct Client<M> {
    pub(crate) local: Local<M>,
    scalars: u64,
    nodes: [u64; NODES_MAX],
    pub(crate) belief: Option<Belief>,
    stuck: bool,
    quiet: bool,
    sweepable: u8,
    requests: Box<[Request]>,
    pub(crate) steps: OnceLock<Box<[Step]>>,
    pub(crate) tick: OnceLock<(u32, Told)>,
    swept: [OnceLock<u32>; NODES_MAX],
}

/// What a client believes to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Belief {
    pub(crate) token: Token,
    pub(crate) fence: u32,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
struct Request {
    place: u8,
    node: u8,
    op: u32,
}

/// A step of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) act: Act,
    pub(crate) next: u32,
    pub(crate) told: Told,
}

/// A node, with all that was worked out about it.
#[derive(Debug)]
pub(crate) struct Place<C> {
    pub(crate) site: Site<C>,
    digests: [u64; NAMINGS],
    pub(crate) owner: Option<Token>,
    tick: OnceLock<u32>,
    expired: OnceLock<Option<u32>>,
    crashed: OnceLock<u32>,
}

/// One step of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// A client takes the step with this number.
    Client { client: u8, step: u16 },
    /// A node carries out a client's request.
    Carry { client: u8, place: u8, how: How, heir: u8 },
    /// A node's key expires.
    Expire { node: u8 },
    /// A node crashes and is back.
    Crash { node: u8 },
    /// Time passes.
    Tick,
}

/// How a request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Once,
    /// It arrives once more later.
    RequestTwice,
    /// Its reply arrives twice.
    ReplyTwice,
    /// It is not, but the client is told that nothing is known; it may arrive later.
    NotYet,
}

/// What was worked out by one thread, to be looked up again.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// Node, operation, and which of those whom it calls listens: node and reply.
    applied: FxHashMap<(u32, u32, u8), Option<(u32, u32)>>,
    /// Client, place, reply, way: client.
    answered: FxHashMap<(u32, u8, u32, How), u32>,
    pub(crate) sights: Sights,
}

/// What happened at least once. A run in which something never happened has proved less than it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sights(u16);

impl Sights {
    const NAMES: [&'static str; 9] = [
        "granted",
        "contended",
        "retried",
        "sealed",
        "extended",
        "lost",
        "crashed",
        "twice",
        "reserved",
    ];
    const GRANTED: u16 = 1;
    const CONTENDED: u16 = 2;
    const RETRIED: u16 = 4;
    const SEALED: u16 = 8;
    const EXTENDED: u16 = 16;
    const LOST: u16 = 32;
    const CRASHED: u16 = 64;
    const TWICE: u16 = 128;
    const RESERVED: u16 = 256;

    /// The names of what happened.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..)
            .zip(Self::NAMES)
            .filter_map(move |(bit, name)| (self.0 >> bit & 1 == 1).then_some(name))
    }

    /// Whether `name` happened.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.names().any(|seen| seen == name)
    }

    pub(crate) const fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    const fn see(&mut self, what: u16) {
        self.0 |= what;
    }

    fn hear(&mut self, told: &Told) {
        let seen = [
            (told.granted.is_some(), Self::GRANTED),
            (told.contended, Self::CONTENDED),
            (told.retrying, Self::RETRIED),
            (told.sealed, Self::SEALED),
            (told.extended, Self::EXTENDED),
            (told.lost, Self::LOST),
        ];
        for (happened, what) in seen {
            if happened {
                self.see(what);
            }
        }
    }
}

impl<M: Machine, C: NodeCell> Space<M, C> {
    /// # Errors
    /// [`BoundsError`] if the bounds make no model.
    pub(crate) fn new(bounds: &Bounds) -> Result<Self, BoundsError> {
        let mut namings = vec![[0, 1, 2]];
        if bounds.reductions.clients == Switch::On {
            match bounds.clients {
                2 => namings.push([1, 0, 2]),
                3 => namings.extend([[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]),
                _ => {}
            }
        }
        Ok(Self {
            rules: Rules::new(bounds)?,
            timed: match bounds.time {
                Time::Timed | Time::TimedLate => Timed::Yes,
                Time::Untimed => Timed::No,
            },
            bounds: bounds.clone(),
            namings,
            clients: Table::new(),
            sites: Table::new(),
            ops: Table::new(),
            replies: Table::new(),
        })
    }

    pub(crate) fn initial(&self) -> State {
        let bounds = &self.bounds;
        let mut state = State {
            sites: [0; NODES_MAX],
            clients: [0; CLIENTS_MAX],
            floors: [0; CLIENTS_MAX],
            granted: [0; GRANTS_MAX],
            crashes: bounds.crashes,
            requests_twice: bounds.requests_twice,
            replies_twice: bounds.replies_twice,
            unknowns: bounds.unknowns,
        };
        let waiters: Vec<_> = match bounds.queues {
            Choice::Allowed => (0..bounds.clients).map(|client| nonce(client as u8, 1)).collect(),
            Choice::Never => Vec::new(),
        };
        for node in 0..bounds.nodes {
            let fence = bounds.fences.map_or(0, |fences| fences.initial[node]);
            state.sites[node] = self.keep_site(Site::new(fence, &waiters));
        }
        for client in 0..bounds.clients {
            let local = Local::new(&self.rules, client as u8, bounds);
            state.clients[client] = self.keep_client(local);
        }
        state
    }

    pub(crate) fn client(&self, number: u32) -> &Client<M> {
        self.clients.get(number)
    }

    pub(crate) fn site(&self, number: u32) -> &Place<C> {
        self.sites.get(number)
    }

    /// How many clients and nodes there are, each in one state.
    pub(crate) fn parts(&self) -> (usize, usize) {
        (self.clients.len(), self.sites.len())
    }

    fn keep_client(&self, local: Local<M>) -> u32 {
        let parts = local.dissect(&self.rules);
        let nodes = &parts.nodes[..self.bounds.nodes];
        let lens = nodes.iter().map(|node| node.len() as u64);
        let key = [u64::from(local.client)].into_iter().chain(lens);
        let key = key.chain(nodes.iter().flatten().copied()).chain(parts.scalars.iter().copied());
        self.clients.number(key.collect(), || {
            let mut digests = [0; NODES_MAX];
            for (place, node) in digests.iter_mut().zip(&parts.nodes) {
                *place = digest(node);
            }
            let requests = local.requests().map(|(place, message)| Request {
                place: place as u8,
                node: message.node,
                op: self.ops.number(message.op, || message.op),
            });
            let belief = local.belief().map(|lease| Belief {
                token: lease.token,
                fence: lease.fence.map_or(0, |fence| narrow(fence.get())),
            });
            let sweepable = match self.rules.reductions.dead.is_on() {
                true => local.sweepable().iter().fold(0, |mask, node| mask | 1 << node.index()),
                false => 0,
            };
            Client {
                scalars: digest(&parts.scalars),
                nodes: digests,
                belief,
                stuck: local.is_stuck(),
                quiet: local.is_quiet(),
                sweepable,
                requests: requests.collect(),
                steps: OnceLock::new(),
                tick: OnceLock::new(),
                swept: Default::default(),
                local,
            }
        })
    }

    fn keep_site(&self, site: Site<C>) -> u32 {
        let plain = site.dissect([0, 1, 2]);
        self.sites.number(plain.into(), || {
            let mut digests = [0; NAMINGS];
            for (place, order) in digests.iter_mut().zip(&self.namings) {
                let mut names = [0; CLIENTS_MAX];
                for (name, client) in (0..).zip(order) {
                    names[usize::from(*client)] = name;
                }
                *place = digest(&site.dissect(names));
            }
            Place {
                owner: site.owner(),
                site,
                digests,
                tick: OnceLock::new(),
                expired: OnceLock::new(),
                crashed: OnceLock::new(),
            }
        })
    }

    /// Names a state and all that differ from it only by the names of nodes and clients.
    pub(crate) fn fingerprint(&self, state: &State) -> u64 {
        let Bounds { nodes, clients, .. } = self.bounds;
        let mut parts = [None; CLIENTS_MAX];
        for (part, &number) in parts.iter_mut().zip(&state.clients[..clients]) {
            let client = self.client(number);
            *part = Some((client.scalars, &client.nodes));
        }
        let sites = state.sites.map(|number| &self.site(number).digests);
        let mut least = u64::MAX;
        for (naming, order) in self.namings.iter().enumerate() {
            let mut blocks = [0; NODES_MAX];
            for node in 0..nodes {
                blocks[node] = sites[node][naming];
            }
            let mut rest = 0;
            for &client in &order[..clients] {
                let client = usize::from(client);
                let Some((scalars, digests)) = parts[client] else { continue };
                for node in 0..nodes {
                    blocks[node] = mix(blocks[node], digests[node]);
                }
                rest = mix(rest, scalars.wrapping_add(state.floors[client].into()));
            }
            if self.bounds.reductions.nodes.is_on() {
                blocks[..nodes].sort_unstable();
            }
            least = least.min(blocks[..nodes].iter().fold(rest, |hash, block| mix(hash, *block)));
        }
        let left = [state.crashes, state.requests_twice, state.replies_twice, state.unknowns];
        let hash = mix(least, u32::from_le_bytes(left).into());
        state
            .granted
            .iter()
            .take_while(|fence| **fence > 0)
            .fold(hash, |hash, fence| mix(hash, (*fence).into()))
    }

    /// All that can happen next, and which invariant a step breaks by itself.
    pub(crate) fn successors(
        &self,
        state: &State,
        memo: &mut Memo,
        mut visit: impl FnMut(Move, State, Option<Invariant>),
    ) {
        for client in 0..self.bounds.clients {
            let entry = self.client(state.clients[client]);
            for (index, step) in self.steps(entry).iter().enumerate() {
                let mut next = *state;
                next.clients[client] = step.next;
                if step.act == Act::Acquire && self.remembers(Invariant::FenceOrder) {
                    next.floors[client] = state.granted[0];
                }
                let broken = self.tell(&mut next, client, &step.told, memo);
                let step = index as u16;
                visit(Move::Client { client: client as u8, step }, self.swept(next), broken);
            }
            for request in &entry.requests {
                self.carry(state, client, request, memo, &mut visit);
            }
        }
        for node in 0..self.bounds.nodes {
            let place = self.site(state.sites[node]);
            let expired = place
                .expired
                .get_or_init(|| place.site.expired(self.timed).map(|site| self.keep_site(site)));
            if let Some(expired) = *expired {
                let mut next = *state;
                next.sites[node] = expired;
                visit(Move::Expire { node: node as u8 }, self.swept(next), None);
            }
            if state.crashes > 0 {
                let keep = self.bounds.keep;
                // Without time there is nothing to wait for.
                let quarantine_ticks =
                    if self.timed == Timed::Yes { self.bounds.quarantine_ticks } else { 0 };
                let mut next = *state;
                next.crashes -= 1;
                next.sites[node] = *place
                    .crashed
                    .get_or_init(|| self.keep_site(place.site.crashed(keep, quarantine_ticks)));
                memo.sights.see(Sights::CRASHED);
                visit(Move::Crash { node: node as u8 }, self.swept(next), None);
            }
        }
        if self.timed == Timed::Yes {
            let (next, broken) = self.ticked(state, memo);
            visit(Move::Tick, self.swept(next), broken);
        }
    }

    pub(crate) fn steps<'a>(&'a self, entry: &'a Client<M>) -> &'a [Step] {
        entry.steps.get_or_init(|| {
            let mut steps: Vec<Step> = Vec::new();
            for (act, local, told) in entry.local.steps(&self.rules) {
                let step = Step { act, next: self.keep_client(local), told };
                // Ways to take replies often come to the same.
                if !steps.iter().any(|known| known.next == step.next && known.told == step.told) {
                    steps.push(step);
                }
            }
            steps.into()
        })
    }

    fn carry(
        &self,
        state: &State,
        client: usize,
        request: &Request,
        memo: &mut Memo,
        visit: &mut impl FnMut(Move, State, Option<Invariant>),
    ) {
        // Nobody listens, or one of those who are called.
        let heirs = if self.bounds.queues == Choice::Allowed { WAITERS_MAX } else { 0 };
        for heir in 0..=heirs {
            let node = usize::from(request.node);
            let Some(carried) = self.applied(state.sites[node], request.op, heir, memo) else {
                break;
            };
            if heir > 0 {
                memo.sights.see(Sights::RESERVED);
            }
            self.carry_to(state, client, request, (heir, carried), memo, visit);
        }
    }

    fn carry_to(
        &self,
        state: &State,
        client: usize,
        request: &Request,
        (heir, (site, reply)): (u8, (u32, u32)),
        memo: &mut Memo,
        visit: &mut impl FnMut(Move, State, Option<Invariant>),
    ) {
        let node = usize::from(request.node);
        let number = state.clients[client];
        let unknown = self.replies.number(Reply::Unknown, || Reply::Unknown);
        let ways = [
            (How::Once, true),
            (How::RequestTwice, state.requests_twice > 0),
            (How::ReplyTwice, state.replies_twice > 0),
            (How::NotYet, state.unknowns > 0),
        ];
        for (how, _) in ways.into_iter().filter(|(_, allowed)| *allowed) {
            let mut next = *state;
            let mut reply = reply;
            match how {
                How::Once => {}
                How::RequestTwice => next.requests_twice -= 1,
                How::ReplyTwice => next.replies_twice -= 1,
                How::NotYet => {
                    next.unknowns -= 1;
                    reply = unknown;
                }
            }
            if how != How::NotYet {
                next.sites[node] = site;
            }
            if how == How::RequestTwice || how == How::ReplyTwice {
                memo.sights.see(Sights::TWICE);
            }
            next.clients[client] = self.answered(number, request.place, reply, how, memo);
            let place = request.place;
            visit(Move::Carry { client: client as u8, place, how, heir }, self.swept(next), None);
        }
    }

    /// What the node `site` becomes by `op`, and what it answers, if it calls so many.
    fn applied(&self, site: u32, op: u32, heir: u8, memo: &mut Memo) -> Option<(u32, u32)> {
        *memo.applied.entry((site, op, heir)).or_insert_with(|| {
            let (next, reply) = self.site(site).site.apply(self.ops.get(op), heir)?;
            Some((self.keep_site(next), self.replies.number(reply, || reply)))
        })
    }

    fn answered(&self, client: u32, place: u8, reply: u32, how: How, memo: &mut Memo) -> u32 {
        *memo.answered.entry((client, place, reply, how)).or_insert_with(|| {
            let (copies, stays) = match how {
                How::Once => (1, false),
                How::RequestTwice | How::NotYet => (1, true),
                How::ReplyTwice => (2, false),
            };
            let reply = *self.replies.get(reply);
            let local = &self.client(client).local;
            self.keep_client(local.answered(&self.rules, place.into(), reply, copies, stays))
        })
    }

    fn ticked(&self, state: &State, memo: &mut Memo) -> (State, Option<Invariant>) {
        let mut next = *state;
        for node in 0..self.bounds.nodes {
            let place = self.site(state.sites[node]);
            next.sites[node] = *place.tick.get_or_init(|| self.keep_site(place.site.tick()));
        }
        let mut broken = None;
        for client in 0..self.bounds.clients {
            let entry = self.client(state.clients[client]);
            let (number, told) = entry.tick.get_or_init(|| {
                let (local, told) = entry.local.tick(&self.rules);
                (self.keep_client(local), told)
            });
            next.clients[client] = *number;
            broken = broken.or(self.tell(&mut next, client, told, memo));
        }
        (next, broken)
    }

    /// Drops requests that can do nothing any more.
    fn swept(&self, mut state: State) -> State {
        for client in 0..self.bounds.clients {
            let mut sweepable = self.client(state.clients[client]).sweepable;
            while sweepable != 0 {
                let node = sweepable.trailing_zeros() as usize;
                sweepable &= sweepable - 1;
                let place = self.site(state.sites[node]);
                let owner = place.owner;
                // A release hands over to whoever waits.
                if owner.is_some_and(|owner| usize::from(client_of(&owner)) == client)
                    || place.site.has_waiters()
                {
                    continue;
                }
                let entry = self.client(state.clients[client]);
                state.clients[client] = *entry.swept[node]
                    .get_or_init(|| self.keep_client(entry.local.swept(&self.rules, node)));
            }
        }
        state
    }

    fn demands(&self, invariant: Invariant) -> bool {
        self.bounds.invariants.contains(&invariant)
    }

    fn remembers(&self, invariant: Invariant) -> bool {
        self.bounds.fences.is_some() && self.demands(invariant)
    }

    /// Writes down what an application was told, and looks whether it should have been.
    fn tell(
        &self,
        state: &mut State,
        client: usize,
        told: &Told,
        memo: &mut Memo,
    ) -> Option<Invariant> {
        memo.sights.hear(told);
        if told.contended && self.bounds.clients == 1 && self.demands(Invariant::Progress) {
            return Some(Invariant::Progress);
        }
        let floor = state.floors[client];
        if self.client(state.clients[client]).local.is_at_rest() {
            state.floors[client] = 0;
        }
        let lease = told.granted?;
        if self.demands(Invariant::Witness)
            && self.witnesses(state, &lease.token) < self.bounds.majority()
        {
            return Some(Invariant::Witness);
        }
        let fence = narrow(lease.fence?.get());
        state.floors[client] = 0;
        let unique = self.remembers(Invariant::FenceUnique);
        if unique && state.granted.contains(&fence) {
            return Some(Invariant::FenceUnique);
        }
        if self.remembers(Invariant::FenceOrder) && fence <= floor {
            return Some(Invariant::FenceOrder);
        }
        if unique {
            // Full only if somebody was granted more often than asked.
            state.granted[GRANTS_MAX - 1] = fence;
            state.granted.sort_unstable_by(|a, b| b.cmp(a));
        } else if self.remembers(Invariant::FenceOrder) || self.remembers(Invariant::HoldOrder) {
            state.granted[0] = state.granted[0].max(fence);
        }
        None
    }

    /// The nodes that nobody but the owner of `token` can lock.
    pub(crate) fn witnesses(&self, state: &State, token: &Token) -> usize {
        let sites = state.sites[..self.bounds.nodes].iter().map(|&number| self.site(number));
        sites.filter(|place| place.owner == Some(*token) || place.site.is_quarantined()).count()
    }

    /// Which invariant does not hold in `state`.
    pub(crate) fn broken(&self, state: &State) -> Option<Invariant> {
        let clients = || state.clients[..self.bounds.clients].iter().map(|&c| self.client(c));
        let beliefs = || clients().filter_map(|client| client.belief);
        let believers = beliefs().count();
        if believers > 1 && self.demands(Invariant::Mutex) {
            return Some(Invariant::Mutex);
        }
        for belief in beliefs() {
            let backed = || self.witnesses(state, &belief.token) >= self.bounds.majority();
            if self.demands(Invariant::Witness) && !backed() {
                return Some(Invariant::Witness);
            }
            if self.remembers(Invariant::HoldOrder) && belief.fence < state.granted[0] {
                return Some(Invariant::HoldOrder);
            }
        }
        if self.demands(Invariant::Termination) && clients().any(|client| client.stuck) {
            return Some(Invariant::Termination);
        }
        if self.demands(Invariant::NoGhost) && self.ghost(state).is_some() {
            return Some(Invariant::NoGhost);
        }
        None
    }

    /// A node that holds the token of a client of whom nothing is under way.
    pub(crate) fn ghost(&self, state: &State) -> Option<NodeId> {
        (0..self.bounds.nodes).filter_map(NodeId::new).find(|node| {
            let owner = self.site(state.sites[node.index()]).owner;
            owner.is_some_and(|owner| {
                let client = state.clients.get(usize::from(client_of(&owner)));
                client.is_some_and(|&number| self.client(number).quiet)
            })
        })
    }
}

/// A fence as the model keeps it: small, because models count from small numbers.
pub(crate) fn narrow(fence: u64) -> u32 {
    u32::try_from(fence).unwrap_or(u32::MAX)
}
