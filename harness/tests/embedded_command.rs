//! The command: the demo finds nothing where nothing is wrong and finds what was planted, `serve` serves,
//! and exit codes tell how it went.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn harness() -> Command {
    Command::new(env!("CARGO_BIN_EXE_redlatch-harness"))
}

/// Whatever it leaves goes with it.
fn demo(args: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = harness();
    command.arg("demo").args(args.split_whitespace()).current_dir(folder.path());
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_finds_nothing_where_nothing_is_wrong() {
    let output = demo("--seed 1 --seconds 3");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("seed 1"), "{text}");
    assert!(text.contains("everything healed"), "{text}");
    assert!(text.contains("No two workers held one resource at a time."), "{text}");
}

/// Each bug is seen by the check that is there for it, and the last line runs it again. A key that is gone
/// is seen on the node or by the next who gets it, whichever comes first.
#[test]
fn it_finds_what_was_planted() {
    let bugs: [(&str, &[&str]); 4] = [
        ("blind-release", &["that must", "both hold"]),
        ("blind-acquire", &["both hold"]),
        ("same-fence", &["which another grant had"]),
        ("idle-release", &["not to be had"]),
    ];
    for (bug, checks) in bugs {
        let output = demo(&format!("--seed 1 --seconds 2 --plant {bug}"));
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{bug}: {text}");
        let tells = |line: &str| checks.iter().any(|words| line.contains(words));
        let is_told = text.lines().any(|line| line.contains("WRONG") && tells(line));
        assert!(is_told, "{bug}: {text}");
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with("redlatch-harness demo --seed 1 ") && last.ends_with(bug),
            "{last}"
        );
    }
}

#[test]
fn it_leaves_its_history_and_its_timeline() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(&format!("--seed 2 --seconds 1 --out {}", folder.path().display()));
    let left = folder.path().join("demo-2");
    let timeline = std::fs::read_to_string(left.join("timeline.html")).unwrap();
    assert!(text(&output).contains("timeline: "), "{}", text(&output));
    assert!(timeline.contains("<svg") && timeline.len() < 300_000);
    let history = std::fs::read_to_string(left.join("history.jsonl")).unwrap();
    assert!(history.lines().count() > 10, "{}", text(&output));
    for (index, line) in history.lines().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["index"], index);
        assert!(event["time_ns"].is_u64() && event["f"].is_string(), "{line}");
    }
}

#[test]
fn what_cannot_be_run_is_no_verdict() {
    assert_eq!(demo("--nodes 2").status.code(), Some(2));
    let output = harness().args(["fidelity", "--server", "/no/such/server"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("/no/such/server") && error.contains("--url"), "{error}");
}

#[test]
fn serve_prints_the_urls_that_clients_take() {
    let mut serve =
        harness().args(["serve", "--nodes", "3"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(serve.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find_map(|line| {
        line.strip_prefix("REDLATCH_NODES=")
            .map(|urls| urls.split(',').map(str::to_owned).collect())
    });
    let urls: Vec<String> = line.unwrap();
    assert_eq!(urls.len(), 3);
    for url in &urls {
        let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
        let pong: String = redis::cmd("PING").query(&mut connection).unwrap();
        assert_eq!(pong, "PONG");
    }
    serve.kill().unwrap();
    serve.wait().unwrap();
    let client = redis::Client::open(urls[0].as_str()).unwrap();
    assert!(client.get_connection().is_err(), "nothing is left of it");
}
