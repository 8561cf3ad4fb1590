//! The simulator and its checker.

mod determinism;
mod planted;
mod shipped;
mod stories;
mod toy;

use redlatch_harness::plan::Plan;
use redlatch_harness::sim::{Outcome, Shipped, check};

/// The lock and the nodes as they are.
const SHIPPED: Shipped = Shipped::new();

/// Seeds that fit into a test run: debug builds are a dozen times slower.
const fn seeds(release: u64) -> u64 {
    if cfg!(debug_assertions) { release / 20 } else { release }
}

/// Runs a plan of the shipped lock, which must pass.
fn passes(plan: &Plan) -> Outcome {
    match check(plan, &SHIPPED) {
        Ok(outcome) => outcome,
        Err(failure) => panic!("{failure}"),
    }
}
