//! What is made of a run: a recorded one, and small ones with round numbers.

use redlatch_bench::chart;
use redlatch_bench::record::{Contention, Line, Measured, Phase, Record, Run, Seen, Spread};
use redlatch_bench::report::{self, Bound, Goal, Ratio, figure, figures, ratio};
use redlatch_bench::scenario::Scenario;

/// A quick run of all scenarios, recorded on a busy machine.
fn recorded() -> Run {
    serde_json::from_str(include_str!("recorded.json")).expect("a run")
}

fn scenario(name: &str) -> Scenario {
    name.parse().expect("a scenario")
}

fn record(round: usize, subject: &str, p50: f64) -> Record {
    let pair_us = Spread { p50, mean: p50, max: p50, ..Spread::default() };
    let measured = Measured {
        elapsed_us: 1e6,
        pairs: 1_000,
        pairs_counted: 2_000,
        cpu_us: 50_000.0,
        allocations: Some(4_000),
        pair_us,
        ..Measured::default()
    };
    let calls = [("set".to_owned(), 2_000.0), ("evalsha".to_owned(), 2_000.0)];
    let seen = Seen { calls: calls.into(), reads: 1_000.0, ..Seen::default() };
    Record {
        round,
        scenario: scenario("one"),
        subject: subject.to_owned(),
        phases: vec![Phase { measured, seen }],
        keys_left: 0,
        failure: None,
    }
}

fn goal(run: &Run, what: &str) -> Goal {
    let goals = report::goals(run);
    goals.into_iter().find(|goal| goal.what == what).expect("a goal of that name")
}

#[test]
fn every_name_of_a_scenario_is_read_back() {
    for scenario in Scenario::all() {
        assert_eq!(scenario.to_string().parse(), Ok(scenario));
    }
    assert!("contention-3".parse::<Scenario>().is_err());
}

#[test]
fn the_beginning_of_a_name_up_to_a_dash_means_all_that_begin_so() {
    let meant = |filter: &str| {
        Scenario::all()
            .iter()
            .filter(|it| it.is_meant(filter))
            .map(Scenario::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(meant("contention").len(), 10);
    assert_eq!(
        meant("contention-8"),
        ["contention-8", "contention-8-hung1", "contention-8-own", "contention-8-own-hung1"]
    );
    assert_eq!(meant("hung"), [""; 0]);
}

#[test]
fn a_median_is_in_the_middle() {
    assert_eq!(Ratio::of(vec![]), None);
    assert_eq!(Ratio::of(vec![3.0, 1.0, 8.0]), Some(Ratio { median: 3.0, min: 1.0, max: 8.0 }));
    assert_eq!(Ratio::of(vec![4.0, 2.0]), Some(Ratio { median: 3.0, min: 2.0, max: 4.0 }));
}

#[test]
fn ratios_are_taken_within_a_round() {
    // The second round was on a machine half as fast: the ratio is the same.
    let times = [(0, 110.0, 100.0), (1, 220.0, 200.0), (2, 120.0, 100.0)];
    let both =
        |(round, ours, raw)| [record(round, "ours-plain", ours), record(round, "raw-2t", raw)];
    let run = Run { records: times.into_iter().flat_map(both).collect(), ..Run::default() };
    let one = scenario("one");
    let beside = ratio(&run, (one, "ours-plain"), (one, "raw-2t"), figures::p50);
    assert_eq!(beside, Some(Ratio { median: 1.1, min: 1.1, max: 1.2 }));
    assert_eq!(ratio(&run, (one, "ours-plain"), (one, "rslock"), figures::p50), None);
    let reached = goal(&run, "one worker, ours-plain: p50 ÷ raw-2t");
    assert_eq!((reached.bound, reached.is_reached()), (Bound::AtMost(1.10), Some(true)));
    assert_eq!(goal(&run, "one worker, ours-plain-here: p50 ÷ raw-1t").is_reached(), None);
}

#[test]
fn a_goal_that_is_missed_is_called_missed() {
    let run = Run {
        records: vec![record(0, "ours-plain", 150.0), record(0, "raw-2t", 100.0)],
        ..Run::default()
    };
    assert_eq!(goal(&run, "one worker, ours-plain: p50 ÷ raw-2t").is_reached(), Some(false));
    let text = report::text(&run);
    let row = text.lines().find(|line| line.contains("one worker, ours-plain: p50 ÷ raw-2t"));
    assert!(row.is_some_and(|row| row.contains("missed") && row.contains("1.50")), "{text}");
}

#[test]
fn figures_are_for_one_pair() {
    let run = Run { records: vec![record(0, "raw-2t", 100.0)], ..Run::default() };
    let of = |it| figure(&run, scenario("one"), "raw-2t", it).expect("a figure").median;
    assert_eq!(of(figures::rate), 1_000.0);
    assert_eq!(of(figures::cpu), 50.0);
    assert_eq!(of(figures::allocations), 4.0);
    // What nodes count belongs to all pairs since the phase began.
    assert_eq!(of(figures::commands), 2.0);
    assert_eq!(of(figures::batch), 4.0);
}

#[test]
fn what_a_script_calls_was_not_sent() {
    let run = Run { records: vec![record(0, "ours-fenced", 100.0)], ..Run::default() };
    let commands = figure(&run, scenario("one"), "ours-fenced", figures::commands);
    assert_eq!(commands.map(|it| it.median), Some(1.0));
}

#[test]
fn a_lock_that_is_left_misses_a_goal() {
    let left = Record { keys_left: 1, ..record(0, "ours-plain", 100.0) };
    let run = Run { records: vec![left], ..Run::default() };
    assert_eq!(goal(&run, "ours, all scenarios: keys left, at most").is_reached(), Some(false));
}

#[test]
fn contention_is_measured_against_one_worker_after_the_other() {
    let solo = record(0, "ours-plain", 250.0).phases.remove(0);
    let contention = Contention {
        turns: vec![60, 90, 100, 250],
        wait_max_us: 16_000.0,
        hold_us: 1_000.0,
        violations: 0,
        ..Contention::default()
    };
    let measured = Measured {
        elapsed_us: 1e6,
        pairs: 500,
        pairs_counted: 500,
        contention: Some(contention),
        ..Measured::default()
    };
    let calls = [("set".to_owned(), 1_000.0), ("evalsha".to_owned(), 1_000.0)];
    let seen = Seen { calls: calls.into(), ..Seen::default() };
    let record = Record {
        scenario: scenario("contention-8"),
        phases: vec![solo, Phase { measured, seen }],
        ..record(0, "ours-plain", 0.0)
    };
    // 500 sections a second, where 1 ms + 250 µs allow 800.
    assert_eq!(figures::share(&record), Some(0.625));
    // A turn takes 2 ms, so eight workers wait 16 ms if they are fair.
    assert_eq!(figures::wait(&record), Some(1.0));
    assert_eq!(figures::fairness(&record), Some(60.0 / 250.0));
    assert_eq!(figures::overhead(&record), Some(2.0));
}

#[test]
fn a_recorded_run_has_a_table_for_each_scenario() {
    let run = recorded();
    let text = report::text(&run);
    for scenario in Scenario::all() {
        assert!(text.contains(&format!("(`{scenario}`)")), "no table of {scenario}");
    }
    assert!(report::goals(&run).iter().all(|goal| goal.measured.is_some()), "{text}");
    let cells =
        text.lines().filter(|line| line.starts_with('|')).map(|line| line.matches('|').count());
    assert!(cells.clone().count() > 50 && cells.min() >= Some(5), "{text}");
}

#[test]
fn a_run_is_read_as_it_was_written() {
    let run = recorded();
    let text = serde_json::to_string(&run).expect("JSON");
    assert_eq!(serde_json::from_str::<Run>(&text).expect("a run"), run);
}

#[test]
fn what_programs_write_is_read() {
    let ready: Line = serde_json::from_str(r#""ready""#).expect("a line");
    assert_eq!(ready, Line::Ready);
    let line = r#"{"measured":{"elapsed_us":1000000.0,"pairs":3,"pair_us":{"p50":1,"p99":2,"p999":3,"mean":1,"max":3},"contention":null}}"#;
    let Line::Measured(measured) = serde_json::from_str(line).expect("a line") else {
        panic!("a measurement");
    };
    assert_eq!((measured.pairs, measured.pair_us.max, measured.allocations), (3, 3.0, None));
}

#[test]
fn the_chart_is_well_formed_and_shows_everybody() {
    let svg = chart::svg(&recorded()).expect("a chart");
    let mut reader = quick_xml::Reader::from_str(&svg);
    let mut bars = 0;
    loop {
        let event = reader.read_event().expect("well-formed XML");
        if matches!(event, quick_xml::events::Event::Eof) {
            break;
        }
        if let quick_xml::events::Event::Empty(element) = event {
            bars += usize::from(element.name().as_ref() == b"rect");
        }
    }
    assert!(bars > 12, "{bars} bars");
    for name in ["redlatch, plain dialect", "rslock", "pottery"] {
        assert!(svg.contains(name), "no {name}");
    }
}

#[test]
fn a_chart_of_nothing_is_a_chart() {
    assert!(chart::svg(&Run::default()).expect("a chart").contains("</svg>"));
}
