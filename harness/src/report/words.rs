//! Times, numbers and names as the picture and the list of steps write them.

use std::fmt::Write;

use super::scene::Scene;
use super::{Axis, STEP};
use crate::history::{Answered, Asked};
use crate::sim::clock::TrueTime;

/// `412.003 ms`, or `step 7`.
pub(super) fn time(axis: Axis, at: TrueTime) -> String {
    match axis {
        Axis::Steps => format!("step {}", at / STEP),
        Axis::Time if at == TrueTime::MAX => "for ever".to_owned(),
        Axis::Time => {
            let (millis, micros) = (at / 1_000_000, at / 1_000 % 1_000);
            format!("{millis}.{micros:03} ms")
        }
    }
}

/// As [`time`], no more exact than sentences have to be: `412 ms`, `412.3 ms`.
pub(super) fn about(axis: Axis, at: TrueTime) -> String {
    match axis {
        Axis::Time if at != TrueTime::MAX => {
            let tenths = at.saturating_add(50_000) / 100_000;
            match tenths % 10 {
                0 => format!("{} ms", tenths / 10),
                rest => format!("{}.{rest} ms", tenths / 10),
            }
        }
        Axis::Time | Axis::Steps => time(axis, at),
    }
}

/// From when to when.
pub(super) fn stretch(axis: Axis, from: TrueTime, to: TrueTime) -> String {
    match axis {
        Axis::Steps => format!("{} to {}", time(axis, from), to / STEP),
        Axis::Time => format!("{} to {}", time(axis, from).trim_end_matches(" ms"), time(axis, to)),
    }
}

pub(super) const fn asked(asked: Asked) -> &'static str {
    match asked {
        Asked::Acquire => "acquire",
        Asked::Seal => "seal",
        Asked::Extend => "extend",
        Asked::Release => "release",
    }
}

pub(super) const fn answered(answered: Answered) -> &'static str {
    match answered {
        Answered::Applied => "yes",
        Answered::Refused => "no",
        Answered::Unknown => "an error",
        Answered::Quarantined => "not voting yet",
    }
}

/// How fences are written: without the digits that all of them begin with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fences {
    /// How many of the last digits are told; 0 for all.
    digits: usize,
}

impl Fences {
    /// Fewer digits are not left out, nor is less than this written.
    const DIGITS_MIN: usize = 3;
    const SAVED_MIN: usize = 3;

    pub(super) fn of(scene: &Scene) -> Self {
        let nodes = scene.nodes.iter().flat_map(|lane| lane.fences.iter().flatten());
        let beliefs = scene.clients.iter().flat_map(|lane| &lane.beliefs);
        let fences = nodes.map(|change| change.fence).chain(beliefs.map(|belief| belief.fence));
        let (mut least, mut most) = (u64::MAX, 0);
        for fence in fences.filter(|fence| *fence > 0) {
            least = least.min(fence);
            most = most.max(fence);
        }
        let (least, most) = (least.to_string(), most.to_string());
        if least.len() != most.len() {
            return Self::default();
        }
        let same = least.bytes().zip(most.bytes()).take_while(|(one, other)| one == other).count();
        let digits = (most.len() - same).max(Self::DIGITS_MIN);
        if digits + Self::SAVED_MIN > most.len() { Self::default() } else { Self { digits } }
    }

    /// `…551`.
    pub(super) fn short(self, fence: u64) -> String {
        let text = fence.to_string();
        if self.digits == 0 || text.len() <= self.digits {
            return text;
        }
        format!("…{}", &text[text.len() - self.digits..])
    }
}

/// `text` as the content of an element or an attribute of XML and HTML. Characters that XML does not
/// have become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The first `most` characters of `text`; an ellipsis says that there were more.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// `n0`, `n0 and n2`, `n0, n1 and n2`.
pub(super) fn list(words: &[String]) -> String {
    let Some((last, before)) = words.split_last() else { return "nobody".to_owned() };
    if before.is_empty() { last.clone() } else { format!("{} and {last}", before.join(", ")) }
}

/// Digits in groups of three.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push('\u{202f}');
        }
        // Writing to memory does not fail.
        let _ = write!(out, "{digit}");
    }
    out
}
