//! `adapter`: lock clients under test.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use redlatch_harness::embedded::Cluster;
use redlatch_harness::live::adapter::check::{self, Mark, Point};
use redlatch_harness::live::adapter::{AdapterCommand, adapters, folder, native};

use super::{Error, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists the adapters that come with the harness, with the versions that they pin
    List(Where),
    /// Installs what adapters need, below target/adapters
    Install {
        /// Which; all, if none is named
        names: Vec<String>,
        #[command(flatten)]
        at: Where,
    },
    /// Tells whether an adapter keeps to the protocol of docs/adapters.md
    Check(Check),
    /// Speaks the protocol with the driver of this project
    Native,
}

#[derive(Debug, clap::Args)]
struct Where {
    /// The folder of the adapters [default: harness/adapters, here or above]
    #[arg(long, value_name = "DIR")]
    adapters: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The name of one that comes with the harness
    #[arg(required_unless_present = "command", conflicts_with = "command")]
    name: Option<String>,
    /// A program and its arguments, after --
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
    /// Servers to try it on, three or more [default: five embedded nodes]
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "URL")]
    servers: Vec<String>,
    /// How long a reply may take, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Only this rule, and those named likewise [default: all]
    #[arg(long = "rule", value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(check::rules().map(|(name, _)| name)))]
    rules: Vec<String>,
    #[command(flatten)]
    at: Where,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    match &args.what {
        What::List(at) => list(at),
        What::Install { names, at } => install(names, at),
        What::Check(check) => tried(check),
        What::Native => {
            runtime()?.block_on(native::native());
            Ok(Verdict::Valid)
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn known(at: &Where) -> Result<Vec<AdapterCommand>, Error> {
    let folder = at.adapters.clone().or_else(folder);
    let folder =
        folder.ok_or("no folder harness/adapters here or above; name one with --adapters")?;
    Ok(adapters(&folder)?)
}

fn named(name: &str, at: &Where) -> Result<AdapterCommand, Error> {
    let known = known(at)?;
    let names = known.iter().map(|it| it.name.clone()).collect::<Vec<_>>().join(", ");
    let found = known.into_iter().find(|it| it.name == name);
    Ok(found.ok_or_else(|| format!("no adapter is called {name}; there are {names}"))?)
}

fn list(at: &Where) -> Result<Verdict, Error> {
    for adapter in known(at)? {
        let versions = adapter.versions.iter().map(|(of, it)| format!("{of} {it}"));
        let versions = versions.collect::<Vec<_>>().join(", ");
        let installed = if adapter.is_installed() { "" } else { "  (not installed)" };
        say!("{:<14}{}  [{versions}]{installed}", adapter.name, adapter.about);
    }
    Ok(Verdict::Valid)
}

fn install(names: &[String], at: &Where) -> Result<Verdict, Error> {
    let chosen = match names {
        [] => known(at)?,
        names => names.iter().map(|name| named(name, at)).collect::<Result<_, _>>()?,
    };
    for adapter in chosen {
        if !adapter.is_installed() {
            eprintln!("installing {}", adapter.name);
            adapter.install()?;
        }
        say!("{} is installed", adapter.name);
    }
    Ok(Verdict::Valid)
}

fn tried(args: &Check) -> Result<Verdict, Error> {
    let command = match &args.name {
        Some(name) => named(name, &args.at)?,
        None => AdapterCommand::new(args.command.clone()),
    };
    if matches!(args.servers.len(), 1 | 2) {
        return Err("three servers or more make a majority that means something".into());
    }
    let cluster = match args.servers.as_slice() {
        [] => Some(Cluster::embedded(5)?),
        _ => None,
    };
    let servers = match &cluster {
        Some(cluster) => cluster.urls(),
        None => args.servers.clone(),
    };
    let on = match cluster {
        Some(_) => "embedded nodes",
        None => "servers",
    };
    say!("adapter check  {}  on {} {on}", command.name, servers.len());
    let patience = Duration::from_secs(args.patience);
    let colour = std::io::stdout().is_terminal();
    let mut worst = Verdict::Valid;
    let mut told = |point: &Point| {
        say!("{}", line(point, colour));
        worst = worst.worse(match point.mark {
            Mark::Ok | Mark::Note | Mark::Skipped => Verdict::Valid,
            Mark::Wrong => Verdict::Violation,
        });
    };
    runtime()?.block_on(check::check(&command, &servers, patience, &args.rules, &mut told))?;
    say!(
        "{}",
        match worst {
            Verdict::Valid => "it keeps to the protocol",
            Verdict::Violation | Verdict::Unknown =>
                "it does not keep to the protocol: docs/adapters.md",
        }
    );
    Ok(worst)
}

fn line(point: &Point, colour: bool) -> String {
    let (word, code) = match point.mark {
        Mark::Ok => ("ok", "32"),
        Mark::Note => ("note", "33"),
        Mark::Skipped => ("-", "2"),
        Mark::Wrong => ("WRONG", "31"),
    };
    let word = format!("{word:<6}");
    let word = if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word };
    match point.told.as_str() {
        "" => format!("{word} {:<10} {}", point.name, point.rule),
        told => format!(
            "{word} {:<10} {}\n       {}",
            point.name,
            point.rule,
            told.replace('\n', "\n       ")
        ),
    }
}
