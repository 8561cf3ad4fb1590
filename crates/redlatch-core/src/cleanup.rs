//! Undoing what a token may have left on nodes, until they say so or the keys expire.

use crate::command::{Command, CommandId, Kind, Op, Reply};
use crate::event::Released;
use crate::lease::Token;
use crate::queue::{CAN_QUEUE, Place};
use crate::quorum::{NODES_MAX, NodeId, NodeSet, Quorum};
use crate::time::Instant;

/// Release commands for one dead token: to every node that may have it (R4), again to those that
/// answered Unknown, at growing intervals, until the token would have expired by itself (R12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cleanup {
    token: Token,
    /// The number of the latest round.
    round: u32,
    /// When its commands were sent.
    sent: Instant,
    asks: u32,
    /// Nodes that may still have the token in their key.
    owed: NodeSet,
    /// The round since which each node's answers count: that of its latest reopening.
    counts_since: [u32; NODES_MAX],
    unsent: NodeSet,
    /// Nodes whose last answer was Unknown.
    unknown: NodeSet,
    /// When whoever is still owed is asked again; each interval is twice the one before.
    ask_again_at: Instant,
    interval_nanos: u64,
    /// When the last key has expired by itself.
    expires_at: Instant,
    then: Then,
}

/// What a clean-up is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    /// The application waits to be told how it ended.
    Report,
    /// The waiter goes on waiting, in the nodes' queues.
    Queue,
    Nothing,
}

impl Cleanup {
    pub(crate) fn new(
        now: Instant,
        rounds: &mut u32,
        node_timeout_nanos: u64,
        token: Token,
        nodes: NodeSet,
        expires_at: Instant,
        then: Then,
    ) -> Self {
        let mut cleanup = Self {
            token,
            round: 0,
            sent: now,
            asks: 0,
            owed: nodes,
            counts_since: [0; NODES_MAX],
            unsent: NodeSet::EMPTY,
            unknown: NodeSet::EMPTY,
            ask_again_at: now,
            interval_nanos: node_timeout_nanos,
            expires_at,
            then,
        };
        cleanup.ask(now, rounds);
        cleanup
    }

    pub(crate) const fn token(&self) -> Token {
        self.token
    }

    /// Whether the waiter takes its place in the nodes' queues.
    pub(crate) const fn queues(&self) -> bool {
        CAN_QUEUE && matches!(self.then, Then::Queue)
    }

    /// The waiter waits no longer: what is still to be handed out carries no place.
    pub(crate) const fn leave_queues(&mut self) {
        if self.queues() {
            self.then = Then::Nothing;
        }
    }

    /// Nodes that may still have the token in their key.
    pub(crate) const fn owed(&self) -> NodeSet {
        self.owed
    }

    pub(crate) const fn expires_at(&self) -> Instant {
        self.expires_at
    }

    pub(crate) const fn has_commands(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.owed.is_empty()
    }

    /// When the next thing happens by itself.
    pub(crate) const fn timeout(&self) -> Instant {
        if self.is_done() { Instant::MAX } else { self.ask_again_at }
    }

    pub(crate) fn poll_command(
        &mut self,
        place: Option<Place>,
        node_timeout_nanos: u64,
    ) -> Option<Command> {
        let node = self.unsent.pop()?;
        Some(release(self.token, place, self.round, self.sent, node, node_timeout_nanos))
    }

    pub(crate) fn on_reply(&mut self, id: &CommandId, reply: &Reply) {
        // R7: a release that overtook its acquire found nothing; that says nothing of what the acquire
        // left behind it.
        if id.round < self.counts_since[id.node.index()] {
            return;
        }
        match reply {
            // Deleted, or not there: free of this token either way.
            Reply::Applied { .. } | Reply::Refused { .. } => {
                self.owed.remove(id.node);
                self.unsent.remove(id.node);
                self.unknown.remove(id.node);
            }
            // R5: never counted as released.
            Reply::Unknown | Reply::Quarantined { .. } if self.owed.contains(id.node) => {
                self.unknown.insert(id.node);
            }
            Reply::Unknown | Reply::Quarantined { .. } => {}
        }
    }

    /// R6: `node` applied a command of the dead token after all, so it is asked (once more) to
    /// release it.
    pub(crate) fn reopen(
        &mut self,
        now: Instant,
        rounds: &mut u32,
        node: NodeId,
        expires_at: Instant,
    ) {
        self.expires_at = self.expires_at.max(expires_at);
        if self.is_done() {
            self.ask_again_at = now.plus_nanos(self.interval_nanos).min(self.expires_at);
        }
        self.begin_round(now, rounds);
        self.counts_since[node.index()] = self.round;
        self.owed.insert(node);
        self.unsent.insert(node);
        self.unknown.remove(node);
    }

    /// R7: what nodes answer to rounds before this one says nothing of it.
    pub(crate) const fn start_over(&mut self) {
        self.counts_since = [self.round; NODES_MAX];
    }

    /// Asks again whoever is owed when it is time, and ends when every key has expired.
    pub(crate) fn advance(&mut self, now: Instant, rounds: &mut u32) {
        if self.is_done() || now < self.ask_again_at {
            return;
        }
        if now < self.expires_at {
            self.ask(now, rounds);
        } else {
            self.unknown = self.owed;
            self.owed = NodeSet::EMPTY;
            self.unsent = NodeSet::EMPTY;
        }
    }

    fn begin_round(&mut self, now: Instant, rounds: &mut u32) {
        *rounds = rounds.wrapping_add(1);
        self.round = *rounds;
        self.sent = now;
    }

    fn ask(&mut self, now: Instant, rounds: &mut u32) {
        self.begin_round(now, rounds);
        self.asks = self.asks.saturating_add(1);
        self.unsent = self.owed;
        self.unknown = NodeSet::EMPTY;
        self.ask_again_at = now.plus_nanos(self.interval_nanos).min(self.expires_at).max(now);
        self.interval_nanos = self.interval_nanos.saturating_add(self.interval_nanos);
    }

    /// How the release ended, as soon as that is certain, and once.
    pub(crate) fn report(&mut self, quorum: Quorum) -> Option<Released> {
        let majority = quorum.majority();
        let free = quorum.nodes().minus(self.owed).minus(self.unknown).len();
        let possible = quorum.nodes().minus(self.unknown).len();
        let asked_again = self.asks > 1;
        let released = if free >= majority {
            Released::Confirmed
        } else if possible < majority || asked_again {
            Released::Unconfirmed { expires_at: self.expires_at }
        } else {
            return None;
        };
        let owed = matches!(self.then, Then::Report);
        if owed {
            self.then = Then::Nothing;
        }
        owed.then_some(released)
    }
}

/// One release command to one node.
pub(crate) fn release(
    token: Token,
    place: Option<Place>,
    round: u32,
    sent: Instant,
    node: NodeId,
    node_timeout_nanos: u64,
) -> Command {
    Command {
        id: CommandId { token, sent, round, node, kind: Kind::Release },
        op: Op::Release { token, place },
        deadline: sent.plus_nanos(node_timeout_nanos),
    }
}
