//! Where artefacts go.

use std::fs;
use std::path::PathBuf;

use redlatch_harness::check::Violation;
use redlatch_harness::model::{STEP, Story};
use redlatch_harness::report::{self, Axis, Case, Files, Shape, Suite};

use super::{Error, commit};

/// Where artefacts go.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// A folder for the artefacts of failures, one folder each
    #[arg(long, value_name = "FOLDER", default_value = "target/redlatch-harness")]
    out: PathBuf,
    /// Writes a JUnit report of the whole run there
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl Place {
    /// The folder of the case `name`.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// Writes the artefacts of `case` into the folder `name`, and says where they are.
    pub(crate) fn write(&self, name: &str, case: &Case) -> Result<Files, Error> {
        let case = Case { commit: case.commit.clone().or_else(commit), ..case.clone() };
        let folder = self.folder(name);
        let files = report::write(&folder, &case)
            .map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
        say!("timeline: {}", files.html.display());
        Ok(files)
    }

    /// Writes the report of the whole run, if one is asked for.
    pub(crate) fn write_junit(&self, suite: &Suite) -> Result<(), Error> {
        let Some(path) = &self.junit else { return Ok(()) };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, report::junit(suite))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(())
    }
}

/// Each line two blanks further to the right.
pub(crate) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A name as a part of a path.
pub(crate) fn folder(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

/// The case of a story of the model.
pub(crate) fn of_story(story: &Story, nodes: usize, clients: usize, replay: &str) -> Case {
    let time = story.steps.len() as u64 * STEP;
    let violation =
        Violation { invariant: story.invariant, time, client: None, story: story.end.clone() };
    Case {
        tier: "model".to_owned(),
        title: story.invariant.to_string(),
        replay: replay.to_owned(),
        shape: Shape {
            nodes,
            clients,
            resources: 1,
            majority: nodes / 2 + 1,
            guarded: true,
            faults: Vec::new(),
        },
        history: story.history.clone(),
        axis: Axis::Steps,
        violation: Some(violation),
        story: story.steps.clone(),
        ..Case::default()
    }
}
