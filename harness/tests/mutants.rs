//! The planted bugs: each is found by the tier that it names, for the reason that it names.

use std::collections::BTreeSet;

use redlatch_harness::check::Invariant;
use redlatch_harness::model::Budget;
use redlatch_harness::mutants::{Evidence, MUTANTS, Place, Seen, Verdict, run_one};

fn ids(wanted: impl Fn(&Place) -> bool) -> Vec<&'static str> {
    MUTANTS.iter().filter(|mutant| wanted(&mutant.place)).map(|mutant| mutant.id).collect()
}

/// The whole registry is run by `just harness`; debug builds take the quick half.
fn is_found(id: &str) {
    let row = run_one(id, Budget::default()).expect("there is such a bug");
    assert!(row.is_as_expected(), "{row}");
    let Verdict::Killed(kill) = &row.verdict else { panic!("{row}") };
    assert!(!kill.sentence.is_empty() && kill.steps > 0);
    match &kill.evidence {
        Evidence::Story(story) => {
            assert_eq!(story.steps.len(), kill.steps);
            assert!(!story.history.events().is_empty());
            assert!(story.history.events().is_sorted_by_key(|event| event.time));
        }
        Evidence::Counterexample(found) => assert!(found.plan.checked().is_ok()),
        Evidence::Nothing => {}
    }
}

#[test]
fn every_bug_has_a_name_of_its_own() {
    let ids: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.id).collect();
    assert_eq!(ids.len(), MUTANTS.len());
    assert!(ids.contains("M26") && ids.contains("M21b") && ids.contains("L5"));
    let of = |letter| ids.iter().filter(|id| id.starts_with(letter)).count();
    assert_eq!((of('M'), of('L'), of('Q')), (27, 5, 7));
}

#[test]
fn every_invariant_has_a_bug_that_no_other_sees() {
    for invariant in Invariant::ALL {
        let alone = |mutant: &&_| matches!(mutant, redlatch_harness::mutants::Mutant { killer, seen: Seen::Once, .. } if *killer == invariant);
        assert!(MUTANTS.iter().any(|mutant| alone(&mutant)), "{invariant} could be left out");
    }
}

#[test]
fn bugs_of_time_and_of_telling_are_found_by_the_simulator() {
    let ids = ids(|place| matches!(place, Place::Simulator(..)));
    assert!(ids.len() >= 8, "{ids:?}");
    for id in ids {
        is_found(id);
    }
}

#[test]
fn bugs_that_lose_the_lock_are_found_by_the_model() {
    for id in ["M02", "M05", "M10", "M11", "M18", "L1", "L2", "L3", "L5", "Q2", "Q5", "Q7"] {
        is_found(id);
    }
}

#[test]
fn a_tie_without_chance_is_found_by_a_duel() {
    let ids = ids(|place| matches!(place, Place::Duel));
    assert_eq!(ids, ["L4"]);
    is_found("L4");
}

#[test]
fn there_is_no_verdict_on_a_bug_that_does_not_exist() {
    assert!(run_one("M99", Budget::default()).is_none());
}
