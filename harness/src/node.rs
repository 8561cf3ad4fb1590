//! The model node: Redis as the protocol sees it.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use redlatch_core::{Fence, Op, Place, Reply, Token};

/// Milliseconds of a node's own wall clock, by which Redis expires keys. It may drift and jump.
pub type WallMillis = u64;

/// What a node keeps of one resource. Small and `Copy`, so that a model checker can hash many; it has room
/// for `W` waiters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cell<const W: usize = WAITERS_MAX> {
    /// The lock key.
    pub key: Option<Key>,
    /// The fence number; 0 for none.
    pub fence: u64,
    /// Who waits for the key.
    pub queue: WaitQueue<W>,
}

/// A waiter's nonce. Its first half names the client, which listens to all calls for it.
pub type Nonce = [u8; 16];

/// For how long a key is kept for its heir (R18).
pub const RESERVATION_MS: u64 = 200;
/// For how long a queue is kept that nobody joins.
pub const QUEUE_MS: u64 = 60_000;

/// What comes of calling a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Called {
    /// Its client listens, so the key is kept for it.
    Heard,
    /// Nobody listens: it is out.
    Gone,
    /// Others are asked before it. Never so on a node; a model lets waiters have any order.
    Later,
}

/// Calls a waiter, as `PUBLISH` does.
pub type Call<'a> = &'a mut dyn FnMut(&Nonce) -> Called;

/// Nobody listens.
pub const fn nobody(_: &Nonce) -> Called {
    Called::Gone
}

/// A sorted set of waiters. It has room for as many as a world has clients, and some that have gone
/// without a word; whoever comes when it is full is not put into it, as if the node had lost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitQueue<const W: usize = WAITERS_MAX> {
    /// In order, and then nothing.
    waiters: [Option<(Place, Nonce)>; W],
    /// The queue is there until the wall clock has passed this.
    expires_at: WallMillis,
}

/// More than a world has clients.
const WAITERS_MAX: usize = 6;

impl<const W: usize> Default for WaitQueue<W> {
    fn default() -> Self {
        Self { waiters: [None; W], expires_at: 0 }
    }
}

/// The time to live is left out: it is beyond all that a model looks at, and a model hashes cells.
impl<const W: usize> Hash for WaitQueue<W> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (place, nonce) in self.waiters.iter().flatten() {
            place.hash(state);
            nonce.hash(state);
        }
    }
}

impl<const W: usize> WaitQueue<W> {
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.iter().any(Option::is_some)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self, now: WallMillis) -> usize {
        if now > self.expires_at { 0 } else { self.waiters.iter().flatten().count() }
    }

    fn expire(&mut self, now: WallMillis) {
        if now > self.expires_at {
            *self = Self::default();
        }
    }

    /// `ZADD`, and `PEXPIRE`.
    fn put(&mut self, now: WallMillis, place: Place, nonce: Nonce) {
        self.remove(&nonce);
        let at = self.waiters.iter().flatten().take_while(|other| **other < (place, nonce)).count();
        if self.waiters.last().is_some_and(Option::is_none) {
            self.waiters[at..].rotate_right(1);
            self.waiters[at] = Some((place, nonce));
        }
        self.expires_at = now + QUEUE_MS;
    }

    /// `ZREM`.
    fn remove(&mut self, nonce: &Nonce) {
        let is_it = |waiter: &Option<(Place, Nonce)>| waiter.is_some_and(|(_, n)| n == *nonce);
        if let Some(at) = self.waiters.iter().position(is_it) {
            self.waiters[at] = None;
            self.waiters[at..].rotate_left(1);
        }
    }

    /// Takes out the first who listens, and everybody before who does not.
    fn pop(&mut self, call: Call<'_>) -> Option<Nonce> {
        for (_, nonce) in self.waiters.into_iter().flatten() {
            let called = call(&nonce);
            if called != Called::Later {
                self.remove(&nonce);
            }
            if called == Called::Heard {
                return Some(nonce);
            }
        }
        None
    }
}

/// The lock key's value and when it expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose it is.
    pub token: Token,
    /// The key is there until the wall clock has passed this: Redis expires when `now > expires_at`.
    pub expires_at: WallMillis,
}

impl<const W: usize> Cell<W> {
    /// The token in the key, if the key has not expired.
    #[must_use]
    pub fn owner(&self, now: WallMillis) -> Option<Token> {
        self.key.filter(|key| now <= key.expires_at).map(|key| key.token)
    }

    /// Carries out one operation, as the scripts do it (without a restart guard), and calls whoever they
    /// call.
    pub fn apply(&mut self, now: WallMillis, op: &Op, call: Call<'_>) -> Reply {
        let owner = self.owner(now);
        if owner.is_none() {
            self.key = None;
        }
        self.queue.expire(now);
        match *op {
            Op::Acquire { token, ttl, proposal } => {
                let proposal = proposal.map_or(0, |proposal| proposal.fence().get());
                // R18: a key that is kept for this waiter is free to it.
                let owner = owner.filter(|owner| *owner != reservation(&token.nonce()));
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
            Op::Release { token, place } => {
                let undone = owner.is_some_and(|owner| is_undone_by(&owner, &token));
                if undone {
                    self.key = None;
                }
                match place {
                    Some(place) => self.queue.put(now, place, token.nonce()),
                    None => self.queue.remove(&token.nonce()),
                }
                self.hand_over(now, call);
                match undone || place.is_some() {
                    true => Reply::Applied { fence: None },
                    false => Reply::Refused { remaining: None, fence: None },
                }
            }
            Op::Seal { .. } | Op::Extend { .. } => Reply::Refused { remaining: None, fence: None },
        }
    }

    /// Keeps a free key for the first in the queue who listens (R18).
    fn hand_over(&mut self, now: WallMillis, call: Call<'_>) {
        if self.key.is_none()
            && let Some(heir) = self.queue.pop(call)
        {
            let expires_at = now + RESERVATION_MS;
            self.key = Some(Key { token: reservation(&heir), expires_at });
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

/// What is in a key that is kept for a waiter: no attempt has this number.
#[must_use]
pub const fn reservation(heir: &Nonce) -> Token {
    Token::new(*heir, 0)
}

/// Whether `token` only keeps a key for its heir, and holds nothing.
#[must_use]
pub const fn is_reservation(token: &Token) -> bool {
    token.attempt() == 0
}

/// A release undoes its own attempt and the earlier ones with the same nonce.
fn is_undone_by(owner: &Token, released: &Token) -> bool {
    owner.nonce() == released.nonce() && owner.attempt() <= released.attempt()
}
