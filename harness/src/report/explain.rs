//! The violation in one sentence for somebody who has never seen the protocol, and what was to hold.

use super::scene::{self, Belief, Key, Scene};
use super::window::overtaken;
use super::words::{Fences, about, list};
use super::{Axis, Case};
use crate::check::{Invariant, Violation};

/// What `violation` amounts to, in one plain sentence.
pub(super) fn sentence(case: &Case, violation: &Violation) -> String {
    told(case, &scene::build(case), violation)
}

/// As [`sentence`], of a scene that is there already.
pub(super) fn told(case: &Case, scene: &Scene, violation: &Violation) -> String {
    let own = violation.client.and_then(|client| scene.clients.get(client)?.beliefs.last());
    let plain = own.and_then(|own| of_belief(case, scene, violation, own));
    plain.unwrap_or_else(|| violation.story.clone())
}

/// What was to hold.
pub(super) const fn rule(invariant: Invariant) -> &'static str {
    match invariant {
        Invariant::Witness => {
            "While a client believes that it holds the lock, a majority of nodes must keep its key, or \
             give the lock to nobody."
        }
        Invariant::Mutex => "At most one client may believe that it holds the lock.",
        Invariant::FenceUnique => "No fence may be granted twice.",
        Invariant::FenceOrder => {
            "A lock that is asked for after another grant must get a larger fence than that."
        }
        Invariant::HoldOrder => {
            "Whoever believes that it holds the lock must have the largest fence granted so far."
        }
        Invariant::FenceWitness => {
            "A majority of nodes must have a number as large as the fence of whoever holds the lock."
        }
        Invariant::Resource => {
            "The resource must never accept a fence lower than one that it has seen, and no update may \
             be lost."
        }
        Invariant::LeaseSound => {
            "A client may believe for no longer than a majority of nodes is going to keep its key."
        }
        Invariant::NoGhost => "No key of a dead attempt may be left behind.",
        Invariant::Progress => "Once everything has healed, a free lock must be granted.",
        Invariant::Termination => "Every operation must end by its deadline.",
        Invariant::NoFalseLoss => {
            "A lock must not be given up while a majority of nodes still keeps its promise."
        }
        Invariant::Api => {
            "What a client is told must make sense: nothing is held without a grant, or after a release."
        }
    }
}

fn of_belief(case: &Case, scene: &Scene, violation: &Violation, own: &Belief) -> Option<String> {
    let at = violation.time;
    let axis = case.axis;
    let client = own.token.client;
    let majority = case.shape.majority;
    let fences = Fences::of(scene);
    let believes = || match axis {
        Axis::Time => {
            format!("c{client} believes it holds the lock until {}", about(axis, own.until))
        }
        Axis::Steps => format!("c{client} believes it holds the lock"),
    };
    match violation.invariant {
        Invariant::Witness if own.span.contains(at) => {
            let (keep, withheld) = keepers(scene, own, violation);
            let keep = match keep.as_slice() {
                [] if withheld == 0 => "no node keeps its key".to_owned(),
                [] => "no node keeps its key any more".to_owned(),
                [one] => format!("only {one} still keeps its key"),
                more => format!("only {} still keep its key", list(more)),
            };
            let nobody = match withheld {
                0 => String::new(),
                1 => " and one more gives it to nobody".to_owned(),
                more => format!(" and {more} more give it to nobody"),
            };
            let nodes = case.shape.nodes;
            Some(format!("{}, but {keep}{nobody}; {majority} of {nodes} must.", believes()))
        }
        Invariant::LeaseSound => {
            let nodes = case.shape.nodes;
            Some(format!(
                "{}, but a majority of the nodes, {majority} of {nodes}, will not keep its key for that long.",
                believes()
            ))
        }
        Invariant::Mutex => {
            let others = scene.clients.iter().flat_map(|lane| &lane.beliefs);
            let mut others = others.filter(|other| {
                other.token.client != client
                    && other.resource == own.resource
                    && other.span.contains(at)
            });
            let other = others.next()?;
            let holder = other.token.client;
            let until = match axis {
                Axis::Time => format!(" until {}", about(axis, other.until)),
                Axis::Steps => String::new(),
            };
            Some(format!(
                "c{client} is granted the lock while c{holder} believes it holds it{until}: two holders at once."
            ))
        }
        Invariant::FenceUnique => {
            let other = overtaken(scene, own)?.token.client;
            let fence = fences.short(own.fence);
            Some(format!(
                "c{client} is granted the lock with fence {fence}, which c{other} was given before: \
                 the resource cannot tell the two apart."
            ))
        }
        Invariant::FenceOrder => {
            let other = overtaken(scene, own)?;
            let (fence, larger) = (fences.short(own.fence), fences.short(other.fence));
            let holder = other.token.client;
            Some(format!(
                "c{client} is granted the lock with fence {fence}, although c{holder} had been granted \
                 fence {larger} before c{client} asked: the resource will refuse the new holder."
            ))
        }
        Invariant::HoldOrder => {
            let other = overtaken(scene, own)?;
            let (fence, larger) = (fences.short(own.fence), fences.short(other.fence));
            let holder = other.token.client;
            Some(format!(
                "c{client} believes it holds the lock with fence {fence}, but c{holder} was granted \
                 fence {larger}, which is as new or newer."
            ))
        }
        Invariant::Witness
        | Invariant::FenceWitness
        | Invariant::Resource
        | Invariant::NoGhost
        | Invariant::Progress
        | Invariant::Termination
        | Invariant::NoFalseLoss
        | Invariant::Api => None,
    }
}

/// Which nodes keep the key of `own` when the violation is seen, and how many others give it to nobody.
fn keepers(scene: &Scene, own: &Belief, violation: &Violation) -> (Vec<String>, usize) {
    let at = violation.time;
    let mut keep = Vec::new();
    let mut withheld = 0;
    for (node, lane) in scene.nodes.iter().enumerate() {
        let keys = lane.keys.get(usize::from(own.resource)).into_iter().flatten();
        let has = |key: &Key| key.owner == own.token && key.span.contains(at);
        if keys.into_iter().any(has) {
            keep.push(format!("n{node}"));
        } else if lane.quarantines.iter().any(|span| span.contains(at)) {
            withheld += 1;
        }
    }
    (keep, withheld)
}
