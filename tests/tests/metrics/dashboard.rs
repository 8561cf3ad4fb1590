//! The dashboard's file: what it asks for is told, all that is told is asked for, and Grafana's schema
//! knows its shape.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use redlatch::metrics::{ALL, Kind, Metric};
use serde_json::Value;

const TEXT: &str = include_str!("../../../docs/grafana.json");
/// Where `just setup` puts Grafana's schema and what checks by it.
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/dashboard");
const SHAPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard/shape.ts");

/// All queries of all panels, each with its panel's title.
pub(crate) fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(TEXT).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().expect("targets").iter();
        targets.map(move |target| {
            (title.clone(), target["expr"].as_str().expect("an expression").to_owned())
        })
    });
    queries.collect()
}

/// The names in a query that begin as ours do.
fn names(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("redlatch_"))
}

fn is_of(metric: &Metric, name: &str) -> bool {
    match metric.kind {
        Kind::Seconds => name.strip_prefix(metric.name) == Some("_bucket"),
        Kind::Counter | Kind::Gauge => name == metric.name,
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is_and_for_all_of_it() {
    let queries = queries();
    let asked: BTreeSet<&str> = queries.iter().flat_map(|(_, query)| names(query)).collect();
    for name in &asked {
        assert!(ALL.iter().any(|metric| is_of(metric, name)), "nobody tells {name}");
    }
    for metric in ALL {
        assert!(asked.iter().any(|name| is_of(&metric, name)), "nobody asks for {}", metric.name);
    }
}

/// Matchers such as `state="down"`, and what results are told apart by.
#[test]
fn the_dashboard_knows_the_labels_and_their_values() {
    for (title, query) in queries() {
        let query = query.replace("=~", "=");
        // Every second piece is between quotes.
        let pieces: Vec<&str> = query.split('"').collect();
        for matcher in pieces.chunks_exact(2) {
            let label = matcher[0].rsplit(['{', ',']).next().expect("a piece");
            let label = label.strip_suffix('=').expect("a matcher");
            for word in matcher[1].split('|').filter(|word| *word != "$job") {
                assert!(values(label).contains(word), "{title}: {label} is never {word}");
            }
        }
        for by in query.split("by (").skip(1) {
            let (labels, _) = by.split_once(')').expect("the end of the labels");
            for label in labels.split(", ").filter(|label| *label != "le" && *label != "node") {
                assert!(!values(label).is_empty(), "{title}: there is no {label}");
            }
        }
    }
}

fn values(label: &str) -> BTreeSet<&'static str> {
    let labels = ALL.iter().flat_map(|metric| metric.labels);
    labels.filter(|known| known.name == label).flat_map(|label| label.values).copied().collect()
}

/// What TypeScript says of dashboards by Grafana's schema; nothing of one that is as it should be.
fn complaints(dashboards: &[String]) -> Vec<String> {
    let modules = Path::new(MODULES);
    assert!(
        modules.join("node_modules/@grafana/schema").is_dir(),
        "Grafana's schema is missing; `just setup` installs it"
    );
    let folder = tempfile::tempdir_in(modules).expect("a folder");
    fs::copy(SHAPE, folder.path().join("shape.ts")).expect("a copy");
    let name = |number: usize| format!("dashboard{number}.ts");
    for (number, dashboard) in dashboards.iter().enumerate() {
        let text = format!(
            "import type {{ Redlatch }} from './shape.js';\nexport const it: Redlatch = {dashboard};\n"
        );
        fs::write(folder.path().join(name(number)), text).expect("it can be written");
    }
    let output = Command::new("node")
        .current_dir(folder.path())
        .arg("../node_modules/typescript/bin/tsc")
        .args(["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022"])
        .args(["--module", "nodenext", "--moduleResolution", "nodenext"])
        .args((0..dashboards.len()).map(name))
        .output()
        .unwrap_or_else(|error| panic!("Node is missing; `just setup` installs it: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() == said.is_empty(), "{said}");
    let of = |number| said.lines().filter(|line| line.starts_with(&name(number))).collect();
    let complaints: Vec<String> = (0..dashboards.len()).map(of).collect();
    assert!(complaints.concat().is_empty() == said.is_empty(), "{said}");
    complaints
}

/// The check must be able to fail.
#[test]
fn grafanas_schema_knows_the_dashboards_shape_and_no_other() {
    let mistakes = [
        ("\"type\": \"timeseries\"", "\"type\": \"timeserie\""),
        ("\"drawStyle\": \"line\"", "\"drawStyle\": \"lin\""),
        ("\"placement\": \"bottom\"", "\"place\": \"bottom\""),
        ("\"graphTooltip\": 1", "\"graphTooltip\": 7"),
        ("\"schemaVersion\": 39,", ""),
    ];
    let mistaken = mistakes.map(|(right, wrong)| {
        assert!(TEXT.contains(right), "{right}");
        TEXT.replace(right, wrong)
    });
    let mut dashboards = vec![TEXT.to_owned()];
    dashboards.extend(mistaken);
    let complaints = complaints(&dashboards);
    assert_eq!(complaints[0], "");
    for (complaint, (_, wrong)) in complaints[1..].iter().zip(mistakes) {
        assert!(!complaint.is_empty(), "{wrong:?} passes");
    }
}
