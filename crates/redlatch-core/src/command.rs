//! What the machine asks of nodes, and what they answer.

use core::time::Duration;

use crate::lease::{Fence, Proposal, Token, Ttl};
use crate::queue::Place;
use crate::quorum::NodeId;
use crate::time::Instant;

/// One thing for one node to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a command that is not carried out counts as unknown when its deadline passes"]
pub struct Command {
    /// To be handed back with the reply.
    pub id: CommandId,
    /// What to do.
    pub op: Op,
    /// When the driver need not wait for the reply any longer (R9). The machine keeps this deadline
    /// by itself; a reply that comes later is still worth handing in.
    pub deadline: Instant,
}

/// Which command a reply answers. It carries the token, the round and the time of sending, so that a
/// reply counts for the attempt, round and node it answers and for nothing else (R7), however late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId {
    pub(crate) token: Token,
    pub(crate) sent: Instant,
    pub(crate) round: u32,
    pub(crate) node: NodeId,
    pub(crate) kind: Kind,
}

impl CommandId {
    /// The node that is asked.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The number of the fan-out that the command belongs to, which tells one extension from the next.
    /// The commands of one fan-out have one number.
    #[must_use]
    pub const fn round(&self) -> u32 {
        self.round
    }

    /// When the command was handed out.
    #[must_use]
    pub const fn sent(&self) -> Instant {
        self.sent
    }

    /// What is asked: what the nodes say to one question makes one table of votes.
    #[must_use]
    pub const fn question(&self) -> Question {
        let (kind, round) = match self.kind {
            // A seal continues the acquire that it belongs to.
            Kind::Acquire | Kind::Seal => (Kind::Acquire, 0),
            // A lease is extended many times.
            Kind::Extend => (Kind::Extend, self.round),
            Kind::Release => (Kind::Release, 0),
        };
        Question { token: self.token, kind, round }
    }
}

/// What several commands ask together: equal for those whose answers belong into one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    token: Token,
    kind: Kind,
    round: u32,
}

/// What kind of command was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Acquire,
    Seal,
    Extend,
    Release,
}

/// What a node is asked to do, all of it or nothing, atomically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// If the key is free, raise the fence number and put the token into the key for the ttl. If the
    /// token is there already, change nothing and say yes.
    Acquire {
        /// What to put into the key.
        token: Token,
        /// How long the key lives.
        ttl: Ttl,
        /// The fence to propose, if a fence is wanted.
        proposal: Option<Proposal>,
    },
    /// If the key holds the token, raise the fence number to at least this one.
    Seal {
        /// Who must be in the key.
        token: Token,
        /// The fence to raise to.
        fence: Fence,
    },
    /// If the key holds the token, let it live for at least the ttl from now on. Never create a key,
    /// never shorten its life (R10).
    Extend {
        /// Who must be in the key.
        token: Token,
        /// How long the key lives at least.
        ttl: Ttl,
        /// The fence of the lease, whose number must be kept for longer than the key.
        fence: Option<Fence>,
    },
    /// If the key holds the token, or that of an earlier attempt with the same nonce, delete the key.
    /// (Every earlier attempt was given up before this one began, so whatever a lost release of it
    /// left behind is undone as well.) With a `place`, its waiter is then put into the key's queue, which
    /// the yes confirms; without one, it is taken out. Either way, a key that is free is kept for the
    /// first in the queue for a moment, and that waiter is called (R18).
    Release {
        /// Whose keys to delete.
        token: Token,
        /// The place of one that goes on waiting.
        place: Option<Place>,
    },
}

/// What a node answered: one of three things, of which the third has a variant to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Done, or done already.
    Applied {
        /// The fence number at this moment, of an acquire that proposed one and of a seal.
        fence: Option<Fence>,
    },
    /// Not done: another token is in the key, or none.
    Refused {
        /// How long the key still lives, if the node told.
        remaining: Option<Duration>,
        /// The fence number at this moment, if the node told.
        fence: Option<Fence>,
    },
    /// Nothing is known: no answer in time, an error, a broken connection.
    Unknown,
    /// The node may have forgotten keys and does not vote yet (R16). Counts as unknown.
    Quarantined {
        /// When it votes again.
        remaining: Duration,
    },
}
