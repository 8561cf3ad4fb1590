//! A waiter's place in the queues that nodes keep, and what their calls mean to it (R18).

use core::num::NonZeroU64;

use crate::quorum::{NodeId, NodeSet, Quorum, Tally};

/// A waiter's place in the queue that each node keeps of a lock: since when it has waited, by the wall
/// clock, in milliseconds. Who has waited for longest comes first. Wrong clocks cost fairness, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(NonZeroU64);

impl Place {
    /// The place of one who has waited since this many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn since_millis(millis: u64) -> Self {
        match NonZeroU64::new(millis) {
            Some(millis) => Self(millis),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// Milliseconds after the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0.get()
    }
}

/// Whether anybody waits in queues: not on the edge, where no driver hears calls, and bytes are dear.
pub(crate) const CAN_QUEUE: bool = !cfg!(target_family = "wasm");

/// What the nodes said to a waiter about its place. Hints, never votes: at worst they begin an attempt
/// that is lost, or let one begin as late as its policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Calls {
    /// Nodes that keep the key for this waiter, as far as their calls told since the latest attempt began.
    called: NodeSet,
    /// Nodes in whose queue this waiter is, as far as they confirmed it since then.
    queued: NodeSet,
    /// Nodes that were asked last to put this waiter into their queue: they are to be asked to take it out.
    asked: NodeSet,
    /// Calls do not end this wait: the attempt before it answered calls and was lost all the same. So they
    /// can never keep a waiter spinning.
    deaf: bool,
}

impl Calls {
    pub(crate) const NEW: Self =
        Self { called: NodeSet::EMPTY, queued: NodeSet::EMPTY, asked: NodeSet::EMPTY, deaf: false };

    /// Nobody waits any longer. What was known is handed over.
    pub(crate) const fn take(&mut self) -> Self {
        if CAN_QUEUE { core::mem::replace(self, Self::NEW) } else { Self::NEW }
    }

    /// An attempt begins.
    pub(crate) fn on_attempt(&mut self, quorum: Quorum) {
        if CAN_QUEUE {
            *self = Self { deaf: self.is_our_turn(quorum), asked: self.asked, ..Self::NEW };
        }
    }

    /// The attempt was lost. What nodes called before they refused in it is old news.
    pub(crate) const fn on_lost(&mut self, tally: &Tally) {
        if CAN_QUEUE {
            self.called = self.called.minus(self.called.minus(tally.refused));
        }
    }

    pub(crate) const fn on_call(&mut self, node: NodeId) {
        self.called.insert(node);
    }

    /// A release is handed out.
    pub(crate) const fn on_release(&mut self, node: NodeId, place: Option<Place>) {
        if CAN_QUEUE {
            match place {
                Some(_) => self.asked.insert(node),
                None => self.asked.remove(node),
            }
        }
    }

    /// Nodes in whose queue this waiter may be.
    pub(crate) const fn asked(&self) -> NodeSet {
        if CAN_QUEUE { self.asked } else { NodeSet::EMPTY }
    }

    pub(crate) const fn on_queued(&mut self, node: NodeId) {
        self.queued.insert(node);
    }

    /// Whether a majority keeps the key for this waiter.
    pub(crate) const fn is_our_turn(&self, quorum: Quorum) -> bool {
        CAN_QUEUE && !self.deaf && self.called.len() >= quorum.majority()
    }

    /// Whether a majority is going to call, so that there is little use in asking before.
    pub(crate) const fn will_be_called(&self, quorum: Quorum) -> bool {
        CAN_QUEUE && !self.deaf && self.queued.len() >= quorum.majority()
    }
}
