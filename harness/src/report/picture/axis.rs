//! Times along the top, and the violation.

use std::fmt::Write;

use super::ink::{Ink, Px};
use super::{PLOT_WIDTH, View};
use crate::report::words::{about, escape};
use crate::report::{Axis, STEP};
use crate::sim::clock::TrueTime;

/// Between two times, in pixels, at least.
const APART: f64 = 90.0;

/// Times as far apart as is readable, and where time is drawn shorter. The page's script draws them
/// afresh whenever it zooms.
pub(super) fn ticks(ink: &mut Ink<'_>, view: &View<'_>, bottom: f64) {
    let window = view.window;
    let scale = &ink.scale;
    let mut out = String::new();
    let gone: TrueTime = scale.gaps().iter().map(|gap| gap.to - gap.from).sum();
    let whole = (window.to - window.from - gone).max(1);
    let least = (whole as f64 * APART / PLOT_WIDTH) as TrueTime;
    let step = round_step(view.case.axis, least.max(1));
    // Writing to memory does not fail, here and below.
    let mut taken = Vec::new();
    for gap in scale.gaps() {
        let (x, end) = (scale.x(gap.from), scale.x(gap.to));
        let middle = f64::midpoint(x, end);
        let (width, height) = (Px(end - x), Px(bottom - 34.0));
        let _ = write!(
            out,
            "<rect class=\"gap\" x=\"{}\" y=\"34\" width=\"{width}\" height=\"{height}\"/>",
            Px(x)
        );
        if taken.last().is_none_or(|(_, end)| middle - APART / 2.0 >= *end) {
            taken.push((middle - APART / 2.0, middle + APART / 2.0));
            let (middle, length) = (Px(middle), about(view.case.axis, gap.to - gap.from));
            let _ = write!(
                out,
                "<text class=\"tick skip\" x=\"{middle}\" y=\"28\">⋯ {length} ⋯</text>"
            );
        }
    }
    let mut at = window.from.div_ceil(step) * step;
    while at <= window.to {
        let x = scale.x(at);
        let is_free = !taken.iter().any(|(begin, end)| x + 20.0 > *begin && x - 20.0 < *end);
        if scale.is_in_gap(at) {
            // On to the other end of the gap at once: there may be very many steps in it.
            let gap = scale.gaps().iter().find(|gap| gap.from < at && at < gap.to);
            at = gap.map_or(at + step, |gap| gap.to.div_ceil(step) * step).max(at + step);
            continue;
        }
        let text = match view.case.axis {
            Axis::Steps => format!("{}", at / STEP),
            Axis::Time => tick(at, step),
        };
        let x = Px(x);
        let _ = write!(out, "<path class=\"grid\" d=\"M{x} 34V{bottom}\"/>");
        if is_free {
            let _ = write!(out, "<text class=\"tick\" x=\"{x}\" y=\"28\">{}</text>", escape(&text));
        }
        at += step;
    }
    ink.raw(&out);
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
