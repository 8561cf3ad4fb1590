//! What is put to the test: a machine on each client, a cell on each node. The shipped ones are
//! [`Lock`] and [`Cell`]; planted bugs wrap or replace them.

use std::fmt::Debug;
use std::hash::Hash;

use redlatch_core::{
    Command, CommandId, Config, Event, Instant, Lease, Lock, NodeId, Op, Place, Proposal, Reply,
    Token, WrongPhase,
};

use crate::node::{Call, Cell, WallMillis};

/// One client's side of a lock: the inputs, outputs and questions of [`Lock`].
pub trait Machine: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// An idle machine.
    fn new(config: Config) -> Self;
    /// As [`Lock::acquire`].
    ///
    /// # Errors
    /// As there.
    fn acquire(
        &mut self,
        now: Instant,
        nonce: [u8; 16],
        proposal: Option<Proposal>,
    ) -> Result<(), WrongPhase>;
    /// As [`Lock::extend`].
    ///
    /// # Errors
    /// As there.
    fn extend(&mut self, now: Instant) -> Result<(), WrongPhase>;
    /// As [`Lock::release`].
    ///
    /// # Errors
    /// As there.
    fn release(&mut self, now: Instant) -> Result<(), WrongPhase>;
    /// As [`Lock::handle_reply`].
    fn handle_reply(&mut self, now: Instant, id: CommandId, reply: Reply);
    /// As [`Lock::set_place`].
    fn set_place(&mut self, place: Option<Place>);
    /// As [`Lock::handle_call`].
    fn handle_call(&mut self, now: Instant, node: NodeId);
    /// As [`Lock::handle_timeout`].
    fn handle_timeout(&mut self, now: Instant);
    /// As [`Lock::poll_command`].
    fn poll_command(&mut self) -> Option<Command>;
    /// As [`Lock::poll_event`].
    fn poll_event(&mut self) -> Option<Event>;
    /// As [`Lock::poll_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// As [`Lock::lease`]: what the client believes.
    fn lease(&self) -> Option<Lease>;
    /// As [`Lock::is_idle`].
    fn is_idle(&self) -> bool;
}

impl Machine for Lock {
    fn new(config: Config) -> Self {
        Self::new(config)
    }

    fn acquire(
        &mut self,
        now: Instant,
        nonce: [u8; 16],
        proposal: Option<Proposal>,
    ) -> Result<(), WrongPhase> {
        self.acquire(now, nonce, proposal)
    }

    fn extend(&mut self, now: Instant) -> Result<(), WrongPhase> {
        self.extend(now)
    }

    fn release(&mut self, now: Instant) -> Result<(), WrongPhase> {
        self.release(now)
    }

    fn handle_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        self.handle_reply(now, id, reply);
    }

    fn set_place(&mut self, place: Option<Place>) {
        self.set_place(place);
    }

    fn handle_call(&mut self, now: Instant, node: NodeId) {
        self.handle_call(now, node);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn poll_command(&mut self) -> Option<Command> {
        self.poll_command()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    fn lease(&self) -> Option<Lease> {
        self.lease()
    }

    fn is_idle(&self) -> bool {
        self.is_idle()
    }
}

/// What one node keeps of one resource, and how it changes.
pub trait NodeCell: Copy + Debug + Default + Eq + Hash + Send + Sync + 'static {
    /// Carries out one operation at this instant of the node's wall clock, and calls whoever it hands the
    /// key to.
    fn apply(&mut self, now: WallMillis, op: &Op, call: Call<'_>) -> Reply;
    /// The token in the key, if it has not expired.
    fn owner(&self, now: WallMillis) -> Option<Token>;
    /// The fence number; 0 for none.
    fn fence(&self) -> u64;
    /// Whether anybody is in the queue.
    fn has_waiters(&self) -> bool;
    /// Takes the key away: expiry, eviction, a crash. The fence number stays.
    fn drop_key(&mut self);
    /// Takes the fence number away too: a crash without its data, a flush.
    fn drop_all(&mut self);
}

impl<const W: usize> NodeCell for Cell<W> {
    fn apply(&mut self, now: WallMillis, op: &Op, call: Call<'_>) -> Reply {
        self.apply(now, op, call)
    }

    fn owner(&self, now: WallMillis) -> Option<Token> {
        self.owner(now)
    }

    fn fence(&self) -> u64 {
        self.fence
    }

    fn has_waiters(&self) -> bool {
        self.queue.has_waiters()
    }

    fn drop_key(&mut self) {
        self.key = None;
    }

    fn drop_all(&mut self) {
        *self = Self::default();
    }
}
