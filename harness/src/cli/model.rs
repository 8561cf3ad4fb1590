//! `model`: every interleaving, within bounds.

use std::num::NonZeroUsize;

use redlatch_core::Lock;
use redlatch_harness::model::{self, Bounds, Budget};
use redlatch_harness::node::Cell;
use redlatch_harness::report::{Outcome, Suite, Told};

use super::artefacts::{self, Place};
use super::{Error, Verdict, heading, spinner};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The larger models as well; they take minutes and gigabytes
    #[arg(long)]
    nightly: bool,
    /// Only the model of this name, or else those whose name has this in it
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How many threads [default: one per core]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Gives a model up when it has more states than this
    #[arg(long, default_value_t = Budget::default().states_max)]
    states_max: usize,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    let models = if args.nightly { model::nightly() } else { model::every_commit() };
    let is_named = |text: &String| models.iter().any(|bounds| bounds.name() == *text);
    let wanted = |bounds: &&Bounds| match &args.only {
        None => true,
        Some(text) if is_named(text) => bounds.name() == *text,
        Some(text) => bounds.name().contains(text.as_str()),
    };
    let models: Vec<&Bounds> = models.iter().filter(wanted).collect();
    say!("{}", heading(&format!("{} models", models.len())));
    if models.is_empty() {
        say!("no model has such a name; `redlatch-harness model --nightly` lists them all");
        return Ok(Verdict::Unknown);
    }
    say!(
        "{:58}{:>11}{:>13}{:>7}{:>9}{:>15}",
        "model (N nodes, K clients)",
        "states",
        "transitions",
        "depth",
        "seconds",
        "M trans/s/core"
    );
    let budget = Budget { threads: args.jobs, states_max: args.states_max };
    let mut suite = Suite { name: "model".to_owned(), outcomes: Vec::new() };
    let (mut verdict, mut transitions, mut core_seconds) = (Verdict::Valid, 0, 0.0);
    let mut replay = None;
    for bounds in models {
        let spinner = spinner(&bounds.name())?;
        let outcome = model::explore::<Lock, Cell>(bounds, &budget)?;
        spinner.finish_and_clear();
        transitions += outcome.transitions;
        core_seconds += outcome.elapsed.as_secs_f64() * outcome.threads as f64;
        say!("{}", row(&outcome));
        let (found, told) = judge(args, &outcome);
        if let Some(story) = &outcome.violation {
            let command = command(args, &outcome.name);
            tell!("{}", artefacts::indented(&story.to_string()));
            let case = artefacts::of_story(story, bounds.nodes, bounds.clients, &command);
            args.place.write(&format!("model-{}", artefacts::folder(&outcome.name)), &case)?;
            replay.get_or_insert(command);
        } else if let Told::Unknown { why } = &told {
            say!("  {why}");
        }
        verdict = verdict.worse(found);
        suite.outcomes.push(Outcome {
            tier: "model".to_owned(),
            name: outcome.name,
            elapsed: outcome.elapsed,
            told,
            attachments: Vec::new(),
        });
    }
    say!(
        "{transitions} transitions, {:.2} M a second and core",
        transitions as f64 / core_seconds.max(1e-3) / 1e6
    );
    args.place.write_junit(&suite)?;
    if let Some(command) = replay {
        say!("{command}");
    }
    Ok(verdict)
}

fn row(outcome: &model::Outcome) -> String {
    format!(
        "{:58}{:>11}{:>13}{:>7}{:>9.2}{:>15.2}",
        outcome.name,
        outcome.states,
        outcome.transitions,
        outcome.depth,
        outcome.elapsed.as_secs_f64(),
        outcome.rate() as f64 / 1e6
    )
}

/// The command that explores this model again.
fn command(args: &Args, name: &str) -> String {
    let nightly = if args.nightly { " --nightly" } else { "" };
    format!("redlatch-harness model{nightly} --only '{name}'")
}

fn judge(args: &Args, outcome: &model::Outcome) -> (Verdict, Told) {
    if let Some(story) = &outcome.violation {
        let told = Told::Violated {
            invariant: story.invariant.to_string(),
            story: story.end.clone(),
            replay: command(args, &outcome.name),
        };
        return (Verdict::Violation, told);
    }
    let why = match (outcome.complete, outcome.missing.as_slice()) {
        (true, []) => return (Verdict::Valid, Told::Valid),
        (false, _) => format!("given up after {} states; --states-max allows more", outcome.states),
        (true, missing) => format!("never happened, so this proves little: {}", missing.join(", ")),
    };
    (Verdict::Unknown, Told::Unknown { why })
}
