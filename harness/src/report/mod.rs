//! The artefacts of a run: what is left of a failure for people, for CI, and for a replay.
//!
//! The same at every tier. A [`Case`] says what was run, how to run it again, what happened and what is
//! wrong; [`write()`] puts it into one folder:
//!
//! | file | what is in it |
//! | --- | --- |
//! | `replay.txt` | the one command that shows it again |
//! | `plan.json` | the plan, if there was one |
//! | `history.jsonl` | everything that happened, one JSON object a line |
//! | `junit.xml` | the failure as CI systems read it, with the other files attached |
//! | `timeline.svg` | the picture, still |
//! | `timeline.html` | the picture, to zoom into, with every step in words; nothing is loaded from elsewhere |
//!
//! ```
//! use redlatch_harness::check::Invariants;
//! use redlatch_harness::plan::{Plan, Profile};
//! use redlatch_harness::report::{self, Case};
//! use redlatch_harness::sim::{Shipped, replay};
//!
//! let plan = Plan::calm(7, Profile::Synchronous);
//! let (_, history) = replay(&plan, &<Shipped>::new(), Invariants::ALL)?;
//! let case = Case::of_run(&plan, &history, "sim", "redlatch-harness replay --seed 7");
//! assert!(report::timeline_html(&case).contains("Nothing is violated."));
//! # Ok::<(), redlatch_harness::plan::PlanError>(())
//! ```
//!
//! Of what a check finds, [`Case::of`] makes a case. The page stays below [`PAGE_BYTES_MAX`] bytes however long the history is: it then shows the time
//! before the violation, and says so.

mod case;
mod explain;
mod junit;
mod page;
mod palette;
mod picture;
mod scene;
mod steps;
mod window;
mod words;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

pub use case::{Axis, Case, Effect, Fault, STEP, Shape};
pub use junit::{Outcome, Suite, Told};
pub use page::PAGE_BYTES_MAX;

/// Where the artefacts of a case are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The folder.
    pub folder: PathBuf,
    /// `replay.txt`.
    pub replay: PathBuf,
    /// `plan.json`, if the case has a plan.
    pub plan: Option<PathBuf>,
    /// `history.jsonl`.
    pub history: PathBuf,
    /// `junit.xml`.
    pub junit: PathBuf,
    /// `timeline.svg`.
    pub svg: PathBuf,
    /// `timeline.html`.
    pub html: PathBuf,
}

impl Files {
    /// Those in `folder`, written or not.
    fn of(folder: &Path, case: &Case) -> Self {
        Self {
            folder: folder.to_owned(),
            replay: folder.join("replay.txt"),
            plan: case.plan.as_ref().map(|_| folder.join("plan.json")),
            history: folder.join("history.jsonl"),
            junit: folder.join("junit.xml"),
            svg: folder.join("timeline.svg"),
            html: folder.join("timeline.html"),
        }
    }

    /// What to attach to a report, the most telling first.
    fn attached(&self) -> impl Iterator<Item = &Path> {
        let plan = self.plan.as_deref();
        [&self.html, &self.svg, &self.history, &self.replay]
            .into_iter()
            .map(PathBuf::as_path)
            .chain(plan)
    }
}

/// Writes all artefacts of `case` into `folder`, which is made if it does not exist.
///
/// # Errors
/// Those of the file system.
pub fn write(folder: impl AsRef<Path>, case: &Case) -> io::Result<Files> {
    let files = Files::of(folder.as_ref(), case);
    fs::create_dir_all(&files.folder)?;
    fs::write(&files.replay, format!("{}\n", case.replay.trim_end()))?;
    if let (Some(path), Some(plan)) = (&files.plan, &case.plan) {
        fs::write(path, format!("{}\n", plan.trim_end()))?;
    }
    let mut history = BufWriter::new(File::create(&files.history)?);
    case.history.write_json_lines(&mut history)?;
    history.flush()?;
    let suite = Suite { name: case.tier.clone(), outcomes: vec![Outcome::of(case, Some(&files))] };
    fs::write(&files.junit, junit(&suite))?;
    fs::write(&files.svg, timeline_svg(case))?;
    fs::write(&files.html, timeline_html(case))?;
    Ok(files)
}

/// A whole run as JUnit XML: one case per scenario.
#[must_use]
pub fn junit(suite: &Suite) -> String {
    junit::to_xml(suite)
}

/// The picture as one SVG file that stands alone.
#[must_use]
pub fn timeline_svg(case: &Case) -> String {
    page::svg(case)
}

/// The picture as one HTML page that stands alone, smaller than [`PAGE_BYTES_MAX`].
#[must_use]
pub fn timeline_html(case: &Case) -> String {
    page::html(case)
}
