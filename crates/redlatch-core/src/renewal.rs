//! When to renew a lease, and how long a hold may last.

use core::num::NonZeroU64;
use core::time::Duration;

use crate::time::{Instant, nanos};

/// Automatic renewal, which is asked for explicitly and always bounded (R14).
///
/// ```
/// use core::time::Duration;
/// use redlatch_core::Renewal;
///
/// let renewal = Renewal::up_to(Duration::from_secs(3600));
/// assert_eq!(renewal.hold_max(), Duration::from_secs(3600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Renewal {
    hold_max_nanos: NonZeroU64,
}

impl Renewal {
    /// Renews a granted lease until it has been held for `hold_max`. Then the lease ends, as
    /// [`Loss::HoldMax`](crate::Loss::HoldMax), even if the nodes would keep it for longer. A zero
    /// `hold_max` counts as a nanosecond.
    #[must_use]
    pub const fn up_to(hold_max: Duration) -> Self {
        match NonZeroU64::new(nanos(hold_max)) {
            Some(hold_max_nanos) => Self { hold_max_nanos },
            None => Self { hold_max_nanos: NonZeroU64::MIN },
        }
    }

    pub(crate) const fn hold_max_nanos(&self) -> u64 {
        self.hold_max_nanos.get()
    }

    /// The longest time from grant to loss.
    #[must_use]
    pub const fn hold_max(&self) -> Duration {
        Duration::from_nanos(self.hold_max_nanos.get())
    }
}

/// When to extend a lease that is good for `validity_nanos`: when a third of it is used up. Two thirds are
/// left for tries that miss.
pub(crate) fn renew_at(now: Instant, valid_until: Instant, validity_nanos: u64) -> Instant {
    // A validity is a day at most, so twice of it is far from overflowing.
    valid_until.minus_nanos(validity_nanos * 2 / 3).max(now.plus_nanos(step_min(validity_nanos)))
}

/// When to try again after an extension that missed: each time after a quarter of what is left, so
/// that the tries come closer as the deadline does.
pub(crate) fn try_again_at(now: Instant, valid_until: Instant, validity_nanos: u64) -> Instant {
    let left = valid_until.as_nanos().saturating_sub(now.as_nanos());
    now.plus_nanos((left / 4).max(step_min(validity_nanos)))
}

/// The least time between two tries: it bounds them to 64 in one validity.
const fn step_min(validity_nanos: u64) -> u64 {
    validity_nanos / 64
}
