//! A check that never failed proves nothing: locks that are known to be wrong have to be caught.

use std::sync::Arc;

use redlatch_harness::live::adapter::AdapterCommand;
use redlatch_harness::live::judge::Word;
use redlatch_harness::live::node::Processes;
use redlatch_harness::live::run::{Run, Setup, run};
use redlatch_harness::live::scenario::{Pace, Scenario, Sizes};

/// Faults wait for clients, but processes wait for processors: a run in which the fault met nobody is made again.
const RUNS_MAX: u64 = 4;

fn adapter(name: &str) -> AdapterCommand {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters").join(name);
    let mut adapter = AdapterCommand::load(&folder).expect("an adapter of the tree");
    adapter.install().expect("an adapter that can be installed");
    // In a test the harness is another program.
    let words = adapter.argv.iter_mut().filter(|word| word.ends_with("live_canaries"));
    words.for_each(|word| *word = env!("CARGO_BIN_EXE_redlatch-harness").to_owned());
    adapter
}

/// Runs a scenario, with further seeds until it tells something.
fn runs(name: &str, scenario: &str) -> Run {
    let setup = Setup {
        backend: Arc::new(Processes::new()),
        adapter: adapter(name),
        prefix: format!("canary-{name}"),
    };
    let scenario = Scenario::named(scenario).expect("a scenario");
    let sizes = Sizes { nodes: 5, clients: 3, pace: Pace::Quick };
    let told = (1..=RUNS_MAX).find_map(|seed| {
        let run = run(&setup, &scenario.plan(seed, sizes)).expect("a run");
        (run.unknown.is_none() || !run.told.is_empty()).then_some(run)
    });
    told.expect("a run in which the fault struck")
}

#[track_caller]
fn assert_caught(run: &Run, word: Word) {
    let words: Vec<Word> = run.told.iter().map(|finding| finding.word).collect();
    assert!(words.contains(&word), "{:?} found {words:?}", run.plan.scenario);
}

#[test]
fn a_lock_that_overwrites_is_caught_when_nothing_happens() {
    let run = runs("toy", "calm");
    assert_caught(&run, Word::Violated);
    assert!(!run.broken.is_empty(), "and it has no excuse");
}

#[test]
fn a_lock_that_waits_for_every_node_is_caught_when_one_hangs() {
    let run = runs("rslock", "node-hung");
    assert_caught(&run, Word::Stuck);
    assert!(!run.broken.is_empty(), "and it has no excuse: four of five nodes were well");
}

#[test]
fn a_lock_on_one_node_is_caught_when_that_one_forgets() {
    assert_caught(&runs("plain", "restart-without-data"), Word::Violated);
}

#[test]
fn a_lock_without_fences_is_caught_when_its_holder_stands_still() {
    assert_caught(&runs("plain", "client-paused"), Word::LateWrite);
}
