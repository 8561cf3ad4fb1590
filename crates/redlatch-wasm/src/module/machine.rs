//! One lock.

use alloc::string::String;

use redlatch_core::wire::{self, Answer, Form, Sighting};
use redlatch_core::{
    Command, Event, Fence, Instant, Lease, Lock, NODES_MAX, NodeId, NodeSet, Proposal, Released,
    Reply, Token,
};
use wasm_bindgen::prelude::wasm_bindgen;

use super::clock;
use super::in_flight::InFlight;
use super::names::Names;
use super::problem::{Invalid, Problem};
use super::settings::Settings;
use super::sightings::{self, Seen, State};
use super::value::{Item, Value};
use crate::poll::Poll;

/// What a node is asked to do.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Put the token into the key, if it is free.
    Acquire,
    /// Raise the fence number.
    Seal,
    /// Let the key live longer.
    Extend,
    /// Delete the key, if the token is in it.
    Release,
}

/// What the application should be told.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Nothing.
    None,
    /// The lock is held, until `eventAt`.
    Granted,
    /// An attempt was lost, see `eventCause`; the next one follows at `eventAt`.
    Retrying,
    /// The lock was not got, see `eventCause`, and there will be no further attempt.
    Failed,
    /// The lease is good for longer: until `eventAt`.
    Extended,
    /// An extension missed its majority. The lock is still held, until `eventAt`, and the extension is
    /// tried again until then.
    AtRisk,
    /// The lock is not held any more, see `eventLoss`; it was to be held until `eventAt`.
    Lost,
    /// A majority confirmed the release.
    Released,
    /// Too few nodes confirmed the release. They are asked again; in the worst case the keys expire, at
    /// `eventAt`.
    Unconfirmed,
}

/// Why a lock was not got.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No attempt was lost.
    None,
    /// Somebody else holds it, or several asked at once. A majority may be free after `eventAfter`.
    Contended,
    /// Too few nodes answered.
    NoQuorum,
    /// The validity ran out before enough nodes agreed.
    TooLate,
    /// Too few nodes vote; the first of the others does after `eventAfter`.
    Quarantined,
    /// The time for waiting ended in the middle of an attempt.
    DeadlineExceeded,
    /// It was released while it was being acquired.
    Cancelled,
}

/// Why a lease ended without a release.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It did not.
    None,
    /// It was not extended in time.
    Expired,
    /// It was held for as long as `holdMax` allows.
    HoldMax,
}

/// One of the sets into which an event sorts the nodes.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// They did what they were asked.
    Applied,
    /// They said no.
    Refused,
    /// Nothing is known of them.
    Unknown,
    /// Those of the unknown that do not vote yet.
    Quarantined,
}

/// To what the nodes answered.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The latest acquire or extension.
    Asked,
    /// The latest release.
    Released,
}

/// What one node answered.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// It has not answered yet.
    Silent,
    /// It did what it was asked.
    Applied,
    /// It said no. The key still lives for `voteRemaining`.
    Refused,
    /// It votes again after `voteRemaining`.
    Quarantined,
    /// It could not be asked, or its answer was not understood.
    Failed,
}

/// Whether a lock is held, seen from outside.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockState {
    /// Neither of the others: it is being taken or released, or too few nodes answered.
    Undecided,
    /// A majority has no key: it can be taken.
    Free,
    /// A majority has one token in its keys.
    Held,
}

/// Whether one node has a key for a lock.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It did not say, or not so that it can be understood.
    Unknown,
    /// It has none.
    Free,
    /// It has one.
    Taken,
}

/// One client's side of one lock.
#[derive(Debug)]
pub struct Machine {
    lock: Lock,
    dialect: wire::Dialect,
    names: Names,
    /// The commands that may still be answered, the latest last.
    in_flight: InFlight,
    /// The id of the latest command.
    last_id: u32,
    /// The command whose arguments were given last.
    told: Option<redlatch_core::Op>,
    event: Option<Event>,
    lease: Option<Lease>,
    asked: Poll<Said>,
    released: Poll<Said>,
    /// The pieces of an answer.
    value: Value,
    sightings: [Option<Seen>; NODES_MAX],
}

/// One node's answer.
#[derive(Clone, Copy, Debug)]
struct Said {
    id: u32,
    vote: Vote,
    remaining: f64,
}

#[wasm_bindgen(js_class = Machine)]
impl Machine {
    /// Holds a lease which was handed over, instead of acquiring one; see [`Lock::adopt`]. A `fence` of 0
    /// is none. Returns a [`Problem`].
    pub fn adopt(&mut self, now: f64, token: &str, fence: f64, valid_until: f64) -> u32 {
        let Ok(token) = Token::from_hex(token.as_bytes()) else { return Problem::Token as u32 };
        let fence = Fence::new(fence as u64);
        let lease = Lease { token, fence, valid_until: clock::instant(valid_until) };
        self.lock = Lock::adopt(*self.lock.config(), clock::instant(now), &lease);
        self.lease = Some(lease);
        Problem::None as u32
    }

    // Inputs.

    /// Starts to acquire the lock, with a `nonce` of 16 random bytes that are never used again, and a
    /// `proposal` for the fence: the wall clock in whole microseconds since 1970, or 0 for no fence. Returns a [`Problem`].
    pub fn acquire(&mut self, now: f64, nonce: &[u8], proposal: f64) -> u32 {
        Invalid::told(self.try_acquire(now, nonce, proposal))
    }

    /// Starts to extend the lease by the ttl, or joins the extension that is under way; `false` if the
    /// lock is not held.
    pub fn extend(&mut self, now: f64) -> bool {
        self.lock.extend(clock::instant(now)).is_ok()
    }

    /// Gives the lock up, or gives up to acquire it; `false` if there is nothing to release.
    pub fn release(&mut self, now: f64) -> bool {
        self.lock.release(clock::instant(now)).is_ok()
    }

    /// A piece of an answer: a null, of either kind.
    #[wasm_bindgen(js_name = pushNil)]
    pub fn push_nil(&mut self) {
        self.value.push(Item::Nil);
    }

    /// A piece of an answer: an integer.
    #[wasm_bindgen(js_name = pushInt)]
    pub fn push_int(&mut self, int: f64) {
        if int as i64 as f64 == int {
            self.value.push(Item::Int(int as i64));
        } else {
            self.value.push_other();
        }
    }

    /// A piece of an answer: a simple or a bulk string.
    #[wasm_bindgen(js_name = pushText)]
    pub fn push_text(&mut self, text: String) {
        self.value.push(Item::Text(text));
    }

    /// A piece of an answer: an array, whose `len` items follow.
    #[wasm_bindgen(js_name = pushArray)]
    pub fn push_array(&mut self, len: u32) {
        self.value.push_array(len as usize);
    }

    /// A piece of an answer: an error, or whatever else no command of ours is answered with.
    #[wasm_bindgen(js_name = pushOther)]
    pub fn push_other(&mut self) {
        self.value.push_other();
    }

    /// Takes the answer of a node to the command `id`, and says how it was understood. An id that was
    /// answered before changes nothing.
    #[wasm_bindgen(js_name = handleValue)]
    pub fn handle_value(&mut self, now: f64, id: u32) -> Vote {
        let Some(command) = self.in_flight.take(id) else {
            self.value.clear();
            return Vote::Silent;
        };
        let dialect = self.dialect;
        let reply = match self.value.take(|value| dialect.decode(&command.op, value)) {
            Answer::Reply(reply) => reply,
            Answer::ScriptMissing => Reply::Unknown,
        };
        self.handle_reply(now, id, &command, reply)
    }

    /// The command `id` is given up: its node cannot be reached, or it takes too long, or what came back is
    /// no value. Should an answer come after all, it may still be handed in.
    #[wasm_bindgen(js_name = handleFailure)]
    pub fn handle_failure(&mut self, now: f64, id: u32) {
        self.value.clear();
        if let Some(command) = self.in_flight.give_up(id) {
            self.handle_reply(now, id, &command, Reply::Unknown);
        }
    }

    /// Does what is due. Early, late and repeated calls are harmless.
    #[wasm_bindgen(js_name = handleTimeout)]
    pub fn handle_timeout(&mut self, now: f64) {
        self.lock.handle_timeout(clock::instant(now));
    }

    // Outputs.

    /// The next command to carry out, by its id, which is never used again; 0 if there is none. Each
    /// wants a `handleValue` or a `handleFailure`, late rather than never.
    #[wasm_bindgen(js_name = pollCommand)]
    pub fn poll_command(&mut self) -> u32 {
        let Some(command) = self.lock.poll_command() else { return 0 };
        self.poll_for(&command).ask(&command);
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.in_flight.push(self.last_id, command);
        self.last_id
    }

    /// The node that the latest command is for, from 0.
    #[wasm_bindgen(js_name = commandNode)]
    #[must_use]
    pub fn command_node(&self) -> u32 {
        self.in_flight.latest().map_or(0, |command| command.id.node().index() as u32)
    }

    /// What the latest command asks for.
    #[wasm_bindgen(js_name = commandOp)]
    #[must_use]
    pub fn command_op(&self) -> Op {
        match self.in_flight.latest().map(|command| command.op) {
            Some(redlatch_core::Op::Acquire { .. }) => Op::Acquire,
            Some(redlatch_core::Op::Seal { .. }) => Op::Seal,
            Some(redlatch_core::Op::Extend { .. }) => Op::Extend,
            Some(redlatch_core::Op::Release { .. }) | None => Op::Release,
        }
    }

    /// When nobody needs to wait any longer for the answer to the latest command. The machine keeps this
    /// deadline by itself; an answer that comes later is still worth handing in.
    #[wasm_bindgen(js_name = commandDeadline)]
    #[must_use]
    pub fn command_deadline(&self) -> f64 {
        self.in_flight.latest().map_or(0.0, |command| clock::millis(command.deadline))
    }

    /// The arguments of the latest command, behind a separator and divided by it; `undefined` if they are
    /// those that were given last, as they are for every node of one fan-out but the first.
    #[wasm_bindgen(js_name = commandArgs)]
    pub fn command_args(&mut self) -> Option<String> {
        let op = self.in_flight.latest()?.op;
        if self.told == Some(op) {
            return None;
        }
        self.told = Some(op);
        self.args(Some(&op))
    }

    /// The next event, of which the methods that follow tell more. To be drained after the commands.
    #[wasm_bindgen(js_name = pollEvent)]
    pub fn poll_event(&mut self) -> EventKind {
        self.event = self.lock.poll_event();
        let Some(event) = self.event else { return EventKind::None };
        match event {
            Event::Granted(lease)
            | Event::Extended(lease)
            | Event::AtRisk { lease, .. }
            | Event::Lost { lease, .. } => self.lease = Some(lease),
            Event::Retrying { .. } | Event::Failed { .. } | Event::Released(_) => {}
        }
        match event {
            Event::Granted(_) => EventKind::Granted,
            Event::Retrying { .. } => EventKind::Retrying,
            Event::Failed { .. } => EventKind::Failed,
            Event::Extended(_) => EventKind::Extended,
            Event::AtRisk { .. } => EventKind::AtRisk,
            Event::Lost { .. } => EventKind::Lost,
            Event::Released(Released::Confirmed) => EventKind::Released,
            Event::Released(Released::Unconfirmed { .. }) => EventKind::Unconfirmed,
        }
    }

    /// The instant that belongs to the latest event; 0 if none does.
    #[wasm_bindgen(js_name = eventAt)]
    #[must_use]
    pub fn event_at(&self) -> f64 {
        clock::millis(match self.event {
            Some(
                Event::Granted(lease)
                | Event::Extended(lease)
                | Event::AtRisk { lease, .. }
                | Event::Lost { lease, .. },
            ) => lease.valid_until,
            Some(Event::Retrying { at, .. }) => at,
            Some(Event::Released(Released::Unconfirmed { expires_at })) => expires_at,
            Some(Event::Failed { .. } | Event::Released(Released::Confirmed)) | None => {
                Instant::ZERO
            }
        })
    }

    /// Why the attempt was lost that the latest event is about.
    #[wasm_bindgen(js_name = eventCause)]
    #[must_use]
    pub fn event_cause(&self) -> Cause {
        match self.cause() {
            None => Cause::None,
            Some(redlatch_core::Cause::Contended { .. }) => Cause::Contended,
            Some(redlatch_core::Cause::NoQuorum) => Cause::NoQuorum,
            Some(redlatch_core::Cause::TooLate) => Cause::TooLate,
            Some(redlatch_core::Cause::Quarantined { .. }) => Cause::Quarantined,
            Some(redlatch_core::Cause::DeadlineExceeded) => Cause::DeadlineExceeded,
            Some(redlatch_core::Cause::Cancelled) => Cause::Cancelled,
        }
    }

    /// After how many ms it may be otherwise, as far as the nodes told; negative if they did not.
    #[wasm_bindgen(js_name = eventAfter)]
    #[must_use]
    pub fn event_after(&self) -> f64 {
        let after = match self.cause() {
            Some(redlatch_core::Cause::Contended { retry_after }) => retry_after,
            Some(redlatch_core::Cause::Quarantined { remaining }) => Some(remaining),
            Some(
                redlatch_core::Cause::NoQuorum
                | redlatch_core::Cause::TooLate
                | redlatch_core::Cause::DeadlineExceeded
                | redlatch_core::Cause::Cancelled,
            )
            | None => None,
        };
        after.map_or(-1.0, clock::millis_of)
    }

    /// Why the lease was lost that the latest event is about.
    #[wasm_bindgen(js_name = eventLoss)]
    #[must_use]
    pub fn event_loss(&self) -> Loss {
        match self.event {
            Some(Event::Lost { loss: redlatch_core::Loss::Expired, .. }) => Loss::Expired,
            Some(Event::Lost { loss: redlatch_core::Loss::HoldMax, .. }) => Loss::HoldMax,
            Some(_) | None => Loss::None,
        }
    }

    /// The nodes that the latest event counts as `tally`: bit i is node i.
    #[wasm_bindgen(js_name = eventNodes)]
    #[must_use]
    pub fn event_nodes(&self, tally: Tally) -> u32 {
        let Some(
            Event::Retrying { tally: sets, .. }
            | Event::Failed { tally: sets, .. }
            | Event::AtRisk { tally: sets, .. },
        ) = &self.event
        else {
            return 0;
        };
        bits(match tally {
            Tally::Applied => sets.applied,
            Tally::Refused => sets.refused,
            Tally::Unknown => sets.unknown,
            Tally::Quarantined => sets.quarantined,
        })
    }

    /// When to call `handleTimeout`, unless another input comes first; `Infinity` if nothing is going to
    /// happen by itself.
    #[wasm_bindgen(js_name = pollTimeout)]
    #[must_use]
    pub fn poll_timeout(&self) -> f64 {
        self.lock.poll_timeout().map_or(f64::INFINITY, clock::millis)
    }

    // Questions.

    /// Until when the lock is held, as far as the last input knew; 0 if it is not. Late answers lengthen
    /// it without an event.
    #[wasm_bindgen(js_name = validUntil)]
    #[must_use]
    pub fn valid_until(&self) -> f64 {
        self.lock.lease().map_or(0.0, |lease| clock::millis(lease.valid_until))
    }

    /// Whether the lock is held at `now`.
    #[wasm_bindgen(js_name = isValid)]
    #[must_use]
    pub fn is_valid(&self, now: f64) -> bool {
        self.lock.is_valid(clock::instant(now))
    }

    /// Whether nothing is held, being acquired, or being undone. A late answer may make an idle lock busy
    /// again.
    #[wasm_bindgen(js_name = isIdle)]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lock.is_idle()
    }

    /// How many commands were neither answered nor given up.
    #[wasm_bindgen(js_name = inFlight)]
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.open() as u32
    }

    /// What nodes store for the latest lease, 40 hexadecimal digits; empty if there was none. Whoever has
    /// it can release the lock.
    #[must_use]
    pub fn token(&self) -> String {
        let Some(lease) = self.lease else { return String::new() };
        // SAFETY: hexadecimal digits are ASCII.
        unsafe { String::from_utf8_unchecked(lease.token.to_hex().into()) }
    }

    /// The fence of the latest lease; 0 if it has none.
    #[must_use]
    pub fn fence(&self) -> f64 {
        self.lease.and_then(|lease| lease.fence).map_or(0, Fence::get) as f64
    }

    /// What `node` answered. To release a key that is not there is to find it free, as was asked.
    #[must_use]
    pub fn vote(&self, question: Question, node: u32) -> Vote {
        self.said(question, node).map_or(Vote::Silent, |said| said.vote)
    }

    /// The id of the command to which the `vote` is the answer; 0 if there is none.
    #[wasm_bindgen(js_name = voteId)]
    #[must_use]
    pub fn vote_id(&self, question: Question, node: u32) -> u32 {
        self.said(question, node).map_or(0, |said| said.id)
    }

    /// The time in ms that `node` told with its `vote`; negative if it told none.
    #[wasm_bindgen(js_name = voteRemaining)]
    #[must_use]
    pub fn vote_remaining(&self, question: Question, node: u32) -> f64 {
        self.said(question, node).map_or(-1.0, |said| said.remaining)
    }

    // A look from outside: `inspectArgs` is sent to every node, and what comes back is handed in.

    /// The command that asks a node who holds the lock, behind a separator and divided by it.
    #[wasm_bindgen(js_name = inspectArgs)]
    #[must_use]
    pub fn inspect_args(&self) -> String {
        self.args(None).unwrap_or_default()
    }

    /// Takes the answer of `node` to `inspectArgs`. `Unknown` if it is none.
    pub fn sight(&mut self, node: u32) -> NodeState {
        let sighting = self.value.take(Sighting::of);
        let nodes = self.lock.config().quorum().nodes().len();
        if let Some(place) = self.sightings.iter_mut().take(nodes).nth(node as usize) {
            *place = sighting.as_ref().map(Seen::new);
        }
        match sighting {
            None => NodeState::Unknown,
            Some(Sighting { holder: None, .. }) => NodeState::Free,
            Some(Sighting { holder: Some(_), .. }) => NodeState::Taken,
        }
    }

    /// How long the key of `node` still lives, in ms; `Infinity` if it never expires or is not there.
    #[wasm_bindgen(js_name = sightRemaining)]
    #[must_use]
    pub fn sight_remaining(&self, node: u32) -> f64 {
        self.seen(node).map_or(f64::INFINITY, |seen| seen.left)
    }

    /// The last fence that `node` gave out; 0 if it has none on record.
    #[wasm_bindgen(js_name = sightFence)]
    #[must_use]
    pub fn sight_fence(&self, node: u32) -> f64 {
        self.seen(node).map_or(0.0, |seen| seen.fence)
    }

    /// What the answers amount to.
    #[wasm_bindgen(js_name = sightState)]
    #[must_use]
    pub fn sight_state(&self) -> LockState {
        match self.sighted() {
            State::Free => LockState::Free,
            State::Held { .. } => LockState::Held,
            State::Undecided => LockState::Undecided,
        }
    }

    /// How long a majority still has a lock that is held, in ms, if it is not extended; `Infinity` if it
    /// never expires or is not held.
    #[wasm_bindgen(js_name = sightStateRemaining)]
    #[must_use]
    pub fn sight_state_remaining(&self) -> f64 {
        match self.sighted() {
            State::Held { left } => left,
            State::Free | State::Undecided => f64::INFINITY,
        }
    }
}

impl Machine {
    /// An idle lock on the resources `names`.
    pub(crate) fn new(settings: &[f64], names: String) -> Result<Self, Invalid> {
        let settings = Settings(settings);
        let config = settings.config()?;
        let dialect = settings.dialect()?;
        let names = Names(names);
        names.wire(dialect)?;
        Ok(Self {
            lock: Lock::new(config),
            dialect,
            names,
            in_flight: InFlight::default(),
            last_id: 0,
            told: None,
            event: None,
            lease: None,
            asked: Poll::new(),
            released: Poll::new(),
            value: Value::default(),
            sightings: [None; NODES_MAX],
        })
    }

    fn try_acquire(&mut self, now: f64, nonce: &[u8], proposal: f64) -> Result<(), Invalid> {
        let nonce = nonce.try_into().map_err(|_| Problem::Nonce)?;
        let proposal = match proposal {
            0.0 => None,
            micros => {
                self.check_fence()?;
                Some(Proposal::from_unix_micros(micros as u64)?)
            }
        };
        Ok(self.lock.acquire(clock::instant(now), nonce, proposal)?)
    }

    /// The arguments of the command that does `op`, or looks who holds the lock.
    fn args(&self, op: Option<&redlatch_core::Op>) -> Option<String> {
        let wire = self.names.wire(self.dialect).ok()?;
        // A look needs room for fence keys and a number, which a command of the lock needs as well.
        let mut buffer = alloc::vec![0; wire.buffer_len()];
        let args = match op {
            Some(op) => wire.encode(op, Form::Text, &mut buffer),
            None => wire.encode_inspect(Form::Text, &mut buffer),
        };
        Some(self.names.join(&args.ok()?))
    }

    fn seen(&self, node: u32) -> Option<&Seen> {
        self.sightings.get(node as usize)?.as_ref()
    }

    fn sighted(&self) -> State {
        let quorum = self.lock.config().quorum();
        sightings::state(quorum, &self.sightings)
    }

    fn check_fence(&self) -> Result<(), wire::WireError> {
        match self.dialect {
            wire::Dialect::Plain { .. } => Err(wire::WireError::PlainFence),
            wire::Dialect::Scripts { .. } => Ok(self.names.keys()?.check_fence_keys()?),
        }
    }

    fn handle_reply(&mut self, now: f64, id: u32, command: &Command, reply: Reply) -> Vote {
        self.lock.handle_reply(clock::instant(now), command.id, reply);
        let said = Said::new(id, &command.op, &reply);
        self.poll_for(command).note(command, said);
        said.vote
    }

    fn poll_for(&mut self, command: &Command) -> &mut Poll<Said> {
        match command.op {
            redlatch_core::Op::Release { .. } => &mut self.released,
            redlatch_core::Op::Acquire { .. }
            | redlatch_core::Op::Seal { .. }
            | redlatch_core::Op::Extend { .. } => &mut self.asked,
        }
    }

    fn said(&self, question: Question, node: u32) -> Option<&Said> {
        let poll = match question {
            Question::Asked => &self.asked,
            Question::Released => &self.released,
        };
        poll.said(NodeId::new(node as usize)?)
    }

    fn cause(&self) -> Option<redlatch_core::Cause> {
        match self.event {
            Some(Event::Retrying { cause, .. } | Event::Failed { cause, .. }) => Some(cause),
            Some(
                Event::Granted(_)
                | Event::Extended(_)
                | Event::AtRisk { .. }
                | Event::Lost { .. }
                | Event::Released(_),
            )
            | None => None,
        }
    }
}

impl Said {
    fn new(id: u32, op: &redlatch_core::Op, reply: &Reply) -> Self {
        let (vote, remaining) = match *reply {
            Reply::Applied { .. } => (Vote::Applied, None),
            // A node from which there is nothing to delete is free, which is what was asked.
            Reply::Refused { .. } if matches!(op, redlatch_core::Op::Release { .. }) => {
                (Vote::Applied, None)
            }
            Reply::Refused { remaining, .. } => (Vote::Refused, remaining),
            Reply::Quarantined { remaining } => (Vote::Quarantined, Some(remaining)),
            Reply::Unknown => (Vote::Failed, None),
        };
        Self { id, vote, remaining: remaining.map_or(-1.0, clock::millis_of) }
    }
}

fn bits(nodes: NodeSet) -> u32 {
    nodes.iter().fold(0, |bits, node| bits | 1 << node.index())
}
