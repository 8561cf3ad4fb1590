//! Clocks, as far as a history tells: when something that a clock will end does end, in true time.

use crate::sim::clock::TrueTime;

const MILLION: i128 = 1_000_000;

/// A clock: linear in true time since its last change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    since: TrueTime,
    ahead: i64,
    ppm: i32,
    /// Whether the history has told how it runs.
    is_known: bool,
}

impl Line {
    /// How far it is ahead at `at`.
    fn ahead(&self, at: TrueTime) -> i128 {
        i128::from(self.ahead)
            + i128::from(at.saturating_sub(self.since)) * i128::from(self.ppm) / MILLION
    }

    /// The clock changed at `at`. What would have ended at each of `ends` ends when the clock, as it is
    /// now, reads the same. Returns how far it jumped.
    pub(super) fn change<'a>(
        &mut self,
        at: TrueTime,
        ahead: i64,
        ppm: i32,
        ends: impl Iterator<Item = &'a mut TrueTime>,
    ) -> i64 {
        let jump = if self.is_known { i128::from(ahead) - self.ahead(at) } else { 0 };
        let (old, new) = (MILLION + i128::from(self.ppm), MILLION + i128::from(ppm));
        for end in ends.filter(|end| **end > at && **end != TrueTime::MAX) {
            let left = (i128::from(*end - at) * old / MILLION - jump).max(0);
            *end = if left == 0 {
                at
            } else if new <= 0 {
                TrueTime::MAX
            } else {
                let left = TrueTime::try_from(left * MILLION / new).unwrap_or(TrueTime::MAX);
                at.saturating_add(left)
            };
        }
        *self = Self { since: at, ahead, ppm, is_known: true };
        i64::try_from(jump).unwrap_or(0)
    }
}
