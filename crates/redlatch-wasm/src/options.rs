//! How to lock.

use core::num::NonZeroU32;
use core::time::Duration;

use redlatch_core::{Config, Quorum, Renewal, Retry, Ttl};

use crate::error::InvalidRequest;

/// How to lock: the time to live, and what else is not as usual. A [`Duration`] is a time to live with
/// everything else as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    ttl: Duration,
    retry: Retry,
    node_timeout: Option<Duration>,
    hold_max: Option<Duration>,
    pub(crate) fenced: bool,
}

impl Options {
    /// How long an `acquire` waits for a lock that is taken, unless told otherwise.
    pub const WAIT: Duration = Duration::from_secs(10);

    /// A lock whose keys live for `ttl`, 1 ms to 24 h in whole milliseconds, with a fence and without
    /// renewal; waits for up to [`Options::WAIT`].
    #[must_use]
    pub const fn new(ttl: Duration) -> Self {
        let retry = Retry::within(Self::WAIT);
        Self { ttl, retry, node_timeout: None, hold_max: None, fenced: true }
    }

    /// Waits for a lock that is taken for at most `wait`. Zero is one attempt.
    #[must_use]
    pub const fn wait(self, wait: Duration) -> Self {
        let retry = if wait.is_zero() { Retry::never() } else { Retry::within(wait) };
        Self { retry, ..self }
    }

    /// Tries at most `attempts_max` times.
    #[must_use]
    pub const fn attempts_max(self, attempts_max: NonZeroU32) -> Self {
        Self { retry: self.retry.with_attempts_max(attempts_max), ..self }
    }

    /// How long a node may take to answer; a tenth of the ttl, 50 ms to 500 ms, unless told otherwise.
    #[must_use]
    pub const fn node_timeout(self, node_timeout: Duration) -> Self {
        Self { node_timeout: Some(node_timeout), ..self }
    }

    /// Renews the lock by itself until it has been held for `hold_max`; then it is lost.
    #[must_use]
    pub const fn renew_up_to(self, hold_max: Duration) -> Self {
        Self { hold_max: Some(hold_max), ..self }
    }

    /// Asks for no fence.
    #[must_use]
    pub const fn without_fence(self) -> Self {
        Self { fenced: false, ..self }
    }

    pub(crate) fn config(&self, quorum: Quorum) -> Result<Config, InvalidRequest> {
        let mut config = Config::new(quorum, Ttl::new(self.ttl)?)?.with_retry(self.retry);
        if let Some(node_timeout) = self.node_timeout {
            config = config.with_node_timeout(node_timeout)?;
        }
        if let Some(hold_max) = self.hold_max {
            config = config.with_renewal(Renewal::up_to(hold_max));
        }
        Ok(config)
    }
}

impl From<Duration> for Options {
    fn from(ttl: Duration) -> Self {
        Self::new(ttl)
    }
}
