//! What is asked for wrongly, and how that is told.

use crate::support::run;

#[test]
fn bad_usage_has_a_code_of_its_own_and_asks_no_node() {
    // A node that would be waited for, were it asked.
    let nodes = ["redis://192.0.2.1:6379".to_owned()];
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage: redlatch"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&["run"], "<RESOURCE>"),
        (&["run", "report"], "<COMMAND>"),
        (&["run", "report", "echo", "hi"], "<COMMAND>"),
        (&["run", "--", "echo", "hi"], "<RESOURCE>"),
        (&["run", "--ttl", "5", "report", "--", "true"], "time unit needed"),
        (&["run", "--ttl", "1us", "report", "--", "true"], "1 ms to 24 h"),
        (&["run", "--ttl", "2ms", "report", "--", "true"], "ask for a longer ttl"),
        (&["run", "--ttl", "25h", "report", "--", "true"], "1 ms to 24 h"),
        (&["run", "--node-timeout", "0", "report", "--", "true"], "node timeout is zero"),
        (&["run", "--restart-guard", "25h", "report", "--", "true"], "1 ms to 24 h"),
        (&["run", "--plain", "--restart-guard", "1m", "report", "--", "true"], "restart guard"),
        (&["run", "-q", "-v", "report", "--", "true"], "cannot be used with"),
        (&["acquire", "one", "two"], "slot"),
        (&["acquire", ""], "resource 1 has 0 bytes"),
        (&["acquire", "{a}", "{a}"], "name each one once"),
        (&["status", "one", "two"], "slot"),
        (&["status", "-n", "redis://a", "-n", "redis://a", "report"], "given twice"),
        (&["doctor", "report"], "unexpected argument 'report'"),
        (&["doctor", "--ttl", "25h"], "1 ms to 24 h"),
        (&["completions", "tcsh"], "possible values"),
        (&["man", "frobnicate"], "no command `frobnicate`"),
    ];
    for (args, expected) in cases {
        let ended = run(&nodes, *args).with_code(64);
        assert!(ended.stderr.contains(expected), "{args:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{args:?}");
        let starts_well = ended.stderr.starts_with("redlatch: ") || args.is_empty();
        assert!(starts_well, "{args:?}: {ended:?}");
    }
    // Quiet is about what happens, not about what was typed.
    let ended = run(&nodes, ["run", "-q", "--ttl", "25h", "report", "--", "true"]).with_code(64);
    assert!(ended.stderr.contains("1 ms to 24 h"), "{ended:?}");
}

#[test]
fn nodes_must_be_named() {
    let ended = run(&[], ["status", "report"]).with_code(64);
    for place in ["-n URL", "REDLATCH_NODES", "~/.config/redlatch.toml"] {
        assert!(ended.stderr.contains(place), "{ended:?}");
    }
}

#[test]
fn the_version_is_printed() {
    let ended = run(&[], ["-V"]).with_code(0);
    assert_eq!(ended.stdout, format!("redlatch {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_has_the_codes_an_example_and_short_lines() {
    let help = run(&[], ["--help"]).with_code(0).stdout;
    for code in ["0", "1", "64", "65", "69", "70", "74", "75", "76", "126", "127", "128+N"] {
        let is_row = |line: &str| line.trim_start().starts_with(&format!("{code}  "));
        assert!(help.lines().any(is_row), "no row for {code}: {help}");
    }
    let run_help = run(&[], ["run", "--help"]).with_code(0).stdout;
    assert!(
        run_help.contains("redlatch run --wait 1m nightly-report -- ./report.sh"),
        "{run_help}"
    );
    assert!(run_help.contains("REDLATCH_FENCE"), "{run_help}");
    for line in help.lines().chain(run_help.lines()) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}
