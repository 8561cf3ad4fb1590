//! The shipped lock under every profile.

use redlatch_harness::plan::{Plan, Profile};
use redlatch_harness::sim::{Campaign, Verdict};

use crate::{SHIPPED, seeds};

fn campaign(profile: Profile) {
    let report = Campaign::new(profile, seeds(20_000)).run(&SHIPPED, |_| {});
    assert_eq!(report.failures, []);
    assert_eq!(report.runs, seeds(20_000));
    // Rare things need many seeds.
    if !cfg!(debug_assertions) {
        assert_eq!(report.verdict(), Verdict::Valid);
    }
}

#[test]
fn holds_every_invariant_while_faults_stay_within_the_assumptions() {
    campaign(Profile::Synchronous);
}

#[test]
fn keeps_fences_and_the_resource_when_nodes_forget() {
    campaign(Profile::Lossy);
}

#[test]
fn keeps_fences_and_the_resource_when_clocks_go_wrong() {
    campaign(Profile::Asynchronous);
}

#[test]
fn a_run_without_seeds_is_unknown_and_exits_with_2() {
    let verdict = Campaign::new(Profile::Lossy, 0).run(&SHIPPED, |_| {}).verdict();
    assert!(matches!(&verdict, Verdict::Unknown(missing) if !missing.is_empty()));
    assert_eq!(verdict.exit_code(), 2);
}

#[test]
fn every_drawn_plan_makes_a_world_within_its_profile() {
    for profile in Profile::ALL {
        for seed in 0..seeds(20_000) {
            let plan = Plan::draw(seed, profile);
            assert_eq!(plan.checked(), Ok(()), "{plan}");
        }
    }
}
