//! The models that are explored on every commit, and the larger ones that take a night.

use super::bounds::{Bounds, Choice, Fences, Keep, Reductions, Switch, Time};
use crate::check::Invariant;

/// Models that together take less than a minute on two cores.
#[must_use]
pub fn every_commit() -> Vec<Bounds> {
    let pair = || Bounds::exclusion(3, 2);
    let fence = || Bounds::fencing(3, 2);
    vec![
        pair(),
        Bounds { validity_ticks: 4, quarantine_ticks: 4, ..pair() },
        Bounds { crashes: 2, ..pair() },
        Bounds { requests_twice: 1, replies_twice: 1, ..pair() },
        Bounds { unknowns: 1, ..pair() },
        Bounds { time: Time::TimedLate, ..pair() },
        Bounds { extensions: 2, ..pair() },
        everything(),
        Bounds::exclusion(4, 2),
        fence(),
        Bounds { requests_twice: 1, ..fence() },
        Bounds { crashes: 1, keep: Keep::Fences, ..fence() },
        Bounds { crashes: 1, keep: Keep::All, ..pair() },
        Bounds { queues: Choice::Allowed, ..pair() },
        Bounds { queues: Choice::Allowed, ..fence() },
        called(),
        Bounds { fences: Some(Fences { initial: [5, 1, 1, 0, 0], ..Fences::COUNTED }), ..fence() },
        tidy(),
    ]
}

/// What every commit is checked with, and the sizes that need minutes, and up to 8 GB. (A fence on five nodes has more than
/// 110 million states, which is too much for a night's machine.)
#[must_use]
pub fn nightly() -> Vec<Bounds> {
    let mut models = every_commit();
    models.extend([
        Bounds { crashes: 1, ..Bounds::exclusion(5, 2) },
        Bounds { crashes: 1, ..Bounds::exclusion(3, 3) },
        Bounds { tries: [2, 1, 1], ..Bounds::exclusion(3, 2) },
    ]);
    models
}

/// Three nodes and two clients, with a fence, an extension, a crash and a request that arrives twice.
fn everything() -> Bounds {
    let mut invariants = Bounds::exclusion(3, 2).invariants;
    invariants.extend([Invariant::FenceUnique, Invariant::FenceOrder]);
    Bounds {
        invariants,
        fences: Some(Fences::COUNTED),
        extensions: 1,
        crashes: 1,
        requests_twice: 1,
        ..Bounds::exclusion(3, 2)
    }
}

/// A waiter that tries twice, and is called whenever it pleases, beside another client.
fn called() -> Bounds {
    Bounds { queues: Choice::Allowed, tries: [2, 1, 1], ..Bounds::exclusion(1, 2) }
}

/// One client and one node without a rival, and all that they leave behind: the client is never refused,
/// everything ends, and no key of a dead attempt stays. (Nothing may be left out of sight here, so two
/// nodes are too many.)
fn tidy() -> Bounds {
    let reductions = Reductions { nodes: Switch::On, lazy: Switch::On, ..Reductions::NONE };
    Bounds {
        requests_twice: 1,
        invariants: vec![Invariant::NoGhost, Invariant::Progress, Invariant::Termination],
        reductions,
        ..Bounds::exclusion(1, 1)
    }
}
