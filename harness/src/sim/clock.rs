//! Clocks that drift, jump and stop.

/// True time, which nobody in the world can read: nanoseconds since the run began.
pub type TrueTime = u64;

/// A whole, as a fixed-point number with 32 bits after the point.
const ONE: u64 = 1 << 32;

/// A clock: linear in true time, with another line from every change on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    since: TrueTime,
    /// What it read then, in nanoseconds.
    reading: u64,
    /// Nanoseconds of reading per nanosecond of true time, 32 bits after the point.
    rate: u64,
    /// The reverse; 0 for a clock that stands still.
    inverse: u64,
}

impl Clock {
    /// A clock that reads `reading` at the beginning and is off by `ppm` of true time.
    #[must_use]
    pub fn new(reading: u64, ppm: i64) -> Self {
        let mut clock = Self { since: 0, reading, rate: ONE, inverse: ONE };
        clock.set_rate(0, ppm);
        clock
    }

    /// What the clock reads at `now`, which must not lie before its last change.
    #[must_use]
    pub const fn read(&self, now: TrueTime) -> u64 {
        let elapsed = now.saturating_sub(self.since);
        self.reading + ((elapsed as u128 * self.rate as u128) >> 32) as u64
    }

    /// The earliest true time, from its last change on, at which the clock reads `reading` or more;
    /// `TrueTime::MAX` for never.
    #[must_use]
    pub const fn when(&self, reading: u64) -> TrueTime {
        if reading <= self.reading {
            return self.since;
        }
        if self.inverse == 0 || reading == u64::MAX {
            return TrueTime::MAX;
        }
        let mut at = self.since.saturating_add(self.duration(reading - self.reading));
        // The reverse rate is rounded: one step brings the guess within a nanosecond or two.
        let read = self.read(at);
        if read < reading {
            at += self.duration(reading - read);
        } else {
            at = at.saturating_sub(self.duration(read - reading));
        }
        while self.read(at) < reading {
            at += 1;
        }
        while at > self.since && self.read(at - 1) >= reading {
            at -= 1;
        }
        at
    }

    const fn duration(&self, nanos: u64) -> u64 {
        ((nanos as u128 * self.inverse as u128) >> 32) as u64
    }

    /// From `now` on the clock is off by `ppm`; at −1,000,000 it stands still.
    pub fn set_rate(&mut self, now: TrueTime, ppm: i64) {
        self.reading = self.read(now);
        self.since = now;
        let parts = (1_000_000 + ppm).clamp(0, 100_000_000).unsigned_abs();
        self.rate = ((u128::from(parts) << 32) / 1_000_000) as u64;
        self.inverse =
            if self.rate == 0 { 0 } else { ((1u128 << 64) / u128::from(self.rate)) as u64 };
    }

    /// At `now` the clock jumps by `nanos`.
    pub const fn jump(&mut self, now: TrueTime, nanos: i64) {
        self.reading = self.read(now).saturating_add_signed(nanos);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reverse_is_exact() {
        for ppm in [-500_000, -10_000, -1, 0, 1, 777, 10_000, 2_000_000] {
            let mut clock = Clock::new(1_000, ppm);
            clock.jump(500, 1_000_000);
            for step in 0..1_000_u64 {
                let reading = 1_001_500 + step * step * 7_919;
                let at = clock.when(reading);
                assert!(clock.read(at) >= reading, "{ppm} {reading}");
                assert!(at <= 500 || clock.read(at - 1) < reading, "{ppm} {reading}");
            }
        }
    }

    #[test]
    fn a_clock_that_stands_still_reads_the_same_and_is_never_there() {
        let mut clock = Clock::new(5, 0);
        clock.set_rate(10, -1_000_000);
        assert_eq!(clock.read(1_000_000), 15);
        assert_eq!(clock.when(16), TrueTime::MAX);
    }
}
