//! Stories that everybody tells about Redlock, as plans written by hand.

use redlatch_harness::check::{Mark, Marks};
use redlatch_harness::plan::{Direction, Fault, FaultKind, Keep, Plan, Profile, ResourceMode, Who};

use crate::passes;

fn fault(at_ms: u64, for_ms: u64, who: Who, kind: FaultKind) -> Fault {
    Fault { at_us: at_ms * 1_000, for_us: for_ms * 1_000, who, kind }
}

/// The story with many fates: every one passes. Returns what happened in some of them.
fn told(profile: Profile, story: impl Fn(&mut Plan)) -> Marks {
    (0..60).fold(Marks::default(), |marks, seed| {
        let mut plan = Plan::calm(seed, profile);
        story(&mut plan);
        marks.union(passes(&plan).marks)
    })
}

/// Every 100 ms, the same thing.
fn again_and_again(plan: &mut Plan, for_ms: u64, who: impl Fn(u64) -> Who, kind: FaultKind) {
    for round in 0..9 {
        plan.faults.push(fault(50 + round * 100, for_ms, who(round), kind));
    }
}

#[test]
fn a_node_that_restarts_empty_lets_a_second_holder_in_but_not_past_the_fence() {
    let crash = |plan: &mut Plan| {
        let kind = FaultKind::Crash { keep: Keep::Nothing };
        plan.shape.clients = 3;
        again_and_again(plan, 1, |round| Who::Node((round % 3) as u8), kind);
    };
    let marks = told(Profile::Lossy, crash);
    assert!(marks.contains(Mark::NodeForgot) && marks.contains(Mark::TwoHolders));
    let marks = told(Profile::Synchronous, |plan| {
        crash(plan);
        plan.shape.restart_guard_ms = Some(plan.shape.ttl_ms);
    });
    assert!(marks.contains(Mark::NodeForgot) && marks.contains(Mark::Quarantined));
    assert!(!marks.contains(Mark::TwoHolders));
}

#[test]
fn a_node_that_loses_its_fence_numbers_too_counts_on_from_the_clock() {
    let marks = told(Profile::Synchronous, |plan| {
        let kind = FaultKind::Crash { keep: Keep::Nothing };
        again_and_again(plan, 1, |round| Who::Node((round % 3) as u8), kind);
        plan.shape.restart_guard_ms = Some(plan.shape.ttl_ms);
        plan.shape.fences_survive = false;
        plan.shape.clocks.wall_skew_ms = 19;
    });
    assert!(marks.contains(Mark::Quarantined));
}

#[test]
fn a_holder_paused_beyond_its_lease_writes_too_late_and_its_fence_is_refused() {
    let pause = |plan: &mut Plan| {
        plan.shape.work.access_permille = 1_000;
        plan.shape.work.hold_ms = 90;
        again_and_again(plan, 95, |round| Who::Client((round % 2) as u8), FaultKind::Pause);
    };
    let marks = told(Profile::Synchronous, pause);
    assert!(marks.contains(Mark::HolderPaused) && marks.contains(Mark::StaleRefused));
    let marks = told(Profile::Synchronous, |plan| {
        pause(plan);
        plan.shape.resource = ResourceMode::Unfenced;
    });
    assert!(marks.contains(Mark::LostUpdate));
}

#[test]
fn where_only_writes_are_fenced_an_update_is_lost_between_a_read_and_the_first_write() {
    let marks = told(Profile::Synchronous, |plan| {
        plan.shape.resource = ResourceMode::FencedWrites;
        plan.shape.work.access_permille = 1_000;
        plan.shape.work.hold_ms = 90;
        plan.shape.clients = 4;
        again_and_again(plan, 95, |round| Who::Client((round % 4) as u8), FaultKind::Pause);
    });
    assert!(marks.contains(Mark::LostUpdate));
}

#[test]
fn a_node_whose_clock_jumps_lets_a_second_holder_in_but_not_past_the_fence() {
    let marks = told(Profile::Asynchronous, |plan| {
        let jump = FaultKind::Jump { by_us: 100_000 };
        again_and_again(plan, 0, |round| Who::Node((round % 3) as u8), jump);
    });
    assert!(marks.contains(Mark::TwoHolders));
}

#[test]
fn a_laptop_whose_clock_sleeps_with_it_believes_for_too_long() {
    let marks = told(Profile::Asynchronous, |plan| {
        plan.shape.work.hold_ms = 300;
        again_and_again(plan, 90, |round| Who::Client((round % 2) as u8), FaultKind::Suspend);
    });
    assert!(marks.contains(Mark::TwoHolders));
}

#[test]
fn an_even_number_of_nodes_split_in_half_grants_nobody_and_hangs_nobody() {
    let marks = told(Profile::Synchronous, |plan| {
        plan.shape.nodes = 4;
        let halves = FaultKind::Split { nodes: 0b0011, clients: 0b01 };
        again_and_again(plan, 60, |_| Who::All, halves);
    });
    assert!(marks.contains(Mark::Failed));
}

#[test]
fn a_ring_of_majorities_is_no_way_around_the_quorum() {
    let marks = told(Profile::Synchronous, |plan| {
        (plan.shape.nodes, plan.shape.clients) = (5, 5);
        again_and_again(plan, 90, |_| Who::All, FaultKind::MajoritiesRing { first: 1 });
    });
    assert!(marks.contains(Mark::Retried));
}

#[test]
fn an_extension_that_is_cut_off_leaves_the_lease_at_risk_until_it_lapses() {
    let marks = told(Profile::Synchronous, |plan| {
        plan.shape.renewal_ms = Some(600);
        plan.shape.work.hold_ms = 600;
        let kind = FaultKind::Cut { direction: Direction::Replies };
        again_and_again(plan, 80, |_| Who::All, kind);
    });
    let seen = [Mark::Extended, Mark::AtRisk, Mark::Lapsed, Mark::ExtensionHit];
    assert!(seen.into_iter().all(|mark| marks.contains(mark)));
}

#[test]
fn a_yes_that_comes_when_nobody_waits_any_more_is_given_back() {
    let marks = told(Profile::Synchronous, |plan| {
        plan.shape.network.ordered = false;
        again_and_again(plan, 90, |_| Who::Node(0), FaultKind::Reorder { by_us: 60_000 });
    });
    assert!(marks.contains(Mark::LateYesReleased) && marks.contains(Mark::ReleaseOvertook));
}

#[test]
fn a_plan_that_breaks_more_than_its_profile_says_is_refused() {
    let refused = |kind, who| {
        let mut plan = Plan::calm(1, Profile::Synchronous);
        plan.faults.push(fault(1, 1, who, kind));
        plan.checked().unwrap_err().to_string()
    };
    let forgets = refused(FaultKind::Crash { keep: Keep::Nothing }, Who::Node(0));
    assert!(forgets.contains("a node forgets, unguarded"), "{forgets}");
    let jumps = refused(FaultKind::Jump { by_us: 1 }, Who::Node(0));
    assert!(jumps.contains("a clock is not as assumed"), "{jumps}");
}

/// Why clocks may not be apart by the whole length of a guard where fence numbers can be lost
/// (R15, R16). A node loses its number and is quarantined for 100 ms. The acquire that is the first to
/// be counted there was sent 45 ms before the quarantine ended, and its proposal is as old as that.
/// Clocks that are 96 ms apart are then enough for a fence that falls.
#[test]
fn a_proposal_is_as_old_as_its_attempt() {
    let plan = Plan::from_json(include_str!("old-proposal.json")).unwrap();
    assert!(passes(&plan).marks.contains(Mark::FenceOvertaken));
    // The profile that demands order does not admit it.
    let plan = Plan { profile: Profile::Synchronous, ..plan };
    let error = plan.checked().unwrap_err().to_string();
    assert!(error.contains("wall clocks are further apart than the guard is long"), "{error}");
}
