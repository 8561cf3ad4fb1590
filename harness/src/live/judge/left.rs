//! I9 no-ghost: keys that are there when nobody should have them.

use std::time::Duration;

use super::{CLEAN_UP, Finding, PIPE, Word, killed, ms, node, standstill, until_max};
use crate::check::Invariant;
use crate::live::record::{Acquire, End, Kept, Record, What};

/// How much longer than its ttl a key may be seen: clocks, and who looks.
const BEYOND: Duration = Duration::from_millis(150);

/// For how long a node of ours keeps a key for a waiter (R18).
const RESERVATION: Duration = Duration::from_millis(200);

pub(super) fn check(record: &Record, findings: &mut Vec<Finding>) {
    for kept in &record.kept {
        let What::Key { value, .. } = &kept.what else { continue };
        findings.extend(judge_reservation(record, kept, value));
        let Some(token) = record.tokens.iter().find(|token| token.value == *value) else {
            continue;
        };
        let is_its =
            |acquire: &&Acquire| acquire.client == token.client && acquire.number == token.acquire;
        let Some(acquire) = record.acquires.iter().find(is_its) else { continue };
        findings.extend(judge(record, kept, token.last, acquire));
    }
    one_each(findings);
}

/// When `acquire` was over for good, and whether its client was in a position to remove its keys.
fn over(record: &Record, acquire: &Acquire) -> (Duration, bool) {
    if let Some(at) = killed(record, acquire.client)
        && last_told(acquire).is_none_or(|told| told >= at)
    {
        return (at, false);
    }
    match &acquire.end {
        End::Refused { at, .. } => (*at, true),
        End::Hung { at } | End::Killed { at } => (*at, false),
        End::Granted(hold) => match (hold.released, hold.hung) {
            (Some((at, is_told)), _) => (at, is_told && hold.lost.is_none_or(|lost| lost > at)),
            (None, Some((_, at))) => (at.max(until_max(hold)), false),
            (None, None) => (until_max(hold), false),
        },
    }
}

/// When the last of it was told.
fn last_told(acquire: &Acquire) -> Option<Duration> {
    match &acquire.end {
        End::Refused { at, .. } => Some(*at),
        End::Granted(hold) => hold.released.map(|(at, _)| at),
        End::Hung { .. } | End::Killed { .. } => None,
    }
}

fn judge(record: &Record, kept: &Kept, last: Duration, acquire: &Acquire) -> Option<Finding> {
    let (over, could_remove) = over(record, acquire);
    let (client, resource, number) = (acquire.client, acquire.resource, acquire.number);
    // Whatever was to be delivered late has been by then, by a network or by a client that is slow to send.
    let undisturbed = over.max(disturbed_until(record)).max(last);
    let beyond = undisturbed + record.keep_max + BEYOND;
    let found = |word, at, story| {
        let invariant = Invariant::NoGhost;
        Some(Finding { invariant, word, at, client: Some(client), story })
    };
    if kept.during.end > beyond {
        let at = beyond.max(kept.during.start);
        let story = format!(
            "{} still kept a key of r{resource} of c{client}'s acquire {number} at {}, which was over at \
             {}: longer than its ttl",
            node(kept.node),
            ms(at),
            ms(over)
        );
        return found(Word::KeyBeyondTtl, at, story);
    }
    let seen = kept.during.start.max(undisturbed);
    let late = standstill(record, client, seen, seen + CLEAN_UP);
    let cleaned = seen + CLEAN_UP + late;
    let is_restored = record.restored.contains(&kept.node);
    if could_remove && !is_restored && kept.during.end > cleaned + PIPE {
        let story = format!(
            "{} still kept a key of r{resource} of c{client}'s acquire {number} at {}, although that was \
             over at {}",
            node(kept.node),
            ms(cleaned),
            ms(over)
        );
        return found(Word::KeyLeft, cleaned, story);
    }
    None
}

/// A key that is kept for a waiter is nobody's, and goes by itself. It is the waiter's nonce with attempt 0.
fn judge_reservation(record: &Record, kept: &Kept, value: &[u8]) -> Option<Finding> {
    let nonce = value.strip_suffix(b"00000000").filter(|nonce| nonce.len() == 32)?;
    let heir = record.tokens.iter().find(|token| token.value.starts_with(nonce))?;
    // A slow clock keeps it for longer, as it does a lock.
    let slower = record.keep_max.as_secs_f64() / record.ttl.as_secs_f64().max(f64::EPSILON);
    let since = kept.during.start.max(disturbed_until(record));
    let beyond = since + RESERVATION.mul_f64(slower.max(1.0)) + BEYOND;
    (kept.during.end > beyond).then(|| Finding {
        invariant: Invariant::NoGhost,
        word: Word::KeyBeyondTtl,
        at: beyond,
        client: Some(heir.client),
        story: format!(
            "{} still kept the key of r{} for c{}, who waited, at {}, since {}",
            node(kept.node),
            kept.resource,
            heir.client,
            ms(beyond),
            ms(kept.during.start)
        ),
    })
}

/// When the last fault was over: until then one may have kept a release from its node.
fn disturbed_until(record: &Record) -> Duration {
    record.strikes.iter().filter_map(|strike| strike.ended).max().unwrap_or(Duration::ZERO)
}

/// One finding for each word and client is enough.
fn one_each(findings: &mut Vec<Finding>) {
    let mut seen = Vec::new();
    findings.retain(|finding| {
        let key = (finding.word, finding.client);
        let is_new = finding.invariant != Invariant::NoGhost || !seen.contains(&key);
        seen.push(key);
        is_new
    });
}
