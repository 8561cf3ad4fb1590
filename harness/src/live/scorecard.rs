//! What became of each client in each scenario, as a table for people and for programs.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::judge::Word;
use super::record::Caps;
use super::scenario::{Breaks, SCENARIOS, Scenario};

/// What is seen once may be an accident of a busy machine; what is seen twice is told.
pub const SEEN_MIN: usize = 2;

/// The table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Scorecard {
    /// What the nodes were.
    pub nodes: String,
    /// How many of everything, and how long locks lived.
    pub shape: String,
    /// The version of the harness.
    pub harness: String,
    /// The commit that it was made of.
    pub commit: Option<String>,
    /// How often each scenario was run at least.
    pub runs: usize,
    /// One for each client.
    pub clients: Vec<Column>,
}

/// A client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Column {
    /// The adapter's name.
    pub adapter: String,
    /// What it says of itself.
    pub title: String,
    /// What it is made of, each with its version.
    pub versions: Vec<String>,
    /// One line about it.
    pub about: String,
    /// What it says that it can.
    pub caps: Caps,
    /// How many losses it had to tell, and how many of them it told in time.
    pub losses: (usize, usize),
    /// One for each scenario, in their order.
    pub cells: Vec<Cell>,
}

/// What became of a client in a scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cell {
    /// The scenario.
    pub scenario: String,
    /// How many runs told something.
    pub runs: usize,
    /// What was found, in how many of them, and the story of one; the gravest first.
    pub found: Vec<Found>,
    /// Why no run told anything, if none did.
    pub unknown: Option<String>,
    /// The command that does the same again.
    pub replay: String,
    /// Where the picture of the most telling run is.
    pub timeline: Option<String>,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What it amounts to, in the words of a cell.
    pub word: String,
    /// In how many runs.
    pub seen: usize,
    /// How it went in one of them.
    pub story: String,
    #[serde(skip)]
    rank: usize,
}

impl Cell {
    /// A run found this.
    pub fn add(&mut self, word: Word, story: &str) {
        match self.found.iter_mut().find(|found| found.word == word.text()) {
            Some(found) => found.seen += 1,
            None => {
                let rank = Word::ALL.iter().position(|other| *other == word).unwrap_or(0);
                let (word, story) = (word.text().to_owned(), story.to_owned());
                self.found.push(Found { word, seen: 1, story, rank });
            }
        }
        self.found.sort_by_key(|found| found.rank);
    }

    /// Whether something was seen, but not often enough to be told.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.found.iter().any(|found| found.seen < SEEN_MIN)
    }

    /// What was seen often enough to be told.
    pub fn told(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| found.seen >= SEEN_MIN)
    }

    /// As it stands in the table.
    #[must_use]
    pub fn text(&self) -> String {
        let words: Vec<&str> = self.told().map(|found| found.word.as_str()).collect();
        match (words.is_empty(), &self.unknown) {
            (false, _) => words.join(", "),
            (true, None) => "held".to_owned(),
            (true, Some(_)) => "–".to_owned(),
        }
    }
}

const INTRODUCTION: &str = "\
Made by `redlatch-harness scorecard`, and by nothing else: every cell comes from runs on real servers, through a
proxy that injects the fault, with each client behind the same line protocol ([adapters](adapters.md)). A word other
than *held* stands where it was seen in at least two runs; on a busy or a faster machine others may be seen. What a
client does not claim to withstand is measured all the same, and the table says which scenarios those are. None of
this is a statement about what a client is good for: many applications need less than every row.
";

/// As Markdown.
#[must_use]
pub fn markdown(card: &Scorecard) -> String {
    let mut out = String::from("# Scorecard\n\n");
    let _ = writeln!(out, "{INTRODUCTION}");
    let _ = writeln!(
        out,
        "{}; {}; {} runs of each cell at least; {}.\n",
        card.nodes, card.shape, card.runs, card.harness
    );
    clients(card, &mut out);
    let _ = writeln!(out, "\n## Scenarios\n");
    let names: Vec<&str> = card.clients.iter().map(|client| client.adapter.as_str()).collect();
    let _ = writeln!(out, "| scenario | {} |", names.join(" | "));
    let _ = writeln!(out, "| --- |{}", " --- |".repeat(names.len()));
    for (row, scenario) in SCENARIOS.iter().enumerate() {
        let _ = write!(out, "| {}{} |", scenario.name, mark(scenario));
        for client in &card.clients {
            let text = client.cells.get(row).map_or_else(|| "–".to_owned(), Cell::text);
            let _ = write!(out, " {text} |");
        }
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "\n¹ Nodes forget: a client without a guard against that does not promise exclusion.\n\
         ² Keys go before their time: no client promises exclusion; a client with fences is judged by what the \
         resource let in.\n\
         – The fault did not meet this client, or the scenario is not possible with it.\n"
    );
    words(&mut out);
    stories(card, &mut out);
    let _ = writeln!(
        out,
        "\n## Again\n\n`redlatch-harness live --scenario NAME --adapter CLIENT --pictures` runs one cell and leaves its \
         timeline; `redlatch-harness scorecard --out docs/scorecard.md --out target/scorecard.html` makes all of it, \
         with every cell linked to its timeline. What the scenarios are is in [live.md](live.md)."
    );
    out
}

const fn mark(scenario: &Scenario) -> &'static str {
    match scenario.breaks {
        Breaks::Nothing => "",
        Breaks::Memory => " ¹",
        Breaks::Keys => " ²",
    }
}

fn clients(card: &Scorecard, out: &mut String) {
    let _ = writeln!(out, "## Clients\n");
    let _ = writeln!(
        out,
        "| client | versions | fences | guard | tells losses | losses told in time |"
    );
    let _ = writeln!(out, "| --- | --- | --- | --- | --- | --- |");
    for client in &card.clients {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let Caps { fence, guard, lost_event, .. } = client.caps;
        let losses = match client.losses {
            _ if !lost_event => "–".to_owned(),
            (all, in_time) => format!("{in_time} of {all}"),
        };
        let versions = match client.versions.as_slice() {
            [] => client.title.clone(),
            versions => versions.join(", "),
        };
        let _ = writeln!(
            out,
            "| {} | {versions} | {} | {} | {} | {losses} |",
            client.adapter,
            yes(fence),
            yes(guard),
            yes(lost_event)
        );
    }
}

fn words(out: &mut String) {
    let _ = writeln!(out, "| word | meaning |\n| --- | --- |");
    let _ = writeln!(out, "| held | none of the following was seen twice |");
    for word in Word::ALL {
        let _ = writeln!(out, "| {} | {} |", word.text(), word.meaning());
    }
}

fn stories(card: &Scorecard, out: &mut String) {
    let _ = writeln!(out, "\n## What was seen\n");
    for client in &card.clients {
        for cell in &client.cells {
            let words: Vec<String> = cell
                .told()
                .map(|found| format!("{} in {} of {} runs", found.word, found.seen, cell.runs))
                .collect();
            let Some(first) = cell.told().next() else { continue };
            let _ = writeln!(
                out,
                "- **{}, {}**: {}. In one of them {}. `{}`",
                client.adapter,
                cell.scenario,
                words.join(", "),
                first.story.replace('\n', " ").trim_end_matches('.'),
                cell.replay
            );
        }
    }
}

/// What [`json`] wrote.
///
/// # Errors
/// If it is no scorecard.
pub fn from_json(text: &str) -> serde_json::Result<Scorecard> {
    serde_json::from_str(text)
}

/// As JSON.
#[must_use]
pub fn json(card: &Scorecard) -> String {
    serde_json::to_string_pretty(card).unwrap_or_default()
}

/// As a page that stands alone; its cells link to their timelines.
#[must_use]
pub fn html(card: &Scorecard) -> String {
    let mut out = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Scorecard</title><style>\
         body{font:14px system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}\
         td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}\
         td.held{background:#e6f4ea}td.other{background:#fdecc8}td.none{color:#777}small{color:#555}\
         </style><h1>Scorecard</h1>",
    );
    let _ = write!(
        out,
        "<p>{}; {}; {} runs of each cell at least; {}.</p><table><tr><th>scenario</th>",
        escape(&card.nodes),
        escape(&card.shape),
        card.runs,
        escape(&card.harness)
    );
    for client in &card.clients {
        let versions = client.versions.join(", ");
        let _ = write!(
            out,
            "<th>{}<br><small>{}</small></th>",
            escape(&client.adapter),
            escape(&versions)
        );
    }
    out.push_str("</tr>");
    for (row, scenario) in SCENARIOS.iter().enumerate() {
        let _ = write!(
            out,
            "<tr><th title=\"{}\">{}{}</th>",
            escape(scenario.fault),
            scenario.name,
            mark(scenario)
        );
        for client in &card.clients {
            match client.cells.get(row) {
                Some(cell) => html_cell(cell, &mut out),
                None => out.push_str("<td class=none>–</td>"),
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</table></html>\n");
    out
}

fn html_cell(cell: &Cell, out: &mut String) {
    let class = match (cell.told().next(), &cell.unknown) {
        (Some(_), _) => "other",
        (None, None) => "held",
        (None, Some(_)) => "none",
    };
    let mut title = cell.replay.clone();
    for found in &cell.found {
        let _ = write!(
            title,
            "\n{} in {} of {} runs: {}",
            found.word, found.seen, cell.runs, found.story
        );
    }
    if let Some(unknown) = &cell.unknown {
        let _ = write!(title, "\n{unknown}");
    }
    let text = escape(&cell.text());
    let _ = write!(out, "<td class={class} title=\"{}\">", escape(&title));
    let _ = match &cell.timeline {
        Some(timeline) => write!(out, "<a href=\"{}\">{text}</a>", escape(timeline)),
        None => write!(out, "{text}"),
    };
    let _ = write!(
        out,
        "<details><summary><small>again</small></summary><code>{}</code></details></td>",
        escape(&cell.replay)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
