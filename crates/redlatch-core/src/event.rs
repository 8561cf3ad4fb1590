//! What the machine tells the application.

use core::fmt;
use core::time::Duration;

use crate::lease::Lease;
use crate::quorum::Tally;
use crate::time::Instant;

/// Something that the application should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "an event that is dropped is not told again"]
pub enum Event {
    /// The lock is held.
    Granted(Lease),
    /// An attempt was lost and undone; the next one follows.
    Retrying {
        /// When.
        at: Instant,
        /// Why the attempt was lost.
        cause: Cause,
        /// Who answered what.
        tally: Tally,
    },
    /// The lock was not got, and there will be no further attempt.
    Failed {
        /// Why the last attempt was lost.
        cause: Cause,
        /// Who answered what in it.
        tally: Tally,
    },
    /// The lease is good for longer.
    Extended(Lease),
    /// An extension missed its majority. The lock is still held until `lease.valid_until`, and the
    /// extension is tried again until then (R10).
    AtRisk {
        /// What is still held.
        lease: Lease,
        /// Who answered what.
        tally: Tally,
    },
    /// The lock is not held any more. Told no later than `lease.valid_until`, once, and for good (R11).
    Lost {
        /// What was held.
        lease: Lease,
        /// Why it is lost.
        loss: Loss,
    },
    /// A release was carried out, as far as it can be told.
    Released(Released),
}

/// Why a lock was not got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Somebody else holds it, or others asked at the same time and nobody got a majority.
    Contended {
        /// When a majority may be free, as far as the refusals told.
        retry_after: Option<Duration>,
    },
    /// Too few nodes answered.
    NoQuorum,
    /// The lease would have been of no use any more: its validity ran out before enough nodes agreed.
    TooLate,
    /// Too few nodes vote, because some may have forgotten keys (R16).
    Quarantined {
        /// When the first of them votes again.
        remaining: Duration,
    },
    /// The time for waiting ended in the middle of an attempt.
    DeadlineExceeded,
    /// The application asked for a release while the lock was being acquired.
    Cancelled,
}

/// Why a lease ended without a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// It was not extended in time.
    Expired,
    /// It was held for as long as its [`Renewal`](crate::Renewal) allows.
    HoldMax,
}

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Released {
    /// A majority confirmed that the token is gone: the lock is free.
    Confirmed,
    /// Too few nodes answered. The others are asked again; in the worst case the keys expire.
    Unconfirmed {
        /// When the last key has expired by itself.
        expires_at: Instant,
    },
}

/// The machine is not in a phase in which it could do what was asked. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrongPhase {
    /// `acquire`: the lock is being acquired, held, or released.
    NotIdle,
    /// `extend`: the lock is not held (or no longer).
    NotHeld,
    /// `release`: nothing is held or being acquired.
    Idle,
}

impl fmt::Display for WrongPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotIdle => "the lock is being acquired, held or released; wait until it is idle",
            Self::NotHeld => "the lock is not held",
            Self::Idle => "there is nothing to release",
        })
    }
}

impl core::error::Error for WrongPhase {}
