//! The lane of faults: what goes wrong, and for how long.

use super::ink::{Ink, LETTER, Thing};
use super::scale::Scale;
use super::{PLOT_WIDTH, View};
use crate::report::scene::FaultSpan;
use crate::report::words::{cut, stretch, time};

const ROW: f64 = 16.0;
/// More rows than this are drawn over each other.
const ROWS_MAX: usize = 5;
/// A text that is longer takes no more room than this many letters.
const LETTERS_MAX: usize = 44;

/// Which fault is in which row.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    placed: Vec<Placed<'a>>,
    count: usize,
}

#[derive(Debug)]
struct Placed<'a> {
    fault: &'a FaultSpan,
    row: usize,
    x: f64,
}

impl<'a> Rows<'a> {
    /// Puts each fault into the first row in which there is room for it and its text.
    pub(super) fn of(view: &View<'a>, scale: &Scale) -> Self {
        let mut free: Vec<f64> = Vec::new();
        let mut placed = Vec::new();
        for fault in &view.scene.faults {
            let span = fault.span;
            if !scale.shows(span.from, span.to) {
                continue;
            }
            let letters = fault.text.chars().count().min(LETTERS_MAX) as f64;
            let x = scale.x(span.from);
            let row = free.iter().position(|free| *free <= x).unwrap_or(free.len());
            let row = row.min(ROWS_MAX - 1);
            if row == free.len() {
                free.push(0.0);
            }
            free[row] = scale.x(span.to).max(x + letters * LETTER + 12.0);
            placed.push(Placed { fault, row, x });
        }
        Self { placed, count: free.len() }
    }

    pub(super) fn height(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.count as f64 * ROW + 4.0 }
    }
}

pub(super) fn draw(ink: &mut Ink<'_>, view: &View<'_>, rows: &Rows<'_>) {
    for (index, Placed { fault, row, x }) in rows.placed.iter().enumerate() {
        let span = fault.span;
        let text = cut(&fault.text, 80);
        let when = match span.to > span.from {
            true => stretch(view.case.axis, span.from, span.to),
            false => time(view.case.axis, span.from),
        };
        let tip = format!("Fault: {text}: {when}");
        let y = 2.0 + *row as f64 * ROW;
        let class = if span.to > span.from { "fault" } else { "fault now" };
        let thing = Thing { class, origin: span.origin, tip: &tip };
        ink.bar(thing, (span.from, span.to), y + 1.0, ROW - 2.0);
        let next = rows.placed[index + 1..].iter().find(|next| next.row == *row);
        let room = next.map_or(PLOT_WIDTH, |next| next.x) - x;
        ink.text_in("fl", span.from, room, y + ROW - 4.5, &text);
    }
}
