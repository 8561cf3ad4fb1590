//! Machines that credit a reply to the wrong thing.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use redlatch_core::{Command, CommandId, Config, Fence, Instant, Lock, NodeId, Reply};

use super::plant::{Plant, Sent, around_lock};

/// M08: a reply counts for the latest command to its node, whatever it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnyReply {
    lock: Lock,
    latest: BTreeMap<NodeId, CommandId>,
}

impl AnyReply {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), latest: BTreeMap::new() }
    }
}

impl Plant for AnyReply {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        self.latest.insert(command.id.node(), command.id);
        Some(command)
    }

    fn on_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        let id = self.latest.get(&id.node()).copied().unwrap_or(id);
        self.lock.handle_reply(now, id, reply);
    }
}

/// Declares a machine that has noted what was sent, and is wrong about some reply.
macro_rules! noting {
    ($(#[$doc:meta])* $name:ident, |$self:ident, $now:ident, $id:ident, $reply:ident| $wrong:block) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            lock: Lock,
            sent: Sent,
        }

        impl $name {
            fn rest(config: Config) -> Self {
                Self { lock: Lock::new(config), sent: Sent::default() }
            }
        }

        impl Plant for $name {
            around_lock!();

            fn on_command(&mut self, command: Command) -> Option<Command> {
                self.sent.note(&command);
                Some(command)
            }

            fn on_reply(&mut $self, $now: Instant, $id: CommandId, $reply: Reply) $wrong
        }
    };
}

noting! {
    /// M17: the reply to one extension counts for the latest.
    AnyRound, |self, now, id, reply| {
        let is_acquire = self.sent.is_acquire(&id);
        let latest = self.sent.extends.get(&id.node()).filter(|_| !is_acquire);
        self.lock.handle_reply(now, latest.copied().unwrap_or(id), reply);
    }
}

noting! {
    /// M13: the validity of an extension counts from its reply.
    ExtendFromReply, |self, now, id, reply| {
        if self.sent.is_extend(&id) && matches!(reply, Reply::Applied { .. }) {
            // A fork that starts an extension at this moment shows what its command would be called.
            let mut fork = self.lock;
            for running in self.sent.extends.values() {
                fork.handle_reply(now, *running, Reply::Unknown);
            }
            if fork.extend(now).is_ok() {
                while let Some(command) = fork.poll_command() {
                    if command.id.node() == id.node() {
                        self.lock.handle_reply(now, command.id, reply);
                    }
                }
            }
        }
        self.lock.handle_reply(now, id, reply);
    }
}

noting! {
    /// M14: one node's extension counts for all.
    OneIsAll, |self, now, id, reply| {
        self.lock.handle_reply(now, id, reply);
        if self.sent.is_extend(&id) && matches!(reply, Reply::Applied { .. }) {
            for other in self.sent.extends.values() {
                self.lock.handle_reply(now, *other, reply);
            }
        }
    }
}

/// What becomes of an acquire that is answered when sealing has begun.
pub trait Latecomers: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// The number to believe, where `fence` was reported and `mark` is sealed.
    fn number(fence: u64, mark: u64) -> u64;
}

/// As shipped: it may raise the mark.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timely;

/// It is sealed like the others, whatever it reported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Late;

impl Latecomers for Timely {
    fn number(fence: u64, _: u64) -> u64 {
        fence
    }
}

impl Latecomers for Late {
    fn number(fence: u64, mark: u64) -> u64 {
        if mark > 1 { fence.min(mark - 1) } else { fence }
    }
}

/// M21, M21b: a node that answers a seal is registered for its mark, whatever number it answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SealAnyNumber<L> {
    lock: Lock,
    sent: Sent,
    latecomers: std::marker::PhantomData<L>,
}

impl<L: Latecomers> SealAnyNumber<L> {
    fn rest(config: Config) -> Self {
        Self {
            lock: Lock::new(config),
            sent: Sent::default(),
            latecomers: std::marker::PhantomData,
        }
    }
}

impl<L: Latecomers> Plant for SealAnyNumber<L> {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        self.sent.note(&command);
        Some(command)
    }

    fn on_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        let sealed = self.sent.seals.get(&id.node()).filter(|(seal, _)| *seal == id);
        let mark = self.sent.seals.values().map(|(_, mark)| *mark).max();
        let number = match (reply, sealed, mark) {
            (Reply::Applied { fence: Some(_) }, Some((_, mark)), _) => Some(*mark),
            (Reply::Applied { fence: Some(fence) }, None, Some(mark))
                if self.sent.is_acquire(&id) =>
            {
                Some(L::number(fence.get(), mark))
            }
            _ => None,
        };
        let reply = match number.and_then(Fence::new) {
            Some(number) => Reply::Applied { fence: Some(number) },
            None => reply,
        };
        self.lock.handle_reply(now, id, reply);
    }
}
