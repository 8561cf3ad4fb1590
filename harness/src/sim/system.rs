//! What can be put into the simulator: a lock of any kind, and the nodes that it talks to.

use std::fmt::Debug;
use std::marker::PhantomData;

use redlatch_core::{
    Command, CommandId, Config, Event, Instant, Lease, Lock, NodeId, Op, Place, Proposal, Reply,
    Token,
};

use crate::history::Asked;
use crate::node::{Call, Cell, Nonce, WallMillis, nobody};
use crate::system::{Machine, NodeCell};

/// A lock under test. Implement it for a lock of your own, and [`check`](crate::sim::check) it.
///
/// The shipped lock is [`Shipped`]; [`plain`](crate::sim::plain) has requests and nodes for locks that
/// get along with `SET NX PX`, compare-and-delete, and the like.
pub trait System {
    /// What a client asks of a node.
    type Request: Request;
    /// One client's side.
    type Client: Client<Request = Self::Request>;
    /// One node's side, for one resource.
    type Node: Node<Request = Self::Request>;

    /// A client's side as it is when its process starts.
    fn client(&self, config: &Config) -> Self::Client;

    /// Whether a resource that checks fences lets in a holder that shows `fence`, where `highest` is
    /// the largest that it has seen.
    #[must_use]
    fn admits(highest: u64, fence: u64) -> bool {
        Proper::admits(highest, fence)
    }

    /// For how long a node that may have forgotten something is kept from voting, where the longest ttl
    /// is `ttl_max_ms`.
    #[must_use]
    fn quarantine_ms(ttl_max_ms: u64) -> u64 {
        Proper::quarantine_ms(ttl_max_ms)
    }
}

/// What a client asks of a node. It is handed back with the reply, so it may carry whatever the client
/// wants to know then.
pub trait Request: Copy + Debug {
    /// What kind of thing is asked.
    fn asked(&self) -> Asked;
    /// For which token.
    fn token(&self) -> Token;
}

/// One client's side of a lock: no I/O, no clock, no randomness; equal inputs give equal outputs.
pub trait Client: Debug {
    /// What it asks of a node.
    type Request;

    /// Takes one input, at `now` on the client's clock, and says what follows from it.
    ///
    /// The checker expects the life of [`redlatch_core::Lock`]: an acquire ends with `Granted` or
    /// `Failed`, a hold with `Lost` (no later than the lease's `valid_until`) or a release, and a release
    /// with `Released`. A release while the lock is being acquired ends with `Failed` at once.
    fn input(&mut self, now: Instant, input: Input<Self::Request>, out: &mut Outbox<Self::Request>);
    /// When it wants an [`Input::Timeout`], unless another input comes first.
    fn wake_at(&self) -> Option<Instant>;
    /// What the client believes to hold, as of the last input.
    fn lease(&self) -> Option<Lease>;
    /// Whether it can take an [`Input::Acquire`].
    fn is_idle(&self) -> bool;
}

/// What a client's lock has to deal with.
#[derive(Clone, Copy, Debug)]
pub enum Input<R> {
    /// The application wants the lock. Comes only when the lock is idle.
    Acquire {
        /// Random bytes for tokens, never used before.
        nonce: [u8; 16],
        /// The client's wall clock, if a fence is wanted.
        proposal: Option<Proposal>,
        /// Since when it waits, if it waits in the queues of the nodes.
        place: Option<Place>,
    },
    /// A node calls: it says that it keeps the key for the waiter of this nonce.
    Call {
        /// Which node.
        node: usize,
        /// Whom, which may be one that waits no longer.
        nonce: Nonce,
    },
    /// The application wants to hold it for longer.
    Extend,
    /// The application gives it up, or calls the acquire off.
    Release,
    /// A node answers.
    Reply {
        /// Which node.
        node: usize,
        /// What it was asked.
        request: R,
        /// What it says.
        reply: Reply,
    },
    /// The time has come.
    Timeout,
}

/// What follows from an input.
#[derive(Debug)]
pub struct Outbox<R> {
    pub(crate) requests: Vec<(u8, R)>,
    pub(crate) events: Vec<Event>,
}

impl<R> Outbox<R> {
    pub(crate) const fn new() -> Self {
        Self { requests: Vec::new(), events: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.requests.clear();
        self.events.clear();
    }

    /// Asks something of a node.
    pub fn send(&mut self, node: usize, request: R) {
        self.requests.push((node as u8, request));
    }

    /// Tells the application something.
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }
}

/// What one node keeps of one resource.
pub trait Node: Copy + Debug + Default + PartialEq {
    /// What it is asked.
    type Request;

    /// Carries out one request, all of it or nothing, at this instant of the node's wall clock.
    fn apply(&mut self, now: WallMillis, request: &Self::Request) -> Reply;
    /// The same, on a node that calls waiters.
    fn apply_calling(
        &mut self,
        now: WallMillis,
        request: &Self::Request,
        _call: Call<'_>,
    ) -> Reply {
        self.apply(now, request)
    }
    /// The token in the key, if it has not expired.
    fn owner(&self, now: WallMillis) -> Option<Token>;
    /// The fence number; 0 for none.
    fn fence(&self) -> u64;
    /// Takes the key away.
    fn drop_key(&mut self);
    /// Takes the fence number away too.
    fn drop_all(&mut self);
}

/// What surrounds clients and nodes. The provided methods are how it should be.
pub trait Surroundings {
    /// As [`System::admits`].
    #[must_use]
    fn admits(highest: u64, fence: u64) -> bool {
        fence >= highest
    }

    /// As [`System::quarantine_ms`].
    #[must_use]
    fn quarantine_ms(ttl_max_ms: u64) -> u64 {
        ttl_max_ms
    }
}

/// Surroundings as they should be.
#[derive(Clone, Copy, Debug)]
pub struct Proper;

impl Surroundings for Proper {}

/// The shipped lock, the model node and surroundings as they should be, or planted bugs in their places.
#[derive(Debug)]
pub struct Shipped<M = Lock, C = Cell, S = Proper>(PhantomData<Parts<M, C, S>>);

/// Whatever its parts are, a system may be shared.
type Parts<M, C, S> = fn() -> (M, C, S);

impl<M, C, S> Shipped<M, C, S> {
    /// With the machine `M` on each client, the cell `C` on each node, and the surroundings `S`.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M, C, S> Default for Shipped<M, C, S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M, C, S> Clone for Shipped<M, C, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, C, S> Copy for Shipped<M, C, S> {}

impl<M: Machine, C: NodeCell, S: Surroundings> System for Shipped<M, C, S> {
    type Request = Carried;
    type Client = Driven<M>;
    type Node = Served<C>;

    fn client(&self, config: &Config) -> Driven<M> {
        Driven { machine: M::new(*config), nonce: [0; 16] }
    }

    fn admits(highest: u64, fence: u64) -> bool {
        S::admits(highest, fence)
    }

    fn quarantine_ms(ttl_max_ms: u64) -> u64 {
        S::quarantine_ms(ttl_max_ms)
    }
}

/// A command of the shipped lock, without its deadline, which the lock keeps by itself.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    id: CommandId,
    op: Op,
}

impl Request for Carried {
    fn asked(&self) -> Asked {
        match self.op {
            Op::Acquire { .. } => Asked::Acquire,
            Op::Seal { .. } => Asked::Seal,
            Op::Extend { .. } => Asked::Extend,
            Op::Release { .. } => Asked::Release,
        }
    }

    fn token(&self) -> Token {
        match self.op {
            Op::Acquire { token, .. }
            | Op::Seal { token, .. }
            | Op::Extend { token, .. }
            | Op::Release { token, .. } => token,
        }
    }
}

/// A [`Machine`], driven as its contract asks for: one input, then everything is drained.
#[derive(Debug)]
pub struct Driven<M> {
    machine: M,
    /// Of the latest acquire: calls of others are not for the lock.
    nonce: Nonce,
}

impl<M: Machine> Client for Driven<M> {
    type Request = Carried;

    fn input(&mut self, now: Instant, input: Input<Carried>, out: &mut Outbox<Carried>) {
        let machine = &mut self.machine;
        // A wrong phase is told by an event that comes with it: the lease lapsed in this very moment.
        match input {
            Input::Acquire { nonce, proposal, place } => {
                self.nonce = nonce;
                machine.set_place(place);
                machine.acquire(now, nonce, proposal).unwrap_or(())
            }
            Input::Call { node, nonce } => match NodeId::new(node) {
                Some(node) if nonce == self.nonce => machine.handle_call(now, node),
                Some(_) | None => machine.handle_timeout(now),
            },
            Input::Extend => machine.extend(now).unwrap_or(()),
            Input::Release => machine.release(now).unwrap_or(()),
            Input::Reply { request, reply, .. } => machine.handle_reply(now, request.id, reply),
            Input::Timeout => machine.handle_timeout(now),
        }
        while let Some(Command { id, op, .. }) = machine.poll_command() {
            out.send(id.node().index(), Carried { id, op });
        }
        while let Some(event) = machine.poll_event() {
            out.tell(event);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn lease(&self) -> Option<Lease> {
        self.machine.lease()
    }

    fn is_idle(&self) -> bool {
        self.machine.is_idle()
    }
}

/// A [`NodeCell`], asked with whole commands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Served<C>(C);

impl<C: NodeCell> Node for Served<C> {
    type Request = Carried;

    fn apply(&mut self, now: WallMillis, request: &Carried) -> Reply {
        self.0.apply(now, &request.op, &mut nobody)
    }

    fn apply_calling(&mut self, now: WallMillis, request: &Carried, call: Call<'_>) -> Reply {
        self.0.apply(now, &request.op, call)
    }

    fn owner(&self, now: WallMillis) -> Option<Token> {
        self.0.owner(now)
    }

    fn fence(&self) -> u64 {
        self.0.fence()
    }

    fn drop_key(&mut self) {
        self.0.drop_key();
    }

    fn drop_all(&mut self) {
        self.0.drop_all();
    }
}
