//! `replay`: one plan of the simulator again, with everything that happens.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use redlatch_harness::check::Invariants;
use redlatch_harness::plan::{Plan, Profile, parse_seed};
use redlatch_harness::report::Case;
use redlatch_harness::sim::{Counterexample, replay};

use super::artefacts::Place;
use super::sim::{SHIPPED, SizesArg};
use super::{Cli, Command, Error, Verdict, execute, heading, live};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with the artefacts of a failure
    #[arg(required_unless_present = "seed", conflicts_with_all = ["seed", "nodes", "clients"])]
    folder: Option<PathBuf>,
    /// Which seed, such as 17 or 0x11
    #[arg(long, value_parser = parse_seed)]
    seed: Option<u64>,
    /// The profile that the seed was drawn for
    #[arg(long, default_value_t = Profile::Synchronous, requires = "seed")]
    profile: Profile,
    #[command(flatten)]
    sizes: SizesArg,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    match (&args.folder, args.seed) {
        (Some(folder), _) => {
            let plan = folder.join("plan.json");
            if is_live(folder) {
                run_live(folder, &plan)
            } else if plan.exists() && !is_of_a_bug(folder) {
                run_file(args, folder, &plan)
            } else {
                run_command(folder)
            }
        }
        (None, Some(seed)) => {
            let plan = Plan::draw_sized(seed, args.profile, args.sizes.sizes()?);
            let words = args.sizes.words();
            let command = format!(
                "redlatch-harness replay --seed {seed:#x} --profile {}{words}",
                args.profile
            );
            run_plan(args, &plan, &command)
        }
        (None, None) => Err("name a folder, or a seed".into()),
    }
}

/// The plan of a run on real servers is not the simulator's.
fn is_live(folder: &Path) -> bool {
    fs::read_to_string(folder.join("replay.txt")).is_ok_and(|command| command.contains(" live "))
}

/// The same client and nodes, with the plan as it lies there: it may have been changed by hand.
fn run_live(folder: &Path, plan: &Path) -> Result<Verdict, Error> {
    match command(folder)?.command {
        Command::Live(args) => live::run(&args.of_plan(plan)),
        Command::Sim(_)
        | Command::Model(_)
        | Command::Mutants(_)
        | Command::Replay(_)
        | Command::Demo(_)
        | Command::Serve(_)
        | Command::Fidelity(_)
        | Command::Scorecard(_)
        | Command::Stress(_)
        | Command::Adapter(_) => run_command(folder),
    }
}

/// A planted bug has a plan, but it is not the shipped lock that fails with it.
fn is_of_a_bug(folder: &Path) -> bool {
    fs::read_to_string(folder.join("replay.txt")).is_ok_and(|command| command.contains(" mutants "))
}

fn run_file(args: &Args, folder: &Path, path: &Path) -> Result<Verdict, Error> {
    let json = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let plan = Plan::from_json(&json).map_err(|error| format!("{}: {error}", path.display()))?;
    run_plan(args, &plan, &format!("redlatch-harness replay {}", folder.display()))
}

/// What has no plan has a command.
fn run_command(folder: &Path) -> Result<Verdict, Error> {
    execute(command(folder)?)
}

/// The command that shows it again.
fn command(folder: &Path) -> Result<Cli, Error> {
    let path = folder.join("replay.txt");
    let command = fs::read_to_string(&path).map_err(|error| {
        format!("{} has neither plan.json nor replay.txt ({error})", folder.display())
    })?;
    say!("{}", command.trim());
    Ok(Cli::try_parse_from(words(&command))
        .map_err(|error| format!("{} is no command of this program: {error}", path.display()))?)
}

/// The words of a command, some of which may be in single quotes.
fn words(command: &str) -> Vec<String> {
    let parts = command.trim().split('\'').enumerate();
    let mut words = Vec::new();
    for (index, part) in parts {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn run_plan(args: &Args, plan: &Plan, command: &str) -> Result<Verdict, Error> {
    say!("{}", heading(&format!("seed {:#x}", plan.seed)));
    tell!("{plan}");
    let (outcome, history) = replay(plan, &SHIPPED, Invariants::ALL)?;
    say!(
        "{} events, {} locks granted, history {:016x}",
        outcome.events,
        outcome.grants,
        outcome.hash
    );
    let name = format!("replay-{}-{:#x}", plan.profile, plan.seed);
    let Some(violation) = outcome.violation else {
        args.place.write(&name, &Case::of_run(plan, &history, "sim", command))?;
        say!("everything holds");
        return Ok(Verdict::Valid);
    };
    say!("{violation}");
    let found = Counterexample { plan: plan.clone(), violation, history };
    args.place.write(&name, &Case::of(&found, "sim", command))?;
    say!("{command}");
    Ok(Verdict::Violation)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_command_is_taken_apart_as_a_shell_would() {
        let command = "redlatch-harness model --only 'N3 K2, validity 2'\n";
        assert_eq!(words(command), ["redlatch-harness", "model", "--only", "N3 K2, validity 2"]);
    }
}
