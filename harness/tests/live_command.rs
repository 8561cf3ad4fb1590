//! `redlatch-harness live`, as users run it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use redlatch_harness::embedded::Cluster;
use redlatch_harness::live::scenario::SCENARIOS;
use tempfile::TempDir;

/// A lock client that asks nobody and grants everything.
const LIAR: &str = r#"
while read -r line; do
    id=${line#*\"id\":}; id=${id%%[,\}]*}
    case $line in
    *'"op":"init"'*) echo "{\"id\":$id,\"ok\":true,\"name\":\"liar 1\",\"caps\":[]}" ;;
    *'"op":"acquire"'*) n=$((n + 1)); echo "{\"id\":$id,\"ok\":true,\"handle\":\"h$n\",\"valid_ms\":400}" ;;
    *) echo "{\"id\":$id,\"ok\":true}" ;;
    esac
done
"#;

fn harness(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redlatch-harness"));
    command.current_dir(folder).args(args).output().expect("the command of this package")
}

fn text(output: &Output) -> String {
    let (out, errors) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(errors))
}

#[track_caller]
fn assert_status(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "{}", text(output));
}

#[test]
fn the_list_names_every_scenario() {
    let folder = TempDir::new().expect("a folder");
    let output = harness(folder.path(), &["live", "--list"]);
    assert_status(&output, 0);
    for scenario in SCENARIOS {
        assert!(text(&output).contains(scenario.name), "{}", scenario.name);
    }
}

#[test]
fn a_client_that_is_wrong_is_told_with_a_picture_and_a_command_that_does_it_again() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("liar.sh"), LIAR).expect("a file");
    let args = ["live", "--scenario", "calm", "--seed", "0x11", "--junit", "out/live.xml", "--"];
    let output = harness(folder.path(), &[&args[..], &["sh", "liar.sh"]].concat());
    assert_status(&output, 1);
    let text = text(&output);
    let first = text.lines().next().expect("a first line");
    assert!(first.starts_with("seed 0x11") && first.contains("n5 k3 r2"), "{first}");
    let last = text.lines().last().expect("a last line");
    let replay =
        "redlatch-harness live --scenario calm --seed 0x11 --nodes 5 --clients 3 -- 'sh' 'liar.sh'";
    assert_eq!(last, replay);
    let junit = fs::read_to_string(folder.path().join("out/live.xml")).expect("a report");
    assert!(junit.contains("<failure message=\"I"), "{junit}");

    let artefacts = "target/redlatch-harness/live-calm-liar-1-0x11";
    for file in ["timeline.html", "timeline.svg", "history.jsonl", "plan.json", "replay.txt"] {
        assert!(folder.path().join(artefacts).join(file).exists(), "{file}");
    }
    let output = harness(folder.path(), &["replay", artefacts]);
    assert_status(&output, 1);
}

#[test]
fn what_cannot_be_run_is_not_known() {
    let folder = TempDir::new().expect("a folder");
    let unknown = |args: &[&str], told: &str| {
        let output = harness(folder.path(), args);
        assert_status(&output, 2);
        assert!(text(&output).contains(told), "{}", text(&output));
    };
    unknown(&["live", "--scenario", "no-such"], "there is no such scenario");
    unknown(&["live", "--scenario", "calm", "--", "/no/such/program"], "does not start");
    unknown(&["live", "--backend", "external"], "--node");
    unknown(&["live", "--budget", "0s"], "for want of time");
}

#[test]
fn servers_of_somebody_else_are_not_killed() {
    let folder = TempDir::new().expect("a folder");
    let cluster = Cluster::embedded(5).expect("five nodes");
    let urls = cluster.urls();
    let nodes = urls.iter().flat_map(|url| ["--node", url]);
    let args = ["live", "--scenario", "calm", "node-down", "--seed", "3", "--backend", "external"];
    let args: Vec<&str> = args.into_iter().chain(nodes).collect();
    let output = harness(folder.path(), &args);
    assert_status(&output, 0);
    let text = text(&output);
    assert!(text.contains("node-down: nodes of this backend cannot"), "{text}");
    assert!(text.contains("1 runs: 1 held"), "{text}");
}
