//! Plans for proptest: drawn as [`Plan::draw`] does, shrunk by leaving out what does not matter.

use proptest::prelude::Rng as _;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::plan::{Plan, Profile, simpler};

/// Plans of one profile, as a strategy. Shrinking leaves faults out, shortens them, and simplifies the
/// shape; the seed stays, and with it the fate of every message that is left.
///
/// ```
/// use proptest::prelude::*;
/// use redlatch_harness::plan::{Profile, plans};
/// use redlatch_harness::sim::{self, Shipped};
///
/// proptest!(ProptestConfig::with_cases(20), |(plan in plans(Profile::Synchronous))| {
///     let shipped: Shipped = Shipped::new();
///     prop_assert!(sim::check(&plan, &shipped).is_ok());
/// });
/// ```
#[must_use]
pub const fn plans(profile: Profile) -> Plans {
    Plans(profile)
}

/// See [`plans`].
#[derive(Clone, Copy, Debug)]
pub struct Plans(Profile);

impl Strategy for Plans {
    type Tree = PlanTree;
    type Value = Plan;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let plan = Plan::draw(runner.rng().next_u64(), self.0);
        Ok(PlanTree { failing: plan.clone(), current: plan, candidates: Vec::new(), next: 0 })
    }
}

/// A plan, and what is simpler.
#[derive(Clone, Debug)]
pub struct PlanTree {
    /// The simplest that is known to fail.
    failing: Plan,
    current: Plan,
    /// What is simpler than `failing` by one step.
    candidates: Vec<Plan>,
    next: usize,
}

impl ValueTree for PlanTree {
    type Value = Plan;

    fn current(&self) -> Plan {
        self.current.clone()
    }

    fn simplify(&mut self) -> bool {
        self.failing = self.current.clone();
        self.candidates = simpler(&self.failing);
        self.candidates.retain(|plan| plan.checked().is_ok());
        self.next = 0;
        self.try_next()
    }

    fn complicate(&mut self) -> bool {
        self.try_next()
    }
}

impl PlanTree {
    fn try_next(&mut self) -> bool {
        let candidate = self.candidates.get(self.next);
        self.next += 1;
        self.current = candidate.unwrap_or(&self.failing).clone();
        candidate.is_some()
    }
}
