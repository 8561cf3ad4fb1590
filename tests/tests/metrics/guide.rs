//! The table in the guide.

use redlatch::metrics::{ALL, Kind, Label, Metric};

const GUIDE: &str = include_str!("../../../docs/guide.md");

/// As the guide's table has it.
fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Seconds => "histogram, seconds",
    };
    let labels: Vec<String> = metric.labels.iter().map(label).collect();
    format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join("; "), metric.help)
}

fn label(label: &Label) -> String {
    match label.values {
        [] => format!("`{}`", label.name),
        values => format!("`{}`: {}", label.name, values.join(", ")),
    }
}

#[test]
fn the_guide_lists_what_there_is_and_nothing_else() {
    let rows: Vec<&str> = GUIDE.lines().filter(|line| line.starts_with("| `redlatch_")).collect();
    let expected: Vec<String> = ALL.iter().map(row).collect();
    assert_eq!(rows, expected, "the table should be:\n{}", expected.join("\n"));
}

/// By the conventions of Prometheus: the unit at the end of the name, `_total` behind what only grows.
#[test]
fn names_tell_what_they_are() {
    for metric in ALL {
        assert!(metric.name.starts_with("redlatch_"), "{}", metric.name);
        let ends = |end| metric.name.ends_with(end);
        let (is_total, is_seconds) = (ends("_total"), ends("_seconds"));
        assert_eq!(is_total, metric.kind == Kind::Counter, "{}", metric.name);
        assert_eq!(is_seconds, metric.kind == Kind::Seconds, "{}", metric.name);
    }
}
