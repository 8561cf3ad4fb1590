//! `doctor`: what is wrong with the nodes, and what to do about it.

use std::fmt::Write as _;

use redlatch::{ClockReading, Examination, Finding, NodeExamination, Weight};
use serde::Serialize;

use crate::args::DoctorArgs;
use crate::config::Settings;
use crate::document::VERSION;
use crate::exit::{Exit, Failure};
use crate::output;

/// How wide the table is at most, but for words that are longer.
const WIDTH: usize = 100;
/// How many letters of a line are for the findings, at least.
const TEXT_MIN: usize = 40;
/// What stands in the place of a node's name when a finding is about all of them.
const ALL: &str = "(all)";

/// The JSON of `doctor`.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    nodes: Vec<NodeDocument<'a>>,
    findings: Vec<FindingDocument<'a>>,
}

#[derive(Serialize)]
struct NodeDocument<'a> {
    node: &'a str,
    /// Name and version of the server; null if it did not tell.
    server: Option<&'a str>,
    /// The median of some answers; null if there were none.
    latency_us: Option<u64>,
    /// How far the node's clock is ahead of this machine's; null if it did not tell.
    clock_ahead_us: Option<i64>,
    /// By how much that may be wrong.
    clock_uncertainty_us: Option<u64>,
}

#[derive(Serialize)]
struct FindingDocument<'a> {
    /// Null if it is about all nodes.
    node: Option<&'a str>,
    /// A name for programs, such as `has_replicas`.
    kind: &'static str,
    /// `mend`, `unknown` or `advice`.
    weight: &'static str,
    finding: String,
    remedy: String,
}

/// Examines the nodes.
pub(crate) async fn doctor(args: DoctorArgs) -> Result<Exit, Failure> {
    let settings = Settings::load(&args.nodes)?.with_ttl(args.ttl);
    let examination = settings.connect()?.examine(settings.options()).await?;
    output::print(&if args.json {
        output::json(&document(&examination))?
    } else {
        table(&examination)
    })?;
    let is_well = |finding: &Finding| finding.problem.weight() == Weight::Advice;
    let all_well = examination.findings.iter().all(is_well);
    Ok(if all_well { Exit::Done } else { Exit::Found })
}

fn document(examination: &Examination) -> Document<'_> {
    let micros =
        |duration: std::time::Duration| duration.as_micros().try_into().unwrap_or(u64::MAX);
    let nodes = examination.nodes.iter().map(|node| NodeDocument {
        node: &node.node,
        server: node.server.as_deref(),
        latency_us: node.latency.map(micros),
        clock_ahead_us: node.clock.map(|clock| clock.ahead_us),
        clock_uncertainty_us: node.clock.map(|clock| micros(clock.uncertainty)),
    });
    let findings = examination.findings.iter().map(|finding| FindingDocument {
        node: finding.node.as_deref(),
        kind: finding.problem.kind(),
        weight: word(finding.problem.weight()),
        finding: finding.problem.to_string(),
        remedy: finding.problem.remedy(),
    });
    Document { version: VERSION, nodes: nodes.collect(), findings: findings.collect() }
}

const fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::Mend => "mend",
        Weight::Unknown => "unknown",
        Weight::Advice => "advice",
    }
}

/// One row of the table.
struct Row<'a> {
    node: &'a str,
    weight: &'static str,
    text: String,
    remedy: Option<String>,
}

/// A row for each node and finding; one that says so for a node of which there is none.
fn rows(examination: &Examination) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for node in &examination.nodes {
        let of_node = rows_of(examination, Some(&node.node));
        if of_node.is_empty() {
            rows.push(Row { node: &node.node, weight: "well", text: portrait(node), remedy: None });
        }
        rows.extend(of_node);
    }
    rows.extend(rows_of(examination, None));
    rows
}

fn rows_of<'a>(examination: &'a Examination, node: Option<&str>) -> Vec<Row<'a>> {
    let findings = examination.findings.iter();
    findings.filter(|finding| finding.node.as_deref() == node).map(row).collect()
}

fn row(finding: &Finding) -> Row<'_> {
    Row {
        node: finding.node.as_deref().unwrap_or(ALL),
        weight: word(finding.problem.weight()),
        text: finding.problem.to_string(),
        remedy: Some(finding.problem.remedy()),
    }
}

/// What there is to say of a node with which nothing is wrong.
fn portrait(node: &NodeExamination) -> String {
    let server = node.server.as_deref().unwrap_or("a server");
    let mut text = server.to_owned();
    if let Some(latency) = node.latency {
        // Writing to a string does not fail.
        let _ = write!(text, ", answers in {:.1} ms", latency.as_secs_f64() * 1e3);
    }
    if let Some(ClockReading { ahead_us, uncertainty }) = node.clock {
        let (millis, doubt) = (ahead_us / 1000, uncertainty.as_secs_f64() * 1e3);
        let _ = write!(text, ", clock {millis:+} ms from ours (± {doubt:.1} ms)");
    }
    text
}

fn table(examination: &Examination) -> String {
    let rows = rows(examination);
    let widest = |words: Vec<&str>| {
        words.into_iter().map(|word| word.chars().count()).max().unwrap_or_default()
    };
    let node = widest(rows.iter().map(|row| row.node).chain(["NODE"]).collect());
    let weight = widest(rows.iter().map(|row| row.weight).chain(["STATE"]).collect());
    let indent = node + weight + 4;
    let room = WIDTH.saturating_sub(indent).max(TEXT_MIN);
    let mut table = format!("{:node$}  {:weight$}  WHAT, AND WHAT TO DO\n", "NODE", "STATE");
    for row in &rows {
        let _ = write!(table, "{:node$}  {:weight$}  ", row.node, row.weight);
        let remedy = row.remedy.as_ref().map(|remedy| format!("→ {remedy}"));
        let lines = [Some(&row.text), remedy.as_ref()];
        let lines = lines.into_iter().flatten().flat_map(|text| wrapped(text, room));
        let text: Vec<_> = lines.collect();
        table += &text.join(&format!("\n{}", " ".repeat(indent)));
        table.push('\n');
    }
    table
}

/// Breaks a text between words into lines of at most `room` letters.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}
