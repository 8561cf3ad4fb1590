//! What was to be reached, and what was.

use super::table::{self, Table};
use super::{FLOOR, Figure, Ratio, Record, Run, figure, figures as f, ratio};
use crate::scenario::{Scenario, Shape};
use crate::subject::OURS;

/// A goal.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What is measured.
    pub what: String,
    /// What it is to be.
    pub bound: Bound,
    /// What it is; `None` if it was not measured.
    pub measured: Option<Ratio>,
}

/// What a figure is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Goal {
    /// Whether the median is what it is to be; `None` if it was not measured.
    #[must_use]
    pub fn is_reached(&self) -> Option<bool> {
        self.measured.map(|measured| match self.bound {
            Bound::AtMost(bound) => measured.median <= bound,
            Bound::AtLeast(bound) => measured.median >= bound,
        })
    }
}

/// All goals.
#[must_use]
pub fn goals(run: &Run) -> Vec<Goal> {
    let mut goals = beside_the_floor(run);
    goals.extend(faulty(run));
    goals.extend(held(run));
    goals.extend(contended(run));
    goals.extend(clean(run));
    goals
}

/// Those that were measured.
pub(super) fn table(goals: &[Goal]) -> Table {
    let mut table = Table::new(&["goal", "bound", "measured", ""]);
    for goal in goals.iter().filter(|goal| goal.measured.is_some()) {
        let bound = match goal.bound {
            Bound::AtMost(bound) => format!("≤ {bound}"),
            Bound::AtLeast(bound) => format!("≥ {bound}"),
        };
        let verdict = match goal.is_reached() {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "not measured",
        };
        table.push(vec![goal.what.clone(), bound, table::ratio(goal.measured), verdict.to_owned()]);
    }
    table
}

fn named(name: &str) -> Scenario {
    let one = Scenario { shape: Shape::Pairs { workers: 1 }, hung: 0, down: 0 };
    name.parse().unwrap_or(one)
}

/// What each way to run the driver is measured against: the usual floor, and the floor of the same kind.
const FLOORS: [(&str, &str); 3] = [("", FLOOR), ("", "raw-apart"), ("-here", "raw-1t")];

/// What the driver costs beyond redis-rs, on each kind of runtime.
fn beside_the_floor(run: &Run) -> Vec<Goal> {
    let (one, many) = (named("one"), named("many"));
    let p50 = ("p50", f::p50 as Figure);
    let cpu = ("client CPU", f::cpu as Figure);
    let rate = ("pairs/s", f::rate as Figure);
    let mut goals = Vec::new();
    for (scenario, worker, ours, (name, it), bound) in [
        (one, "one worker", "plain", p50, Bound::AtMost(1.10)),
        (one, "one worker", "fenced", p50, Bound::AtMost(1.25)),
        (many, "64 workers", "plain", rate, Bound::AtLeast(0.85)),
        (many, "64 workers", "fenced", rate, Bound::AtLeast(0.70)),
        (one, "one worker", "plain", cpu, Bound::AtMost(1.15)),
        (many, "64 workers", "plain", cpu, Bound::AtMost(1.15)),
    ] {
        for (ours, raw) in FLOORS.map(|(suffix, raw)| (format!("ours-{ours}{suffix}"), raw)) {
            let measured = ratio(run, (scenario, &ours), (scenario, raw), it);
            goals
                .push(Goal { what: format!("{worker}, {ours}: {name} ÷ {raw}"), bound, measured });
        }
    }
    for ours in ["ours-plain", "ours-fenced", "ours-plain-here", "ours-fenced-here"] {
        let measured = ratio(run, (many, ours), (many, "rslock"), f::rate);
        let what = format!("64 workers, {ours}: pairs/s ÷ rslock");
        goals.push(Goal { what, bound: Bound::AtLeast(1.5), measured });
    }
    goals
}

/// Nodes that hang or are down, beside nodes that are well.
fn faulty(run: &Run) -> Vec<Goal> {
    let mut goals = Vec::new();
    for fault in ["hung1", "hung2", "down1", "down2"] {
        for ours in ["ours-plain", "ours-fenced"] {
            for (name, it) in [("p50", f::p50 as Figure), ("p99", f::p99)] {
                let measured = ratio(run, (named(fault), ours), (named("one"), ours), it);
                let what = format!("{fault}, {ours}: {name} ÷ healthy");
                goals.push(Goal { what, bound: Bound::AtMost(1.15), measured });
            }
        }
    }
    goals
}

fn held(run: &Run) -> Vec<Goal> {
    let of = |what: &str, bound, it| {
        let measured = figure(run, named("held"), "ours-renewed", it);
        Goal { what: format!("1,000 held: {what}"), bound, measured }
    };
    vec![
        of("client CPU, % of one core", Bound::AtMost(3.0), f::cpu_percent as Figure),
        of("locks still held", Bound::AtLeast(1000.0), f::held),
        of("busiest 0.1 s ÷ average", Bound::AtMost(3.0), f::peak),
        of("renewals per read of a node", Bound::AtLeast(2.0), f::batch),
    ]
}

fn contended(run: &Run) -> Vec<Goal> {
    let mut goals = Vec::new();
    for scenario in Scenario::all() {
        let Shape::Contention { .. } = scenario.shape else { continue };
        for ours in ["ours-plain", "ours-fenced"] {
            for (name, it, bound) in [
                ("sections/s ÷ ideal", f::share as Figure, Bound::AtLeast(0.85)),
                ("longest wait ÷ fair share", f::wait, Bound::AtMost(3.0)),
                ("min ÷ max turns", f::fairness, Bound::AtLeast(0.6)),
                ("commands ÷ uncontended", f::overhead, Bound::AtMost(4.0)),
            ] {
                let measured = figure(run, scenario, ours, it);
                goals.push(Goal { what: format!("{scenario}, {ours}: {name}"), bound, measured });
            }
            if scenario.hung > 0 {
                let healthy = Scenario { hung: 0, ..scenario };
                let measured = ratio(run, (scenario, ours), (healthy, ours), f::rate);
                let what = format!("{scenario}, {ours}: sections/s ÷ healthy");
                goals.push(Goal { what, bound: Bound::AtLeast(0.8), measured });
            }
        }
    }
    goals
}

/// What must be none whatever else.
fn clean(run: &Run) -> Vec<Goal> {
    let ours = |record: &&Record| OURS.contains(&record.subject.as_str());
    let most = |it: Figure| {
        let values = run.records.iter().filter(ours).filter_map(it);
        Ratio::of(vec![values.fold(0.0, f64::max)])
    };
    [
        ("keys left, at most", f::keys_left as Figure),
        ("errors, at most", f::errors),
        ("two holders at once, at most", f::violations),
    ]
    .map(|(what, it)| Goal {
        what: format!("ours, all scenarios: {what}"),
        bound: Bound::AtMost(0.0),
        measured: most(it),
    })
    .into()
}
