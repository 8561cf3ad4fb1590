//! Equal plans give equal runs.

use proptest::prelude::*;
use redlatch_harness::check::Invariants;
use redlatch_harness::plan::{Plan, Profile, plans};
use redlatch_harness::sim::{Campaign, World, check, replay};

use crate::{SHIPPED, passes, seeds};

#[test]
fn the_same_seeds_give_the_same_hash_twice_and_with_any_number_of_jobs() {
    for profile in Profile::ALL {
        let hash = |jobs| {
            let campaign = Campaign { jobs, ..Campaign::new(profile, seeds(4_000)) };
            let report = campaign.run(&SHIPPED, |_| {});
            (report.hash, report.events, report.marks)
        };
        let once = hash(1);
        assert_eq!(once, hash(1));
        assert_eq!(once, hash(2));
        assert_eq!(once, hash(5));
    }
}

#[test]
fn a_world_that_was_used_before_is_as_good_as_new() {
    let plan = Plan::draw(17, Profile::Asynchronous);
    let fresh = passes(&plan);
    let mut used = World::new();
    for seed in 0..50 {
        let other = Plan::draw(seed, Profile::Synchronous);
        assert!(used.run(&SHIPPED, &other, Invariants::ALL, false).is_ok());
    }
    assert_eq!(used.run(&SHIPPED, &plan, Invariants::ALL, false), Ok(fresh));
}

#[test]
fn recording_changes_nothing_but_that_there_is_a_history() {
    for seed in 0..50 {
        let plan = Plan::draw(seed, Profile::Lossy);
        let outcome = passes(&plan);
        let (recorded, history) = replay(&plan, &SHIPPED, Invariants::ALL).unwrap();
        assert_eq!(recorded, outcome);
        assert_eq!(history.hash(), outcome.hash);
        assert!(history.events().is_sorted_by_key(|event| event.time));
        assert!(!history.events().is_empty());
    }
}

/// Guards the stability of histories: whoever changes the simulator on purpose changes this number, and
/// seeds in bug reports mean something else from then on.
#[test]
fn histories_are_what_they_were() {
    let outcome = passes(&Plan::calm(1, Profile::Synchronous));
    assert_eq!(format!("{:#018x}", outcome.hash), CALM_HASH);
}

const CALM_HASH: &str = "0x60d4bf237ecf1cd9";

#[test]
fn a_history_is_written_as_one_object_a_line() {
    let plan = Plan::calm(3, Profile::Synchronous);
    let (_, history) = replay(&plan, &SHIPPED, Invariants::ALL).unwrap();
    let lines = history.to_json_lines();
    assert_eq!(lines.lines().count(), history.events().len());
    for (number, line) in lines.lines().enumerate() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["index"], number);
        assert!(value["time_ns"].is_u64());
        assert!(value["process"].is_string() && value["f"].is_string());
        let phase = value["type"].as_str().unwrap();
        assert!(["invoke", "ok", "fail", "info"].contains(&phase));
    }
    assert!(lines.contains(r#""type":"ok","f":"granted","token":"c"#));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn a_plan_survives_the_journey_through_json(
        plan in prop::sample::select(&Profile::ALL[..]).prop_flat_map(plans)
    ) {
        prop_assert_eq!(&Plan::from_json(&plan.to_json()).unwrap(), &plan);
        prop_assert_eq!(&Plan::from_json(&plan.to_json_pretty()).unwrap(), &plan);
    }

    #[test]
    fn deleting_a_fault_that_does_nothing_changes_nothing(
        plan in plans(Profile::Synchronous)
    ) {
        // Whoever is not there cannot be hit, nor by a fault of no effect.
        let mut with = plan.clone();
        with.faults.retain(|fault| !fault.kind.is_instant());
        let without = with.clone();
        with.faults.push(redlatch_harness::plan::Fault {
            at_us: u64::from(with.shape.horizon_ms) * 1_000,
            for_us: 0,
            who: redlatch_harness::plan::Who::Node(200),
            kind: redlatch_harness::plan::FaultKind::Pause,
        });
        let grants = |plan: &Plan| check(plan, &SHIPPED).map(|outcome| outcome.grants).ok();
        prop_assert_eq!(grants(&with), grants(&without));
    }
}

#[test]
fn a_plan_of_another_version_is_refused() {
    let mut plan = Plan::calm(1, Profile::Lossy);
    plan.version = 99;
    let error = Plan::from_json(&plan.to_json()).unwrap_err();
    assert_eq!(error.to_string(), "the plan has version 99; this program reads version 1");
}

#[test]
fn plans_read_as_they_were_written_when_the_form_was_new() {
    let json = include_str!("plan-v1.json");
    let plan = Plan::from_json(json).unwrap();
    assert_eq!(plan.to_json_pretty(), json.trim_end());
}
