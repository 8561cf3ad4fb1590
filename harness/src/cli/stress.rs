//! `stress`: hundreds of clients of this project's driver for minutes, while faults go on.

use std::time::{Duration, Instant};

use redlatch_harness::live::stress::{Outcome, Plant, Stress, clients, stress};
use redlatch_harness::plan::parse_seed;

use super::{Error, Verdict, heading, progress};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// For how long, such as 1m
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    lasts: Duration,
    /// How many clients
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..=1000))]
    clients: u16,
    /// How many resources they contend for
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    resources: u16,
    /// How many nodes, each a redis-server process of this machine
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// What workloads and faults are drawn from, such as 17 or 0x11 [default: another one each time]
    #[arg(long, value_parser = parse_seed)]
    seed: Option<u64>,
    /// Something that is wrong on purpose, which has to be found: exclusion, memory, task, client, key
    #[arg(long, hide = true, value_parser = plant)]
    plant: Option<Plant>,
    /// The process of the clients, which the command starts for itself
    #[arg(long, hide = true)]
    as_clients: bool,
}

fn plant(name: &str) -> Result<Plant, String> {
    Plant::ALL
        .into_iter()
        .find(|plant| plant.name() == name)
        .ok_or_else(|| "nobody has planted that".to_owned())
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    if args.as_clients {
        clients::run()?;
        return Ok(Verdict::Valid);
    }
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let Args { lasts, clients, resources, nodes, plant, .. } = *args;
    let time = humantime::format_duration(lasts);
    say!(
        "{}  {clients} clients, {resources} resources, {nodes} nodes, {time} of faults",
        heading(&format!("seed {seed:#x}"))
    );
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let command = vec![program, "stress".to_owned(), "--as-clients".to_owned()];
    let all = Stress { clients, resources, nodes, lasts, seed, command, plant };
    let began = Instant::now();
    let bar = progress(lasts.as_secs(), "s")?;
    let outcome = stress(&all, |counts| {
        bar.set_position(began.elapsed().as_secs());
        bar.set_message(format!("{} locks granted", counts.grants));
    })?;
    bar.finish_and_clear();
    Ok(told(&outcome, began.elapsed()))
}

fn told(outcome: &Outcome, elapsed: Duration) -> Verdict {
    let counts = outcome.counts;
    say!(
        "{:.1} s  {} acquires: {} granted, {} contended, {} without a majority, {} dropped; {} extensions, {} losses, {} handed over, {} clients \
         replaced",
        elapsed.as_secs_f64(),
        counts.acquires,
        counts.grants,
        counts.contended,
        counts.unavailable,
        counts.dropped,
        counts.extensions,
        counts.losses,
        counts.handovers,
        counts.replaced
    );
    say!(
        "        {} writes, {} late ones refused; {} looks at whether nodes keep what is relied on",
        counts.writes,
        counts.refused_writes,
        counts.looks
    );
    let faults: Vec<String> =
        outcome.struck.iter().map(|(kind, times)| format!("{times} × {kind}")).collect();
    say!("faults  {}", faults.join(", "));
    say!("memory  {}", outcome.memory);
    for finding in &outcome.findings {
        say!("BROKEN  {}: {}", finding.what, finding.story);
    }
    if let (false, Some(why)) = (outcome.found > 0, outcome.unknown()) {
        say!("unknown {why}");
        return Verdict::Unknown;
    }
    match outcome.found {
        0 => {
            say!("held    nothing was violated, and nothing is left");
            Verdict::Valid
        }
        found => {
            say!("        {found} findings");
            Verdict::Violation
        }
    }
}
