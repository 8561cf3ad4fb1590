//! What a run shows: tables, and the goals with what was measured beside them.

mod goals;
mod table;

use std::fmt::Write;

pub use goals::{Bound, Goal, goals};
use table::Table;

use crate::record::{Contention, Measured, Record, Run, Seen};
use crate::scenario::{Scenario, Shape};
use crate::subject;

/// The floor that tables compare with.
pub const FLOOR: &str = "raw-2t";

/// A ratio over the rounds of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Ratio {
    /// Of these values; `None` of none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }
}

/// A figure of one record.
pub type Figure = fn(&Record) -> Option<f64>;

/// The figure in every round, as a median.
#[must_use]
pub fn figure(run: &Run, scenario: Scenario, subject: &str, figure: Figure) -> Option<Ratio> {
    Ratio::of(of(run, scenario, subject).filter_map(figure).collect())
}

/// The ratio of two figures in every round, as a median.
#[must_use]
pub fn ratio(
    run: &Run,
    one: (Scenario, &str),
    other: (Scenario, &str),
    it: Figure,
) -> Option<Ratio> {
    let ratios = of(run, one.0, one.1).filter_map(|record| {
        let beside = of(run, other.0, other.1).find(|beside| beside.round == record.round)?;
        let ratio = it(record)? / it(beside)?;
        ratio.is_finite().then_some(ratio)
    });
    Ratio::of(ratios.collect())
}

fn of<'a>(run: &'a Run, scenario: Scenario, subject: &'a str) -> impl Iterator<Item = &'a Record> {
    let is_it = move |record: &&Record| record.scenario == scenario && record.subject == subject;
    run.records.iter().filter(is_it)
}

fn measured(record: &Record) -> Option<&Measured> {
    record.phases.last().map(|phase| &phase.measured)
}

fn seen(record: &Record) -> Option<&Seen> {
    record.phases.last().map(|phase| &phase.seen)
}

fn contention(record: &Record) -> Option<&Contention> {
    measured(record)?.contention.as_ref()
}

/// The figures.
pub mod figures {
    use super::{Record, Shape, contention, measured, seen, sent};

    fn per_pair(record: &Record, whole: f64) -> Option<f64> {
        let pairs = measured(record)?.pairs;
        (pairs > 0).then(|| whole / pairs as f64)
    }

    /// A pair's median.
    pub fn p50(record: &Record) -> Option<f64> {
        measured(record).filter(|it| it.pair_us.max > 0.0).map(|it| it.pair_us.p50)
    }

    /// A pair's 99th percentile.
    pub fn p99(record: &Record) -> Option<f64> {
        measured(record).filter(|it| it.pair_us.max > 0.0).map(|it| it.pair_us.p99)
    }

    /// A pair's 99.9th percentile.
    pub fn p999(record: &Record) -> Option<f64> {
        measured(record).filter(|it| it.pair_us.max > 0.0).map(|it| it.pair_us.p999)
    }

    /// Pairs a second.
    pub fn rate(record: &Record) -> Option<f64> {
        measured(record).map(|it| it.pairs as f64 / it.elapsed_us * 1e6)
    }

    /// Microseconds of processors that the client used for a pair.
    pub fn cpu(record: &Record) -> Option<f64> {
        per_pair(record, measured(record)?.cpu_us)
    }

    /// Microseconds of processors that a node used for a pair.
    pub fn node_cpu(record: &Record) -> Option<f64> {
        let pairs = measured(record)?.pairs_counted;
        (pairs > 0).then(|| seen(record).map(|it| it.cpu_us / pairs as f64)).flatten()
    }

    /// Allocations of the client for a pair.
    pub fn allocations(record: &Record) -> Option<f64> {
        per_pair(record, measured(record)?.allocations? as f64)
    }

    /// Their bytes.
    pub fn bytes(record: &Record) -> Option<f64> {
        per_pair(record, measured(record)?.allocated_bytes? as f64)
    }

    /// Commands that a node got for a pair.
    pub fn commands(record: &Record) -> Option<f64> {
        let pairs = measured(record)?.pairs_counted;
        (pairs > 0).then(|| seen(record).map(|it| sent(record, it) / pairs as f64)).flatten()
    }

    /// Commands that a node read at once.
    pub fn batch(record: &Record) -> Option<f64> {
        seen(record).filter(|it| it.reads > 0.0).map(|it| sent(record, it) / it.reads)
    }

    /// Percent of one processor that the client used.
    pub fn cpu_percent(record: &Record) -> Option<f64> {
        measured(record).map(|it| it.cpu_us / it.elapsed_us * 100.0)
    }

    /// Scripts a second and node.
    pub fn scripts(record: &Record) -> Option<f64> {
        let calls = seen(record)?.calls.get("evalsha")?;
        measured(record).map(|it| calls / it.elapsed_us * 1e6)
    }

    /// The busiest tenth of a second, as a multiple of the average one.
    pub fn peak(record: &Record) -> Option<f64> {
        seen(record)?.peak
    }

    /// Share of the locks that were to be held to the end.
    pub fn held(record: &Record) -> Option<f64> {
        measured(record)?.held.map(|held| held as f64)
    }

    /// Locks left on nodes.
    pub fn keys_left(record: &Record) -> Option<f64> {
        Some(record.keys_left as f64)
    }

    /// Errors, and workers that were stuck.
    pub fn errors(record: &Record) -> Option<f64> {
        let errors = measured(record).map_or(0, |it| it.errors + it.stuck);
        Some((errors + u64::from(record.failure.is_some())) as f64)
    }

    /// Sections a second, as a share of what one worker after the other could have: 1 ÷ (the work and
    /// one uncontended pair, both as measured).
    pub fn share(record: &Record) -> Option<f64> {
        let [solo, _] = record.phases.as_slice() else { return None };
        let ideal_us = contention(record)?.hold_us + solo.measured.pair_us.mean;
        rate(record).map(|rate| rate * ideal_us / 1e6)
    }

    /// The longest wait, as a multiple of what each would wait if all took turns.
    pub fn wait(record: &Record) -> Option<f64> {
        let Shape::Contention { workers, .. } = record.scenario.shape else { return None };
        let turn_us = rate(record).filter(|rate| *rate > 0.0).map(|rate| 1e6 / rate)?;
        contention(record).map(|it| it.wait_max_us / (turn_us * workers as f64))
    }

    /// The fewest turns of a worker, as a share of the most.
    pub fn fairness(record: &Record) -> Option<f64> {
        let turns = &contention(record)?.turns;
        let (least, most) = (turns.iter().min()?, turns.iter().max()?);
        (*most > 0).then(|| *least as f64 / *most as f64)
    }

    /// Commands for a section, as a multiple of those of an uncontended one.
    pub fn overhead(record: &Record) -> Option<f64> {
        let [solo, crowd] = record.phases.as_slice() else { return None };
        let each = |phase: &crate::record::Phase| {
            let pairs = phase.measured.pairs_counted;
            (pairs > 0).then(|| sent(record, &phase.seen) / pairs as f64)
        };
        Some(each(crowd)? / each(solo)?)
    }

    /// From one worker's release to the next one's grant.
    pub fn handover_p50(record: &Record) -> Option<f64> {
        contention(record).map(|it| it.handover_us.p50)
    }

    /// As well, of 99 in 100.
    pub fn handover_p99(record: &Record) -> Option<f64> {
        contention(record).map(|it| it.handover_us.p99)
    }

    /// How long they worked.
    pub fn hold(record: &Record) -> Option<f64> {
        contention(record).map(|it| it.hold_us)
    }

    /// Two at the same time.
    pub fn violations(record: &Record) -> Option<f64> {
        contention(record).map(|it| it.violations as f64)
    }
}

/// Commands that a client sent to a node, without what its scripts did there.
fn sent(record: &Record, seen: &Seen) -> f64 {
    /// What scripts do not call, and clients do.
    const SENT: [&str; 8] = [
        "eval",
        "evalsha",
        "subscribe",
        "ssubscribe",
        "unsubscribe",
        "sunsubscribe",
        "ping",
        "hello",
    ];
    let is_plain = matches!(record.subject.as_str(), "ours-plain" | "ours-plain-here");
    let by_script = record.subject == "node-redlock";
    let by_script = by_script || (record.subject.starts_with("ours-") && !is_plain);
    let set = if by_script { None } else { Some("set") };
    SENT.iter().copied().chain(set).filter_map(|command| seen.calls.get(command)).sum()
}

/// The whole report, in Markdown.
#[must_use]
pub fn text(run: &Run) -> String {
    let rounds = run.records.iter().map(|record| record.round + 1).max().unwrap_or(0);
    let mut text = format!(
        "{}; {rounds} rounds of {} s; others used {:.2} processors\n",
        run.machine, run.seconds, run.others
    );
    for (subject, why) in &run.missing {
        let _ = writeln!(text, "Not measured: {subject}, {why}");
    }
    for scenario in Scenario::all() {
        if run.records.iter().any(|record| record.scenario == scenario) {
            let _ = write!(text, "\n## {}\n\n{}", title(scenario), table(run, scenario));
        }
    }
    let goals = goals(run);
    let _ = write!(text, "\n## Goals\n\n{}", goals::table(&goals));
    let unknown = goals.iter().filter(|goal| goal.measured.is_none()).count();
    if unknown > 0 {
        let _ = writeln!(text, "\n{unknown} more goals are about what was not measured.");
    }
    for record in run.records.iter().filter(|record| record.failure.is_some()) {
        let failure = record.failure.as_deref().unwrap_or_default();
        let _ = writeln!(text, "\n{} in {}: {failure}", record.subject, record.scenario);
    }
    text
}

fn title(scenario: Scenario) -> String {
    let what = match scenario.shape {
        Shape::Pairs { workers: 1 } => "One worker".to_owned(),
        Shape::Pairs { workers } => format!("{workers} workers, a resource each"),
        Shape::Held => "1,000 locks, held and renewed".to_owned(),
        Shape::Contention { workers, clients } => {
            let whose = match clients {
                crate::scenario::Clients::Shared => "one client",
                crate::scenario::Clients::Own => "a client each",
            };
            format!("{workers} workers on one resource, {whose}")
        }
    };
    let faults = match (scenario.hung, scenario.down) {
        (0, 0) => String::new(),
        (hung, 0) => format!(", {hung} of 5 nodes hung"),
        (_, down) => format!(", {down} of 5 nodes down"),
    };
    format!("{what}{faults} (`{scenario}`)")
}

fn table(run: &Run, scenario: Scenario) -> Table {
    match scenario.shape {
        Shape::Pairs { .. } => pairs(run, scenario),
        Shape::Held => held(run, scenario),
        Shape::Contention { .. } => contended(run, scenario),
    }
}

/// What stands in a column: its heading, the figure, and with how many digits.
type Column = (&'static str, Figure, usize);

/// A row for each subject that was measured; first of the figures comes one `beside` that of the floor.
fn rows(
    run: &Run,
    scenario: Scenario,
    beside: Option<(&'static str, Figure)>,
    columns: &[Column],
) -> Table {
    let headings = beside.iter().map(|(heading, _)| *heading);
    let headings = headings.chain(columns.iter().map(|(heading, ..)| *heading));
    let mut table = Table::new(&["subject"].into_iter().chain(headings).collect::<Vec<_>>());
    for subject in subject::all() {
        if of(run, scenario, subject).next().is_none() {
            continue;
        }
        let mut row = vec![subject.to_owned()];
        if let Some((_, it)) = beside {
            row.push(table::ratio(ratio(run, (scenario, subject), (scenario, FLOOR), it)));
        }
        row.extend(columns.iter().map(|(_, it, digits)| {
            table::number(figure(run, scenario, subject, *it).map(|it| it.median), *digits)
        }));
        table.push(row);
    }
    table
}

fn pairs(run: &Run, scenario: Scenario) -> Table {
    use figures as f;
    let many = matches!(scenario.shape, Shape::Pairs { workers } if workers > 1);
    let beside: (_, Figure) =
        if many { ("pairs/s ÷ floor", f::rate) } else { ("p50 ÷ floor", f::p50) };
    let columns: [Column; 11] = [
        ("pairs/s", f::rate, 0),
        ("p50 µs", f::p50, 0),
        ("p99 µs", f::p99, 0),
        ("p99.9 µs", f::p999, 0),
        ("client CPU µs", f::cpu, 0),
        ("node CPU µs", f::node_cpu, 0),
        ("allocations", f::allocations, 1),
        ("bytes", f::bytes, 0),
        ("commands per node", f::commands, 2),
        ("errors", f::errors, 0),
        ("keys left", f::keys_left, 0),
    ];
    rows(run, scenario, Some(beside), &columns)
}

fn held(run: &Run, scenario: Scenario) -> Table {
    use figures as f;
    let columns: [Column; 6] = [
        ("client CPU % of one core", f::cpu_percent, 2),
        ("renewals/s and node", f::scripts, 0),
        ("commands per read", f::batch, 2),
        ("busiest 0.1 s ÷ average", f::peak, 1),
        ("still held", f::held, 0),
        ("keys left", f::keys_left, 0),
    ];
    rows(run, scenario, None, &columns)
}

fn contended(run: &Run, scenario: Scenario) -> Table {
    use figures as f;
    let columns: [Column; 13] = [
        ("sections/s", f::rate, 0),
        ("÷ ideal", f::share, 2),
        ("hand-over p50 µs", f::handover_p50, 0),
        ("p99 µs", f::handover_p99, 0),
        ("hold µs", f::hold, 0),
        ("longest wait ÷ fair", f::wait, 1),
        ("min ÷ max turns", f::fairness, 2),
        ("commands per section and node", f::commands, 1),
        ("÷ uncontended", f::overhead, 1),
        ("client CPU µs", f::cpu, 0),
        ("violations", f::violations, 0),
        ("errors", f::errors, 0),
        ("keys left", f::keys_left, 0),
    ];
    rows(run, scenario, None, &columns)
}
