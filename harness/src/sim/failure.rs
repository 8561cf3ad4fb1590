//! One plan, checked; and what there is to say when it fails.

use std::fmt;

use crate::check::{Invariants, Violation};
use crate::history::History;
use crate::plan::{Plan, PlanError};
use crate::sim::shrink::shrink;
use crate::sim::system::System;
use crate::sim::world::{Outcome, World};

/// Why a plan did not pass.
#[derive(Clone, Debug)]
pub enum Failure {
    /// No world can be made of it.
    Plan(PlanError),
    /// Something was violated.
    Violated(Box<Counterexample>),
}

/// A plan that shows a violation.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The plan; run again, it gives the same history.
    pub plan: Plan,
    /// What is violated.
    pub violation: Violation,
    /// Everything that happened, up to the violation.
    pub history: History,
}

impl Counterexample {
    /// The same violation, of a plan that is as simple as possible.
    #[must_use]
    pub fn shrunk<S: System>(&self, system: &S, checked: Invariants) -> Self {
        let plan = shrink(system, &self.plan, self.violation.invariant, checked);
        match check_only(&plan, system, checked) {
            Err(Failure::Violated(simpler)) => *simpler,
            Ok(_) | Err(Failure::Plan(_)) => self.clone(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(error) => error.fmt(f),
            Self::Violated(counterexample) => {
                writeln!(f, "{}", counterexample.violation)?;
                write!(f, "{}", counterexample.plan)
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Runs `plan` on `system` and checks every invariant that has to hold under it.
///
/// # Errors
/// [`Failure`], with the history, if one is violated.
pub fn check<S: System>(plan: &Plan, system: &S) -> Result<Outcome, Failure> {
    check_only(plan, system, Invariants::ALL)
}

/// As [`check`], for some of the invariants: a lock without fences, say, or one that does not tell of
/// its loss in time, may still exclude.
///
/// # Errors
/// [`Failure`], with the history, if one is violated.
pub fn check_only<S: System>(
    plan: &Plan,
    system: &S,
    checked: Invariants,
) -> Result<Outcome, Failure> {
    let mut world = World::new();
    let outcome = world.run(system, plan, checked, false).map_err(Failure::Plan)?;
    match outcome.violation {
        None => Ok(outcome),
        Some(violation) => {
            let (_, history) = replay(plan, system, checked).map_err(Failure::Plan)?;
            let plan = plan.clone();
            Err(Failure::Violated(Box::new(Counterexample { plan, violation, history })))
        }
    }
}

/// Runs `plan` and keeps the history, violation or not.
///
/// # Errors
/// [`PlanError`] if no world can be made of the plan.
pub fn replay<S: System>(
    plan: &Plan,
    system: &S,
    checked: Invariants,
) -> Result<(Outcome, History), PlanError> {
    let mut world = World::new();
    let outcome = world.run(system, plan, checked, true)?;
    Ok((outcome, world.history().clone()))
}
