//! `mutants`: planted bugs, each of which has to be found.

use std::time::Instant;

use redlatch_harness::model::Budget;
use redlatch_harness::mutants::{
    Evidence, Kill, MUTANTS, Mutant, Report, Row, Verdict as Found, run_one,
};
use redlatch_harness::report::{Case, Outcome, Suite, Told};

use super::artefacts::{self, Place};
use super::{Error, Verdict, heading, spinner};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which bugs, by their ids, such as M05 [default: all]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Writes the artefacts of every kill: the story of each bug, with its timeline
    #[arg(long)]
    stories: bool,
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    let known = |id: &&String| MUTANTS.iter().any(|mutant| mutant.id.eq_ignore_ascii_case(id));
    if let Some(id) = args.ids.iter().find(|id| !known(id)) {
        let ids: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.id).collect();
        return Err(format!("there is no bug {id:?}; there are {}", ids.join(", ")).into());
    }
    let is_wanted = |mutant: &&Mutant| {
        args.ids.is_empty() || args.ids.iter().any(|id| id.eq_ignore_ascii_case(mutant.id))
    };
    let wanted: Vec<&Mutant> = MUTANTS.iter().filter(is_wanted).collect();
    say!("{}", heading(&format!("{} planted bugs", wanted.len())));
    let mut report = Report { rows: Vec::new() };
    let mut suite = Suite { name: "mutants".to_owned(), outcomes: Vec::new() };
    for mutant in wanted {
        let began = Instant::now();
        let spinner = spinner(&format!("{} {}", mutant.id, mutant.wrong))?;
        let row = run_one(mutant.id, Budget::default()).ok_or("a bug has vanished")?;
        spinner.finish_and_clear();
        say!("{row}");
        if args.stories
            && let Found::Killed(kill) = &row.verdict
        {
            let name = format!("mutants-{}", mutant.id);
            args.place.write(&name, &case(mutant, kill))?;
        }
        suite.outcomes.push(Outcome {
            tier: "mutants".to_owned(),
            name: format!("{} {}", mutant.id, mutant.wrong),
            elapsed: began.elapsed(),
            told: told(&row),
            attachments: Vec::new(),
        });
        report.rows.push(row);
    }
    say!("{report}");
    args.place.write_junit(&suite)?;
    let Some(first) = report.unexpected().next() else { return Ok(Verdict::Valid) };
    say!("{}", command(first.mutant));
    Ok(Verdict::Violation)
}

/// The command that puts this bug to the test again.
fn command(mutant: &Mutant) -> String {
    format!("redlatch-harness mutants {} --stories", mutant.id)
}

fn told(row: &Row) -> Told {
    if row.is_as_expected() {
        return Told::Valid;
    }
    Told::Violated {
        invariant: row.mutant.killer.to_string(),
        story: row.to_string(),
        replay: command(row.mutant),
    }
}

fn case(mutant: &Mutant, kill: &Kill) -> Case {
    let replay = command(mutant);
    let case = match &kill.evidence {
        Evidence::Story(story) => {
            let (nodes, clients) = match mutant.place {
                redlatch_harness::mutants::Place::Model(bounds) => {
                    let bounds = bounds();
                    (bounds.nodes, bounds.clients)
                }
                redlatch_harness::mutants::Place::Simulator(..)
                | redlatch_harness::mutants::Place::Duel => (0, 0),
            };
            artefacts::of_story(story, nodes, clients, &replay)
        }
        Evidence::Counterexample(found) => Case::of(found, "mutants", &replay),
        Evidence::Nothing => Case { replay, story: vec![kill.sentence.clone()], ..Case::default() },
    };
    Case {
        tier: "mutants".to_owned(),
        title: format!("planted bug {}: {}", mutant.id, mutant.wrong),
        elapsed: kill.elapsed,
        ..case
    }
}
