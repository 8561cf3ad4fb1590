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

    /// The longest time from grant to loss.
    #[must_use]
    pub const fn hold_max(&self) -> Duration {
        Duration::from_nanos(self.hold_max_nanos.get())
    }
}

/// When to extend a lease that is good for `validity`: when a third of it is used up. Two thirds are
/// left for tries that miss.
pub(crate) fn renew_at(now: Instant, valid_until: Instant, validity: Duration) -> Instant {
    valid_until.saturating_sub(validity * 2 / 3).max(now.saturating_add(step_min(validity)))
}

/// When to try again after an extension that missed: each time after a quarter of what is left, so
/// that the tries come closer as the deadline does.
pub(crate) fn try_again_at(now: Instant, valid_until: Instant, validity: Duration) -> Instant {
    let left = valid_until.saturating_duration_since(now);
    now.saturating_add((left / 4).max(step_min(validity)))
}

/// The least time between two tries: it bounds them to 64 in one validity.
fn step_min(validity: Duration) -> Duration {
    validity / 64
}
