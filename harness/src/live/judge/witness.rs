//! I1 witness: whoever believes is backed, at every moment, by a majority of nodes that nobody else can
//! lock.

use std::time::Duration;

use super::{Belief, Finding, SHORTEST, Word, ms, node};
use crate::check::Invariant;
use crate::live::record::{Kept, Record, Token, What};

/// A key that was set now is seen within this.
const OLD: Duration = Duration::from_millis(50);

pub(super) fn check(record: &Record, beliefs: &[Belief], findings: &mut Vec<Finding>) {
    for belief in beliefs {
        findings.extend(unbacked(record, belief));
    }
}

/// The first moment at which too many nodes surely do not back `belief`.
fn unbacked(record: &Record, belief: &Belief) -> Option<Finding> {
    let majority = record.majority();
    // So many without the key leave too few with it.
    let too_many = record.nodes + 1 - majority;
    let bare: Vec<(Duration, Duration, &Kept)> = record
        .kept
        .iter()
        .filter(|kept| kept.resource == belief.resource && kept.node < record.nodes)
        .filter(|kept| !backs(record, kept, belief))
        .filter_map(|kept| {
            let from = kept.during.start.max(belief.during.start);
            let to = kept.during.end.min(belief.during.end);
            (from < to).then_some((from, to, kept))
        })
        .collect();
    let mut starts: Vec<Duration> = bare.iter().map(|(from, ..)| *from).collect();
    starts.sort_unstable();
    let at = starts.into_iter().find(|at| {
        let lasts =
            |(from, to, _): &&(Duration, Duration, &Kept)| from <= at && *at + SHORTEST <= *to;
        let mut nodes: Vec<usize> = bare.iter().filter(lasts).map(|(.., kept)| kept.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len() >= too_many
    })?;
    let seen = |who: usize| {
        bare.iter().find(|(from, to, kept)| kept.node == who && *from <= at && at < *to)
    };
    let nodes = (0..record.nodes).filter_map(|who| {
        let (.., kept) = seen(who)?;
        let what = match &kept.what {
            What::Nothing => "no key",
            What::Key { .. } => "somebody else's key",
            What::Withheld => return None,
        };
        Some(format!("{} had {what}", node(who)))
    });
    let nodes = nodes.collect::<Vec<_>>().join(", ");
    let (client, until) = (belief.client, ms(belief.during.end));
    Some(Finding {
        invariant: Invariant::Witness,
        word: Word::Violated,
        at,
        client: Some(client),
        story: format!(
            "c{client} relied on r{} until {until} at least, but at {} {nodes}; {majority} of {} have to \
             keep its key",
            belief.resource,
            ms(at),
            record.nodes
        ),
    })
}

/// Whether nobody but the believer can lock this node as long as it keeps that.
fn backs(record: &Record, kept: &Kept, belief: &Belief) -> bool {
    match &kept.what {
        What::Nothing => false,
        What::Withheld => true,
        // Whichever of its values: a key of its own keeps others out.
        What::Key { value, .. } => record.tokens.iter().any(|token| {
            token.value == *value && (token.client == belief.client || is_old(record, kept, token))
        }),
    }
}

/// Whether a key came back with its node, from before: nobody took it now, and as long as it is there nobody can.
fn is_old(record: &Record, kept: &Kept, token: &Token) -> bool {
    record.restored.contains(&kept.node) && token.last + OLD < kept.during.start
}
