//! Machines that count votes wrongly.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use redlatch_core::{Command, CommandId, Config, Fence, Instant, Lock, NodeSet, Op, Reply, Token};

use super::plant::{Plant, Sent, around_lock};

/// The acquires of one attempt, and who has said yes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Ballot {
    attempt: Option<Token>,
    sent: Sent,
    yes: NodeSet,
}

impl Ballot {
    fn note(&mut self, command: &Command) {
        if let Op::Acquire { token, .. } = command.op
            && self.attempt != Some(token)
        {
            *self = Self { attempt: Some(token), ..Self::default() };
        }
        self.sent.note(command);
    }

    fn is_yes(&self, id: &CommandId, reply: &Reply) -> bool {
        self.sent.is_acquire(id) && matches!(reply, Reply::Applied { .. })
    }

    /// A command to a node that has not said yes.
    fn other(&self) -> Option<CommandId> {
        self.sent.acquires.values().find(|id| !self.yes.contains(id.node())).copied()
    }
}

/// Declares a machine that keeps a ballot, and is wrong about some reply.
macro_rules! counting {
    ($(#[$doc:meta])* $name:ident, |$self:ident, $now:ident, $id:ident, $reply:ident| $wrong:block) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            lock: Lock,
            ballot: Ballot,
        }

        impl $name {
            fn rest(config: Config) -> Self {
                Self { lock: Lock::new(config), ballot: Ballot::default() }
            }
        }

        impl Plant for $name {
            around_lock!();

            fn on_command(&mut self, command: Command) -> Option<Command> {
                self.ballot.note(&command);
                Some(command)
            }

            fn on_reply(&mut $self, $now: Instant, $id: CommandId, $reply: Reply) $wrong
        }
    };
}

counting! {
    /// M04: half of the nodes are a majority: one yes comes for free.
    HalfIsEnough, |self, now, id, reply| {
        let is_first = self.ballot.is_yes(&id, &reply) && self.ballot.yes.is_empty();
        self.lock.handle_reply(now, id, reply);
        if is_first {
            self.ballot.yes.insert(id.node());
            if let Some(other) = self.ballot.other() {
                self.lock.handle_reply(now, other, reply);
            }
        }
    }
}

counting! {
    /// M09: a yes that arrives twice counts twice.
    TwiceIsTwo, |self, now, id, reply| {
        let mut credited = id;
        if self.ballot.is_yes(&id, &reply) {
            if self.ballot.yes.contains(id.node()) {
                credited = self.ballot.other().unwrap_or(id);
            }
            self.ballot.yes.insert(credited.node());
        }
        self.lock.handle_reply(now, credited, reply);
    }
}

/// X1: a node that does not vote counts as a yes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuarantineIsYes {
    lock: Lock,
}

impl Plant for QuarantineIsYes {
    around_lock!(lock);

    fn plant(config: Config) -> Self {
        Self { lock: Lock::new(config) }
    }

    fn on_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        let reply = match reply {
            Reply::Quarantined { .. } => Reply::Applied { fence: None },
            Reply::Applied { .. } | Reply::Refused { .. } | Reply::Unknown => reply,
        };
        self.lock.handle_reply(now, id, reply);
    }
}

/// Which number of a majority becomes the fence.
pub trait Pick: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// Of two.
    fn pick(a: u64, b: u64) -> u64;
}

/// The largest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Largest;

/// The smallest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Smallest;

impl Pick for Largest {
    fn pick(a: u64, b: u64) -> u64 {
        a.max(b)
    }
}

impl Pick for Smallest {
    fn pick(a: u64, b: u64) -> u64 {
        a.min(b)
    }
}

/// M18, M19: the fence is picked from the numbers of a majority, and no node is sealed to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unsealed<P> {
    lock: Lock,
    ballot: Ballot,
    picked: Option<u64>,
    pick: PhantomData<P>,
}

impl<P: Pick> Unsealed<P> {
    fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), ballot: Ballot::default(), picked: None, pick: PhantomData }
    }
}

impl<P: Pick> Plant for Unsealed<P> {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        let attempt = self.ballot.attempt;
        self.ballot.note(&command);
        if attempt != self.ballot.attempt {
            self.picked = None;
        }
        Some(command)
    }

    fn on_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        let (true, Reply::Applied { fence: Some(fence) }) =
            (self.ballot.is_yes(&id, &reply), reply)
        else {
            return self.lock.handle_reply(now, id, reply);
        };
        let picked = self.picked.map_or(fence.get(), |picked| P::pick(picked, fence.get()));
        self.picked = Some(picked);
        self.ballot.yes.insert(id.node());
        if self.ballot.yes.len() < self.lock.config().quorum().majority() {
            return;
        }
        let reply = Reply::Applied { fence: Fence::new(picked) };
        for (node, id) in &self.ballot.sent.acquires {
            if self.ballot.yes.contains(*node) {
                self.lock.handle_reply(now, *id, reply);
            }
        }
    }
}
