//! The library form of the live harness, and what its documentation says.

use std::time::Duration;

use redlatch::Redlatch;
use redlatch_harness::live::judge::Word;
use redlatch_harness::live::rehearsal::Rehearsal;
use redlatch_harness::live::scenario::{self, Pace, SCENARIOS, Scenario, Sizes};
use redlatch_harness::live::scorecard::{self, Cell, Column, Scorecard};

const DOCS: &str = include_str!("../../docs/live.md");

async fn my_job() {}

// As in docs/live.md.
#[tokio::test]
async fn my_job_outlives_a_node_that_hangs() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Rehearsal::start(5)?;
    let redlatch = Redlatch::new(cluster.urls())?; // or any other client
    let faults = cluster.play("node-hung", 7)?;
    redlatch.using("report", Duration::from_secs(1), async |_lease| my_job().await).await?;
    faults.over().await?;
    Ok(())
}

#[test]
fn the_documentation_shows_the_test_above() {
    let source = include_str!("live_library.rs");
    let (_, after) = source.split_once("// As in docs/live.md.\n").expect("the mark");
    let (test, _) = after.split_once("\n}\n").expect("the end of the test");
    assert!(DOCS.contains(&format!("```rust\n{test}\n}}\n```")), "docs/live.md shows another test");
}

#[test]
fn the_documentation_has_the_table_of_the_source() {
    let (_, after) = DOCS.split_once("<!-- scenarios -->\n").expect("the mark");
    let (table, _) = after.split_once("<!-- /scenarios -->").expect("the end mark");
    assert_eq!(
        table,
        scenario::table(),
        "docs/live.md: put the table of the right-hand side there"
    );
}

#[tokio::test]
async fn faults_by_name_strike_and_are_over_in_the_end() {
    let cluster = Rehearsal::start(5).expect("five servers");
    let faults = cluster.play("flush", 1).expect("the scenario");
    cluster.nodes()[0].query::<String>(&["SET", "key", "value"]).expect("an answer");
    let strikes = faults.over().await.expect("faults that could be carried out");
    assert!(strikes.iter().all(|strike| strike.ended.is_some()), "{strikes:?}");
    assert!(cluster.play("no-such", 1).is_err());
    assert!(cluster.play("failover", 1).is_err(), "there is no server that follows");
}

#[test]
fn each_scenario_draws_the_same_plan_from_the_same_seed_and_it_comes_back_from_json() {
    let sizes = Sizes { nodes: 5, clients: 3, pace: Pace::Quick };
    let mut names = Vec::new();
    for scenario in SCENARIOS {
        let plan = scenario.plan(7, sizes);
        assert_eq!(plan, scenario.plan(7, sizes), "{}", scenario.name);
        let json = plan.to_json_pretty();
        let back = redlatch_harness::live::plan::Plan::from_json(&json);
        assert_eq!(back.expect("its own plan"), plan, "{json}");
        assert!(Scenario::named(scenario.name).is_some());
        assert!(!names.contains(&scenario.name), "{} is there twice", scenario.name);
        names.push(scenario.name);
    }
    let other = |plan: &str| redlatch_harness::live::plan::Plan::from_json(plan);
    let json = SCENARIOS[0].plan(7, sizes).to_json_pretty();
    assert!(other(&json.replace("\"version\": 1", "\"version\": 2")).is_err());
    assert!(other(&json.replace("\"nodes\": 5", "\"nodes\": 0")).is_err());
    assert!(other(&json.replace("\"seed\"", "\"sead\"")).is_err());
}

#[test]
fn the_scorecard_tells_what_was_seen_twice() {
    let mut cell = Cell { runs: 2, ..Cell::default() };
    assert_eq!(cell.text(), "held");
    cell.add(Word::KeyLeft, "a key was left");
    assert_eq!((cell.text().as_str(), cell.is_in_doubt()), ("held", true));
    cell.add(Word::KeyLeft, "again");
    cell.add(Word::Violated, "two at once");
    cell.add(Word::Violated, "and again");
    assert_eq!((cell.text().as_str(), cell.is_in_doubt()), ("violated, key left behind", false));
    cell.found.clear();
    cell.unknown = Some("nothing struck".to_owned());
    assert_eq!(cell.text(), "–");

    let column = Column { adapter: "mine".to_owned(), cells: vec![cell], ..Column::default() };
    let card = Scorecard { clients: vec![column], ..Scorecard::default() };
    let back = scorecard::from_json(&scorecard::json(&card)).expect("what it wrote");
    assert_eq!(scorecard::markdown(&back), scorecard::markdown(&card));
}
