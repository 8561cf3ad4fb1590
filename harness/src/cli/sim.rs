//! `sim`: many seeds of the simulator.

use std::time::Duration;

use redlatch_harness::check::Invariants;
use redlatch_harness::plan::{Plan, Profile, Sizes, parse_seed};
use redlatch_harness::report::{Case, Outcome, Suite, Told};
use redlatch_harness::sim::{Campaign, Failure, Report, Shipped, Verdict as Found, check};

use super::artefacts::{self, Place};
use super::{Error, Verdict, heading, progress};

/// The lock that is doubted, on nodes as they should be.
pub(crate) const SHIPPED: Shipped = Shipped::new();

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds of each profile
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// The first of them, such as 17 or 0x11
    #[arg(long, default_value = "0", value_parser = parse_seed)]
    first: u64,
    /// Stops after this many seconds of each profile; how many seeds that is depends on the machine
    #[arg(long)]
    seconds: Option<u64>,
    /// What may be broken: synchronous, lossy or asynchronous; may be given several times [default: each]
    #[arg(long)]
    profile: Vec<Profile>,
    #[command(flatten)]
    sizes: SizesArg,
    /// How many threads [default: one per core]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    #[command(flatten)]
    place: Place,
}

/// How many of everything, where it is not drawn.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct SizesArg {
    /// How many nodes, 1 to 7 [default: drawn]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=7))]
    nodes: Option<u8>,
    /// How many clients, 1 to 5 [default: drawn]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5))]
    clients: Option<u8>,
}

impl SizesArg {
    pub(crate) fn sizes(self) -> Result<Sizes, Error> {
        Ok(Sizes::new(self.nodes, self.clients)?)
    }

    /// As it is written on a command line.
    pub(crate) fn words(self) -> String {
        let word = |name: &str, number: Option<u8>| match number {
            Some(number) => format!(" --{name} {number}"),
            None => String::new(),
        };
        word("nodes", self.nodes) + &word("clients", self.clients)
    }

    fn shape(self) -> String {
        let of = |number: Option<u8>, max| match number {
            Some(number) => number.to_string(),
            None => format!("1 to {max}"),
        };
        format!("{} nodes, {} clients", of(self.nodes, 7), of(self.clients, 5))
    }
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    let profiles = if args.profile.is_empty() { &Profile::ALL[..] } else { &args.profile[..] };
    let last = args.first.saturating_add(args.seeds.saturating_sub(1));
    let what = format!("seeds {:#x} to {last:#x}, {}", args.first, args.sizes.shape());
    say!("{}", heading(&what));
    say!(
        "{:13}{:>9}{:>13}{:>14}{:>11}{:>12}  hash",
        "profile",
        "seeds",
        "events",
        "M events/s",
        "grants",
        "x real time"
    );
    let mut suite = Suite { name: "sim".to_owned(), outcomes: Vec::new() };
    let mut verdict = Verdict::Valid;
    let mut replay = None;
    for &profile in profiles {
        let report = campaign(args, profile)?;
        say!("{}", row(&report));
        let (found, told) = match report.verdict() {
            Found::Valid => (Verdict::Valid, Told::Valid),
            Found::Unknown(missing) => {
                let names: Vec<&str> = missing.iter().map(|mark| mark.name()).collect();
                let why = format!("never happened, so this proves little: {}", names.join(", "));
                say!("  {why}");
                (Verdict::Unknown, Told::Unknown { why })
            }
            Found::Violated => {
                let (told, command) = explain(args, &report)?;
                replay.get_or_insert(command);
                (Verdict::Violation, told)
            }
        };
        verdict = verdict.worse(found);
        suite.outcomes.push(Outcome {
            tier: "sim".to_owned(),
            name: profile.to_string(),
            elapsed: report.elapsed,
            told,
            attachments: Vec::new(),
        });
    }
    args.place.write_junit(&suite)?;
    if let Some(command) = replay {
        say!("{command}");
    }
    Ok(verdict)
}

fn campaign(args: &Args, profile: Profile) -> Result<Report, Error> {
    let campaign = Campaign {
        first: args.first,
        jobs: args.jobs,
        sizes: args.sizes.sizes()?,
        time_max: args.seconds.map(Duration::from_secs),
        ..Campaign::new(profile, args.seeds)
    };
    let bar = progress(args.seeds, "seeds")?;
    let report = campaign.run(&SHIPPED, |seeds| bar.inc(seeds));
    bar.finish_and_clear();
    Ok(report)
}

fn row(report: &Report) -> String {
    let seconds = report.elapsed.as_secs_f64();
    format!(
        "{:13}{:>9}{:>13}{:>14.2}{:>11}{:>12.0}  {:016x}",
        report.profile.name(),
        report.runs,
        report.events,
        report.events as f64 / seconds / 1e6,
        report.grants,
        report.simulated as f64 / 1e9 / seconds,
        report.hash
    )
}

/// Tells of the first seed that failed, and writes its artefacts; with the command that replays it.
fn explain(args: &Args, report: &Report) -> Result<(Told, String), Error> {
    let profile = report.profile;
    let (seed, violation) = report.failures.first().ok_or("no seed failed")?;
    let plan = Plan::draw_sized(*seed, profile, args.sizes.sizes()?);
    let replay = format!(
        "redlatch-harness replay --seed {seed:#x} --profile {profile}{}",
        args.sizes.words()
    );
    let Err(Failure::Violated(found)) = check(&plan, &SHIPPED) else {
        return Err(format!("seed {seed:#x} fails only sometimes: the simulator is broken").into());
    };
    say!("  seed {seed:#x}: {violation}");
    let shrunk = found.shrunk(&SHIPPED, Invariants::ALL);
    say!("  as simple as possible: {}", shrunk.violation);
    tell!("{}", artefacts::indented(&shrunk.plan.to_string()));
    let name = format!("sim-{profile}-{seed:#x}");
    let shrunk_replay = format!("redlatch-harness replay {}", args.place.folder(&name).display());
    args.place.write(&name, &Case::of(&shrunk, "sim", &shrunk_replay))?;
    let told = Told::Violated {
        invariant: violation.invariant.to_string(),
        story: shrunk.violation.to_string(),
        replay: replay.clone(),
    };
    Ok((told, replay))
}
