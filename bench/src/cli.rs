//! The command line.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::record::{Record, Run, Task};
use crate::run::{self, Plan};
use crate::scenario::Scenario;
use crate::{chart, measure as child, report, subject};

/// Measures the native driver against the raw floor and other clients, on five servers of this machine.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Work>,
    #[command(flatten)]
    measure: Measure,
}

/// What `--quick` measures unless told otherwise.
const QUICK_SCENARIOS: [&str; 4] = ["one", "many", "hung1", "contention-8"];
/// Whom, as well.
const QUICK_SUBJECTS: [&str; 7] =
    ["ours-plain", "ours-fenced", "ours-plain-here", "raw-2t", "raw-1t", "raw-apart", "rslock"];

#[derive(Debug, Subcommand)]
enum Work {
    /// Prints the report of a run that was written by `--json`.
    Report {
        /// The file.
        run: PathBuf,
        /// Where to draw the chart.
        #[arg(long, value_name = "FILE")]
        chart: Option<PathBuf>,
    },
    /// Is one subject: for this program itself.
    #[command(hide = true)]
    Subject {
        /// What to do, in JSON.
        task: String,
    },
}

#[derive(Debug, clap::Args)]
struct Measure {
    /// One short round of the scenarios and subjects that matter most, 20 s: for development.
    #[arg(long)]
    quick: bool,
    /// How many rounds; 3, or 1 with `--quick`.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each measurement takes, and half of what one of contention takes; 0.8, or 0.4 with `--quick`.
    #[arg(long)]
    seconds: Option<f64>,
    /// Only these scenarios: one, many, hung1, hung2, down1, down2, held, contention, contention-8,
    /// contention-8-own, contention-8-hung1 and so on; the beginning of a name up to a dash will do.
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
    /// Only these subjects, such as ours-plain, ours-fenced, raw-2t or rslock.
    #[arg(long = "subject", value_name = "NAME")]
    subjects: Vec<String>,
    /// Where to write the run.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to draw the chart.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

/// What `main` does.
#[must_use]
pub fn main() -> ExitCode {
    match work(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redlatch-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: Arguments) -> Result<(), String> {
    match arguments.command {
        None => measure(&arguments.measure),
        Some(Work::Report { run, chart }) => {
            let text = fs::read_to_string(&run).map_err(|error| error.to_string())?;
            let run = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            tell(&run, chart)
        }
        Some(Work::Subject { task }) => {
            let task: Task = serde_json::from_str(&task).map_err(|error| error.to_string())?;
            child::run(&task)
        }
    }
}

fn measure(arguments: &Measure) -> Result<(), String> {
    let plan = plan(arguments)?;
    let run = run::run(&plan, |record| eprintln!("{}", line(record)))?;
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&run).map_err(|error| error.to_string())?;
        fs::write(file, text + "\n").map_err(|error| error.to_string())?;
    }
    tell(&run, arguments.chart.clone())
}

fn tell(run: &Run, chart: Option<PathBuf>) -> Result<(), String> {
    println!("{}", report::text(run));
    let Some(file) = chart else { return Ok(()) };
    fs::write(file, chart::svg(run)?).map_err(|error| error.to_string())
}

fn plan(arguments: &Measure) -> Result<Plan, String> {
    let mut scenarios = Scenario::all();
    if arguments.quick && arguments.scenarios.is_empty() {
        scenarios.retain(|scenario| QUICK_SCENARIOS.contains(&scenario.to_string().as_str()));
    }
    if !arguments.scenarios.is_empty() {
        scenarios.retain(|scenario| arguments.scenarios.iter().any(|name| scenario.is_meant(name)));
        if scenarios.is_empty() {
            return Err(format!("no scenario is called {}", arguments.scenarios.join(" or ")));
        }
    }
    let mut subjects = subject::all();
    if let Some(unknown) = arguments.subjects.iter().find(|name| !subjects.contains(&name.as_str()))
    {
        return Err(format!("there is no subject {unknown}; there are {}", subjects.join(", ")));
    }
    if arguments.quick && arguments.subjects.is_empty() {
        subjects.retain(|subject| QUICK_SUBJECTS.contains(subject));
    }
    if !arguments.subjects.is_empty() {
        subjects.retain(|subject| arguments.subjects.iter().any(|name| name == subject));
    }
    let (rounds, seconds) = if arguments.quick { (1, 0.4) } else { (3, 0.8) };
    Ok(Plan {
        rounds: arguments.rounds.unwrap_or(rounds),
        seconds: arguments.seconds.unwrap_or(seconds),
        subjects,
        scenarios,
    })
}

/// A record while the run goes on.
fn line(record: &Record) -> String {
    let Record { round, scenario, subject, keys_left, .. } = record;
    let said = match (&record.failure, run::last(record)) {
        (Some(failure), _) => failure.clone(),
        (None, Some(measured)) => format!(
            "p50 {:.0} µs, {:.0} pairs/s, {} errors, {keys_left} keys left",
            measured.pair_us.p50,
            measured.pairs as f64 / measured.elapsed_us * 1e6,
            measured.errors
        ),
        (None, None) => "nothing".to_owned(),
    };
    format!("round {round}  {scenario:<22} {subject:<14} {said}")
}
