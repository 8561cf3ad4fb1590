//! The protocol and its bytes allocate nothing, over the whole life of a lock.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::num::NonZeroU32;

use redlatch_core::wire::{Answer, Compare, Dialect, Form, Keys, Value, Wire};
use redlatch_core::{
    Command, Config, Event, Fence, Instant, Lock, NodeId, Op, Place, Proposal, Quorum, Released,
    Retry, Token, Ttl,
};

/// The system's allocator, which counts what this thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call goes to the system's allocator as it is. Counting is a `Cell` in thread-local
// storage that is initialised at compile time and has no destructor, so it never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NODES: [usize; 4] = [1, 3, 5, 16];
const ACQUIRE: Op = Op::Acquire { token: Token::new([7; 16], 1), ttl: Ttl::MAX, proposal: None };
const COMPARES: [Compare; 3] = [Compare::Script, Compare::Delex, Compare::Delifeq];

/// How often `what` allocates.
fn allocations(what: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    what();
    ALLOCATIONS.get() - before
}

/// A lock on `nodes` nodes that say yes, each of which reports a fence of its own until it is sealed.
struct Rig<'a> {
    nodes: usize,
    wire: Wire<'a>,
    lock: Lock,
    buffer: [u8; 512],
}

impl<'a> Rig<'a> {
    fn new(nodes: usize, keys: &[&'a [u8]], dialect: Dialect) -> Self {
        let keys = Keys::new(keys).expect("keys of one slot");
        let quorum = Quorum::of(nodes).expect("1 to 16 nodes");
        let ttl = Ttl::from_millis(30_000).expect("half a minute");
        Self {
            nodes,
            wire: Wire::new(keys, dialect).expect("keys that the dialect takes"),
            lock: Lock::new(Config::new(quorum, ttl).expect("outlasts its drift")),
            buffer: [0; 512],
        }
    }

    /// Acquires, extends and releases.
    fn live(&mut self, proposal: Option<Proposal>) {
        let now = Instant::from_nanos(1);
        self.lock.acquire(now, [7; 16], proposal).expect("the lock is idle");
        self.exchange(now);
        let Some(Event::Granted(lease)) = self.lock.poll_event() else { panic!("all said yes") };
        assert_eq!(lease.fence.is_some(), proposal.is_some());
        self.lock.extend(now).expect("the lock is held");
        self.exchange(now);
        assert!(matches!(self.lock.poll_event(), Some(Event::Extended(_))));
        self.lock.release(now).expect("the lock is held");
        self.exchange(now);
        let released = self.lock.poll_event();
        assert_eq!(released, Some(Event::Released(Released::Confirmed)));
        assert_eq!((self.lock.is_idle(), self.lock.poll_timeout()), (true, None));
    }

    /// Is refused, waits in the queues, is called, and acquires.
    fn wait(&mut self) {
        let now = Instant::from_nanos(1);
        self.lock.set_place(Some(Place::since_millis(u64::MAX)));
        self.lock.acquire(now, [7; 16], None).expect("the lock is idle");
        let no = self
            .wire
            .decode(&ACQUIRE, &Value::Array(&[Value::Int(0), Value::Int(9), Value::Int(0)]));
        let Answer::Reply(no) = no else { panic!("it is a no") };
        let mut sent = [None; 16];
        for place in sent.iter_mut().take(self.nodes) {
            *place = self.lock.poll_command();
        }
        for Command { id, .. } in sent.into_iter().flatten() {
            self.lock.handle_reply(now, id, no);
        }
        assert!(matches!(self.lock.poll_event(), Some(Event::Retrying { .. })));
        self.exchange(now);
        for node in (0..self.nodes).filter_map(NodeId::new) {
            self.lock.handle_call(now, node);
        }
        self.exchange(now);
        assert!(matches!(self.lock.poll_event(), Some(Event::Granted(_))));
    }

    /// Commands and answers, until there are no more commands. Two rounds at most: acquire, seal.
    fn exchange(&mut self, now: Instant) {
        for _ in 0..2 {
            let mut sent = [None; 16];
            for place in sent.iter_mut().take(self.nodes) {
                *place = self.lock.poll_command();
            }
            for Command { id, op, .. } in sent.into_iter().flatten() {
                for form in [Form::Sha1, Form::Text] {
                    let args = self.wire.encode(&op, form, &mut self.buffer);
                    assert!(args.expect("the buffer is large enough").as_slice().len() >= 3);
                }
                let missing = self.wire.decode(&op, &Value::Error(b"NOSCRIPT No matching script."));
                assert_eq!(missing, Answer::ScriptMissing);
                let Answer::Reply(reply) = self.yes(&op, id.node().index()) else {
                    panic!("it is a yes")
                };
                self.lock.handle_reply(now, id, reply);
            }
        }
    }

    /// What a server answers to `op` if it did it, in any dialect.
    fn yes(&self, op: &Op, node: usize) -> Answer {
        let fence = match op {
            Op::Acquire { proposal, .. } => proposal.map(|proposal| proposal.fence().get()),
            Op::Seal { fence, .. } => Some(fence.get()),
            Op::Extend { .. } | Op::Release { .. } => None,
        };
        let own = if matches!(op, Op::Acquire { .. }) { node as i64 } else { 0 };
        let fence = fence.and_then(Fence::new).map_or(0, |fence| fence.get() as i64 + own);
        let script = [Value::Int(1), Value::Int(fence)];
        let script = match op {
            Op::Acquire { .. } | Op::Seal { .. } => &script[..],
            Op::Extend { .. } | Op::Release { .. } => &script[..1],
        };
        let answers = [Value::Array(script), Value::Bytes(b"OK"), Value::Int(1)];
        let meant = answers.iter().map(|value| self.wire.decode(op, value));
        let mut yes = meant
            .filter(|answer| matches!(answer, Answer::Reply(redlatch_core::Reply::Applied { .. })));
        yes.next().expect("one of them is a yes in this dialect")
    }
}

#[test]
fn the_scripts_dialect_allocates_nothing() {
    let proposal = Proposal::from_unix_micros(1_700_000_000_000_000).ok();
    let guarded = Dialect::Scripts {
        restart_guard: Some(Ttl::MAX),
        fence_retention: Dialect::FENCE_RETENTION,
    };
    let keys: [&[&[u8]]; 2] = [&[b"report"], &[b"{order:7}:stock", b"{order:7}:invoice"]];
    for nodes in NODES {
        for (dialect, keys) in [(Dialect::SCRIPTS, keys[0]), (guarded, keys[1])] {
            for proposal in [None, proposal] {
                let mut rig = Rig::new(nodes, keys, dialect);
                let count = allocations(|| rig.live(proposal));
                assert_eq!(count, 0, "{nodes} nodes, {dialect:?}, {proposal:?}");
            }
        }
    }
}

/// R18
#[test]
fn waiting_in_a_queue_allocates_nothing() {
    for nodes in NODES {
        let mut rig = Rig::new(nodes, &[b"report"], Dialect::SCRIPTS);
        let retry = Retry::attempts(NonZeroU32::new(2).expect("two"));
        rig.lock = Lock::new(rig.lock.config().with_retry(retry));
        assert_eq!(allocations(|| rig.wait()), 0, "{nodes} nodes");
    }
}

#[test]
fn the_plain_dialect_allocates_nothing() {
    for nodes in NODES {
        for compare in COMPARES {
            let mut rig = Rig::new(nodes, &[b"report"], Dialect::Plain { compare });
            let count = allocations(|| rig.live(None));
            assert_eq!(count, 0, "{nodes} nodes, {compare:?}");
        }
    }
}

/// The canary.
#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}
