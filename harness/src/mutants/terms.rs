//! Machines that are wrong about how long, about which token, or about when an operation is over.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::time::Duration;

use redlatch_core::{
    Command, CommandId, Config, Drift, Event, Instant, Lease, Lock, NodeId, Op, Reply, Retry,
    Token, Ttl,
};

use super::plant::{Plant, Sent, around_lock, with_lease};

const MILLI: Duration = Duration::from_millis(1);

/// M01: no margin for drift: a promise is relied on for the whole ttl.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoDrift {
    lock: Lock,
    ttl: Ttl,
}

impl Plant for NoDrift {
    around_lock!(lock);

    fn plant(config: Config) -> Self {
        Self { lock: Lock::new(for_longer(config).unwrap_or(config)), ttl: config.ttl() }
    }

    fn on_command(&mut self, command: Command) -> Option<Command> {
        let op = match command.op {
            Op::Acquire { token, proposal, .. } => Op::Acquire { token, ttl: self.ttl, proposal },
            Op::Extend { token, fence, .. } => Op::Extend { token, ttl: self.ttl, fence },
            op @ (Op::Seal { .. } | Op::Release { .. }) => op,
        };
        Some(Command { op, ..command })
    }
}

/// The same configuration for a ttl whose validity is the ttl of `config`.
fn for_longer(config: Config) -> Option<Config> {
    let drift = Drift::from_ppm(0)?;
    let ttl = Ttl::new(config.ttl().as_duration() + drift.margin(config.ttl())).ok()?;
    let longer = Config::new(config.quorum(), ttl).ok()?.with_drift(drift).ok()?;
    let longer = longer.with_validity_min(config.validity_min()).ok()?;
    let longer = longer.with_node_timeout(config.node_timeout()).ok()?.with_retry(config.retry());
    Some(config.renewal().map_or(longer, |renewal| longer.with_renewal(renewal)))
}

/// M02: validity counts from the reply that completes the majority.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FromReply {
    lock: Lock,
    now: Instant,
}

impl FromReply {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), now: Instant::ZERO }
    }
}

impl Plant for FromReply {
    around_lock!();

    fn clock(&mut self, now: Instant) -> Instant {
        self.now = now;
        now
    }

    fn on_event(&mut self, event: Event) -> Event {
        let Event::Granted(lease) = event else { return event };
        let valid_until = self.now.saturating_add(self.lock.config().validity());
        adopt(&mut self.lock, self.now, Lease { valid_until, ..lease })
    }
}

/// Replaces `lock` by one that holds `lease`.
fn adopt(lock: &mut Lock, now: Instant, lease: Lease) -> Event {
    *lock = Lock::adopt(*lock.config(), now, &lease);
    Event::Granted(lease)
}

/// M03: a majority is a grant however late it comes, and is used, if only for a moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoCheck {
    lock: Lock,
    now: Instant,
    /// While an attempt is under way, the lock is told that no time passes.
    frozen: Option<Instant>,
}

impl NoCheck {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), now: Instant::ZERO, frozen: None }
    }
}

impl Plant for NoCheck {
    around_lock!();

    fn clock(&mut self, now: Instant) -> Instant {
        self.now = now;
        self.frozen.unwrap_or(now)
    }

    fn on_command(&mut self, command: Command) -> Option<Command> {
        if let Op::Acquire { .. } = command.op {
            self.frozen.get_or_insert(self.now);
        }
        Some(command)
    }

    fn on_event(&mut self, event: Event) -> Event {
        self.frozen = None;
        let Event::Granted(lease) = event else { return event };
        let valid_until = lease.valid_until.max(self.now.saturating_add(MILLI));
        adopt(&mut self.lock, self.now, Lease { valid_until, ..lease })
    }

    fn deadline(&self) -> Option<Instant> {
        if self.frozen.is_some() { None } else { self.lock.poll_timeout() }
    }
}

/// M07, M24: all attempts have one token, those of later calls as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SameToken {
    lock: Lock,
    first: Option<Token>,
}

impl SameToken {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), first: None }
    }

    fn same(&self, lease: Lease) -> Lease {
        Lease { token: self.first.unwrap_or(lease.token), ..lease }
    }
}

impl Plant for SameToken {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        let mut same = |token| *self.first.get_or_insert(token);
        let op = match command.op {
            Op::Acquire { token, ttl, proposal } => {
                Op::Acquire { token: same(token), ttl, proposal }
            }
            Op::Seal { token, fence } => Op::Seal { token: same(token), fence },
            Op::Extend { token, ttl, fence } => Op::Extend { token: same(token), ttl, fence },
            Op::Release { token, place } => Op::Release { token: same(token), place },
        };
        Some(Command { op, ..command })
    }

    fn on_event(&mut self, event: Event) -> Event {
        with_lease(event, |lease| self.same(lease))
    }

    fn believed(&self) -> Option<Lease> {
        self.lock.lease().map(|lease| self.same(lease))
    }
}

/// M10: the lease is believed until its release is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeldInRelease {
    lock: Lock,
    held: Option<Lease>,
}

impl HeldInRelease {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), held: None }
    }
}

impl Plant for HeldInRelease {
    around_lock!();

    fn on_event(&mut self, event: Event) -> Event {
        self.held = match event {
            Event::Granted(lease) | Event::Extended(lease) | Event::AtRisk { lease, .. } => {
                Some(lease)
            }
            Event::Released(_) | Event::Lost { .. } | Event::Failed { .. } => None,
            Event::Retrying { .. } => self.held,
        };
        event
    }

    fn believed(&self) -> Option<Lease> {
        self.lock.lease().or(self.held)
    }
}

/// M16: the first extension asks each node for half the ttl, and its answers are not used; the next
/// ones ask for all of it. That is right, unless a node shortens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShortFirst {
    lock: Lock,
    /// The first extension.
    first: Sent,
}

impl ShortFirst {
    fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), first: Sent::default() }
    }
}

impl Plant for ShortFirst {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        let Op::Extend { token, ttl, fence } = command.op else { return Some(command) };
        if self.first.extends.contains_key(&command.id.node()) {
            return Some(command);
        }
        self.first.note(&command);
        let ttl = Ttl::from_millis(u64::from(ttl.as_millis() / 2)).unwrap_or(ttl);
        Some(Command { op: Op::Extend { token, ttl, fence }, ..command })
    }

    fn on_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        let refused = Reply::Refused { remaining: None, fence: None };
        let reply = if self.first.is_extend(&id) { refused } else { reply };
        self.lock.handle_reply(now, id, reply);
    }
}

/// M25, M26: a lease that has lapsed is revived by the next extension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revive {
    lock: Lock,
}

impl Plant for Revive {
    around_lock!(lock);

    fn plant(config: Config) -> Self {
        Self { lock: Lock::new(config) }
    }

    fn clock(&mut self, now: Instant) -> Instant {
        let nano = Duration::from_nanos(1);
        self.lock.lease().map_or(now, |lease| now.min(lease.valid_until.saturating_sub(nano)))
    }

    fn deadline(&self) -> Option<Instant> {
        let lapse = self.lock.lease().map(|lease| lease.valid_until);
        self.lock.poll_timeout().filter(|at| Some(*at) != lapse)
    }
}

/// Where a failed attempt is not undone.
pub trait Forgotten: Clone + Debug + Eq + Hash + Send + Sync + 'static {
    /// Whether it is forgotten at `node`, one of `nodes`.
    fn is_at(node: NodeId, nodes: usize) -> bool;
}

/// At every node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Everywhere;

/// At the first node, where the others hide it: of two nodes both are needed, and the lock would not be had
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AtOneNode;

impl Forgotten for Everywhere {
    fn is_at(_: NodeId, _: usize) -> bool {
        true
    }
}

impl Forgotten for AtOneNode {
    fn is_at(node: NodeId, nodes: usize) -> bool {
        node.index() == 0 && nodes > 2
    }
}

/// L1, X5: an attempt that fails is not undone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoUndo<F> {
    lock: Lock,
    granted: Option<Token>,
    forgotten: PhantomData<F>,
}

impl<F: Forgotten> NoUndo<F> {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), granted: None, forgotten: PhantomData }
    }
}

impl<F: Forgotten> Plant for NoUndo<F> {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        let Op::Release { token, .. } = command.op else { return Some(command) };
        let nodes = self.lock.config().quorum().nodes().len();
        if self.granted == Some(token) || !F::is_at(command.id.node(), nodes) {
            return Some(command);
        }
        // A release of nothing is refused by every node, so the lock thinks that all is well.
        let op = Op::Release { token: Token::new([u8::MAX; 16], 0), place: None };
        Some(Command { op, ..command })
    }

    fn on_event(&mut self, event: Event) -> Event {
        if let Event::Granted(lease) = event {
            self.granted = Some(lease.token);
        }
        event
    }
}

/// L3: an attempt is over when a majority says yes, and not before: a tie hangs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WaitsForAll {
    lock: Lock,
    acquiring: Option<Token>,
}

impl WaitsForAll {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), acquiring: None }
    }
}

impl Plant for WaitsForAll {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        match command.op {
            Op::Acquire { token, .. } => self.acquiring = Some(token),
            Op::Release { .. } => self.acquiring = None,
            Op::Seal { .. } | Op::Extend { .. } => {}
        }
        Some(command)
    }

    fn on_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        let is_no = matches!(reply, Reply::Refused { .. });
        if self.acquiring.is_none() || self.lock.lease().is_some() || !is_no {
            self.lock.handle_reply(now, id, reply);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let hangs = self.acquiring.is_some() && self.lock.lease().is_none();
        if hangs { None } else { self.lock.poll_timeout() }
    }
}

/// L4: every delay before a retry is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NoJitter {
    lock: Lock,
}

impl Plant for NoJitter {
    around_lock!(lock);

    fn plant(config: Config) -> Self {
        let retry = config.retry().with_delays(Retry::DELAY_MIN, Retry::DELAY_MIN);
        Self { lock: Lock::new(config.with_retry(retry)) }
    }
}

/// L5: nodes are asked one after the other, each when the one before has answered, however long that
/// takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OneByOne {
    lock: Lock,
    waiting: VecDeque<Command>,
    out: Option<CommandId>,
}

impl OneByOne {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), waiting: VecDeque::new(), out: None }
    }
}

impl Plant for OneByOne {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        let Op::Acquire { .. } = command.op else { return Some(command) };
        self.waiting.push_back(command);
        None
    }

    fn own_command(&mut self) -> Option<Command> {
        if self.out.is_some() {
            return None;
        }
        let command = self.waiting.pop_front()?;
        self.out = Some(command.id);
        Some(command)
    }

    fn on_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        if self.out == Some(id) {
            self.out = None;
        }
        self.lock.handle_reply(now, id, reply);
    }

    fn deadline(&self) -> Option<Instant> {
        if self.out.is_some() { None } else { self.lock.poll_timeout() }
    }
}
