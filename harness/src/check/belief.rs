//! I1 witness, I2 mutex, I8 lease-sound: what stands behind a belief.

use redlatch_core::Lease;

use crate::check::{Belief, Checker, Invariant, Mark, Nodes, fence_of, ms, name};
use crate::sim::clock::TrueTime;

/// Why a belief is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// It began or lasts longer: what was promised must be sound.
    Promised,
    /// Something else changed.
    Otherwise,
}

impl Checker {
    /// A belief begins.
    pub(crate) fn believe(
        &mut self,
        nodes: &impl Nodes,
        client: usize,
        now: TrueTime,
        lease: &Lease,
        ends: TrueTime,
    ) -> Option<TrueTime> {
        self.check_mutex(client, now, lease);
        self.check_grant(nodes, client, now, lease);
        let valid_until = lease.valid_until.as_nanos();
        let belief = Belief { token: lease.token, fence: fence_of(lease), valid_until, ends };
        self.clients[client].belief = Some(belief);
        self.judge(nodes, client, now, Judged::Promised)
    }

    /// The end of a belief has moved, on the client's clock.
    pub(crate) fn move_belief(
        &mut self,
        nodes: &impl Nodes,
        client: usize,
        now: TrueTime,
        valid_until: u64,
        ends: TrueTime,
    ) -> Option<TrueTime> {
        let belief = self.clients[client].belief.as_mut()?;
        let longer = valid_until > belief.valid_until;
        belief.valid_until = valid_until;
        belief.ends = ends;
        let judged = if longer { Judged::Promised } else { Judged::Otherwise };
        self.judge(nodes, client, now, judged)
    }

    /// Something happened to the client's clock: the end has moved in true time only.
    pub(crate) fn move_end(&mut self, client: usize, ends: TrueTime) {
        if let Some(belief) = &mut self.clients[client].belief {
            belief.ends = ends;
        }
    }

    /// Whether anybody believes in `resource`, so that what happens to a node matters.
    pub(crate) fn is_believed(&self, resource: usize) -> bool {
        self.clients.iter().any(|view| view.belief.is_some() && view.resource == resource)
    }

    /// Whether some belief rests on the node's having this token.
    pub(crate) fn rests_on(&self, token: &redlatch_core::Token, now: TrueTime) -> bool {
        let rests = |belief: &Belief| belief.token == *token && now < belief.ends;
        self.clients.iter().any(|view| view.belief.as_ref().is_some_and(rests))
    }

    /// Whether a belief in these has to have its backing watched.
    pub(crate) const fn is_backing_checked(&self) -> bool {
        self.checked.contains(Invariant::Witness) || self.checked.contains(Invariant::LeaseSound)
    }

    /// Judges what `client` believes. Returns when its backing will be gone before its belief is, if
    /// nothing but time passes: that moment is to be judged again.
    pub(crate) fn rejudge(
        &mut self,
        nodes: &impl Nodes,
        client: usize,
        now: TrueTime,
    ) -> Option<TrueTime> {
        self.judge(nodes, client, now, Judged::Otherwise)
    }

    fn judge(
        &mut self,
        nodes: &impl Nodes,
        client: usize,
        now: TrueTime,
        judged: Judged,
    ) -> Option<TrueTime> {
        if !self.is_backing_checked() {
            return None;
        }
        let view = &self.clients[client];
        let belief = view.belief.filter(|belief| now < belief.ends)?;
        let resource = view.resource;
        let backing = |at| {
            let backs = |&node: &usize| {
                nodes.owner(node, resource, at) == Some(belief.token) || nodes.is_withheld(node, at)
            };
            (0..nodes.count()).filter(backs).count()
        };
        let majority = self.majority;
        let last = belief.ends - 1;
        if backing(last) >= majority {
            return None;
        }
        if backing(now) < majority {
            self.violate(Invariant::Witness, now, Some(client), || {
                let backers = backers(nodes, resource, &belief, now);
                let (name, ends) = (name(&belief.token), ms(belief.ends));
                format!("c{client} believes until {ends} that it holds {name}, but {backers}")
            });
            return None;
        }
        let gone = first(now, last, |at| backing(at) < majority);
        if judged == Judged::Promised {
            self.violate(Invariant::LeaseSound, now, Some(client), || {
                let backers = backers(nodes, resource, &belief, gone);
                let (name, ends, gone) = (name(&belief.token), ms(belief.ends), ms(gone));
                format!("c{client} was promised {name} until {ends}, but from {gone} on {backers}")
            });
        }
        Some(gone)
    }

    fn check_mutex(&mut self, client: usize, now: TrueTime, lease: &Lease) {
        let resource = self.clients[client].resource;
        let other = (0..self.clients.len()).find(|&other| {
            let view = &self.clients[other];
            let believes = view.belief.is_some_and(|belief| now < belief.ends);
            other != client && view.resource == resource && believes
        });
        let Some(other) = other else { return };
        self.mark(Mark::TwoHolders);
        let belief = self.clients[other].belief;
        self.violate(Invariant::Mutex, now, Some(client), || {
            let held = belief.map_or_else(String::new, |belief| {
                format!("{} until {}", name(&belief.token), ms(belief.ends))
            });
            let granted = name(&lease.token);
            format!("c{client} was granted {granted} while c{other} believes that it holds {held}")
        });
    }
}

/// The first time after `now`, up to `last`, at which `gone`, which stays true once it is.
fn first(now: TrueTime, last: TrueTime, gone: impl Fn(TrueTime) -> bool) -> TrueTime {
    let (mut before, mut after) = (now, last);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if gone(middle) {
            after = middle;
        } else {
            before = middle;
        }
    }
    after
}

fn backers(nodes: &impl Nodes, resource: usize, belief: &Belief, at: TrueTime) -> String {
    let mut text = String::new();
    let mut backers = 0;
    for node in 0..nodes.count() {
        let what = match nodes.owner(node, resource, at) {
            Some(token) if token == belief.token => "has it",
            _ if nodes.is_withheld(node, at) => "may not vote",
            Some(_) => "has another token",
            None => "has none",
        };
        backers += usize::from(what == "has it" || what == "may not vote");
        text = format!("{text}, n{node} {what}");
    }
    let count = nodes.count();
    format!("only {backers} of {count} nodes back it{text}")
}
