//! A sans-IO harness: a `Lock`, a clock that the test moves, and everything that the lock put out.
//!
//! Each input is followed by a full drain, as the driver's duty asks for, and each drain checks what
//! must hold at every step: no more output than nodes, nothing believed whose release is handed out,
//! a due timeout while anything is undrained.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use redlatch_core::{
    Command, Config, Event, Fence, Instant, Lease, Lock, NodeId, NodeSet, Op, Proposal, Quorum,
    Reply, Retry, Token, Ttl, WrongPhase,
};

/// The ttl of [`config`], in ms.
pub(crate) const TTL: u64 = 1_000;
/// What 1 % and 2 ms of drift leave of it.
pub(crate) const VALIDITY: u64 = 988;
/// After how long a key of that ttl is certainly gone.
pub(crate) const EXPIRY: u64 = 1_012;
/// What [`config`] gives a node to answer: a tenth of the ttl.
pub(crate) const NODE_TIMEOUT: u64 = 100;

pub(crate) const YES: Reply = Reply::Applied { fence: None };
pub(crate) const NO: Reply = Reply::Refused { remaining: None, fence: None };
pub(crate) const UNKNOWN: Reply = Reply::Unknown;

/// A lock on `nodes` nodes: one attempt, no renewal.
pub(crate) fn config(nodes: usize) -> Config {
    let quorum = Quorum::of(nodes).expect("1 to 16 nodes");
    let ttl = Ttl::from_millis(TTL).expect("a second");
    Config::new(quorum, ttl).expect("a second outlasts its drift")
}

pub(crate) const fn ms(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// At most `count` attempts.
pub(crate) fn attempts(count: u32) -> Retry {
    Retry::attempts(NonZeroU32::new(count).expect("at least one"))
}

pub(crate) fn node(index: usize) -> NodeId {
    NodeId::new(index).expect("at most 16 nodes")
}

pub(crate) fn set(nodes: impl IntoIterator<Item = usize>) -> NodeSet {
    nodes.into_iter().map(node).collect()
}

/// The token of the attempt with this number.
pub(crate) const fn token(attempt: u32) -> Token {
    Token::new(Rig::NONCE, attempt)
}

/// Applied, with a fence number.
pub(crate) fn yes(fence: u64) -> Reply {
    Reply::Applied { fence: Fence::new(fence) }
}

/// Refused, by a key that still lives for `remaining` ms.
pub(crate) fn no(remaining: u64) -> Reply {
    Reply::Refused { remaining: Some(millis(remaining)), fence: None }
}

/// Quarantined for `remaining` ms.
pub(crate) fn quarantined(remaining: u64) -> Reply {
    Reply::Quarantined { remaining: millis(remaining) }
}

/// Whom `command` releases, if that is what it does.
pub(crate) fn released(command: &Command) -> Option<Token> {
    match command.op {
        Op::Release { token, .. } => Some(token),
        Op::Acquire { .. } | Op::Seal { .. } | Op::Extend { .. } => None,
    }
}

/// The nodes that `commands` go to.
pub(crate) fn targets(commands: &[Command]) -> NodeSet {
    commands.iter().map(|command| command.id.node()).collect()
}

/// Something that happens to a lock under test.
pub(crate) type Step = fn(&mut Rig);

/// A lock under test. A copy is a fork of the story.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) lock: Lock,
    now: Instant,
    /// The largest `now` that the lock was given.
    latest: Instant,
    handed_out: Vec<Command>,
    /// How many of `handed_out` the test has looked at.
    seen: usize,
    events: VecDeque<Event>,
}

impl Rig {
    pub(crate) const NONCE: [u8; 16] = [0xA5; 16];

    /// An idle lock at 0 ms.
    pub(crate) fn new(config: Config) -> Self {
        Self::of(Lock::new(config), Instant::ZERO)
    }

    /// `lock`, whose first outputs are drained at `now`.
    pub(crate) fn of(lock: Lock, now: Instant) -> Self {
        let (handed_out, events) = (Vec::new(), VecDeque::new());
        let mut rig = Self { lock, now, latest: now, handed_out, seen: 0, events };
        rig.drain();
        rig
    }

    /// A lock on `nodes` nodes that all of them granted, without a fence, at 0 ms.
    pub(crate) fn held(config: Config) -> Self {
        let mut rig = Self::new(config);
        rig.acquire();
        rig.answers(0..config.quorum().nodes().len(), YES);
        assert!(matches!(rig.event(), Some(Event::Granted(_))));
        rig.commands();
        rig
    }

    /// Moves the clock; the machine notices at the next input.
    pub(crate) fn at(&mut self, millis: u64) -> &mut Self {
        self.now = ms(millis);
        self
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn acquire(&mut self) {
        self.lock.acquire(self.now, Self::NONCE, None).expect("the lock is idle");
        self.drain();
    }

    pub(crate) fn acquire_fenced(&mut self, proposal_micros: u64) {
        let proposal = Proposal::from_unix_micros(proposal_micros).expect("not 0, not above 2^52");
        self.lock.acquire(self.now, Self::NONCE, Some(proposal)).expect("the lock is idle");
        self.drain();
    }

    pub(crate) fn extend(&mut self) -> Result<(), WrongPhase> {
        let result = self.lock.extend(self.now);
        self.drain();
        result
    }

    pub(crate) fn release(&mut self) -> Result<(), WrongPhase> {
        let result = self.lock.release(self.now);
        self.drain();
        result
    }

    /// Hands in a reply to `command`, whichever that was.
    pub(crate) fn reply(&mut self, command: &Command, reply: Reply) {
        self.lock.handle_reply(self.now, command.id, reply);
        self.drain();
    }

    /// `node` replies to the command that it was last given.
    pub(crate) fn answer(&mut self, node: usize, reply: Reply) {
        let command = self.last_to(node);
        self.reply(&command, reply);
    }

    /// Each of `nodes` replies to the command that it was last given.
    pub(crate) fn answers(&mut self, nodes: impl IntoIterator<Item = usize>, reply: Reply) {
        for node in nodes {
            self.answer(node, reply);
        }
    }

    /// `node` calls: it keeps the key for this waiter.
    pub(crate) fn call(&mut self, index: usize) {
        self.lock.handle_call(self.now, node(index));
        self.drain();
    }

    /// Calls are heard from now on.
    pub(crate) fn listening(&mut self) {
        self.lock.handle_listening(self.now);
        self.drain();
    }

    /// Moves the clock and reports the timeout.
    pub(crate) fn timeout_at(&mut self, millis: u64) {
        self.at(millis).tick();
    }

    /// Sleeps until the lock asks to be woken, and wakes it.
    pub(crate) fn sleep(&mut self) -> Instant {
        self.now = self.lock.poll_timeout().expect("nothing is going to happen").max(self.now);
        self.tick();
        self.now
    }

    fn tick(&mut self) {
        self.lock.handle_timeout(self.now);
        self.drain();
    }

    /// What was handed out since this was last asked.
    pub(crate) fn commands(&mut self) -> Vec<Command> {
        let commands = self.handed_out[self.seen..].to_vec();
        self.seen = self.handed_out.len();
        commands
    }

    /// The command that `node` was last given.
    pub(crate) fn last_to(&self, node: usize) -> Command {
        let last = self.handed_out.iter().rfind(|command| command.id.node().index() == node);
        *last.expect("the node was given a command")
    }

    /// The acquire command that `node` was last given.
    pub(crate) fn last_acquire(&self, node: usize) -> Command {
        let is_it = |command: &&Command| {
            command.id.node().index() == node && matches!(command.op, Op::Acquire { .. })
        };
        *self.handed_out.iter().rfind(is_it).expect("the node was asked for the lock")
    }

    /// The next thing that the application was told.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The lease that the next event grants, extends or puts at risk.
    pub(crate) fn lease_told(&mut self) -> Lease {
        match self.event() {
            Some(Event::Granted(lease) | Event::Extended(lease) | Event::AtRisk { lease, .. }) => {
                lease
            }
            other => panic!("no lease was told, but {other:?}"),
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.lock.is_valid(self.now)
    }

    fn drain(&mut self) {
        let before = self.handed_out.len();
        self.latest = self.latest.max(self.now);
        loop {
            let due = self.lock.poll_timeout();
            let Some(command) = self.lock.poll_command() else { break };
            assert_eq!(due, Some(self.latest), "a command waits, and a driver would sleep");
            // R12: whoever's release is handed out is not believed in any more.
            let believed = self.lock.lease().map(|lease| lease.token);
            assert!(believed.is_none() || released(&command) != believed);
            // R7: a reply is told from all others by the id of its command.
            assert!(self.handed_out.iter().all(|earlier| earlier.id != command.id));
            self.handed_out.push(command);
            // All nodes twice and one late release bound what one input can cause.
            assert!(self.handed_out.len() - before <= 33, "a node is asked again and again");
        }
        let due = self.lock.poll_timeout();
        if let Some(event) = self.lock.poll_event() {
            assert_eq!(due, Some(self.latest), "an event waits, and a driver would sleep");
            self.events.push_back(event);
        }
        assert_eq!(self.lock.poll_command(), None, "polling twice yields a command");
        assert_eq!(self.lock.poll_event(), None, "polling twice yields an event");
    }
}
