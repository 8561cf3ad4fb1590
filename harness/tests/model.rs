//! The exhaustive model: what it says of the shipped lock, and that what it leaves out changes nothing.

use redlatch_core::Lock;
use redlatch_harness::check::Invariant;
use redlatch_harness::model::{
    Bounds, BoundsError, Budget, Fences, Outcome, Reductions, Switch, every_commit, explore,
    nightly,
};
use redlatch_harness::mutants::{BlindRelease, NoDrift};
use redlatch_harness::node::Cell;

fn shipped(bounds: &Bounds) -> Outcome {
    explore::<Lock, Cell>(bounds, &Budget::default()).expect("a model")
}

fn holds(bounds: &Bounds) -> Outcome {
    let outcome = shipped(bounds);
    assert!(outcome.violation.is_none() && outcome.complete, "{outcome}");
    assert_eq!(outcome.missing, Vec::<&str>::new(), "{outcome}");
    outcome
}

/// The larger ones are run by `just harness`, in release builds.
#[test]
fn the_smaller_models_hold() {
    for bounds in [
        Bounds::exclusion(3, 2),
        Bounds::fencing(3, 2),
        Bounds { crashes: 1, ..Bounds::exclusion(3, 2) },
    ] {
        assert!(holds(&bounds).states > 1_000);
    }
}

#[test]
fn every_preset_is_a_model_with_a_name_of_its_own() {
    let models = nightly();
    assert!(models.starts_with(&every_commit()));
    let mut names: Vec<String> = models.iter().map(Bounds::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), models.len(), "{names:#?}");
    let tiny = Budget { states_max: 10, ..Budget::default() };
    for bounds in &models {
        assert!(explore::<Lock, Cell>(bounds, &tiny).is_ok(), "{}", bounds.name());
    }
}

#[test]
fn a_model_that_is_given_up_is_incomplete_and_not_green() {
    let tiny = Budget { states_max: 10, ..Budget::default() };
    let outcome = explore::<Lock, Cell>(&Bounds::exclusion(3, 2), &tiny).expect("a model");
    assert!(!outcome.complete && outcome.violation.is_none());
    assert!(outcome.missing.contains(&"granted"), "{outcome}");
}

/// With and without each reduction: the same verdict, the same things seen, and no fewer states.
fn assert_harmless(bounds: &Bounds, reductions: &[Reductions]) {
    let all = holds(bounds);
    for &reductions in reductions {
        let some = holds(&Bounds { reductions, ..bounds.clone() });
        assert!(some.states >= all.states, "{reductions:?}");
        assert_eq!(some.sights, all.sights, "{reductions:?}");
    }
}

#[test]
fn names_and_silent_replies_that_are_left_out_change_nothing() {
    let off = [
        Reductions { nodes: Switch::Off, ..Reductions::ALL },
        Reductions { clients: Switch::Off, ..Reductions::ALL },
        Reductions { lazy: Switch::Off, ..Reductions::ALL },
    ];
    assert_harmless(&Bounds::exclusion(2, 2), &off);
    assert_harmless(&Bounds::fencing(2, 2), &off);
}

/// What lives on after an operation is over is many times more: one node and one client are enough.
#[test]
fn requests_and_clients_that_are_left_out_change_nothing() {
    let off = [
        Reductions { retire: Switch::Off, ..Reductions::ALL },
        Reductions { dead: Switch::Off, ..Reductions::ALL },
        Reductions::CAUTIOUS,
        Reductions::NONE,
    ];
    assert_harmless(&Bounds { crashes: 1, ..Bounds::exclusion(1, 1) }, &off);
}

/// The canary: a violation is found with and without reductions, and its story is as short.
#[test]
fn a_violation_is_found_whatever_is_left_out() {
    let bounds = Bounds::exclusion(3, 2);
    let steps = |reductions| {
        let bounds = Bounds { reductions, ..bounds.clone() };
        let outcome = explore::<NoDrift, Cell>(&bounds, &Budget::default()).expect("a model");
        let story = outcome.violation.expect("a violation");
        assert_eq!(story.invariant, Invariant::Witness);
        story.steps.len()
    };
    assert_eq!(
        steps(Reductions::ALL),
        steps(Reductions { clients: Switch::Off, ..Reductions::ALL })
    );
}

#[test]
fn a_story_is_told_in_sentences_and_in_events() {
    let bounds = Bounds {
        reductions: Reductions { dead: Switch::Off, ..Reductions::ALL },
        ..Bounds::exclusion(3, 2)
    };
    let outcome = explore::<Lock, BlindRelease>(&bounds, &Budget::default()).expect("a model");
    let story = outcome.violation.expect("a violation");
    let text = story.to_string();
    assert!(text.contains("asks for the lock") && text.contains("I1 witness"), "{text}");
    assert!(story.end.contains("believes that it holds the lock"), "{text}");
    let lines = story.history.to_json_lines();
    for word in [
        r#""f":"granted""#,
        r#""f":"sent""#,
        r#""f":"executed""#,
        r#""f":"key""#,
        r#""f":"violated""#,
    ] {
        assert!(lines.contains(word), "{word} is not in\n{lines}");
    }
}

#[test]
fn bounds_that_make_no_model_are_refused() {
    let refused = |bounds: &Bounds| explore::<Lock, Cell>(bounds, &Budget::default()).err();
    let pair = Bounds::exclusion(3, 2);
    assert_eq!(refused(&Bounds { nodes: 0, ..pair.clone() }), Some(BoundsError::Size));
    assert_eq!(refused(&Bounds { clients: 9, ..pair.clone() }), Some(BoundsError::Size));
    assert_eq!(refused(&Bounds { tries: [0; 3], ..pair.clone() }), Some(BoundsError::Empty));
    let resource = Bounds { invariants: vec![Invariant::Resource], ..pair.clone() };
    let error = refused(&resource).expect("the model has no resource");
    assert_eq!(error, BoundsError::Invariant(Invariant::Resource));
    assert!(error.to_string().contains("the simulator checks it"), "{error}");
    let fences = Some(Fences { proposals: [u64::MAX; 3], ..Fences::COUNTED });
    assert!(refused(&Bounds { fences, ..pair }).is_some());
}
