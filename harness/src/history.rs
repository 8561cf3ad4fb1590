//! What happened, as a list of events: for the timeline, for people, and for other checkers.
//!
//! Written as JSON lines in the shape of Jepsen's histories: `index`, `time_ns`, `process`, `type`
//! (`invoke`, `ok`, `fail`, `info`), `f`, and the fields of the event. The hash of a history is stable:
//! equal plans give equal hashes on every machine and with any number of jobs.

use std::fmt;
use std::io::{self, Write};

use redlatch_core::Token;
use serde::{Serialize, Serializer};

use crate::check::Invariant;
use crate::sim::clock::TrueTime;
use crate::sim::dice::{fate, mix};

/// Whose token: the client, its how-manyeth acquire, and the attempt. Prints as `c1.3/2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenName {
    /// The client, counted from 0.
    pub client: u8,
    /// The acquire of this client, counted from 1, over restarts too.
    pub acquire: u32,
    /// The attempt of this acquire's lock.
    pub attempt: u32,
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}/{}", self.client, self.acquire, self.attempt)
    }
}

impl Serialize for TokenName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl TokenName {
    /// The random bytes that the harness gives to one acquire. They begin with whose they are.
    #[must_use]
    pub const fn nonce(seed: u64, client: u8, acquire: u32) -> [u8; 16] {
        let mut nonce = [0; 16];
        let random = fate(seed, 0x700E, pack(client as u64, acquire as u64)).to_be_bytes();
        let more = mix(u64::from_be_bytes(random)).to_be_bytes();
        let number = acquire.to_be_bytes();
        nonce[0] = client;
        let mut at = 1;
        while at < 16 {
            nonce[at] = match at {
                1..=4 => number[at - 1],
                5..=12 => random[at - 5],
                _ => more[at - 13],
            };
            at += 1;
        }
        nonce
    }

    /// The name of a token of one of the harness's clients.
    #[must_use]
    pub const fn of(token: &Token) -> Self {
        let [client, a, b, c, d, ..] = token.nonce();
        Self { client, acquire: u32::from_be_bytes([a, b, c, d]), attempt: token.attempt() }
    }
}

/// Who did it, or whom it befell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    /// A client, counted from 0.
    Client(u8),
    /// A node, counted from 0.
    Node(u8),
    /// A resource, counted from 0.
    Resource(u8),
    /// The harness.
    Harness,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "c{client}"),
            Self::Node(node) => write!(f, "n{node}"),
            Self::Resource(resource) => write!(f, "r{resource}"),
            Self::Harness => f.write_str("harness"),
        }
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// To take the lock.
    Acquire,
    /// To raise the fence number.
    Seal,
    /// To let the lock live longer.
    Extend,
    /// To give the lock up.
    Release,
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// Done.
    Applied,
    /// Not done.
    Refused,
    /// An error.
    Unknown,
    /// Not voting yet.
    Quarantined,
}

/// What happened. Times are true times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "f", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A worker asked for the lock.
    Acquire {
        /// The lock's.
        resource: u8,
        /// The how-manyeth acquire of this client.
        acquire: u32,
    },
    /// It was granted.
    Granted {
        /// The holder's.
        token: TokenName,
        /// Its fence; 0 for none.
        fence: u64,
        /// Until when, as things stand, the client believes.
        until: TrueTime,
    },
    /// An attempt was lost, another follows.
    Retrying,
    /// It was not granted.
    Failed,
    /// A worker asked for an extension.
    Extend,
    /// The belief lasts longer now.
    Extended {
        /// The holder's.
        token: TokenName,
        /// Until when, as things stand, the client believes.
        until: TrueTime,
    },
    /// An extension missed.
    AtRisk,
    /// The lock is lost.
    Lost {
        /// What was the holder's.
        token: TokenName,
    },
    /// A worker gave the lock up, or called the acquire off.
    Release,
    /// The release was carried out, as far as it can be told.
    Released {
        /// Whether a majority confirmed it.
        confirmed: bool,
    },
    /// A message left.
    Sent {
        /// Its number; a duplicate has its own.
        message: u32,
        /// The node it goes to.
        node: u8,
        /// What it asks.
        asked: Asked,
        /// For whom.
        token: TokenName,
        /// How many copies of it left before.
        copy: u8,
    },
    /// A node carried out what a message asked, and answers.
    Executed {
        /// The message.
        message: u32,
        /// What it asked.
        asked: Asked,
        /// The answer.
        answered: Answered,
        /// The fence number in the answer; 0 for none.
        fence: u64,
    },
    /// An answer reached its client.
    Answer {
        /// The message.
        message: u32,
        /// The answer.
        answered: Answered,
    },
    /// A message, or the answer to it, was lost.
    Dropped {
        /// The message.
        message: u32,
        /// Whether it was the answer.
        answer: bool,
    },
    /// A node's key changed.
    Key {
        /// The key's.
        resource: u8,
        /// Whose it is now.
        owner: Option<TokenName>,
        /// When it expires, if nothing happens to it or to the node's clock; 0 if there is none.
        until: TrueTime,
    },
    /// A node's fence number changed.
    Fence {
        /// The number's.
        resource: u8,
        /// The number.
        fence: u64,
    },
    /// A node calls a waiter, for whom it keeps the key.
    Calls {
        /// The waiter's.
        token: TokenName,
    },
    /// The call reached the waiter's client.
    Called {
        /// The node.
        node: u8,
        /// The waiter's.
        token: TokenName,
    },
    /// A node is kept from voting.
    Quarantined {
        /// Until when.
        until: TrueTime,
    },
    /// A process died.
    Crashed,
    /// A process was started again.
    Restarted,
    /// A fault of the plan began.
    FaultBegan {
        /// Its place in the plan.
        fault: u16,
    },
    /// A fault of the plan ended.
    FaultEnded {
        /// Its place in the plan.
        fault: u16,
    },
    /// A clock changed: how far it is now ahead of true time, and how fast it runs.
    Clock {
        /// Nanoseconds ahead, behind if negative.
        ahead: i64,
        /// Parts per million faster, slower if negative.
        ppm: i32,
    },
    /// A worker's read reached the resource.
    Read {
        /// Whose.
        client: u8,
        /// With which fence; 0 for none.
        fence: u64,
        /// Whether the resource let it in.
        accepted: bool,
        /// What it read.
        value: u64,
    },
    /// A worker's write reached the resource.
    Written {
        /// Whose.
        client: u8,
        /// With which fence; 0 for none.
        fence: u64,
        /// Whether the resource let it in.
        accepted: bool,
        /// What it wrote.
        value: u64,
        /// Whether another write, which it did not read, was overwritten.
        lost_update: bool,
    },
    /// Everything healed; progress is demanded from here on.
    Healed,
    /// A step of the phase in which progress is demanded.
    Demand {
        /// Which one.
        step: u8,
    },
    /// An invariant is violated.
    Violated {
        /// Which one.
        invariant: Invariant,
    },
}

impl What {
    /// How Jepsen would call it: the beginning, the good or bad end, or news.
    #[must_use]
    pub const fn phase(&self) -> &'static str {
        match self {
            Self::Acquire { .. } | Self::Extend | Self::Release | Self::Sent { .. } => "invoke",
            Self::Granted { .. }
            | Self::Extended { .. }
            | Self::Released { confirmed: true }
            | Self::Answer { .. }
            | Self::Read { accepted: true, .. }
            | Self::Written { accepted: true, .. } => "ok",
            Self::Failed
            | Self::Lost { .. }
            | Self::Read { accepted: false, .. }
            | Self::Written { accepted: false, .. }
            | Self::Violated { .. } => "fail",
            Self::Retrying
            | Self::AtRisk
            | Self::Released { confirmed: false }
            | Self::Executed { .. }
            | Self::Dropped { .. }
            | Self::Key { .. }
            | Self::Fence { .. }
            | Self::Calls { .. }
            | Self::Called { .. }
            | Self::Quarantined { .. }
            | Self::Crashed
            | Self::Restarted
            | Self::FaultBegan { .. }
            | Self::FaultEnded { .. }
            | Self::Clock { .. }
            | Self::Healed
            | Self::Demand { .. } => "info",
        }
    }

    /// The event in two words, for the hash. Its first byte says which event it is, and never changes.
    const fn words(&self) -> (u64, u64) {
        match *self {
            Self::Acquire { resource, acquire } => (1, pack(resource as u64, acquire as u64)),
            Self::Granted { token, fence, until } => (2 | name(token), fence ^ until << 1),
            Self::Retrying => (3, 0),
            Self::Failed => (4, 0),
            Self::Extend => (5, 0),
            Self::Extended { token, until } => (6 | name(token), until),
            Self::AtRisk => (7, 0),
            Self::Lost { token } => (8 | name(token), 0),
            Self::Release => (9, 0),
            Self::Released { confirmed } => (10, confirmed as u64),
            Self::Sent { message, node, asked, token, copy } => {
                let place = (node as u64) << 16 | (asked as u64) << 8 | copy as u64;
                (11 | name(token), pack(message as u64, place))
            }
            Self::Executed { message, asked, answered, fence } => {
                (12 | (asked as u64) << 8 | (answered as u64) << 16 | (message as u64) << 32, fence)
            }
            Self::Answer { message, answered } => (13, pack(message as u64, answered as u64)),
            Self::Dropped { message, answer } => (14, pack(message as u64, answer as u64)),
            // When a key expires is worked out only for histories that are kept.
            Self::Key { resource, owner: Some(owner), .. } => (15 | name(owner), resource as u64),
            Self::Key { resource, owner: None, .. } => (16, resource as u64),
            Self::Fence { resource, fence } => (17 | (resource as u64) << 8, fence),
            Self::Quarantined { until } => (18, until),
            Self::Crashed => (19, 0),
            Self::Restarted => (20, 0),
            Self::FaultBegan { fault } => (21, fault as u64),
            Self::FaultEnded { fault } => (22, fault as u64),
            Self::Clock { ahead, ppm } => {
                (23 | (ppm.cast_unsigned() as u64) << 32, ahead.cast_unsigned())
            }
            Self::Read { client, fence, accepted, value } => {
                (24 | (client as u64) << 8 | (accepted as u64) << 16 | value << 32, fence)
            }
            Self::Written { client, fence, accepted, value, lost_update } => {
                let flags = (accepted as u64) << 16 | (lost_update as u64) << 17;
                (25 | (client as u64) << 8 | flags | value << 32, fence)
            }
            Self::Healed => (26, 0),
            Self::Demand { step } => (27, step as u64),
            Self::Violated { invariant } => (28, invariant as u64),
            Self::Calls { token } => (29 | name(token), 0),
            Self::Called { node, token } => (30 | name(token), node as u64),
        }
    }
}

const fn pack(high: u64, low: u64) -> u64 {
    high << 32 | low
}

const fn name(token: TokenName) -> u64 {
    (token.client as u64) << 8 | (token.acquire as u64) << 16 | (token.attempt as u64) << 40
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds of true time.
    pub time: TrueTime,
    /// Who, or whom.
    pub process: Process,
    /// What.
    pub what: What,
}

/// A history, or (in the first run of a seed) only its hash.
#[derive(Clone, Debug, Default)]
pub struct History {
    recording: bool,
    hash: u64,
    events: Vec<Event>,
}

impl History {
    /// Forgets everything. From now on events are kept if `recording`; their hash always is.
    pub fn restart(&mut self, recording: bool) {
        self.recording = recording;
        self.hash = 0;
        self.events.clear();
    }

    /// Takes one event.
    #[inline]
    pub fn note(&mut self, time: TrueTime, process: Process, what: What) {
        let place = match process {
            Process::Client(client) => client as u64,
            Process::Node(node) => 64 | node as u64,
            Process::Resource(resource) => 128 | resource as u64,
            Process::Harness => 255,
        };
        let (first, second) = what.words();
        let word = (self.hash ^ first).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
            ^ (second ^ place << 56).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.hash = (word ^ time).wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(31);
        if self.recording {
            self.events.push(Event { time, process, what });
        }
    }

    /// Takes what is no event, but how things are at the beginning, such as a clock: it is kept where
    /// events are, and does not count in the hash.
    pub fn note_state(&mut self, time: TrueTime, process: Process, what: What) {
        if self.recording {
            self.events.push(Event { time, process, what });
        }
    }

    /// Whether events are kept.
    #[must_use]
    pub const fn is_recording(&self) -> bool {
        self.recording
    }

    /// The hash of all events so far, recorded or not.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        mix(self.hash)
    }

    /// What was recorded.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Writes one line of JSON per event.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json_lines(&self, out: &mut impl Write) -> io::Result<()> {
        for (index, event) in self.events.iter().enumerate() {
            serde_json::to_writer(&mut *out, &Line::new(index, event))?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// The lines of [`History::write_json_lines`].
    #[must_use]
    pub fn to_json_lines(&self) -> String {
        let mut bytes = Vec::new();
        match self.write_json_lines(&mut bytes) {
            Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    time_ns: TrueTime,
    process: Process,
    #[serde(rename = "type")]
    phase: &'static str,
    #[serde(flatten)]
    what: &'a What,
}

impl<'a> Line<'a> {
    const fn new(index: usize, event: &'a Event) -> Self {
        let Event { time, process, ref what } = *event;
        Line { index, time_ns: time, process, phase: what.phase(), what }
    }
}
