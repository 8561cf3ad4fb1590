//! Where things go on the picture, and how they are written.

use std::fmt::{self, Write};

use super::scale::Scale;
use crate::report::steps::Steps;
use crate::report::words::{cut, escape};
use crate::sim::clock::TrueTime;

/// Fewer letters than this say nothing.
const LETTERS_MIN: usize = 6;
/// Width of an average letter of a label, in pixels; a little too much rather than too little.
pub(super) const LETTER: f64 = 6.4;

/// A place in pixels, written as short as a hundredth of a pixel allows: the page zooms in a lot.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct Px(pub(super) f64);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.0 * 100.0).round() / 100.0)
    }
}

/// Whether a label that does not fit is left out, or is there for when there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Medium {
    /// A picture that stays as it is.
    Still,
    /// One that is zoomed by a script, which shows and hides labels.
    Live,
}

/// Writes things.
#[derive(Debug)]
pub(super) struct Ink<'a> {
    pub(super) out: String,
    pub(super) scale: Scale,
    pub(super) medium: Medium,
    pub(super) steps: &'a Steps,
    /// Added to every vertical place.
    pub(super) top: f64,
    /// How many more things there is room for: a window bounds them, unless very many happen at once.
    pub(super) left: usize,
}

/// What every thing has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thing<'t> {
    pub(super) class: &'t str,
    /// The event that it comes from.
    pub(super) origin: usize,
    /// What it says when it is pointed at.
    pub(super) tip: &'t str,
}

impl Ink<'_> {
    fn tail(&mut self, name: &str, thing: &Thing<'_>) {
        if let Some(step) = self.steps.of(thing.origin) {
            self.put(format_args!(" data-s=\"{step}\""));
        }
        if thing.tip.is_empty() {
            self.out.push_str("/>\n");
        } else {
            let tip = escape(thing.tip);
            self.put(format_args!("><title>{tip}</title></{name}>\n"));
        }
    }

    fn is_full(&mut self) -> bool {
        let is_full = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_full
    }

    fn put(&mut self, arguments: fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = self.out.write_fmt(arguments);
    }

    /// A bar from `from` to `to`, `y` below the top of the lane.
    pub(super) fn bar(
        &mut self,
        thing: Thing<'_>,
        (from, to): (TrueTime, TrueTime),
        y: f64,
        height: f64,
    ) {
        if !self.scale.shows(from, to) || self.is_full() {
            return;
        }
        let (x, end) = (self.scale.x(from), self.scale.x(to));
        let width = (end - x).max(0.5);
        let (class, y) = (thing.class, y + self.top);
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
            Px(x),
            Px(y),
            Px(width),
            Px(height)
        ));
        self.tail("rect", &thing);
    }

    /// A label in a bar from `from` to `to`.
    pub(super) fn label(
        &mut self,
        class: &str,
        (from, to): (TrueTime, TrueTime),
        y: f64,
        text: &str,
    ) {
        if !self.scale.shows(from, to) {
            return;
        }
        let width = self.scale.x(to) - self.scale.x(from);
        let fits = width > text.chars().count() as f64 * LETTER + 6.0;
        if fits || self.medium == Medium::Live {
            self.text_in(class, from, width, y, text);
        }
    }

    /// A text from `from` on that is cut where its room ends.
    pub(super) fn text_in(&mut self, class: &str, from: TrueTime, width: f64, y: f64, text: &str) {
        if self.is_full() {
            return;
        }
        let (x, y) = (self.scale.x(from), y + self.top);
        match self.medium {
            Medium::Still => {
                let letters = ((width - 4.0) / LETTER).max(0.0) as usize;
                if letters < LETTERS_MIN && letters < text.chars().count() {
                    return;
                }
                let text = escape(&cut(text, letters));
                self.put(format_args!(
                    "<text class=\"{class}\" x=\"{}\" y=\"{}\">{text}</text>\n",
                    Px(x + 4.0),
                    Px(y)
                ));
            }
            Medium::Live => {
                let text = escape(text);
                self.put(format_args!(
                    "<text class=\"{class}\" x=\"{}\" dx=\"4\" y=\"{}\" data-w=\"{}\">{text}</text>\n",
                    Px(x),
                    Px(y),
                    Px(width)
                ));
            }
        }
    }

    /// A mark of the given shape at one moment.
    pub(super) fn mark(&mut self, shape: &str, thing: Thing<'_>, at: TrueTime, y: f64) {
        if !self.scale.shows(at, at) || self.is_full() {
            return;
        }
        let (x, y, class) = (self.scale.x(at), y + self.top, thing.class);
        self.put(format_args!(
            "<use href=\"#{shape}\" class=\"{class}\" x=\"{}\" y=\"{}\"",
            Px(x),
            Px(y)
        ));
        self.tail("use", &thing);
    }

    /// A line from one time and height to another; heights are not those of the lane.
    pub(super) fn line(
        &mut self,
        thing: Thing<'_>,
        (from, y1): (TrueTime, f64),
        (to, y2): (TrueTime, f64),
    ) {
        if !self.scale.shows(from.min(to), to.max(from)) || self.is_full() {
            return;
        }
        let (x1, x2, class) = (self.scale.x(from), self.scale.x(to), thing.class);
        self.put(format_args!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"",
            Px(x1),
            Px(y1),
            Px(x2),
            Px(y2)
        ));
        self.tail("line", &thing);
    }

    /// A line through points.
    pub(super) fn polyline(&mut self, thing: Thing<'_>, points: &[(TrueTime, f64)]) {
        let class = thing.class;
        self.put(format_args!("<polyline class=\"{class}\" points=\""));
        let most = self.left;
        self.left = most.saturating_sub(points.len());
        for (at, y) in points.iter().take(most) {
            let (x, y) = (self.scale.x(*at), y + self.top);
            self.put(format_args!("{},{} ", Px(x), Px(y)));
        }
        self.out.push('"');
        self.tail("polyline", &thing);
    }

    /// A number at one moment, which gives way to the one before.
    pub(super) fn number(
        &mut self,
        thing: Thing<'_>,
        at: TrueTime,
        y: f64,
        text: &str,
        free: &mut f64,
    ) {
        if !self.scale.shows(at, at) || self.is_full() {
            return;
        }
        let x = self.scale.x(at);
        if self.medium == Medium::Still && x < *free {
            return;
        }
        *free = x + text.chars().count() as f64 * LETTER + 8.0;
        let (y, class, text) = (y + self.top, thing.class, escape(text));
        self.put(format_args!("<text class=\"{class}\" x=\"{}\" y=\"{}\"", Px(x), Px(y)));
        if let Some(step) = self.steps.of(thing.origin) {
            self.put(format_args!(" data-s=\"{step}\""));
        }
        self.put(format_args!(">{text}"));
        if !thing.tip.is_empty() {
            let tip = escape(thing.tip);
            self.put(format_args!("<title>{tip}</title>"));
        }
        self.out.push_str("</text>\n");
    }

    /// Anything else.
    pub(super) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }
}
