//! A machine that is the shipped one but for what it says here.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;

use redlatch_core::{
    Command, CommandId, Config, Event, Instant, Lease, Lock, NodeId, Op, Place, Proposal, Reply,
    WrongPhase,
};

use crate::system::Machine;

/// A wrapper around a [`Lock`] that spoils something. Whatever it does not mention is as shipped.
pub trait Plant: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// An idle machine.
    fn plant(config: Config) -> Self;
    /// What is spoilt.
    fn lock(&self) -> &Lock;
    /// What is spoilt.
    fn lock_mut(&mut self) -> &mut Lock;
    /// What time to tell the lock. Called with each input.
    fn clock(&mut self, now: Instant) -> Instant {
        now
    }
    /// What to make of a command.
    fn on_command(&mut self, command: Command) -> Option<Command> {
        Some(command)
    }
    /// A command of one's own, to be handed out before the lock's.
    fn own_command(&mut self) -> Option<Command> {
        None
    }
    /// What to make of a reply.
    fn on_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        self.lock_mut().handle_reply(now, id, reply);
    }
    /// What to make of a call.
    fn on_call(&mut self, now: Instant, node: NodeId) {
        self.lock_mut().handle_call(now, node);
    }
    /// What to make of an event.
    fn on_event(&mut self, event: Event) -> Event {
        event
    }
    /// What the client believes.
    fn believed(&self) -> Option<Lease> {
        self.lock().lease()
    }
    /// When to wake up.
    fn deadline(&self) -> Option<Instant> {
        self.lock().poll_timeout()
    }
}

impl<P: Plant> Machine for P {
    fn new(config: Config) -> Self {
        Self::plant(config)
    }

    fn acquire(
        &mut self,
        now: Instant,
        nonce: [u8; 16],
        proposal: Option<Proposal>,
    ) -> Result<(), WrongPhase> {
        let now = self.clock(now);
        self.lock_mut().acquire(now, nonce, proposal)
    }

    fn extend(&mut self, now: Instant) -> Result<(), WrongPhase> {
        let now = self.clock(now);
        self.lock_mut().extend(now)
    }

    fn release(&mut self, now: Instant) -> Result<(), WrongPhase> {
        let now = self.clock(now);
        self.lock_mut().release(now)
    }

    fn handle_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        let now = self.clock(now);
        self.on_reply(now, id, reply);
    }

    fn set_place(&mut self, place: Option<Place>) {
        self.lock_mut().set_place(place);
    }

    fn handle_call(&mut self, now: Instant, node: NodeId) {
        let now = self.clock(now);
        self.on_call(now, node);
    }

    fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock(now);
        self.lock_mut().handle_timeout(now);
    }

    fn poll_command(&mut self) -> Option<Command> {
        if let Some(command) = self.own_command() {
            return Some(command);
        }
        // As many times as a lock has nodes, at most.
        while let Some(command) = self.lock_mut().poll_command() {
            if let Some(command) = self.on_command(command) {
                return Some(command);
            }
        }
        None
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.lock_mut().poll_event()?;
        Some(self.on_event(event))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline()
    }

    fn lease(&self) -> Option<Lease> {
        self.believed()
    }

    fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }
}

/// The latest command of each kind to each node: what ids do not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sent {
    pub(crate) acquires: BTreeMap<NodeId, CommandId>,
    pub(crate) extends: BTreeMap<NodeId, CommandId>,
    /// With the number asked for.
    pub(crate) seals: BTreeMap<NodeId, (CommandId, u64)>,
}

impl Sent {
    pub(crate) fn note(&mut self, command: &Command) {
        let (node, id) = (command.id.node(), command.id);
        match command.op {
            Op::Acquire { .. } => {
                self.acquires.insert(node, id);
                self.seals.clear();
            }
            Op::Extend { .. } => {
                self.extends.insert(node, id);
            }
            Op::Seal { fence, .. } => {
                self.seals.insert(node, (id, fence.get()));
            }
            Op::Release { .. } => {}
        }
    }

    /// Whether `id` is that of the latest acquire to its node.
    pub(crate) fn is_acquire(&self, id: &CommandId) -> bool {
        self.acquires.get(&id.node()) == Some(id)
    }

    /// Whether `id` is that of the latest extension to its node.
    pub(crate) fn is_extend(&self, id: &CommandId) -> bool {
        self.extends.get(&id.node()) == Some(id)
    }
}

/// The event with another lease in it.
pub(crate) fn with_lease(event: Event, lease: impl FnOnce(Lease) -> Lease) -> Event {
    match event {
        Event::Granted(old) => Event::Granted(lease(old)),
        Event::Extended(old) => Event::Extended(lease(old)),
        Event::AtRisk { lease: old, tally } => Event::AtRisk { lease: lease(old), tally },
        Event::Lost { lease: old, loss } => Event::Lost { lease: lease(old), loss },
        Event::Retrying { .. } | Event::Failed { .. } | Event::Released(_) => event,
    }
}

/// Writes the three methods of a [`Plant`] that are always the same, for a struct whose field `lock` is
/// the lock and whose other fields have defaults.
macro_rules! around_lock {
    () => {
        fn plant(config: redlatch_core::Config) -> Self {
            Self { lock: redlatch_core::Lock::new(config), ..Self::rest(config) }
        }
        around_lock!(lock);
    };
    (lock) => {
        fn lock(&self) -> &redlatch_core::Lock {
            &self.lock
        }
        fn lock_mut(&mut self) -> &mut redlatch_core::Lock {
            &mut self.lock
        }
    };
}
pub(crate) use around_lock;
