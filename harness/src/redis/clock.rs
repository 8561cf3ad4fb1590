//! A wall clock that drifts and jumps.

use std::time::Duration;

use crate::node::WallMillis;

/// A node's wall clock, as a function of the true time that has elapsed since some origin.
///
/// ```
/// use redlatch_harness::redis::Clock;
/// use std::time::Duration;
///
/// let mut clock = Clock::new(1_000_000);
/// clock.set_rate(Duration::ZERO, 10_000); // 1 % fast
/// assert_eq!(clock.read(Duration::from_secs(100)), 1_101_000);
/// clock.jump(-1_000);
/// assert_eq!(clock.read(Duration::from_secs(100)), 1_100_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// What it showed at `since`, in microseconds.
    base_us: i128,
    /// When the rate was last set.
    since: Duration,
    /// How much faster than true time, in parts per million.
    rate_ppm: i32,
}

impl Clock {
    /// A clock that shows `origin` at the origin, and is right from there on.
    #[must_use]
    pub fn new(origin: WallMillis) -> Self {
        Self { base_us: i128::from(origin) * 1_000, since: Duration::ZERO, rate_ppm: 0 }
    }

    /// What it shows after `elapsed`.
    #[must_use]
    pub fn read(&self, elapsed: Duration) -> WallMillis {
        WallMillis::try_from(self.micros(elapsed) / 1_000).unwrap_or(0)
    }

    /// Lets it run `rate_ppm` parts per million faster than true time from `elapsed` on; −1,000,000
    /// stops it.
    pub fn set_rate(&mut self, elapsed: Duration, rate_ppm: i32) {
        self.base_us = self.micros(elapsed);
        self.since = elapsed;
        self.rate_ppm = rate_ppm;
    }

    /// Steps it by `millis`, forward or back.
    pub fn jump(&mut self, millis: i64) {
        self.base_us += i128::from(millis) * 1_000;
    }

    /// How far it is ahead of a clock that has always been right, in milliseconds.
    #[must_use]
    pub fn offset_ms(&self, origin: WallMillis, elapsed: Duration) -> i64 {
        let right = i128::from(origin) * 1_000 + micros(elapsed);
        i64::try_from((self.micros(elapsed) - right) / 1_000).unwrap_or(i64::MAX)
    }

    fn micros(&self, elapsed: Duration) -> i128 {
        let run = micros(elapsed) - micros(self.since);
        self.base_us + run + run * i128::from(self.rate_ppm) / 1_000_000
    }
}

fn micros(duration: Duration) -> i128 {
    i128::try_from(duration.as_micros()).unwrap_or(i128::MAX)
}
