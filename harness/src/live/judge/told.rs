//! I10 progress, I11 termination, I12 no-false-loss, and what a client tells of losses.

use std::time::Duration;

use super::{Finding, LOSS_LATE, PIPE, Word, killed, ms, stalled, until_max};
use crate::check::Invariant;
use crate::live::record::{Acquire, Demand, End, Hold, Operation, Record, What, Why};

pub(super) fn check(record: &Record, findings: &mut Vec<Finding>) {
    for acquire in &record.acquires {
        findings.extend(hung(acquire));
        let End::Granted(hold) = &acquire.end else { continue };
        findings.extend(lost_early(record, acquire, hold));
        if let Some(false) = told_in_time(record, acquire, hold) {
            findings.push(loss_late(acquire, hold));
        }
    }
    findings.extend(record.demands.iter().filter_map(stuck));
    findings.extend(stood_still(record));
    findings.extend(unclear(record));
}

/// I10: as long as a majority of nodes is well, locks are granted.
fn stood_still(record: &Record) -> Option<Finding> {
    let window = record.goes_on.as_ref()?;
    let (mut is_asked, mut last) = (false, None);
    for acquire in record.acquires.iter().filter(|acquire| acquire.asked < window.end) {
        let told = match &acquire.end {
            End::Granted(hold) if window.contains(&hold.at) => return None,
            End::Granted(hold) => hold.at,
            End::Refused { at, text, .. } => {
                if window.contains(at) {
                    last = Some(text);
                }
                *at
            }
            End::Hung { at } | End::Killed { at } => *at,
        };
        is_asked |= told >= window.start;
    }
    if !is_asked {
        return None;
    }
    let last = last.map(|text| format!(": {text}")).unwrap_or_default();
    Some(Finding {
        invariant: Invariant::Progress,
        word: Word::Stuck,
        at: window.end,
        client: None,
        story: format!(
            "a majority of nodes was well, but of all that was asked for no lock was granted between {} and \
             {}{last}",
            ms(window.start),
            ms(window.end)
        ),
    })
}

/// Whether errors told an outage from a lock that is taken, while there was one.
fn unclear(record: &Record) -> Option<Finding> {
    let window = record.outage.as_ref()?;
    let (mut clear, mut unclear) = (0, Vec::new());
    for acquire in record.acquires.iter().filter(|acquire| window.contains(&acquire.asked)) {
        let End::Refused { at, why, text } = &acquire.end else { continue };
        match why {
            Why::Unavailable | Why::Timeout => clear += 1,
            Why::Contended | Why::Lost | Why::Other if window.contains(at) => {
                unclear.push((acquire.client, *at, text));
            }
            Why::Contended | Why::Lost | Why::Other => {}
        }
    }
    if unclear.len() <= clear {
        return None;
    }
    let (client, at, text) = *unclear.first()?;
    Some(Finding {
        // Not of an invariant; the nearest that there is.
        invariant: Invariant::Api,
        word: Word::ErrorUnclear,
        at,
        client: Some(client),
        story: format!(
            "a majority of nodes was out of reach, but c{client} was told at {}: {text}",
            ms(at)
        ),
    })
}

/// I11: whatever is asked for ends.
fn hung(acquire: &Acquire) -> Option<Finding> {
    let (client, resource) = (acquire.client, acquire.resource);
    let (what, asked, at) = match &acquire.end {
        End::Hung { at } => ("an acquire", acquire.asked, *at),
        End::Granted(hold) => match hold.hung? {
            (Operation::Extend, at) => ("an extension", hold.at, at),
            (Operation::Release, at) => ("a release", hold.given_up.unwrap_or(hold.at), at),
        },
        End::Refused { .. } | End::Killed { .. } => return None,
    };
    Some(Finding {
        invariant: Invariant::Termination,
        word: Word::Hung,
        at,
        client: Some(client),
        story: format!(
            "{what} of r{resource} that c{client} asked for at {} had not ended at {}",
            ms(asked),
            ms(at)
        ),
    })
}

/// I10: once everything has healed, a free lock is granted.
fn stuck(demand: &Demand) -> Option<Finding> {
    if demand.granted.is_some_and(|granted| granted <= demand.due) {
        return None;
    }
    let Demand { client, resource, asked, due, last, .. } = demand;
    Some(Finding {
        invariant: Invariant::Progress,
        word: Word::Stuck,
        at: *due,
        client: Some(*client),
        story: format!(
            "r{resource} was free and every node well from {} on, but c{client} had not got it by {}: \
             {last}",
            ms(*asked),
            ms(*due)
        ),
    })
}

/// How many losses there were to tell, and how many of them were told in time.
pub(super) fn losses(record: &Record) -> (usize, usize) {
    let told = record.acquires.iter().filter_map(|acquire| {
        let End::Granted(hold) = &acquire.end else { return None };
        told_in_time(record, acquire, hold)
    });
    told.fold((0, 0), |(all, in_time), is_in_time| (all + 1, in_time + usize::from(is_in_time)))
}

/// Whether a loss was told in time; `None` if there was none to tell.
fn told_in_time(record: &Record, acquire: &Acquire, hold: &Hold) -> Option<bool> {
    if !record.caps.lost_event {
        return None;
    }
    let until = until_max(hold);
    let due = until + LOSS_LATE;
    let due = due + stalled(record, until.saturating_sub(PIPE), due);
    // Whoever stands still tells it afterwards.
    let own = record.pauses.iter().filter(|(client, _)| *client == acquire.client);
    let due = own.fold(due, |due, (_, span)| {
        let meets = span.start <= due && until.saturating_sub(PIPE) <= span.end;
        if meets { due.max(span.end + LOSS_LATE) } else { due }
    });
    let given_up = hold.given_up.or(hold.hung.map(|(_, at)| at)).unwrap_or(record.ended);
    let is_dead = killed(record, acquire.client).is_some_and(|at| at <= due);
    if is_dead || given_up < due || due > record.ended {
        return hold.lost.filter(|lost| *lost > until).map(|_| true);
    }
    Some(hold.lost.is_some_and(|lost| lost <= due))
}

fn loss_late(acquire: &Acquire, hold: &Hold) -> Finding {
    let (client, resource) = (acquire.client, acquire.resource);
    let until = until_max(hold);
    let told = match hold.lost {
        None => "it had not told so".to_owned(),
        Some(lost) => format!("it told so only at {}", ms(lost)),
    };
    Finding {
        // Of R11 the deadline is the half that can be seen from outside.
        invariant: Invariant::Termination,
        word: Word::LossLate,
        at: hold.lost.unwrap_or(until + LOSS_LATE),
        client: Some(client),
        story: format!("c{client} lost r{resource} at {}, and {told}", ms(until)),
    }
}

/// I12: a loss is not told while the lease stands and a majority surely keeps the key.
fn lost_early(record: &Record, acquire: &Acquire, hold: &Hold) -> Option<Finding> {
    let lost = hold.lost?;
    let told: Vec<(Duration, Duration)> = hold
        .extensions
        .iter()
        .filter(|extension| extension.at <= lost)
        .filter_map(|extension| Some((extension.asked, extension.until?)))
        .collect();
    let (asked, until) = told.last().copied().unwrap_or((acquire.asked, hold.until));
    let late = stalled(record, asked, lost);
    if lost + PIPE + late >= until {
        return None;
    }
    let keeps = |node: &usize| {
        record.kept.iter().any(|kept| {
            let is_own = |value: &[u8]| {
                record
                    .tokens
                    .iter()
                    .any(|token| token.client == acquire.client && token.value == value)
            };
            let what = match &kept.what {
                What::Key { value, .. } => is_own(value),
                What::Nothing | What::Withheld => false,
            };
            let (is_here, is_then) = (
                kept.node == *node && kept.resource == acquire.resource,
                kept.during.contains(&lost),
            );
            what && is_here && is_then
        })
    };
    let keep = (0..record.nodes).filter(keeps).count();
    (keep >= record.majority()).then(|| Finding {
        invariant: Invariant::NoFalseLoss,
        word: Word::Violated,
        at: lost,
        client: Some(acquire.client),
        story: format!(
            "c{} was told at {} that r{} is lost, but its lease was good until {}, and {keep} nodes kept \
             its key",
            acquire.client,
            ms(lost),
            acquire.resource,
            ms(until)
        ),
    })
}
