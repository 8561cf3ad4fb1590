//! What a history amounts to: who believed what from when to when, and what the nodes kept meanwhile.

mod build;
mod line;
mod promise;

use std::collections::HashMap;

use crate::history::{Answered, Asked, Process, TokenName};
use crate::sim::clock::TrueTime;

pub(super) use build::build;

/// A stretch of time, and the event that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: TrueTime,
    pub(super) to: TrueTime,
    /// Its place in the history.
    pub(super) origin: usize,
}

impl Span {
    pub(super) const fn overlaps(&self, from: TrueTime, to: TrueTime) -> bool {
        self.from <= to && self.to >= from
    }

    pub(super) const fn contains(&self, at: TrueTime) -> bool {
        self.from <= at && at < self.to
    }
}

/// Everything that can be drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub(super) clients: Vec<ClientLane>,
    pub(super) nodes: Vec<NodeLane>,
    /// One list for each resource.
    pub(super) accesses: Vec<Vec<Access>>,
    pub(super) messages: Vec<Message>,
    /// Where messages are in the list, by number.
    numbers: HashMap<u32, usize>,
    pub(super) faults: Vec<FaultSpan>,
    /// When everything healed.
    pub(super) healed: Option<TrueTime>,
    pub(super) end: TrueTime,
    /// How many clients have to be told apart, also those that only nodes know.
    pub(super) looks: usize,
    /// How many events there are.
    pub(super) events: usize,
}

impl Scene {
    pub(super) fn message(&self, number: u32) -> Option<&Message> {
        self.messages.get(*self.numbers.get(&number)?)
    }

    pub(super) fn common(&self, process: Process) -> Option<&Common> {
        match process {
            Process::Client(client) => Some(&self.clients.get(usize::from(client))?.common),
            Process::Node(node) => Some(&self.nodes.get(usize::from(node))?.common),
            Process::Resource(_) | Process::Harness => None,
        }
    }
}

/// What a client did and believed.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientLane {
    pub(super) asks: Vec<Ask>,
    pub(super) beliefs: Vec<Belief>,
    pub(super) promises: Vec<Promise>,
    pub(super) notes: Vec<Note>,
    pub(super) common: Common,
}

/// What befell a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Common {
    pub(super) downs: Vec<Span>,
    pub(super) stops: Vec<Span>,
    /// How far the clock was ahead from then on, and how much it gained from then on.
    pub(super) clock: Vec<Reading>,
}

/// A clock, from one change to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) at: TrueTime,
    pub(super) ahead: i64,
    pub(super) ppm: i32,
    /// How far it jumped then.
    pub(super) jump: i64,
    pub(super) origin: usize,
}

/// A request for the lock, until it was decided.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) span: Span,
    pub(super) resource: u8,
    pub(super) acquire: u32,
    pub(super) end: AskEnd,
    /// When an attempt was lost and another followed, and the events.
    pub(super) retries: Vec<(TrueTime, usize)>,
}

/// How a request for the lock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskEnd {
    Granted,
    Failed,
    CalledOff,
    Open,
}

/// A stretch in which a client believed.
#[derive(Clone, Debug)]
pub(super) struct Belief {
    pub(super) span: Span,
    pub(super) token: TokenName,
    pub(super) fence: u64,
    pub(super) resource: u8,
    /// Until when it would have gone on believing, as things stood in the end.
    pub(super) until: TrueTime,
    pub(super) end: BeliefEnd,
    /// When its end moved, and the events.
    pub(super) extended: Vec<(TrueTime, usize)>,
}

/// How a belief ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BeliefEnd {
    Released,
    Lost,
    Lapsed,
    Crashed,
    Open,
}

/// A stretch in which a majority of nodes kept a token for a believer, or nothing for anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) span: Span,
    pub(super) token: TokenName,
}

/// Something a client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) at: TrueTime,
    pub(super) origin: usize,
    pub(super) kind: NoteKind,
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoteKind {
    AtRisk,
    Lost,
}

/// What a node had.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeLane {
    /// For each resource, whose the key was.
    pub(super) keys: Vec<Vec<Key>>,
    /// For each resource, when its fence number changed.
    pub(super) fences: Vec<Vec<FenceChange>>,
    pub(super) quarantines: Vec<Span>,
    pub(super) common: Common,
}

/// A stretch in which a node's key was somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) span: Span,
    pub(super) owner: TokenName,
    pub(super) end: KeyEnd,
}

/// How a key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyEnd {
    Expired,
    Removed,
    Open,
}

/// A fence number from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FenceChange {
    pub(super) at: TrueTime,
    pub(super) fence: u64,
    /// Smaller than the number before: it was forgotten.
    pub(super) fell: bool,
    pub(super) origin: usize,
}

/// A worker's access to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) at: TrueTime,
    pub(super) origin: usize,
    pub(super) client: u8,
    pub(super) fence: u64,
    pub(super) kind: AccessKind,
    pub(super) accepted: bool,
}

/// What kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessKind {
    Read,
    Write,
    /// A write over something that it had not read.
    LostUpdate,
}

/// A message to a node, and the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) client: u8,
    pub(super) node: u8,
    pub(super) asked: Asked,
    pub(super) token: TokenName,
    pub(super) copy: u8,
    pub(super) sent: TrueTime,
    pub(super) origin: usize,
    /// When it was carried out, and the answer.
    pub(super) executed: Option<(TrueTime, Answered, usize)>,
    /// When the answer was there.
    pub(super) answered: Option<(TrueTime, usize)>,
    /// When it, or the answer, was lost.
    pub(super) lost: Option<(TrueTime, usize)>,
    /// Whether what arrives was asked for an attempt that was over by then.
    pub(super) late: Late,
}

/// What came too late to be of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Late {
    #[default]
    Nothing,
    Answer,
    Both,
}

/// A fault, from beginning to end.
#[derive(Clone, Debug)]
pub(super) struct FaultSpan {
    pub(super) span: Span,
    pub(super) text: String,
}

impl Message {
    /// When the last of it was seen.
    pub(super) fn end(&self) -> TrueTime {
        let executed = self.executed.map(|(at, ..)| at);
        let answered = self.answered.map(|(at, _)| at);
        let lost = self.lost.map(|(at, _)| at);
        [executed, answered, lost].into_iter().flatten().max().unwrap_or(self.sent)
    }
}
