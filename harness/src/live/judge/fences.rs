//! I3 fence-unique, I4 fence-order, I5 hold-order, I7 resource, and I13: what came back after its end.

use std::time::Duration;

use super::{Belief, Finding, PIPE, Word, ms};
use crate::check::Invariant;
use crate::live::record::{Access, AccessKind, End, Record};

impl AccessKind {
    pub(super) const fn is_write(self) -> bool {
        match self {
            Self::Read => false,
            Self::Write | Self::LostUpdate => true,
        }
    }
}

/// A grant with a fence.
struct Fenced {
    client: usize,
    acquire: u32,
    resource: usize,
    fence: u64,
    asked: Duration,
    at: Duration,
}

pub(super) fn check(record: &Record, beliefs: &[Belief], findings: &mut Vec<Finding>) {
    let mut grants: Vec<Fenced> = record
        .acquires
        .iter()
        .filter_map(|acquire| {
            let End::Granted(hold) = &acquire.end else { return None };
            Some(Fenced {
                client: acquire.client,
                acquire: acquire.number,
                resource: acquire.resource,
                fence: hold.fence?,
                asked: acquire.asked,
                at: hold.at,
            })
        })
        .collect();
    grants.sort_by_key(|grant| grant.at);
    for (index, grant) in grants.iter().enumerate() {
        let before = || grants[..index].iter().filter(|other| other.resource == grant.resource);
        findings.extend(order(grant, before));
    }
    for belief in beliefs.iter().filter(|belief| belief.is_revived) {
        findings.push(Finding {
            invariant: Invariant::Api,
            word: Word::Violated,
            at: belief.during.start,
            client: Some(belief.client),
            story: format!(
                "c{} had an extension of r{} granted at {}, when its lease had ended",
                belief.client,
                belief.resource,
                ms(belief.during.start)
            ),
        });
    }
    resource(record, beliefs, findings);
}

fn order<'a, I: Iterator<Item = &'a Fenced>>(
    grant: &'a Fenced,
    before: impl Fn() -> I,
) -> Option<Finding> {
    let Fenced { client, fence, resource, at, .. } = *grant;
    let found = |invariant, story| Finding {
        invariant,
        word: Word::Violated,
        at,
        client: Some(client),
        story,
    };
    if let Some(same) = before().find(|other| other.fence == fence) {
        let (other, number) = (same.client, same.acquire);
        return Some(found(
            Invariant::FenceUnique,
            format!(
                "c{client} was granted r{resource} with fence {fence}, which c{other} had been granted in \
                 its acquire {number}"
            ),
        ));
    }
    let overtaken = |other: &&Fenced| other.fence > fence;
    if let Some(other) = before().filter(overtaken).find(|other| other.at + PIPE < grant.asked) {
        return Some(found(
            Invariant::FenceOrder,
            format!(
                "c{client} was granted r{resource} with fence {fence}, but c{} had been granted fence {} \
                 before that was asked for",
                other.client, other.fence
            ),
        ));
    }
    let other = before().filter(overtaken).find(|other| other.at + PIPE < at)?;
    Some(found(
        Invariant::HoldOrder,
        format!(
            "c{client} was granted r{resource} with fence {fence}, but c{} was granted fence {} before",
            other.client, other.fence
        ),
    ))
}

/// I7: what the resource let in, and what it refused.
fn resource(record: &Record, beliefs: &[Belief], findings: &mut Vec<Finding>) {
    for access in &record.accesses {
        let Access { at, client, resource, fence, accepted, .. } = *access;
        let believed = beliefs.iter().any(|belief| {
            belief.client == client
                && belief.acquire == access.acquire
                && belief.during.contains(&at)
        });
        if !accepted && believed {
            let fence = fence.unwrap_or(0);
            findings.push(Finding {
                invariant: Invariant::HoldOrder,
                word: Word::Violated,
                at,
                client: Some(client),
                story: format!(
                    "c{client} relied on r{resource}, but the resource had seen a larger fence than its \
                     {fence}"
                ),
            });
        }
        if accepted && access.kind == AccessKind::LostUpdate {
            let (word, fenced) = match fence {
                Some(fence) => (Word::Violated, format!("with fence {fence}")),
                None => (Word::LateWrite, "without a fence".to_owned()),
            };
            findings.push(Finding {
                invariant: Invariant::Resource,
                word,
                at,
                client: Some(client),
                story: format!(
                    "c{client} wrote to r{resource}, {fenced}, over a write that it had not read, and the \
                     resource let it in"
                ),
            });
        }
    }
}
