//! Time as the machine sees it: a number that somebody else reads.

use core::time::Duration;

/// A point on the holder's clock, in nanoseconds since an origin of the driver's choice.
///
/// The machine never reads a clock; it compares the instants that it is given. The clock behind them
/// must not stop while the machine it runs on is suspended (`CLOCK_BOOTTIME` on Linux), or a lease
/// would outlive its keys.
///
/// ```
/// use core::time::Duration;
/// use redlatch_core::Instant;
///
/// let start = Instant::from_nanos(5_000);
/// let later = start.saturating_add(Duration::from_micros(2));
/// assert_eq!(later.as_nanos(), 7_000);
/// assert_eq!(later.saturating_duration_since(start), Duration::from_micros(2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin; nothing is earlier.
    pub const ZERO: Self = Self(0);
    /// The end of time, 584 years after the origin: "never" where an instant is needed.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant and `duration` more; [`Instant::MAX`] where that does not fit.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// This instant less `duration`; [`Instant::ZERO`] where that would be earlier.
    #[must_use]
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// [`saturating_add`](Self::saturating_add) of nanoseconds, for the arithmetic of each reply.
    pub(crate) const fn plus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// [`saturating_sub`](Self::saturating_sub) of nanoseconds.
    pub(crate) const fn minus_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_sub(nanos))
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Whole nanoseconds of `duration`, at most `u64::MAX` (584 years). Without the 128 bits of
/// `as_nanos`, which cost much where a machine word has 32.
pub(crate) const fn nanos(duration: Duration) -> u64 {
    const NANOS_PER_SEC: u64 = 1_000_000_000;
    let secs = duration.as_secs();
    if secs >= u64::MAX / NANOS_PER_SEC {
        return u64::MAX;
    }
    secs * NANOS_PER_SEC + duration.subsec_nanos() as u64
}
