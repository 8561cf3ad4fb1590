//! One node: its cell, its clock, and whether it votes.

use std::time::Duration;

use redlatch_core::{Op, Place, Reply, Token};

use super::bounds::{CLIENTS_MAX, FOR_GOOD, Keep, MARGIN_MS, TICK_MS};
use super::dissect::{Dissector, Frame, NODE_EPOCH};
use crate::node::{Called, Nonce, WallMillis, is_reservation, nobody, reservation};
use crate::system::NodeCell;

/// Everybody has waited equally long: whoever is called first is for the model to choose.
pub(crate) const PLACE: Place = Place::since_millis(1);

/// A node. Its wall clock goes with true time while a key is guaranteed; then it stands still, and the
/// key stays until the model takes it away: clocks may be slow without bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site<C> {
    cell: C,
    clock: WallMillis,
    /// Ticks until it votes again.
    quarantine: u8,
}

impl<C: NodeCell> Site<C> {
    /// A node that once reached fence number `fence`, which a client that is gone has brought about.
    /// The waiters are in its queue.
    pub(crate) fn new(fence: u64, waiters: &[Nonce]) -> Self {
        let mut site = Self { cell: C::default(), clock: NODE_EPOCH, quarantine: 0 };
        if let (Ok(proposal), Ok(ttl)) =
            (redlatch_core::Proposal::from_unix_micros(fence), redlatch_core::Ttl::from_millis(1))
        {
            let token = Token::new([u8::MAX; 16], 1);
            let acquire = Op::Acquire { token, ttl, proposal: Some(proposal) };
            let _ = site.cell.apply(site.clock, &acquire, &mut nobody);
            site.cell.drop_key();
        }
        for nonce in waiters {
            let queue = Op::Release { token: reservation(nonce), place: Some(PLACE) };
            let _ = site.cell.apply(site.clock, &queue, &mut |_| Called::Later);
        }
        site
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.cell.has_waiters()
    }

    pub(crate) fn owner(&self) -> Option<Token> {
        self.cell.owner(self.clock)
    }

    pub(crate) fn fence(&self) -> u64 {
        self.cell.fence()
    }

    pub(crate) const fn is_quarantined(&self) -> bool {
        self.quarantine > 0
    }

    /// The node after `op`, and what it answers. How long a key still lives is left out: it only
    /// tells when to retry, and a retry may come at any time. Of those whom `op` calls, the `heir`-th
    /// listens; 0 is nobody. `None` if it calls fewer.
    pub(crate) fn apply(&self, op: &Op, heir: u8) -> Option<(Self, Reply)> {
        let mut next = *self;
        if self.is_quarantined() && matches!(op, Op::Acquire { .. }) {
            let reply = Reply::Quarantined { remaining: Duration::from_millis(TICK_MS) };
            return (heir == 0).then_some((next, reply));
        }
        let mut calls = 0;
        let mut call = |_: &Nonce| {
            calls += 1;
            if calls == heir { Called::Heard } else { Called::Later }
        };
        let reply = match next.cell.apply(self.clock, op, &mut call) {
            Reply::Refused { fence, .. } => Reply::Refused { remaining: None, fence },
            reply @ (Reply::Applied { .. } | Reply::Unknown | Reply::Quarantined { .. }) => reply,
        };
        (heir <= calls).then_some((next, reply))
    }

    /// Whether the key is guaranteed no longer; one that is kept for an heir never is.
    fn may_expire(&self) -> bool {
        let owner = self.owner();
        owner.is_some_and(|owner| is_reservation(&owner))
            || self.cell.owner(self.clock + MARGIN_MS + 1).is_none()
    }

    pub(crate) fn tick(&self) -> Self {
        let mut next = *self;
        if self.quarantine != FOR_GOOD {
            next.quarantine = self.quarantine.saturating_sub(1);
        }
        if self.owner().is_some() && !self.may_expire() {
            next.clock += TICK_MS;
        }
        next
    }

    /// The node without its key, if that may have expired; at any time if clocks are not `timed`.
    pub(crate) fn expired(&self, timed: Timed) -> Option<Self> {
        self.owner()?;
        if timed == Timed::Yes && !self.may_expire() {
            return None;
        }
        let mut next = *self;
        next.cell.drop_key();
        Some(next)
    }

    /// The node after a crash.
    pub(crate) fn crashed(&self, keep: Keep, quarantine_ticks: u8) -> Self {
        let mut next = *self;
        match keep {
            Keep::All => {}
            Keep::Fences => next.cell.drop_key(),
            Keep::Nothing => next.cell.drop_all(),
        }
        next.quarantine = quarantine_ticks;
        next
    }

    /// The node, taken apart, with clients called by `names`.
    pub(crate) fn dissect(&self, names: [u8; CLIENTS_MAX]) -> Vec<u64> {
        let frame = Frame { epoch: NODE_EPOCH, now: self.clock, past: u64::MAX / 2 };
        let mut parts = Dissector::new(frame, names);
        self.cell.hash(&mut parts);
        parts.scalars.push(self.quarantine.into());
        parts.scalars
    }
}

/// Whether keys live for as long as they were promised to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    Yes,
    No,
}
