//! I2 mutex; and what a client surely believed, from when to when.

use std::ops::Range;
use std::time::Duration;

use super::{Finding, PIPE, SHORTEST, Word, killed, ms, standstill};
use crate::check::Invariant;
use crate::live::record::{End, Hold, Record};

/// A stretch in which a client surely relied on a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belief {
    /// Whose.
    pub client: usize,
    /// In which of its acquires.
    pub acquire: u32,
    /// On what.
    pub resource: usize,
    /// Its fence.
    pub fence: Option<u64>,
    /// When its acquire was asked for.
    pub asked: Duration,
    /// From when to when.
    pub during: Range<Duration>,
    /// Whether it came back after it had ended: an extension was granted too late.
    pub is_revived: bool,
}

/// What every client surely believed, in the order of the record.
#[must_use]
pub fn beliefs(record: &Record) -> Vec<Belief> {
    let mut all = Vec::new();
    for acquire in &record.acquires {
        let End::Granted(hold) = &acquire.end else { continue };
        for (during, is_revived) in spans(record, acquire.client, acquire.asked, hold) {
            all.push(Belief {
                client: acquire.client,
                acquire: acquire.number,
                resource: acquire.resource,
                fence: hold.fence,
                asked: acquire.asked,
                during,
                is_revived,
            });
        }
    }
    all
}

/// The stretches of one hold; one, unless an extension was granted when it was over.
fn spans(
    record: &Record,
    client: usize,
    asked: Duration,
    hold: &Hold,
) -> Vec<(Range<Duration>, bool)> {
    // Of what the client said at `told`, in answer to what was asked at `asked`: between what it knew and what was
    // read of it there is a process that may have had to wait for the processor, and a pipe.
    let surely = |until: Duration, asked: Duration, told: Duration, knew: Option<Duration>| {
        let read = until.saturating_sub(PIPE + standstill(record, client, asked, told));
        let said = knew.map_or(read, |knew| knew + until.saturating_sub(told));
        read.min(said)
    };
    let ends = [hold.given_up, hold.lost, killed(record, client)];
    let over = ends.into_iter().flatten().min().unwrap_or(Duration::MAX);
    let mut spans = vec![(hold.at..surely(hold.until, asked, hold.at, hold.knew), false)];
    for extension in &hold.extensions {
        let Some(until) = extension.until else { continue };
        let until = surely(until, extension.asked, extension.at, extension.knew);
        let Some((last, _)) = spans.last_mut() else { break };
        if extension.at <= last.end + PIPE {
            last.end = last.end.max(until);
        } else {
            spans.push((extension.at..until, true));
        }
    }
    for (span, _) in &mut spans {
        span.end = span.end.min(over);
    }
    spans.retain(|(span, _)| span.start < span.end);
    spans
}

/// I2: at most one believes.
pub(super) fn check_mutex(beliefs: &[Belief], findings: &mut Vec<Finding>) {
    for (index, one) in beliefs.iter().enumerate() {
        for other in &beliefs[index + 1..] {
            if one.resource != other.resource || one.client == other.client {
                continue;
            }
            let (first, second) = match one.during.start <= other.during.start {
                true => (one, other),
                false => (other, one),
            };
            let end = first.during.end.min(second.during.end);
            if end < second.during.start + SHORTEST {
                continue;
            }
            let (holder, late) = (first.client, second.client);
            let (until, both) = (first.during.end, end - second.during.start);
            findings.push(Finding {
                invariant: Invariant::Mutex,
                word: Word::Violated,
                at: second.during.start,
                client: Some(late),
                story: format!(
                    "c{late} relied on r{} while c{holder} did so until {}: both for {}",
                    one.resource,
                    ms(until),
                    ms(both)
                ),
            });
        }
    }
}
