//! Time to pixels. Where nothing happens for long, time is drawn shorter, and the picture says so.

use crate::report::Axis;
use crate::report::window::Window;
use crate::sim::clock::TrueTime;

/// A stretch in which nothing happens takes this part of the width at most, all of them half.
const GAP_SHARE: f64 = 0.05;
const GAPS_SHARE: f64 = 0.5;
/// So many times longer than usual it has to be.
const STANDS_OUT: f64 = 15.0;

/// A scale that is linear between knots.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    from: TrueTime,
    to: TrueTime,
    knots: Vec<Knot>,
    gaps: Vec<Gap>,
}

/// Where a time is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Knot {
    pub(super) at: TrueTime,
    pub(super) x: f64,
}

/// A stretch that is drawn shorter than it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: TrueTime,
    pub(super) to: TrueTime,
}

impl Scale {
    /// The scale of `window`, in which something happens at `times`, in any order.
    pub(super) fn of(window: &Window, axis: Axis, mut times: Vec<TrueTime>, width: f64) -> Self {
        let Window { from, to, .. } = *window;
        times.retain(|at| *at > from && *at < to);
        times.push(to);
        times.sort_unstable();
        let mut gaps = Vec::new();
        let mut last = from;
        for at in times {
            if at > last {
                gaps.push(Gap { from: last, to: at });
            }
            last = last.max(at);
        }
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.to - gap.from));
        let long = match axis {
            Axis::Time => long_gaps(&gaps),
            Axis::Steps => 0,
        };
        gaps.truncate(long);
        gaps.sort_by_key(|gap| gap.from);
        Self { from, to, knots: knots(from, to, &gaps, width), gaps }
    }

    /// Where `at` is; what lies outside is at the edge.
    pub(super) fn x(&self, at: TrueTime) -> f64 {
        let at = at.clamp(self.from, self.to);
        let next = self.knots.partition_point(|knot| knot.at <= at);
        let Some(before) = next.checked_sub(1).and_then(|before| self.knots.get(before)) else {
            return 0.0;
        };
        let Some(after) = self.knots.get(next) else { return before.x };
        let part = (at - before.at) as f64 / (after.at - before.at) as f64;
        before.x + part * (after.x - before.x)
    }

    pub(super) const fn shows(&self, from: TrueTime, to: TrueTime) -> bool {
        from <= self.to && to >= self.from
    }

    pub(super) fn knots(&self) -> &[Knot] {
        &self.knots
    }

    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    pub(super) fn is_in_gap(&self, at: TrueTime) -> bool {
        self.gaps.iter().any(|gap| gap.from < at && at < gap.to)
    }
}

/// How many of `gaps`, the longest of which come first, are to be drawn shorter: those that stand out
/// among the shorter ones, and would take much more than their share.
fn long_gaps(gaps: &[Gap]) -> usize {
    let gaps_max = (GAPS_SHARE / GAP_SHARE) as usize;
    let mut rest: TrueTime = gaps.iter().map(|gap| gap.to - gap.from).sum();
    let mut long = 0;
    for gap in gaps.iter().take(gaps_max) {
        let length = gap.to - gap.from;
        let shorter = gaps.len() - long - 1;
        let usual = (rest - length) as f64 / shorter.max(1) as f64;
        let is_long =
            length as f64 > usual * STANDS_OUT && length as f64 > rest as f64 * GAP_SHARE * 2.0;
        if shorter == 0 || !is_long {
            break;
        }
        rest -= length;
        long += 1;
    }
    long
}

/// Gaps, in order of time, get their share of the width, the rest what is left.
fn knots(from: TrueTime, to: TrueTime, gaps: &[Gap], width: f64) -> Vec<Knot> {
    let short = width * GAP_SHARE;
    let gone: TrueTime = gaps.iter().map(|gap| gap.to - gap.from).sum();
    let rest = ((to - from) - gone).max(1) as f64;
    let pace = (width - short * gaps.len() as f64) / rest;
    let mut knots = vec![Knot { at: from, x: 0.0 }];
    let mut x = 0.0;
    let mut last = from;
    for gap in gaps {
        x += (gap.from - last) as f64 * pace;
        if gap.from > last {
            knots.push(Knot { at: gap.from, x });
        }
        x += short;
        knots.push(Knot { at: gap.to, x });
        last = gap.to;
    }
    if to > last {
        knots.push(Knot { at: to, x: width });
    }
    knots
}
