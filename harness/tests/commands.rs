//! The commands that doubt: what they print, what they leave behind, and how they exit.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_redlatch-harness"))
        .args(arguments.split_whitespace())
        .args(["--out".as_ref(), folder.as_os_str()])
        .output()
        .expect("the command runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

const ARTEFACTS: [&str; 5] =
    ["replay.txt", "history.jsonl", "junit.xml", "timeline.svg", "timeline.html"];

fn assert_artefacts(folder: &Path) {
    for name in ARTEFACTS {
        let length = fs::metadata(folder.join(name)).map_or(0, |file| file.len());
        assert!(length > 0, "{name} is missing in {}", folder.display());
        assert!(name != "timeline.html" || length < 300_000, "the page has {length} bytes");
    }
}

#[test]
fn few_seeds_prove_little_and_exit_with_2() {
    let folder = folder();
    let output = run(folder.path(), "sim --seeds 20");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}{}", error(&output));
    assert!(text.starts_with("seeds 0x0 to 0x13, 1 to 7 nodes, 1 to 5 clients"), "{text}");
    for profile in ["synchronous", "lossy", "asynchronous"] {
        assert!(text.contains(profile), "{text}");
    }
    assert!(text.contains("never happened, so this proves little"), "{text}");
}

#[test]
fn the_same_seeds_give_the_same_hash_on_another_number_of_jobs() {
    let folder = folder();
    let hash = |jobs: &str| {
        let output = run(folder.path(), &format!("sim --seeds 300 --profile lossy --jobs {jobs}"));
        let text = text(&output);
        let row = text.lines().find(|line| line.starts_with("lossy")).map(str::to_owned);
        row.and_then(|row| row.split_whitespace().last().map(str::to_owned)).expect("a row")
    };
    assert_eq!(hash("1"), hash("3"));
}

#[test]
fn a_seed_is_replayed_with_its_timeline_and_so_is_its_folder() {
    let folder = folder();
    let first = run(folder.path(), "replay --seed 0x11 --profile asynchronous --nodes 5");
    assert_eq!(first.status.code(), Some(0), "{}{}", text(&first), error(&first));
    assert!(text(&first).contains("everything holds"));
    let left = folder.path().join("replay-asynchronous-0x11");
    assert_artefacts(&left);
    assert!(left.join("plan.json").exists());
    let second = run(folder.path(), &format!("replay {}", left.display()));
    assert_eq!(second.status.code(), Some(0), "{}{}", text(&second), error(&second));
    let history = |output| {
        let text = text(output);
        text.lines().find(|line| line.contains("history")).map(str::to_owned).expect("a hash")
    };
    assert_eq!(history(&first), history(&second));
}

#[test]
fn a_planted_bug_leaves_its_story_and_its_folder_can_be_replayed() {
    let folder = folder();
    let junit = folder.path().join("reports/mutants.xml");
    let arguments = format!("mutants M06 X8 --stories --junit {}", junit.display());
    let output = run(folder.path(), &arguments);
    let text_of_all = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text_of_all}{}", error(&output));
    assert!(text_of_all.contains("2 of 2 killed"), "{text_of_all}");
    assert!(text_of_all.contains("I1 witness") && text_of_all.contains("no other sees it there"));
    for bug in ["M06", "X8"] {
        assert_artefacts(&folder.path().join(format!("mutants-{bug}")));
    }
    let junit = fs::read_to_string(junit).expect("a report");
    assert!(junit.contains("M06 release does not compare"), "{junit}");
    let again = Command::new(env!("CARGO_BIN_EXE_redlatch-harness"))
        .arg("replay")
        .arg(folder.path().join("mutants-M06"))
        .current_dir(folder.path())
        .output()
        .expect("the command runs");
    assert_eq!(again.status.code(), Some(0), "{}{}", text(&again), error(&again));
    assert!(text(&again).contains("redlatch-harness mutants M06"), "{}", text(&again));
}

#[test]
fn a_model_is_explored_by_its_name() {
    let folder = folder();
    let output = run(folder.path(), "model --only nonsense");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("no model has such a name"), "{text}");
    let output = run(folder.path(), "model --only K1");
    assert_eq!(output.status.code(), Some(0), "{}{}", self::text(&output), error(&output));
    let given_up = run(folder.path(), "model --only K1 --states-max 5");
    assert_eq!(given_up.status.code(), Some(2));
    assert!(self::text(&given_up).contains("given up after"), "{}", self::text(&given_up));
}

#[test]
fn wrong_arguments_say_what_is_right() {
    let folder = folder();
    let cases = [
        ("mutants M99", "there is no bug \"M99\"; there are M01"),
        ("sim --first x", "\"x\" is no seed; 17 and 0x11 are"),
        ("sim --profile calm", "there is no profile \"calm\""),
        ("replay /no/such/folder", "has neither plan.json nor replay.txt"),
        ("replay", "<FOLDER|--seed"),
    ];
    for (arguments, wanted) in cases {
        let output = run(folder.path(), arguments);
        let error = error(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {error}");
        let is_right =
            error.contains(wanted) || arguments == "replay" && error.contains("required");
        assert!(is_right, "{arguments}: {error}");
    }
}
