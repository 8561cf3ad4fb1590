//! What can go wrong, and what each node said.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use redlatch_core::wire::{KeysError, WireError};
use redlatch_core::{ConfigError, Loss, ProposalError, QuorumError, TtlError};

/// What one node answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vote {
    /// It did what it was asked.
    Applied,
    /// It said no: another token, or none, is in the key.
    Refused {
        /// How long the key still lives, if the node told.
        remaining: Option<Duration>,
    },
    /// It does not vote yet, because it may have forgotten keys.
    Quarantined {
        /// When it votes again.
        remaining: Duration,
    },
    /// It could not be asked, or answered an error. Says what.
    Failed(String),
    /// It had not answered when the vote was decided.
    Silent,
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => f.write_str("yes"),
            Self::Refused { remaining: Some(remaining) } => {
                write!(f, "no (taken for {} ms more)", remaining.as_millis())
            }
            Self::Refused { remaining: None } => f.write_str("no"),
            Self::Quarantined { remaining } => {
                write!(f, "restarted, votes again in {} ms", remaining.as_millis())
            }
            Self::Failed(error) => write!(f, "failed ({error})"),
            Self::Silent => f.write_str("no answer yet"),
        }
    }
}

/// What every node answered, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Votes(pub(crate) Vec<Vote>);

impl Votes {
    /// Each node's vote.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Vote> {
        self.0.iter()
    }
}

impl fmt::Display for Votes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, vote) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}node {index}: {vote}")?;
        }
        Ok(())
    }
}

/// Why a lock was not got. Nothing is held, and whatever the attempt left on nodes is being released.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// Somebody else holds it, or others asked at the same time and nobody got a majority.
    Contended {
        /// When a majority may be free, as far as the refusals told.
        retry_after: Option<Duration>,
        /// What the nodes answered to the last attempt.
        votes: Votes,
    },
    /// Too few nodes answered.
    NoQuorum {
        /// What the nodes answered to the last attempt.
        votes: Votes,
    },
    /// The lease would have been of no use any more: its validity ran out before enough nodes agreed.
    TooLate {
        /// What the nodes answered to the last attempt.
        votes: Votes,
    },
    /// Too few nodes vote, because some were restarted and may have forgotten keys.
    Quarantined {
        /// When the first of them votes again.
        remaining: Duration,
        /// What the nodes answered to the last attempt.
        votes: Votes,
    },
    /// The time for waiting ended in the middle of an attempt.
    DeadlineExceeded {
        /// What the nodes answered to the last attempt.
        votes: Votes,
    },
    /// The task that drives the lock was stopped.
    Cancelled,
    /// The lock cannot be asked for in this way; no node was asked.
    Invalid(InvalidRequest),
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contended { retry_after: Some(after), votes } => {
                let millis = after.as_millis();
                write!(f, "the lock is taken, for at most {millis} ms unless renewed: {votes}")
            }
            Self::Contended { retry_after: None, votes } => {
                write!(f, "the lock is taken: {votes}")
            }
            Self::NoQuorum { votes } => {
                write!(f, "too few nodes answered; see to those that did not: {votes}")
            }
            Self::TooLate { votes } => {
                write!(f, "the nodes agreed too late; ask for a longer ttl: {votes}")
            }
            Self::Quarantined { remaining, votes } => {
                let millis = remaining.as_millis();
                write!(f, "too few nodes vote; try again in {millis} ms: {votes}")
            }
            Self::DeadlineExceeded { votes } => {
                write!(f, "the deadline passed before enough nodes answered: {votes}")
            }
            Self::Cancelled => f.write_str("the task that drives the lock was stopped"),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AcquireError {}

impl<E: Into<InvalidRequest>> From<E> for AcquireError {
    fn from(error: E) -> Self {
        Self::Invalid(error.into())
    }
}

/// A lock cannot be asked for in this way. Says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRequest(String);

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for InvalidRequest {}

macro_rules! invalid {
    ($($error:ty),*) => {
        $(impl From<$error> for InvalidRequest {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        })*
    };
}

invalid!(QuorumError, TtlError, ConfigError, KeysError, WireError, ProposalError, crate::Failure);

/// Why an extension was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtendError {
    /// Too few nodes extended the lease. It is still held for `remaining`, and the extension is tried
    /// again until then.
    AtRisk {
        /// How long the lock is still held.
        remaining: Duration,
        /// What the nodes answered.
        votes: Votes,
    },
    /// The lock is not held any more.
    Lost(Loss),
}

impl fmt::Display for ExtendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtRisk { remaining, votes } => write!(
                f,
                "too few nodes extended the lock, which is held for {} ms more: {votes}",
                remaining.as_millis()
            ),
            Self::Lost(loss) => write_loss(f, *loss),
        }
    }
}

impl core::error::Error for ExtendError {}

/// Why a release was not confirmed. The lock is not held any more in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Too few nodes confirmed that they freed the lock. The others are asked again in the background;
    /// at the latest the lock is free when its keys expire.
    Unconfirmed {
        /// After how long the last key has expired.
        expires_in: Duration,
        /// What the nodes answered.
        votes: Votes,
    },
    /// The lease was over before the release: somebody else may have held the lock since.
    Lost(Loss),
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconfirmed { expires_in, votes } => write!(
                f,
                "too few nodes confirmed the release; the lock is free in {} ms at the latest: \
                 {votes}",
                expires_in.as_millis()
            ),
            Self::Lost(loss) => write_loss(f, *loss),
        }
    }
}

impl core::error::Error for ReleaseError {}

fn write_loss(f: &mut fmt::Formatter<'_>, loss: Loss) -> fmt::Result {
    f.write_str(match loss {
        Loss::Expired => "the lock was lost: it was not extended in time",
        Loss::HoldMax => "the lock was lost: it was held for as long as was allowed",
    })
}
