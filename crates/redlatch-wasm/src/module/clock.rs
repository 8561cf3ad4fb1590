//! Milliseconds of JavaScript and nanoseconds of the machine.

use core::time::Duration;

use redlatch_core::Instant;

const NANOS_PER_MILLI: f64 = 1e6;

/// To the nearest nanosecond; saturates, and `NaN` is 0.
pub(crate) fn nanos(millis: f64) -> u64 {
    (millis * NANOS_PER_MILLI + 0.5) as u64
}

pub(crate) fn instant(millis: f64) -> Instant {
    Instant::from_nanos(nanos(millis))
}

pub(crate) fn duration(millis: f64) -> Duration {
    Duration::from_nanos(nanos(millis))
}

pub(crate) fn millis(at: Instant) -> f64 {
    at.as_nanos() as f64 / NANOS_PER_MILLI
}

pub(crate) fn millis_of(duration: Duration) -> f64 {
    millis(Instant::ZERO.saturating_add(duration))
}
