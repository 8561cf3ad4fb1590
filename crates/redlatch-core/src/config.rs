//! What a lock is configured with.

use core::fmt;
use core::time::Duration;

use crate::backoff::Retry;
use crate::lease::{Drift, Ttl};
use crate::quorum::Quorum;
use crate::renewal::Renewal;
use crate::time::nanos;

/// The parameters of a [`Lock`](crate::Lock). One that exists is legal: a grant is possible with it.
///
/// ```
/// use core::time::Duration;
/// use redlatch_core::{Config, Quorum, Renewal, Retry, Ttl};
///
/// let config = Config::new(Quorum::of(5)?, Ttl::new(Duration::from_secs(30))?)?
///     .with_retry(Retry::within(Duration::from_secs(10)))
///     .with_renewal(Renewal::up_to(Duration::from_secs(3600)));
/// assert_eq!(config.validity(), Duration::from_millis(29_698));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    quorum: Quorum,
    ttl: Ttl,
    drift: Drift,
    retry: Retry,
    renewal: Option<Renewal>,
    node_timeout_nanos: u64,
    validity_min_nanos: u64,
}

impl Config {
    /// A lock on `quorum` whose keys live for `ttl`: one attempt, no renewal, the usual drift, and a
    /// tenth of the ttl (50 ms to 500 ms) for a node to answer.
    ///
    /// # Errors
    /// [`ConfigError::TtlTooShort`] if nothing of the ttl is left when drift is taken off.
    pub fn new(quorum: Quorum, ttl: Ttl) -> Result<Self, ConfigError> {
        const LEAST: u64 = nanos(Duration::from_millis(50));
        const MOST: u64 = nanos(Duration::from_millis(500));
        Self {
            quorum,
            ttl,
            drift: Drift::DEFAULT,
            retry: Retry::never(),
            renewal: None,
            node_timeout_nanos: (nanos(ttl.as_duration()) / 10).clamp(LEAST, MOST),
            validity_min_nanos: 0,
        }
        .checked()
    }

    /// The same with another drift.
    ///
    /// # Errors
    /// [`ConfigError::TtlTooShort`] if the ttl does not outlast the drift and the least validity.
    pub fn with_drift(self, drift: Drift) -> Result<Self, ConfigError> {
        Self { drift, ..self }.checked()
    }

    /// The same, but a lock is granted only if it is then good for longer than `validity_min` (R2).
    ///
    /// # Errors
    /// [`ConfigError::TtlTooShort`] if the ttl does not outlast the drift and the least validity.
    pub fn with_validity_min(self, validity_min: Duration) -> Result<Self, ConfigError> {
        Self { validity_min_nanos: nanos(validity_min), ..self }.checked()
    }

    /// The same with another time for a node to answer, on every kind of command (R9).
    ///
    /// # Errors
    /// [`ConfigError::NodeTimeoutZero`] if no node could answer in time.
    pub fn with_node_timeout(self, node_timeout: Duration) -> Result<Self, ConfigError> {
        Self { node_timeout_nanos: nanos(node_timeout), ..self }.checked()
    }

    /// The same with another retry policy.
    #[must_use]
    pub const fn with_retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// The same with automatic renewal.
    #[must_use]
    pub const fn with_renewal(self, renewal: Renewal) -> Self {
        Self { renewal: Some(renewal), ..self }
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// How long a node is asked to keep a key.
    #[must_use]
    pub const fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// The allowance for clocks.
    #[must_use]
    pub const fn drift(&self) -> Drift {
        self.drift
    }

    /// The retry policy.
    #[must_use]
    pub const fn retry(&self) -> Retry {
        self.retry
    }

    /// Automatic renewal, if it was asked for.
    #[must_use]
    pub const fn renewal(&self) -> Option<Renewal> {
        self.renewal
    }

    /// How long a node may take to answer a command.
    #[must_use]
    pub const fn node_timeout(&self) -> Duration {
        Duration::from_nanos(self.node_timeout_nanos)
    }

    /// The least validity with which a lock is granted.
    #[must_use]
    pub const fn validity_min(&self) -> Duration {
        Duration::from_nanos(self.validity_min_nanos)
    }

    /// How long a promise of the ttl may be relied on: the ttl less the margin for drift.
    #[must_use]
    pub const fn validity(&self) -> Duration {
        self.drift.validity(self.ttl)
    }

    /// No grant from this long after sending on: less than the least validity would be left (R2).
    pub(crate) const fn grant_limit_nanos(&self) -> u64 {
        self.validity_nanos().saturating_sub(self.validity_min_nanos)
    }

    pub(crate) const fn validity_nanos(&self) -> u64 {
        self.drift.validity_nanos(self.ttl)
    }

    pub(crate) const fn node_timeout_nanos(&self) -> u64 {
        self.node_timeout_nanos
    }

    fn checked(self) -> Result<Self, ConfigError> {
        if self.node_timeout_nanos == 0 {
            return Err(ConfigError::NodeTimeoutZero);
        }
        if self.validity_nanos() <= self.validity_min_nanos {
            return Err(ConfigError::TtlTooShort {
                ttl: self.ttl,
                margin: self.drift.margin(self.ttl),
                validity_min: self.validity_min(),
            });
        }
        Ok(self)
    }
}

/// No lock could be granted with these parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing of the ttl would be left.
    TtlTooShort {
        /// The ttl that was asked for.
        ttl: Ttl,
        /// What drift takes off.
        margin: Duration,
        /// What a grant must leave.
        validity_min: Duration,
    },
    /// No node could answer in time.
    NodeTimeoutZero,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TtlTooShort { ttl, margin, validity_min } => write!(
                f,
                "a ttl of {:?} leaves no validity: clock drift takes {margin:?} and a grant must \
                 leave more than {validity_min:?}; ask for a longer ttl",
                ttl.as_duration()
            ),
            Self::NodeTimeoutZero => {
                f.write_str("the node timeout is zero; nodes need time to answer")
            }
        }
    }
}

impl core::error::Error for ConfigError {}
