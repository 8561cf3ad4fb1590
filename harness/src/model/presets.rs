//! The models that are explored on every commit, and the larger ones that take a night.

use super::bounds::{Bounds, Fences, Keep, Reductions};
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
        Bounds { extensions: 2, ..pair() },
        everything(),
        Bounds::exclusion(4, 2),
        fence(),
        Bounds { requests_twice: 1, ..fence() },
        Bounds { crashes: 1, keep: Keep::Fences, ..fence() },
        Bounds { fences: Some(Fences { initial: [5, 1, 1, 0, 0], ..Fences::COUNTED }), ..fence() },
        tidy(2),
        tidy(3),
    ]
}

/// What every commit is checked with, and the sizes that need more time and memory.
#[must_use]
pub fn nightly() -> Vec<Bounds> {
    let mut models = every_commit();
    models.extend([
        Bounds { crashes: 1, ..Bounds::exclusion(5, 2) },
        Bounds { crashes: 1, ..Bounds::exclusion(3, 3) },
        Bounds { tries: [2, 1, 1], ..Bounds::exclusion(3, 2) },
        Bounds { acquires: [2, 1, 1], ..Bounds::exclusion(3, 2) },
        Bounds { acquires: [2, 1, 1], ..Bounds::fencing(3, 2) },
        Bounds::fencing(5, 2),
        Bounds::fencing(3, 3),
    ]);
    models
}

/// Three nodes and two clients, with a fence, an extension, a crash and a request that arrives twice.
fn everything() -> Bounds {
    Bounds {
        fences: Some(Fences::COUNTED),
        extensions: 1,
        crashes: 1,
        requests_twice: 1,
        ..Bounds::exclusion(3, 2)
    }
}

/// One client without a rival, and all that it leaves behind: it is never refused, everything ends, and
/// no key of a dead attempt stays.
fn tidy(nodes: usize) -> Bounds {
    Bounds {
        fences: None,
        requests_twice: 1,
        invariants: vec![Invariant::NoGhost, Invariant::Progress, Invariant::Termination],
        reductions: Reductions::NONE,
        ..Bounds::fencing(nodes, 1)
    }
}
