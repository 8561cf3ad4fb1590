//! What stands behind a belief: when a majority of nodes kept its token, or could give it to nobody.

use std::collections::HashMap;

use super::{Belief, NodeLane, Promise, Span};
use crate::history::TokenName;
use crate::sim::clock::TrueTime;

/// For each token of a resource, where and when it was in the key.
pub(super) struct Keepers {
    spans: HashMap<(u8, TokenName), Vec<(usize, Span)>>,
    withheld: Vec<(usize, Span)>,
    majority: usize,
}

impl Keepers {
    pub(super) fn of(nodes: &[NodeLane], majority: usize, guarded: bool) -> Self {
        let mut spans: HashMap<_, Vec<_>> = HashMap::new();
        let mut withheld = Vec::new();
        for (node, lane) in nodes.iter().enumerate() {
            for (resource, keys) in (0..).zip(&lane.keys) {
                for key in keys {
                    spans.entry((resource, key.owner)).or_default().push((node, key.span));
                }
            }
            withheld.extend(lane.quarantines.iter().map(|span| (node, *span)));
            if guarded {
                withheld.extend(lane.common.downs.iter().map(|span| (node, *span)));
            }
        }
        Self { spans, withheld, majority }
    }

    /// When `belief` was backed; also before it began and after it was over.
    pub(super) fn back(&self, belief: &Belief) -> Vec<Promise> {
        let token = belief.token;
        let Some(keys) = self.spans.get(&(belief.resource, token)) else { return Vec::new() };
        let begin = keys.iter().map(|(_, span)| span.from).min().unwrap_or(0);
        let end = keys.iter().map(|(_, span)| span.to).max().unwrap_or(0).max(belief.span.to);
        let withheld = self.withheld.iter().filter(|(_, span)| span.overlaps(begin, end));
        // A node that has the key and is withheld as well counts once: it goes up at the first of the
        // two and down at the last.
        let mut changes: Vec<(TrueTime, usize, i32)> = Vec::new();
        for (node, span) in keys.iter().chain(withheld) {
            changes.push((span.from.max(begin), *node, 1));
            changes.push((span.to.min(end), *node, -1));
        }
        changes.sort_by_key(|(at, _, change)| (*at, -change));
        let mut reasons: HashMap<usize, i32> = HashMap::new();
        let (mut backing, mut since) = (0, None);
        let mut promises = Vec::new();
        for (at, node, change) in changes {
            let reason = reasons.entry(node).or_default();
            let was = *reason > 0;
            *reason += change;
            match (was, *reason > 0) {
                (false, true) => backing += 1,
                (true, false) => backing -= 1,
                (true, true) | (false, false) => {}
            }
            match since {
                None if backing >= self.majority => since = Some(at),
                Some(from) if backing < self.majority => {
                    since = None;
                    if at > from {
                        let span = Span { from, to: at, origin: belief.span.origin };
                        promises.push(Promise { span, token });
                    }
                }
                None | Some(_) => {}
            }
        }
        promises
    }
}
