//! Making a plan that shows a violation as simple as possible.

use crate::check::{Invariant, Invariants};
use crate::plan::{Plan, simpler};
use crate::sim::system::System;
use crate::sim::world::World;

/// The most runs that shrinking one plan may take; each takes a millisecond or two.
const RUNS_MAX: u32 = 4_000;

/// The simplest plan that was found to violate the same `invariant` as `plan` does: faults left out,
/// shortened, the shape simplified, one step at a time until no step is possible.
///
/// Every fate depends on the seed and on what it is the fate of, so what is left of the plan goes on as
/// it did.
#[must_use]
pub fn shrink<S: System>(
    system: &S,
    plan: &Plan,
    invariant: Invariant,
    checked: Invariants,
) -> Plan {
    let mut world = World::new();
    let mut runs = 0;
    let mut violates = |plan: &Plan| {
        runs += 1;
        let outcome = world.run(system, plan, checked, false).ok();
        let violation = outcome.and_then(|outcome| outcome.violation);
        let same = violation.filter(|violation| violation.invariant == invariant);
        (same.map(|violation| violation.time), runs >= RUNS_MAX)
    };
    let mut best = plan.clone();
    // Nothing after the violation matters.
    if let (Some(time), _) = violates(&best) {
        let mut shorter = best.clone();
        shorter.shape.horizon_ms = u32::try_from(time / 1_000_000 + 1).unwrap_or(u32::MAX);
        if shorter.shape.horizon_ms < best.shape.horizon_ms && violates(&shorter).0.is_some() {
            best = shorter;
        }
    }
    loop {
        let mut simplest = None;
        for candidate in simpler(&best) {
            let (time, out_of_runs) = violates(&candidate);
            if time.is_some() {
                simplest = Some(candidate);
                break;
            }
            if out_of_runs {
                return best;
            }
        }
        match simplest {
            Some(plan) => best = plan,
            None => return best,
        }
    }
}
