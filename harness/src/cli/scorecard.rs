//! `scorecard`: every client in every scenario, as a table.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redlatch_harness::live::adapter::{AdapterCommand, adapters, folder};
use redlatch_harness::live::campaign::{Job, campaign};
use redlatch_harness::live::run::{Run, RunError, Setup};
use redlatch_harness::live::scenario::{SCENARIOS, Scenario, Sizes};
use redlatch_harness::live::scorecard::{
    Cell, Column, SEEN_MIN, Scorecard, from_json, html, json, markdown,
};
use redlatch_harness::plan::parse_seed;
use redlatch_harness::report::{self, Case};

use super::artefacts::folder as as_folder;
use super::live::Nodes;
use super::{Error, Verdict, commit, heading};

/// How many more runs a cell gets in which something was seen only once.
const MORE: u64 = 2;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the adapters [default: harness/adapters, here or above]
    #[arg(long, value_name = "FOLDER")]
    adapters: Option<PathBuf>,
    /// Only these adapters
    #[arg(long, value_name = "NAME", num_args = 1..)]
    adapter: Vec<String>,
    /// How many runs each cell gets; one in which something was seen only once gets two more
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(2..=20))]
    runs: u64,
    /// Where the table goes, by its ending .md, .json or .html; once for each form
    #[arg(long, value_name = "FILE", default_value = "target/redlatch-harness/scorecard.html")]
    out: Vec<PathBuf>,
    /// Writes the tables from the JSON of an earlier run, and runs nothing
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// A folder for the timelines that cells link to
    #[arg(long, value_name = "FOLDER", default_value = "target/redlatch-harness/scorecard")]
    artefacts: PathBuf,
    /// What workloads and faults are drawn from
    #[arg(long, default_value = "1", value_parser = parse_seed)]
    seed: u64,
    /// How many scenarios run at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// How many client processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=8))]
    clients: u8,
    #[command(flatten)]
    nodes: Nodes,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    if let Some(path) = &args.from {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let card = from_json(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        write(args, &card)?;
        return Ok(Verdict::Valid);
    }
    let chosen = chosen(args)?;
    let sizes = Sizes { nodes: args.nodes.count(), clients: args.clients, pace: args.nodes.pace() };
    let backend = args.nodes.backend()?;
    let abilities = args.nodes.abilities()?;
    let mut card = Scorecard {
        nodes: format!("nodes are {}", args.nodes.version()?),
        harness: format!("harness {}", env!("CARGO_PKG_VERSION")),
        commit: commit(),
        runs: usize::try_from(args.runs).unwrap_or(usize::MAX),
        ..Scorecard::default()
    };
    let mut setups = Vec::new();
    for adapter in chosen {
        card.clients.push(column(args, &adapter));
        let prefix = format!("card-{:x}-{}", args.seed, adapter.name);
        setups.push(Arc::new(Setup { backend: Arc::clone(&backend), adapter, prefix }));
    }
    let mut jobs = Vec::new();
    for round in 0..args.runs {
        for setup in &setups {
            for scenario in SCENARIOS {
                if scenario.is_possible(&abilities, sizes.nodes) {
                    let plan = scenario.plan(args.seed + round, sizes);
                    jobs.push(Job { setup: Arc::clone(setup), plan });
                }
            }
        }
    }
    card.shape = jobs.first().map_or_else(String::new, |job| job.plan.shape.to_string());
    say!("{}", heading(&format!("seed {:#x}  {} runs", args.seed, jobs.len())));
    let mut table = Table { args, card, pictures: HashMap::new(), trouble: None };
    campaign(jobs, args.jobs.into(), None, |job, came| table.take(job, came));
    let more = table.in_doubt(&setups, sizes);
    say!("{} more, where something was seen only once", more.len());
    campaign(more, args.jobs.into(), None, |job, came| table.take(job, came));
    if let Some(error) = table.trouble {
        return Err(error);
    }
    write(args, &table.card)?;
    let is_empty =
        table.card.clients.iter().all(|client| client.cells.iter().all(|cell| cell.runs == 0));
    Ok(if is_empty { Verdict::Unknown } else { Verdict::Valid })
}

fn chosen(args: &Args) -> Result<Vec<AdapterCommand>, Error> {
    let place = args.adapters.clone().or_else(folder);
    let place =
        place.ok_or("no folder harness/adapters here or above; name one with --adapters")?;
    let mut chosen = adapters(&place)?;
    if let Some(name) = args.adapter.iter().find(|name| chosen.iter().all(|it| it.name != **name)) {
        return Err(format!("no adapter is called {name}").into());
    }
    chosen.retain(|adapter| args.adapter.is_empty() || args.adapter.contains(&adapter.name));
    for adapter in &chosen {
        if !adapter.is_installed() {
            eprintln!("installing {}", adapter.name);
            adapter.install()?;
        }
    }
    // Ours first, the one that is broken on purpose last.
    chosen.sort_by_key(|adapter| match adapter.name.as_str() {
        "native" => 0,
        "wasm" => 1,
        "toy" => 3,
        _ => 2,
    });
    Ok(chosen)
}

fn column(args: &Args, adapter: &AdapterCommand) -> Column {
    let words = args.nodes.words();
    let cell = |scenario: &Scenario| Cell {
        scenario: scenario.name.to_owned(),
        unknown: Some("not possible with these nodes".to_owned()),
        replay: format!(
            "redlatch-harness live --scenario {} --seed {:#x}{words} --clients {} --adapter {}",
            scenario.name, args.seed, args.clients, adapter.name
        ),
        ..Cell::default()
    };
    Column {
        adapter: adapter.name.clone(),
        versions: adapter
            .versions
            .iter()
            .map(|(what, version)| format!("{what} {version}"))
            .collect(),
        about: adapter.about.clone(),
        cells: SCENARIOS.iter().map(cell).collect(),
        ..Column::default()
    }
}

/// The table as it fills.
struct Table<'a> {
    args: &'a Args,
    card: Scorecard,
    /// How much the picture of a cell tells, of those that are there.
    pictures: HashMap<(usize, usize), usize>,
    trouble: Option<Error>,
}

impl Table<'_> {
    fn take(&mut self, job: &Job, came: Result<Run, RunError>) {
        let name = &job.setup.adapter.name;
        let Some(column) = self.card.clients.iter().position(|client| client.adapter == *name)
        else {
            return;
        };
        let Some(row) = SCENARIOS.iter().position(|it| it.name == job.plan.scenario) else {
            return;
        };
        let client = &mut self.card.clients[column];
        let run = match came {
            Ok(run) => run,
            Err(error) => {
                say!("{:<14}{:<22}{error}", name, job.plan.scenario);
                let cell = &mut client.cells[row];
                if cell.runs == 0 {
                    cell.unknown = Some(error.to_string());
                }
                return;
            }
        };
        client.title.clone_from(&run.hello.name);
        client.caps = run.record.caps;
        client.losses.0 += run.judgement.counts.losses;
        client.losses.1 += run.judgement.counts.losses_in_time;
        let cell = &mut client.cells[row];
        let mut words = Vec::new();
        for finding in &run.told {
            if !words.contains(&finding.word) {
                words.push(finding.word);
                cell.add(finding.word, &finding.story);
            }
        }
        match (&run.unknown, words.is_empty()) {
            // What was found was found, whatever else did not come about.
            (None, _) | (_, false) => {
                cell.runs += 1;
                cell.unknown = None;
            }
            (Some(why), true) if cell.runs == 0 => cell.unknown = Some(why.clone()),
            (Some(_), true) => {}
        }
        let text: Vec<&str> = words.iter().map(|word| word.text()).collect();
        let text = if text.is_empty() { "held".to_owned() } else { text.join(", ") };
        let text = run.unknown.as_ref().map_or(text.clone(), |why| format!("{text} ({why})"));
        say!("{:<14}{:<22}{}", name, job.plan.scenario, text.lines().next().unwrap_or_default());
        let telling = words.len() + 1;
        if self.pictures.get(&(column, row)).is_none_or(|before| *before < telling) {
            self.pictures.insert((column, row), telling);
            self.picture(&run, column, row);
        }
    }

    /// Writes the artefacts of the most telling run of a cell.
    fn picture(&mut self, run: &Run, column: usize, row: usize) {
        let client = &mut self.card.clients[column];
        let name = as_folder(&client.adapter);
        let folder = self.args.artefacts.join(format!("{name}-{}", run.plan.scenario));
        let cell = &mut client.cells[row];
        let case = Case { replay: cell.replay.clone(), ..run.case.clone() };
        match report::write(&folder, &case) {
            Ok(files) => cell.timeline = Some(files.html.display().to_string()),
            Err(error) => {
                let what = format!("cannot write {}: {error}", folder.display());
                self.trouble.get_or_insert(what.into());
            }
        }
    }

    /// Runs for cells in which something was seen only once.
    fn in_doubt(&self, setups: &[Arc<Setup>], sizes: Sizes) -> Vec<Job> {
        let mut jobs = Vec::new();
        for (client, setup) in self.card.clients.iter().zip(setups) {
            for (cell, scenario) in client.cells.iter().zip(SCENARIOS) {
                if cell.is_in_doubt() {
                    for more in 0..MORE {
                        let plan = scenario.plan(self.args.seed + self.args.runs + more, sizes);
                        jobs.push(Job { setup: Arc::clone(setup), plan });
                    }
                }
            }
        }
        jobs
    }
}

fn write(args: &Args, card: &Scorecard) -> Result<(), Error> {
    for path in &args.out {
        let text = match path.extension().and_then(OsStr::to_str) {
            Some("md") => markdown(card),
            Some("json") => json(card),
            Some("html") => html(&linked_from(card, path)),
            Some(_) | None => {
                return Err(
                    format!("{}: a table ends in .md, .json or .html", path.display()).into()
                );
            }
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        say!("{}", path.display());
    }
    let told = |client: &Column| {
        let cells = client.cells.iter().filter(|cell| cell.runs > 0);
        let held = cells.clone().filter(|cell| cell.told().next().is_none()).count();
        (held, cells.count())
    };
    for client in &card.clients {
        let (held, all) = told(client);
        say!(
            "{:<14}{held} of {all} held (a word is told that was seen in {SEEN_MIN} runs)",
            client.adapter
        );
    }
    Ok(())
}

/// With links that work from where the page is.
fn linked_from(card: &Scorecard, page: &Path) -> Scorecard {
    let mut card = card.clone();
    let base = page.parent().and_then(|folder| folder.canonicalize().ok());
    for cell in card.clients.iter_mut().flat_map(|client| &mut client.cells) {
        let Some(timeline) = &cell.timeline else { continue };
        let (Ok(path), Some(base)) = (Path::new(timeline).canonicalize(), &base) else { continue };
        let shared = path.components().zip(base.components()).take_while(|(a, b)| a == b).count();
        let up = base.components().skip(shared).map(|_| "..");
        let down = path
            .components()
            .skip(shared)
            .map(|part| part.as_os_str().to_string_lossy().into_owned());
        let parts: Vec<String> = up.map(str::to_owned).chain(down).collect();
        cell.timeline = Some(parts.join("/"));
    }
    card
}
