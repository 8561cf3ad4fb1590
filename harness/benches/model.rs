//! How fast the exhaustive model is: transitions per second and core.
//!
//! `cargo bench -p redlatch-harness --bench model [-- THREADS]`. A transition is a step from one state to another, whether
//! that is new or not. Rates are per second of processor time, so that they say the same on a busy machine.

use std::num::NonZeroUsize;

use redlatch_core::Lock;
use redlatch_harness::model::{Budget, every_commit, explore};
use redlatch_harness::node::Cell;

mod processor;

/// At least this many transitions a second and core are what the model is built for.
const TARGET: f64 = 2e6;
/// Models with fewer transitions are over before the tables are warm.
const SMALL: u64 = 1_000_000;

fn main() -> Result<(), redlatch_harness::model::BoundsError> {
    // cargo passes `--bench`.
    let threads = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let budget = Budget { threads: threads.or(NonZeroUsize::new(1)), ..Budget::default() };
    for bounds in every_commit() {
        let before = processor::seconds();
        let outcome = explore::<Lock, Cell>(&bounds, &budget)?;
        let rate = outcome.transitions as f64 / (processor::seconds() - before);
        let verdict = match outcome.transitions {
            0..SMALL => "  (small)",
            _ if rate >= TARGET => "",
            _ => "  (below the target of 2 M)",
        };
        println!(
            "{:50} {:>9} states {:>10} transitions {:6.2} M transitions/s/core{verdict}",
            outcome.name,
            outcome.states,
            outcome.transitions,
            rate / 1e6
        );
    }
    Ok(())
}
