//! How fast the simulator is: events and seeds per second, of each profile.
//!
//! `cargo bench -p redlatch-harness --bench sim [-- SEEDS [JOBS]]`. An event is a message that arrives, a timer
//! that fires, or a fault that begins or ends. Rates are per second of processor time, so that they say the
//! same on a busy machine; how long it took is told beside them.

use redlatch_harness::plan::Profile;
use redlatch_harness::sim::{Campaign, Shipped};

mod processor;

/// At least this many events a second and core are what the simulator is built for.
const TARGET: f64 = 5e6;

fn main() {
    // cargo passes `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let seeds = numbers.next().unwrap_or(30_000);
    let jobs = numbers.next().unwrap_or(1);
    let shipped: Shipped = Shipped::new();
    for profile in Profile::ALL {
        let campaign = Campaign { jobs: jobs as usize, ..Campaign::new(profile, seeds) };
        let before = processor::seconds();
        let report = campaign.run(&shipped, |_| {});
        let seconds = processor::seconds() - before;
        let rate = report.events as f64 / seconds;
        let verdict = if rate >= TARGET { "" } else { "  (below the target of 5 M)" };
        println!(
            "{profile:13} {seeds} seeds in {:6.2} s on {jobs}: {:5.2} M events/s/core, {:6.0} \
             seeds/s/core, {:5.0} events and {:4.1} grants a seed, {:6.0}x real time{verdict}",
            report.elapsed.as_secs_f64(),
            rate / 1e6,
            seeds as f64 / seconds,
            report.events as f64 / report.runs as f64,
            report.grants as f64 / report.runs as f64,
            report.simulated as f64 / 1e9 / seconds,
        );
        for (seed, violation) in &report.failures {
            println!("  seed {seed:#x}: {violation}");
        }
    }
}
