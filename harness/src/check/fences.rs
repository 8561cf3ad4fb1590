//! I3 fence-unique, I4 fence-order, I5 hold-order, I6 fence-witness, I7 resource.

use redlatch_core::{Lease, Token};

use crate::check::{Checker, Invariant, Mark, Nodes, fence_of, name};
use crate::plan::ResourceMode;
use crate::sim::clock::TrueTime;

/// The fences of one resource.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// Every fence granted, sorted.
    granted: Vec<u64>,
    largest: u64,
    /// The largest fence that the resource accepted, and whose it was.
    accepted: Option<(u64, Token)>,
}

impl Fences {
    pub(super) fn restart(&mut self) {
        self.granted.clear();
        self.largest = 0;
        self.accepted = None;
    }
}

/// A worker's access, as the resource decided it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource {
    pub(crate) client: usize,
    pub(crate) resource: usize,
    pub(crate) token: Token,
    pub(crate) fence: u64,
    pub(crate) accepted: bool,
    pub(crate) is_write: bool,
    /// A write: whether it overwrites another one that its reader had not seen.
    pub(crate) loses_update: bool,
}

impl Checker {
    /// I4 begins here: what is granted already must stay below.
    pub(crate) const fn note_floor(&mut self, client: usize) {
        let resource = self.clients[client].resource;
        self.clients[client].floor = self.fences[resource].largest;
    }

    pub(super) fn check_grant(
        &mut self,
        nodes: &impl Nodes,
        client: usize,
        now: TrueTime,
        lease: &Lease,
    ) {
        let fence = fence_of(lease);
        if fence == 0 {
            return;
        }
        let resource = self.clients[client].resource;
        let token = name(&lease.token);
        let floor = self.clients[client].floor;
        let largest = self.fences[resource].largest;
        match self.fences[resource].granted.binary_search(&fence) {
            Ok(_) => self.violate(Invariant::FenceUnique, now, Some(client), || {
                format!(
                    "c{client} was granted {token} with fence {fence}, which was granted before"
                )
            }),
            Err(place) => self.fences[resource].granted.insert(place, fence),
        }
        if fence <= floor {
            self.violate(Invariant::FenceOrder, now, Some(client), || {
                format!(
                    "c{client} was granted {token} with fence {fence}, but fence {floor} had been \
                     granted before it asked"
                )
            });
        }
        if fence <= largest {
            self.mark(Mark::FenceOvertaken);
            self.violate(Invariant::HoldOrder, now, Some(client), || {
                format!("c{client} holds {token} with fence {fence}, but {largest} was granted")
            });
        }
        let witnesses =
            (0..nodes.count()).filter(|&node| nodes.fence(node, resource) >= fence).count();
        if witnesses < self.majority {
            self.violate(Invariant::FenceWitness, now, Some(client), || {
                let count = nodes.count();
                format!(
                    "c{client} was granted {token} with fence {fence}, but only {witnesses} of \
                     {count} nodes have a number as large"
                )
            });
        }
        self.fences[resource].largest = largest.max(fence);
    }

    /// I5, again: an extension must not bring an overtaken fence back.
    pub(crate) fn check_extended(&mut self, client: usize, now: TrueTime) {
        let view = &self.clients[client];
        let Some(belief) = view.belief else { return };
        let largest = self.fences[view.resource].largest;
        if belief.fence != 0 && belief.fence < largest {
            self.violate(Invariant::HoldOrder, now, Some(client), || {
                let (token, fence) = (name(&belief.token), belief.fence);
                format!("c{client} extended {token} with fence {fence}, but {largest} was granted")
            });
        }
    }

    /// I6, again: a number that fell below a believer's fence.
    pub(crate) fn check_fence_fall(&mut self, nodes: &impl Nodes, resource: usize, now: TrueTime) {
        for client in 0..self.clients.len() {
            let view = &self.clients[client];
            let Some(belief) = view.belief.filter(|_| view.resource == resource) else { continue };
            let fence = belief.fence;
            let numbers = (0..nodes.count()).filter(|&node| nodes.fence(node, resource) >= fence);
            if now < belief.ends && numbers.count() < self.majority {
                self.violate(Invariant::FenceWitness, now, Some(client), || {
                    format!("a number fell below fence {fence}, which c{client} holds")
                });
            }
        }
    }

    /// I7: what the resource decided.
    pub(crate) fn accessed(&mut self, now: TrueTime, access: &Resource) {
        let Resource { client, resource, token, fence, accepted, is_write, loses_update } = *access;
        if !accepted {
            self.mark(Mark::StaleRefused);
            return;
        }
        let fenced = match self.mode {
            ResourceMode::Unfenced => false,
            ResourceMode::FencedWrites => is_write,
            ResourceMode::FencedReadsAndWrites => true,
        };
        if loses_update {
            match self.mode {
                ResourceMode::Unfenced | ResourceMode::FencedWrites => self.mark(Mark::LostUpdate),
                ResourceMode::FencedReadsAndWrites => {
                    self.violate(Invariant::Resource, now, Some(client), || {
                        format!(
                            "c{client} overwrote, with fence {fence}, an update that it had not \
                             read"
                        )
                    });
                }
            }
        }
        if !fenced {
            return;
        }
        match self.fences[resource].accepted {
            Some((highest, _)) if fence < highest => {
                self.violate(Invariant::Resource, now, Some(client), || {
                    format!("the resource accepted fence {fence} of c{client} after {highest}")
                });
            }
            Some((highest, owner)) if fence == highest && owner != token => {
                self.violate(Invariant::Resource, now, Some(client), || {
                    let (owner, token) = (name(&owner), name(&token));
                    format!("the resource accepted fence {fence} of {owner} and of {token}")
                });
            }
            Some(_) | None => self.fences[resource].accepted = Some((fence, token)),
        }
    }
}
