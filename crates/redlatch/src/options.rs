//! What to lock, and how.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use redlatch_core::wire::{Dialect, Keys, KeysError, Wire, WireError};
use redlatch_core::{Config, Drift, Quorum, Renewal, Retry, Ttl};

use crate::error::InvalidRequest;

/// One resource, or several that are locked together.
///
/// A resource's name is the key that nodes store, so that other Redlock clients and this one exclude
/// each other. Several resources must share a Redis Cluster slot: give their names one hash tag.
///
/// ```
/// use redlatch::Resources;
///
/// let one: Resources = "report".into();
/// let two: Resources = ["{order:7}:stock", "{order:7}:invoice"].into();
/// assert_eq!(two.to_string(), "{order:7}:stock, {order:7}:invoice");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources(Arc<[Box<[u8]>]>);

impl Resources {
    /// The names, in the order in which they were given.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(|name| &**name)
    }

    pub(crate) fn prefixed(&self, prefix: &[u8]) -> Self {
        if prefix.is_empty() {
            return self.clone();
        }
        Self(self.names().map(|name| [prefix, name].concat().into()).collect())
    }

    pub(crate) fn keys(&self) -> Result<Keys<'_>, KeysError> {
        let mut names: [&[u8]; Keys::MAX] = [b""; Keys::MAX];
        let count = self.0.len();
        let names = names.get_mut(..count).ok_or(KeysError::Count { count })?;
        for (place, name) in names.iter_mut().zip(self.names()) {
            *place = name;
        }
        Keys::new(names)
    }

    pub(crate) fn wire(&self, dialect: Dialect) -> Result<Wire<'_>, WireError> {
        Wire::new(self.keys()?, dialect)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.names().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", String::from_utf8_lossy(name))?;
        }
        Ok(())
    }
}

impl From<&Self> for Resources {
    fn from(resources: &Self) -> Self {
        resources.clone()
    }
}

impl From<&str> for Resources {
    fn from(name: &str) -> Self {
        [name].into()
    }
}

impl From<&String> for Resources {
    fn from(name: &String) -> Self {
        [name].into()
    }
}

impl From<String> for Resources {
    fn from(name: String) -> Self {
        [name].into()
    }
}

impl From<&[u8]> for Resources {
    fn from(name: &[u8]) -> Self {
        Self([name.into()].into())
    }
}

impl<T: AsRef<[u8]>, const N: usize> From<[T; N]> for Resources {
    fn from(names: [T; N]) -> Self {
        names.iter().collect()
    }
}

impl<T: AsRef<[u8]>> From<Vec<T>> for Resources {
    fn from(names: Vec<T>) -> Self {
        names.iter().collect()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Resources {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        Self(names.into_iter().map(|name| name.as_ref().into()).collect())
    }
}

/// How to lock: the time to live, and what else is not as usual. A [`Duration`] is a time to live with
/// everything else as usual.
///
/// ```
/// use redlatch::Options;
/// use std::time::Duration;
///
/// let options = Options::new(Duration::from_secs(30))
///     .wait(Duration::from_secs(5))
///     .renew_up_to(Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub(crate) ttl: Duration,
    wait: Option<Duration>,
    first_attempt: FirstAttempt,
    attempts_max: Option<NonZeroU32>,
    delays: (Duration, Duration),
    node_timeout: Option<Duration>,
    validity_min: Duration,
    drift: Drift,
    hold_max: Option<Duration>,
    fencing: Fencing,
}

/// When the first attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstAttempt {
    /// When its time is over, however short the wait.
    InFull,
    /// With the wait.
    InTime,
}

/// Whether a fence is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fencing {
    /// Wherever the dialect has fences.
    WherePossible,
    Off,
}

impl Options {
    /// How long an `acquire` waits for a lock that is taken, unless told otherwise.
    pub const WAIT: Duration = Duration::from_secs(10);
    /// How long [`Redlatch::using`](crate::Redlatch::using) renews, unless told otherwise.
    pub const HOLD_MAX: Duration = Duration::from_secs(60 * 60);

    /// A lock whose keys live for `ttl`, 1 ms to 24 h in whole milliseconds, with a fence where the
    /// nodes have them, without renewal; waits for up to [`Options::WAIT`].
    #[must_use]
    pub const fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            wait: Some(Self::WAIT),
            first_attempt: FirstAttempt::InFull,
            attempts_max: None,
            delays: (Retry::DELAY_MIN, Retry::DELAY_MAX),
            node_timeout: None,
            validity_min: Duration::ZERO,
            drift: Drift::DEFAULT,
            hold_max: None,
            fencing: Fencing::WherePossible,
        }
    }

    /// Waits for a lock that is taken for at most `wait`. Zero is one attempt.
    #[must_use]
    pub const fn wait(self, wait: Duration) -> Self {
        Self { wait: Some(wait), ..self }
    }

    /// Tries at most `attempts_max` times, within the wait.
    #[must_use]
    pub const fn attempts_max(self, attempts_max: NonZeroU32) -> Self {
        Self { attempts_max: Some(attempts_max), ..self }
    }

    /// Waits between two attempts for a random time, whose ceiling grows from `min` to `max`.
    #[must_use]
    pub const fn retry_delay(self, min: Duration, max: Duration) -> Self {
        Self { delays: (min, max), ..self }
    }

    /// How long a node may take to answer; a tenth of the ttl, 50 ms to 500 ms, unless told otherwise.
    /// A node that is slower delays nothing, as long as a majority is not.
    #[must_use]
    pub const fn node_timeout(self, node_timeout: Duration) -> Self {
        Self { node_timeout: Some(node_timeout), ..self }
    }

    /// Takes the lock only if it is then good for longer than `validity_min`.
    #[must_use]
    pub const fn validity_min(self, validity_min: Duration) -> Self {
        Self { validity_min, ..self }
    }

    /// The allowance for clocks that run at different rates, 1 % of the ttl unless told otherwise.
    #[must_use]
    pub const fn drift(self, drift: Drift) -> Self {
        Self { drift, ..self }
    }

    /// Renews the lock by itself until it has been held for `hold_max`, since it was granted or
    /// [adopted](crate::Redlatch::adopt); then it is lost.
    #[must_use]
    pub const fn renew_up_to(self, hold_max: Duration) -> Self {
        Self { hold_max: Some(hold_max), ..self }
    }

    /// Asks for no fence.
    #[must_use]
    pub const fn without_fence(self) -> Self {
        Self { fencing: Fencing::Off, ..self }
    }

    pub(crate) const fn fencing(&self) -> Fencing {
        self.fencing
    }

    /// Asks for another time to live.
    #[must_use]
    pub const fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    /// Whether there may be a second attempt.
    pub(crate) fn can_wait(&self) -> bool {
        self.attempts_max != Some(NonZeroU32::MIN)
            && match self.wait {
                Some(wait) => !wait.is_zero(),
                None => self.attempts_max.is_some(),
            }
    }

    /// One attempt.
    pub(crate) fn once(self) -> Self {
        Self { wait: None, attempts_max: Some(NonZeroU32::MIN), ..self }
    }

    /// What [`Redlatch::using`](crate::Redlatch::using) makes of these options.
    pub(crate) fn renewed(self) -> Self {
        Self { hold_max: Some(self.hold_max.unwrap_or(Self::HOLD_MAX)), ..self }
    }

    /// Ends within `left`, the first attempt as well, even if a node needs longer to answer.
    pub(crate) fn within(self, left: Duration) -> Self {
        Self { wait: Some(left), first_attempt: FirstAttempt::InTime, ..self }
    }

    pub(crate) fn config(&self, quorum: Quorum) -> Result<Config, InvalidRequest> {
        let mut config = Config::new(quorum, Ttl::new(self.ttl)?)?
            .with_drift(self.drift)?
            .with_validity_min(self.validity_min)?
            .with_retry(self.retry());
        if let Some(node_timeout) = self.node_timeout {
            config = config.with_node_timeout(node_timeout)?;
        }
        if let Some(hold_max) = self.hold_max {
            config = config.with_renewal(Renewal::up_to(hold_max));
        }
        Ok(config)
    }

    fn retry(&self) -> Retry {
        let retry = match (self.wait, self.attempts_max) {
            (Some(Duration::ZERO), _) | (None, None) => Retry::never(),
            (Some(wait), None) => Retry::within(wait),
            (Some(wait), Some(attempts)) => Retry::within(wait).with_attempts_max(attempts),
            (None, Some(attempts)) => Retry::attempts(attempts),
        };
        let retry = retry.with_delays(self.delays.0, self.delays.1);
        match self.first_attempt {
            FirstAttempt::InFull => retry,
            FirstAttempt::InTime => retry.ending_in_time(),
        }
    }
}

impl From<Duration> for Options {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl)
    }
}

impl From<&Self> for Options {
    fn from(options: &Self) -> Self {
        options.clone()
    }
}
