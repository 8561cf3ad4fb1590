//! What is recorded of a run: what clients claimed, what nodes kept, what befell them.
//!
//! Plain data, which the [judge](super::judge) looks at when the run is over. All times are since the
//! run's origin, on the one clock of the machine that it runs on.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one run left.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// How many nodes the clients were given.
    pub nodes: usize,
    /// How many clients there were.
    pub clients: usize,
    /// How many resources they contended for.
    pub resources: usize,
    /// How long a lock lives that nobody gives up.
    pub ttl: Duration,
    /// How long a key may stay at most: more than that where clocks of nodes are slow.
    pub keep_max: Duration,
    /// When locks had to be granted because a majority of nodes was well, if there was such a time.
    pub goes_on: Option<Range<Duration>>,
    /// When no lock could be granted, because a majority of nodes was out of reach for all.
    pub outage: Option<Range<Duration>>,
    /// What the client says that it can.
    pub caps: Caps,
    /// Every acquire, by client and in the order in which it was asked for.
    pub acquires: Vec<Acquire>,
    /// What the nodes were seen to keep, as if nothing had come and gone between two looks.
    pub seen: Vec<Kept>,
    /// What they surely kept.
    pub kept: Vec<Kept>,
    /// Nodes that came back with what they had had before: a key that was removed may be there again.
    pub restored: Vec<usize>,
    /// Whose which value is.
    pub tokens: Vec<Token>,
    /// Each access of a worker to a resource.
    pub accesses: Vec<Access>,
    /// What befell whom, in the order of the plan.
    pub strikes: Vec<Strike>,
    /// Stretches in which a client stood still.
    pub pauses: Vec<(usize, Range<Duration>)>,
    /// When a client was killed.
    pub killed: Vec<(usize, Duration)>,
    /// Stretches in which the harness itself did not get to run: what it read then, it read late.
    pub stalls: Vec<Range<Duration>>,
    /// When all faults were over.
    pub healed: Option<Duration>,
    /// Locks that had to be granted after that.
    pub demands: Vec<Demand>,
    /// When the last look was taken.
    pub ended: Duration,
}

impl Record {
    /// ⌊n/2⌋ + 1.
    #[must_use]
    pub const fn majority(&self) -> usize {
        self.nodes / 2 + 1
    }
}

/// What a client says that it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caps {
    /// Extend a lock.
    pub extend: bool,
    /// Hand out fences.
    pub fence: bool,
    /// Tell of a loss by itself.
    pub lost_event: bool,
    /// Keep nodes that may have forgotten from voting.
    pub guard: bool,
}

/// An acquire, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Acquire {
    /// Whose.
    pub client: usize,
    /// The how-manyeth of this client, from 1.
    pub number: u32,
    /// Of what.
    pub resource: usize,
    /// When it was asked for.
    pub asked: Duration,
    /// What came of it.
    pub end: End,
}

/// What came of an acquire.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// It was granted.
    Granted(Hold),
    /// It was not.
    Refused {
        /// When that was told.
        at: Duration,
        /// Why.
        why: Why,
        /// In the client's own words.
        text: String,
    },
    /// It did not end by its deadline.
    Hung {
        /// The deadline.
        at: Duration,
    },
    /// The harness killed the client meanwhile.
    Killed {
        /// When.
        at: Duration,
    },
}

/// Why something was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Somebody else has the lock.
    Contended,
    /// Not enough nodes answered.
    Unavailable,
    /// The lock had been lost.
    Lost,
    /// Time was up.
    Timeout,
    /// Something else, or nothing that could be told apart.
    Other,
}

/// A lock that a client held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hold {
    /// When the grant was told.
    pub at: Duration,
    /// Until when the client relies on it, by what it said then.
    pub until: Duration,
    /// Before when it cannot have said so: then it had the answer of a majority of nodes.
    pub knew: Option<Duration>,
    /// Its fence, if it has one.
    pub fence: Option<u64>,
    /// What was asked for meanwhile.
    pub extensions: Vec<Extension>,
    /// When its loss was told, without being asked for.
    pub lost: Option<Duration>,
    /// When the release was asked for: nothing is believed from then on.
    pub given_up: Option<Duration>,
    /// When the release ended, and whether the client says that it worked.
    pub released: Option<(Duration, bool)>,
    /// Whether an operation on it did not end by its deadline: which one, and when it was given up.
    pub hung: Option<(Operation, Duration)>,
}

/// An operation on a lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To hold it for longer.
    Extend,
    /// To give it up.
    Release,
}

/// An extension of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// When it was asked for.
    pub asked: Duration,
    /// When its end was told.
    pub at: Duration,
    /// Until when the client relies on the lock now; none if it was not extended.
    pub until: Option<Duration>,
    /// Before when it cannot have said so.
    pub knew: Option<Duration>,
}

/// What a node surely kept of a resource, from when to when. Where nothing is said nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The node.
    pub node: usize,
    /// The resource.
    pub resource: usize,
    /// The stretch for which it is certain.
    pub during: Range<Duration>,
    /// What it kept.
    pub what: What,
}

/// What a node kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// No key: whoever comes first can lock it.
    Nothing,
    /// No key, and nobody can lock it.
    Withheld,
    /// A key.
    Key {
        /// What is in it.
        value: Vec<u8>,
        /// When it expires, by what the node said; none if it never does.
        until: Option<Duration>,
    },
}

/// Whose a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The value.
    pub value: Vec<u8>,
    /// Who sent it first.
    pub client: usize,
    /// In which of its acquires.
    pub acquire: u32,
    /// The how-manyeth value of that acquire, from 1.
    pub attempt: u32,
    /// When the last command with it had been carried out.
    pub last: Duration,
}

/// A worker's access to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// When.
    pub at: Duration,
    /// Whose.
    pub client: usize,
    /// In which of its acquires.
    pub acquire: u32,
    /// To what.
    pub resource: usize,
    /// With which fence.
    pub fence: Option<u64>,
    /// Whether it was let in.
    pub accepted: bool,
    /// What it read, or wrote.
    pub value: u64,
    /// What it was.
    pub kind: AccessKind,
}

/// What a worker does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind {
    /// It reads.
    Read,
    /// It writes over what it has read.
    Write,
    /// It writes over something that it has not read.
    LostUpdate,
}

/// A fault, as it was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strike {
    /// When it began; none if it never did.
    pub began: Option<Duration>,
    /// When it was over.
    pub ended: Option<Duration>,
    /// What shows that it struck; none if nothing does.
    pub evidence: Option<String>,
    /// Why it could not be carried out, if it could not.
    pub trouble: Option<String>,
}

/// A lock that has to be granted, since everything has healed and nobody holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// By whom it was asked for.
    pub client: usize,
    /// What.
    pub resource: usize,
    /// Since when.
    pub asked: Duration,
    /// By when it had to be granted.
    pub due: Duration,
    /// When it was.
    pub granted: Option<Duration>,
    /// What the client said last, if it was not.
    pub last: String,
}
