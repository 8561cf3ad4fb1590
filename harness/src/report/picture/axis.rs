//! Times along the top, and the violation.

use std::fmt::Write;

use super::ink::Ink;
use super::{PLOT_WIDTH, View};
use crate::report::words::{about, escape};
use crate::report::{Axis, STEP};
use crate::sim::clock::TrueTime;

/// Between two times, in pixels, at least.
const APART: f64 = 90.0;

/// Times as far apart as is readable. The page's script draws them afresh whenever it zooms.
pub(super) fn ticks(ink: &mut Ink<'_>, view: &View<'_>, bottom: f64) {
    let window = view.window;
    let whole = (window.to - window.from).max(1);
    let least = (whole as f64 * APART / PLOT_WIDTH) as TrueTime;
    let step = round_step(view.case.axis, least.max(1));
    let mut at = window.from.div_ceil(step) * step;
    while at <= window.to {
        let x = super::ink::Px(ink.scale.x(at));
        let text = match view.case.axis {
            Axis::Steps => format!("{}", at / STEP),
            Axis::Time => tick(at, step),
        };
        let mut out = String::new();
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{x} 34V{bottom}\"/><text class=\"tick\" x=\"{x}\" y=\"28\">{}</text>",
            escape(&text)
        );
        ink.raw(&out);
        at += step;
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(axis: Axis, least: TrueTime) -> TrueTime {
    let mut step: TrueTime = match axis {
        Axis::Steps => STEP,
        Axis::Time => 1_000,
    };
    for factor in [2, 5, 10].into_iter().cycle().take(40) {
        let decade = 10_u64.pow(step.ilog10());
        if step >= least {
            break;
        }
        step = decade * factor;
    }
    step
}

fn tick(at: TrueTime, step: TrueTime) -> String {
    let digits = match step {
        1_000_000.. => 0,
        100_000.. => 1,
        10_000.. => 2,
        _ => 3,
    };
    format!("{:.digits$} ms", at as f64 / 1e6)
}

/// The red line, and what would have come after.
pub(super) fn violation(ink: &mut Ink<'_>, view: &View<'_>, bottom: f64) {
    let Some(violation) = &view.case.violation else { return };
    let at = violation.time;
    let (x, end) = (ink.scale.x(at), ink.scale.x(view.window.to));
    let text = format!("{} · {}", violation.invariant, about(view.case.axis, at));
    let on_the_left = if x > PLOT_WIDTH * 0.7 { " left" } else { "" };
    let mut out = String::new();
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "<rect class=\"veil\" x=\"{x:.1}\" y=\"34\" width=\"{:.1}\" height=\"{:.1}\"/>\
         <line class=\"red\" x1=\"{x:.1}\" y1=\"6\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>\
         <text class=\"redtext{on_the_left}\" x=\"{x:.1}\" y=\"14\">{}</text>",
        (end - x).max(0.0),
        bottom - 34.0,
        escape(&text)
    );
    ink.raw(&out);
}
