//! Times, numbers and names as the picture and the list of steps write them.

use super::scene::{Reading, Scene};
use super::{Axis, STEP};
use crate::history::{Answered, Asked};
use crate::sim::clock::TrueTime;

/// `412.003 ms`, or `step 7`.
pub(super) fn time(axis: Axis, at: TrueTime) -> String {
    match axis {
        Axis::Time | Axis::Steps if at == TrueTime::MAX => "for ever".to_owned(),
        Axis::Steps => format!("step {}", at / STEP),
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
    if to == TrueTime::MAX {
        return format!("from {} on", time(axis, from));
    }
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

/// What became of a clock: `jumps by +0.772 ms`, `now runs +500 ppm off`.
pub(super) fn clock_change(reading: &Reading) -> String {
    // Less is the rounding of rates.
    const JUMP_MIN: u64 = 1_000;
    if reading.jump.unsigned_abs() >= JUMP_MIN {
        format!("jumps by {:+.3} ms", reading.jump as f64 / 1e6)
    } else if reading.ppm <= -1_000_000 {
        "stands still".to_owned()
    } else if reading.ppm == 0 {
        "runs as it should".to_owned()
    } else {
        format!("now runs {:+} ppm off", reading.ppm)
    }
}

/// How fences are written: they are long numbers, most digits of which all of them share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fences {
    /// As they are.
    #[default]
    Whole,
    /// So many of the last digits; those before are the same everywhere.
    Last(usize),
    /// By how much they are larger than this.
    Above(u64),
}

impl Fences {
    /// Fewer digits are not told, nor is less than this saved.
    const DIGITS_MIN: usize = 3;
    const SAVED_MIN: usize = 3;

    pub(super) fn of(scene: &Scene) -> Self {
        let nodes = scene.nodes.iter().flat_map(|lane| lane.fences.iter().flatten());
        let beliefs = scene.clients.iter().flat_map(|lane| &lane.beliefs);
        let fences = nodes.map(|change| change.fence).chain(beliefs.map(|belief| belief.fence));
        let fences: Vec<u64> = fences.filter(|fence| *fence > 0).collect();
        let most = fences.iter().copied().max().unwrap_or(0);
        // One that has fallen to nothing is written out.
        let least = fences.into_iter().filter(|fence| *fence > most / 10).min().unwrap_or(0);
        let (low, high) = (least.to_string(), most.to_string());
        let same = low.bytes().zip(high.bytes()).take_while(|(one, other)| one == other).count();
        let digits = (high.len() - same.min(high.len())).max(Self::DIGITS_MIN);
        if low.len() == high.len() && digits + Self::SAVED_MIN <= high.len() {
            Self::Last(digits)
        } else if most > least && (most - least).to_string().len() + Self::SAVED_MIN <= high.len() {
            Self::Above(least)
        } else {
            Self::Whole
        }
    }

    /// `…551`, or `+551`.
    pub(super) fn short(self, fence: u64) -> String {
        let text = fence.to_string();
        match self {
            Self::Last(digits) if text.len() > digits => {
                format!("…{}", &text[text.len() - digits..])
            }
            Self::Above(least) if fence >= least => format!("+{}", fence - least),
            Self::Whole | Self::Last(_) | Self::Above(_) => text,
        }
    }

    /// What `short` leaves out.
    pub(super) fn note(self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Last(digits) => Some(format!(
                "Of fences only the last {digits} digits are written; those before are the same."
            )),
            Self::Above(least) => {
                Some(format!("Fences are written as by how much they are above {least}."))
            }
        }
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
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}
