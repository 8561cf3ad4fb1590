//! The model node: Redis as the protocol sees it.

use std::time::Duration;

use redlatch_core::{Fence, Op, Reply, Token};

/// Milliseconds of a node's own wall clock, by which Redis expires keys. It may drift and jump.
pub type WallMillis = u64;

/// What a node keeps of one resource. Small and `Copy`, so that a model checker can hash many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cell {
    /// The lock key.
    pub key: Option<Key>,
    /// The fence number; 0 for none.
    pub fence: u64,
}

/// The lock key's value and when it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose it is.
    pub token: Token,
    /// The key is there until the wall clock has passed this: Redis expires when `now > expires_at`.
    pub expires_at: WallMillis,
}

impl Cell {
    /// The token in the key, if the key has not expired.
    #[must_use]
    pub fn owner(&self, now: WallMillis) -> Option<Token> {
        self.key.filter(|key| now <= key.expires_at).map(|key| key.token)
    }

    /// Carries out one operation, as the scripts do it (without a restart guard).
    pub fn apply(&mut self, now: WallMillis, op: &Op) -> Reply {
        let owner = self.owner(now);
        if owner.is_none() {
            self.key = None;
        }
        match *op {
            Op::Acquire { token, ttl, proposal } => {
                let proposal = proposal.map_or(0, |proposal| proposal.fence().get());
                if owner.is_some_and(|owner| owner != token) {
                    return self.refused(now, proposal);
                }
                if proposal > 0 {
                    let risen = self.fence + u64::from(owner.is_none());
                    self.fence = risen.max(proposal);
                }
                if owner.is_none() {
                    let expires_at = now + u64::from(ttl.as_millis());
                    self.key = Some(Key { token, expires_at });
                }
                Reply::Applied { fence: self.reported(proposal) }
            }
            Op::Seal { token, fence } if owner == Some(token) => {
                self.fence = self.fence.max(fence.get());
                Reply::Applied { fence: Fence::new(self.fence) }
            }
            Op::Extend { token, ttl, .. } if owner == Some(token) => {
                if let Some(key) = &mut self.key {
                    key.expires_at = key.expires_at.max(now + u64::from(ttl.as_millis()));
                }
                Reply::Applied { fence: None }
            }
            Op::Release { token, .. } if owner.is_some_and(|owner| is_undone_by(&owner, &token)) => {
                self.key = None;
                Reply::Applied { fence: None }
            }
            Op::Seal { .. } | Op::Extend { .. } | Op::Release { .. } => {
                Reply::Refused { remaining: None, fence: None }
            }
        }
    }

    fn refused(&self, now: WallMillis, proposal: u64) -> Reply {
        let remaining = self.key.map(|key| Duration::from_millis(key.expires_at - now));
        Reply::Refused { remaining, fence: self.reported(proposal) }
    }

    /// The scripts look at the number only if a fence is asked for.
    fn reported(&self, proposal: u64) -> Option<Fence> {
        if proposal > 0 { Fence::new(self.fence) } else { None }
    }
}

/// A release undoes its own attempt and the earlier ones with the same nonce.
fn is_undone_by(owner: &Token, released: &Token) -> bool {
    owner.nonce() == released.nonce() && owner.attempt() <= released.attempt()
}
