//! What can go wrong, and what each node said.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redlatch_core::wire::WireError;
use redlatch_core::{ConfigError, Loss, ProposalError};

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
    /// It could not be asked, or answered an error. Says what; never a credential or a token.
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

/// What every node answered, in the order in which the nodes were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Votes {
    nodes: Vec<(Arc<str>, Vote)>,
}

impl Votes {
    pub(crate) fn new(nodes: Vec<(Arc<str>, Vote)>) -> Self {
        Self { nodes }
    }

    /// Each node's name and vote.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Vote)> {
        self.nodes.iter().map(|(name, vote)| (&**name, vote))
    }
}

impl fmt::Display for Votes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, vote)) in self.nodes.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}: {vote}")?;
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
    /// The deadline passed in the middle of an attempt, or before the first.
    DeadlineExceeded {
        /// What the nodes answered to the last attempt, if there was one.
        votes: Option<Votes>,
    },
    /// The client is shutting down.
    Cancelled,
    /// The lock cannot be asked for in this way; no node was asked.
    Invalid(InvalidRequest),
}

impl AcquireError {
    /// What the nodes answered to the last attempt, if there was one.
    #[must_use]
    pub const fn votes(&self) -> Option<&Votes> {
        match self {
            Self::Contended { votes, .. }
            | Self::NoQuorum { votes }
            | Self::TooLate { votes }
            | Self::Quarantined { votes, .. } => Some(votes),
            Self::DeadlineExceeded { votes } => votes.as_ref(),
            Self::Cancelled | Self::Invalid(_) => None,
        }
    }
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
                write!(
                    f,
                    "the ttl was used up before enough nodes agreed; ask for a longer one, or see to \
                     those that are slow: {votes}"
                )
            }
            Self::Quarantined { remaining, votes } => {
                let millis = remaining.as_millis();
                write!(f, "too few nodes vote; try again in {millis} ms: {votes}")
            }
            Self::DeadlineExceeded { votes: Some(votes) } => {
                write!(f, "the deadline passed before enough nodes answered: {votes}")
            }
            Self::DeadlineExceeded { votes: None } => {
                f.write_str("the deadline had passed before any node was asked")
            }
            Self::Cancelled => f.write_str("the client is shutting down"),
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AcquireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid(error) => Some(error),
            Self::Contended { .. }
            | Self::NoQuorum { .. }
            | Self::TooLate { .. }
            | Self::Quarantined { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Cancelled => None,
        }
    }
}

impl<E: Into<InvalidRequest>> From<E> for AcquireError {
    fn from(error: E) -> Self {
        Self::Invalid(error.into())
    }
}

/// A lock cannot be asked for in this way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// The ttl, or what goes with it.
    Ttl(redlatch_core::TtlError),
    /// The ttl does not fit the other parameters.
    Config(ConfigError),
    /// The names of the resources.
    Resources(WireError),
    /// The wall clock cannot be proposed as a fence.
    Clock(ProposalError),
    /// The system has no random bytes to give.
    Randomness,
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttl(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Resources(error) => error.fmt(f),
            Self::Clock(error) => error.fmt(f),
            Self::Randomness => f.write_str("the system has no random bytes for a token"),
        }
    }
}

impl std::error::Error for InvalidRequest {}

impl From<redlatch_core::TtlError> for InvalidRequest {
    fn from(error: redlatch_core::TtlError) -> Self {
        Self::Ttl(error)
    }
}

impl From<ConfigError> for InvalidRequest {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<WireError> for InvalidRequest {
    fn from(error: WireError) -> Self {
        Self::Resources(error)
    }
}

impl From<redlatch_core::wire::KeysError> for InvalidRequest {
    fn from(error: redlatch_core::wire::KeysError) -> Self {
        Self::Resources(error.into())
    }
}

impl From<ProposalError> for InvalidRequest {
    fn from(error: ProposalError) -> Self {
        Self::Clock(error)
    }
}

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

impl std::error::Error for ExtendError {}

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

impl std::error::Error for ReleaseError {}

/// Why [`Redlatch::using`](crate::Redlatch::using) has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsingError {
    /// The lock was not got, and the work was not begun.
    Acquire(AcquireError),
    /// The lock was lost before the work was done. Where it could be, the work was stopped.
    Lost(Loss),
}

impl fmt::Display for UsingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire(error) => error.fmt(f),
            Self::Lost(loss) => {
                write_loss(f, *loss)?;
                f.write_str("; the work was not finished under it")
            }
        }
    }
}

impl std::error::Error for UsingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Acquire(error) => Some(error),
            Self::Lost(_) => None,
        }
    }
}

fn write_loss(f: &mut fmt::Formatter<'_>, loss: Loss) -> fmt::Result {
    f.write_str(match loss {
        Loss::Expired => "the lock was lost: it was not extended in time",
        Loss::HoldMax => "the lock was lost: it was held for as long as was allowed",
    })
}

/// Why a client cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// None, or too many.
    Nodes(redlatch_core::QuorumError),
    /// An address is not one of Redis. Says why, without the credentials in it.
    Address {
        /// The node's place, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Two nodes have one address, or one name.
    Duplicate {
        /// The name.
        name: Arc<str>,
    },
    /// The options contradict each other.
    Options(&'static str),
    /// The thread that drives the connections could not be started.
    Thread(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(error) => error.fmt(f),
            Self::Address { index, reason } => write!(
                f,
                "the address of node {} does not work: {reason}; write redis://HOST:PORT, \
                 rediss://HOST:PORT for TLS, or redis+unix:///PATH, with USER:PASSWORD@ before HOST \
                 where the server asks for them",
                index + 1
            ),
            Self::Duplicate { name } => write!(
                f,
                "the node {name} is given twice; a majority needs independent servers, so name each \
                 one once"
            ),
            Self::Options(reason) => f.write_str(reason),
            Self::Thread(error) => write!(f, "the driver's thread could not be started: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Why a lease that was handed over cannot be taken over, or was not released.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdoptError {
    /// The lease has ended; somebody else may have held the lock since.
    Lost(Loss),
    /// The parts are no lease of these nodes, or the options contradict each other.
    Invalid(InvalidRequest),
    /// The release was not confirmed, or the lease ended just before it.
    Release(ReleaseError),
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(loss) => write_loss(f, *loss),
            Self::Invalid(error) => error.fmt(f),
            Self::Release(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AdoptError {}

impl<E: Into<InvalidRequest>> From<E> for AdoptError {
    fn from(error: E) -> Self {
        Self::Invalid(error.into())
    }
}
