//! What is in the folder, and the report for CI.

use std::fs;
use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCaseStatus};
use redlatch_harness::plan::Plan;
use redlatch_harness::report::{Case, Outcome, Suite, Told, junit, write};

use crate::folder;
use crate::stories::{everything, unbacked};

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parsed(xml: &str) -> Report {
    Report::deserialize_from_str(xml).unwrap_or_else(|error| panic!("{error}:\n{xml}"))
}

#[test]
fn a_case_leaves_six_files_in_its_folder() {
    let case = unbacked();
    let files = write(folder("six_files").join("made"), &case).unwrap();
    assert_eq!(read(&files.replay), "redlatch-harness replay target/redlatch/unbacked\n");
    let plan = files.plan.as_deref().expect("there is a plan");
    assert_eq!(Plan::from_json(&read(plan)).unwrap().seed, 0x2a);
    assert_eq!(read(&files.history), case.history.to_json_lines());
    assert_eq!(parsed(&read(&files.junit)).tests, 1);
    assert!(read(&files.svg).starts_with("<svg xmlns="));
    assert!(read(&files.html).starts_with("<!doctype html>"));
    let mut names: Vec<String> = fs::read_dir(&files.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected =
        ["history.jsonl", "junit.xml", "plan.json", "replay.txt", "timeline.html", "timeline.svg"];
    assert_eq!(names, expected);
}

#[test]
fn a_case_without_a_plan_leaves_none() {
    let files = write(folder("no_plan"), &everything()).unwrap();
    assert_eq!(files.plan, None);
    assert!(!files.folder.join("plan.json").exists());
}

#[test]
fn the_same_case_leaves_the_same_bytes() {
    let files = write(folder("same_bytes"), &unbacked()).unwrap();
    let bytes = || [&files.svg, &files.html, &files.junit].map(|path| read(path));
    let before = bytes();
    write(&files.folder, &unbacked()).unwrap();
    assert_eq!(before, bytes());
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let file = folder("no_folder").join("file");
    fs::write(&file, "").unwrap();
    write(&file, &unbacked()).expect_err("a file is in the way");
}

#[test]
fn a_violation_is_a_failure_that_says_what_and_how_to_see_it_again() {
    let files = write(folder("failure"), &unbacked()).unwrap();
    let report = parsed(&read(&files.junit));
    let case = &report.test_suites[0].test_cases[0];
    assert_eq!(case.classname.as_ref().unwrap().as_str(), "redlatch.sim");
    assert_eq!(case.name.as_str(), "a release that deletes anybody's key");
    let TestCaseStatus::NonSuccess { kind, message, ty, description, .. } = &case.status else {
        panic!("{:?}", case.status)
    };
    assert_eq!(*kind, NonSuccessKind::Failure);
    assert_eq!(ty.as_ref().unwrap().as_str(), "I1 witness");
    let message = message.as_ref().unwrap().as_str();
    assert!(message.starts_with("I1 witness: c1 believes it holds the lock until 412 ms, but"));
    let description = description.as_ref().unwrap().as_str();
    assert!(description.contains("redlatch-harness replay target/redlatch/unbacked"));
    let out = case.system_out.as_ref().unwrap().as_str();
    for path in [&files.html, &files.svg, &files.history, &files.replay] {
        assert!(out.contains(&format!("[[ATTACHMENT|{}]]", path.display())), "{out}");
    }
}

#[test]
fn a_run_is_one_suite_with_a_case_for_each_scenario() {
    let outcome = |name: &str, told| Outcome {
        tier: "mutants".to_owned(),
        name: name.to_owned(),
        elapsed: Duration::from_millis(1_500),
        told,
        attachments: Vec::new(),
    };
    let why = "an extension was never hit in mid-flight".to_owned();
    let outcomes = vec![
        outcome("M1", Told::Valid),
        outcome("M2", Told::Unknown { why }),
        Outcome::of(&unbacked(), None),
    ];
    let report = parsed(&junit(&Suite { name: "nightly".to_owned(), outcomes }));
    let suite = &report.test_suites[0];
    assert_eq!(suite.name.as_str(), "nightly");
    assert_eq!((suite.tests, suite.failures, suite.errors), (3, 1, 1));
    assert_eq!(suite.time, Some(Duration::from_secs(3)));
    assert_eq!(suite.test_cases[2].system_out, None);
}

#[test]
fn whatever_a_case_says_the_report_for_ci_is_xml() {
    let nasty = "]]> <b attr=\"'\"> & \u{1b}[31m \u{0} \u{fffe} é\nnext";
    let mut case = Case { title: nasty.to_owned(), replay: nasty.to_owned(), ..unbacked() };
    case.tier = nasty.to_owned();
    if let Some(violation) = &mut case.violation {
        violation.story = nasty.to_owned();
        violation.client = None;
    }
    let report =
        parsed(&junit(&Suite { name: nasty.to_owned(), outcomes: vec![Outcome::of(&case, None)] }));
    let TestCaseStatus::NonSuccess { message, .. } = &report.test_suites[0].test_cases[0].status
    else {
        panic!("it is a failure")
    };
    let message = message.as_ref().unwrap().as_str();
    assert!(message.contains("<b attr=\"'\"> &"), "{message}");
    assert!(!message.contains('\n'), "{message}");
}
