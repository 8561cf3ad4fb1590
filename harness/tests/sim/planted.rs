//! A few planted bugs: the checker sees them, for the right reason, and shows a simple plan.

use redlatch_core::Lock;
use redlatch_harness::check::{Invariant, Invariants};
use redlatch_harness::mutants::{
    BlindRelease, BlindSeal, ForgetsItsNumber, GivesUpEarly, HeldInRelease, KeepsTheKey,
    NeverRaises, NeverReleases, NoDrift, OwnIsRefused, SealsNothing, SleepsForEver,
};
use redlatch_harness::node::Cell;
use redlatch_harness::plan::{Plan, Profile};
use redlatch_harness::sim::{
    AfterViolation, Campaign, Counterexample, Failure, Shipped, System, check_only,
};

/// Runs seeds until `invariant` (and only that is looked at) is violated, and makes the plan simple.
fn caught<S: System + Sync>(
    system: &S,
    profile: Profile,
    invariant: Invariant,
    seeds: u64,
) -> Counterexample {
    let checked = Invariants::NONE.with(invariant);
    let campaign = Campaign { checked, ..Campaign::new(profile, seeds) };
    assert_eq!(campaign.after_violation, AfterViolation::Stop);
    let report = campaign.run(system, |_| {});
    let Some((seed, violation)) = report.failures.first() else { panic!("it survived") };
    assert_eq!(violation.invariant, invariant);
    let plan = Plan::draw(*seed, profile);
    let Err(Failure::Violated(found)) = check_only(&plan, system, checked) else {
        panic!("seed {seed:#x} fails only sometimes")
    };
    assert_eq!(&found.violation, violation);
    let shrunk = found.shrunk(system, checked);
    assert_eq!(shrunk.violation.invariant, invariant);
    assert!(shrunk.plan.faults.len() <= found.plan.faults.len().min(3), "{}", shrunk.plan);
    shrunk
}

#[test]
fn a_release_that_deletes_anybodys_key_leaves_a_believer_without_a_witness() {
    let found = caught(
        &Shipped::<Lock, BlindRelease>::new(),
        Profile::Synchronous,
        Invariant::Witness,
        200,
    );
    assert!(found.plan.faults.is_empty() && found.plan.shape.clients <= 3, "{}", found.plan);
    assert!(found.violation.story.contains("nodes back it, n0 has"), "{}", found.violation);
}

#[test]
fn a_release_that_deletes_anybodys_key_makes_two_holders() {
    let system = Shipped::<Lock, BlindRelease>::new();
    caught(&system, Profile::Synchronous, Invariant::Mutex, 500);
}

#[test]
fn a_lock_without_a_margin_promises_more_than_a_fast_node_keeps() {
    let system = Shipped::<NoDrift, Cell>::new();
    let found = caught(&system, Profile::Synchronous, Invariant::LeaseSound, 2_000);
    assert!(found.plan.shape.clocks.rate_ppm > 0, "{}", found.plan);
}

#[test]
fn the_same_is_seen_when_the_key_is_gone() {
    let system = Shipped::<NoDrift, Cell>::new();
    caught(&system, Profile::Synchronous, Invariant::Witness, 5_000);
}

#[test]
fn a_node_that_refuses_its_own_token_withholds_a_free_lock() {
    let system = Shipped::<Lock, OwnIsRefused>::new();
    caught(&system, Profile::Synchronous, Invariant::Progress, 50);
}

#[test]
fn a_lock_that_never_releases_is_not_done_when_it_should_be() {
    let system = Shipped::<NeverReleases, Cell>::new();
    caught(&system, Profile::Synchronous, Invariant::Termination, 50);
}

#[test]
fn a_lock_that_sleeps_for_ever_is_not_done_either() {
    let system = Shipped::<SleepsForEver, Cell>::new();
    caught(&system, Profile::Synchronous, Invariant::Termination, 50);
}

#[test]
fn a_node_that_forgets_its_number_gives_fences_out_of_order() {
    let system = Shipped::<Lock, ForgetsItsNumber>::new();
    for profile in Profile::ALL {
        caught(&system, profile, Invariant::FenceOrder, 500);
    }
    caught(&system, Profile::Synchronous, Invariant::HoldOrder, 500);
}

/// Needs keys that vanish between the two rounds of an acquire: no timing, no chance.
#[test]
fn a_seal_without_a_look_at_the_key_gives_one_fence_twice() {
    let system = Shipped::<Lock, BlindSeal>::new();
    let found = caught(&system, Profile::Asynchronous, Invariant::FenceUnique, 40_000);
    assert!(found.plan.shape.nodes <= 5, "{}", found.plan);
}

#[test]
fn a_lock_that_gives_up_early_loses_what_still_stands() {
    let system = Shipped::<GivesUpEarly, Cell>::new();
    caught(&system, Profile::Synchronous, Invariant::NoFalseLoss, 100);
}

#[test]
fn a_lock_that_believes_while_its_keys_are_being_released_is_wrong_about_itself() {
    let system = Shipped::<HeldInRelease, Cell>::new();
    let found = caught(&system, Profile::Synchronous, Invariant::Api, 50);
    assert!(found.violation.story.contains("sends releases"), "{}", found.violation);
}

#[test]
fn a_node_that_keeps_the_key_it_was_told_to_delete_has_a_ghost() {
    let system = Shipped::<Lock, KeepsTheKey>::new();
    caught(&system, Profile::Synchronous, Invariant::NoGhost, 50);
}

#[test]
fn a_node_that_only_says_that_it_has_sealed_is_no_witness_of_the_fence() {
    let system = Shipped::<Lock, SealsNothing>::new();
    caught(&system, Profile::Lossy, Invariant::FenceWitness, 2_000);
}

#[test]
fn a_node_that_never_raises_its_number_lets_two_holders_use_the_resource() {
    let system = Shipped::<Lock, NeverRaises>::new();
    for profile in Profile::ALL {
        caught(&system, profile, Invariant::FenceUnique, 200);
        caught(&system, profile, Invariant::Resource, 500);
    }
}
