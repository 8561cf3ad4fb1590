//! JUnit XML, as CI systems read it.

use std::path::PathBuf;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Case, Files, explain};

/// A run: some scenarios and how they went.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// What ran.
    pub name: String,
    /// How each scenario went.
    pub outcomes: Vec<Outcome>,
}

/// How one scenario went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What ran it: `sim`, `model`, `mutants`, `demo`.
    pub tier: String,
    /// The scenario.
    pub name: String,
    /// How long it took.
    pub elapsed: Duration,
    /// What came of it.
    pub told: Told,
    /// Files about it.
    pub attachments: Vec<PathBuf>,
}

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing was violated.
    Valid,
    /// Something was violated.
    Violated {
        /// What: `I1 witness`.
        invariant: String,
        /// How, in one line.
        story: String,
        /// The command that shows it again.
        replay: String,
    },
    /// Nothing was violated, but the run proves little.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Outcome {
    /// That of `case`, with its files, if they are written.
    #[must_use]
    pub fn of(case: &Case, files: Option<&Files>) -> Self {
        let told = match &case.violation {
            None => Told::Valid,
            Some(violation) => {
                let sentence = explain::sentence(case, violation);
                let story = match sentence == violation.story {
                    true => sentence,
                    false => format!("{sentence} ({})", violation.story),
                };
                let invariant = violation.invariant.to_string();
                Told::Violated { invariant, story, replay: case.replay.clone() }
            }
        };
        Self {
            tier: case.tier.clone(),
            name: case.title.clone(),
            elapsed: case.elapsed,
            told,
            attachments: files
                .map(|files| files.attached().map(Into::into).collect())
                .unwrap_or_default(),
        }
    }

    fn to_test_case(&self) -> TestCase {
        let status = match &self.told {
            Told::Valid => TestCaseStatus::success(),
            Told::Violated { invariant, story, replay } => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status
                    .set_type(invariant.as_str())
                    .set_message(format!("{invariant}: {}", one_line(story)))
                    .set_description(format!("{invariant}\n{}\n{replay}\n", one_line(story)));
                status
            }
            Told::Unknown { why } => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_type("unknown").set_message(one_line(why));
                status
            }
        };
        let mut case = TestCase::new(self.name.as_str(), status);
        case.set_classname(format!("redlatch.{}", self.tier)).set_time(self.elapsed);
        if !self.attachments.is_empty() {
            let line = |path: &PathBuf| format!("[[ATTACHMENT|{}]]\n", path.display());
            case.set_system_out(self.attachments.iter().map(line).collect::<String>());
        }
        case
    }
}

pub(super) fn to_xml(suite: &Suite) -> String {
    let mut tests = TestSuite::new(suite.name.as_str());
    tests.set_time(suite.outcomes.iter().map(|outcome| outcome.elapsed).sum());
    for outcome in &suite.outcomes {
        tests.add_test_case(outcome.to_test_case());
    }
    let mut report = Report::new("redlatch-harness");
    report.set_time(suite.outcomes.iter().map(|outcome| outcome.elapsed).sum());
    report.add_test_suite(tests);
    // Writing to memory does not fail.
    report.to_string().unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
