//! One fan-out of commands and its votes.

use crate::command::{Command, CommandId, Kind, Op};
use crate::lease::Token;
use crate::quorum::{NodeId, NodeSet, Tally, Vote};
use crate::time::Instant;

/// Commands of one kind to a set of nodes, all of them sent, for the arithmetic of validity, at one
/// instant: the `now` of the input that caused them, before the first byte of any can leave (R1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Round {
    pub(crate) number: u32,
    pub(crate) sent: Instant,
    pub(crate) deadline: Instant,
    /// Nodes whose command waits to be handed out.
    pub(crate) unsent: NodeSet,
    /// Nodes whose command was handed out.
    pub(crate) asked: NodeSet,
    pub(crate) tally: Tally,
}

impl Round {
    pub(crate) const fn new(number: u32, sent: Instant, deadline: Instant, nodes: NodeSet) -> Self {
        Self {
            number,
            sent,
            deadline,
            unsent: nodes,
            asked: NodeSet::EMPTY,
            tally: Tally {
                applied: NodeSet::EMPTY,
                refused: NodeSet::EMPTY,
                unknown: NodeSet::EMPTY,
                quarantined: NodeSet::EMPTY,
            },
        }
    }

    /// Hands out the command for the next node.
    pub(crate) fn poll(&mut self, token: Token, kind: Kind, op: Op) -> Option<Command> {
        let node = self.unsent.pop()?;
        self.asked.insert(node);
        Some(Command { id: self.id(node, token, kind), op, deadline: self.deadline })
    }

    pub(crate) const fn id(&self, node: NodeId, token: Token, kind: Kind) -> CommandId {
        CommandId { token, sent: self.sent, round: self.number, node, kind }
    }

    /// Nodes that may still answer in time.
    pub(crate) const fn silent(&self) -> NodeSet {
        self.unsent.union(self.asked).minus(self.tally.answered())
    }

    /// Whether there is something to wait for.
    pub(crate) const fn is_open(&self) -> bool {
        !self.silent().is_empty()
    }

    /// R9: at the deadline, whoever has not answered is unknown, and what was not handed out never
    /// will be.
    pub(crate) fn expire(&mut self, now: Instant) {
        if now < self.deadline {
            return;
        }
        for node in self.silent() {
            self.tally.record(node, Vote::Unknown);
        }
        self.unsent = NodeSet::EMPTY;
    }
}
