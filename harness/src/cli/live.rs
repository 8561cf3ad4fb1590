//! `live`: a lock client on real servers, in every scenario.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use redlatch_harness::live::adapter::{AdapterCommand, adapters, folder};
use redlatch_harness::live::campaign::{Job, campaign};
use redlatch_harness::live::judge::Finding;
#[cfg(feature = "containers")]
use redlatch_harness::live::node::Containers;
use redlatch_harness::live::node::{Ability, Backend, External, Processes};
use redlatch_harness::live::plan::Plan;
use redlatch_harness::live::run::{Run, Setup};
use redlatch_harness::live::scenario::{Group, Pace, SCENARIOS, Scenario, Sizes};
use redlatch_harness::plan::parse_seed;
use redlatch_harness::report::{Case, Outcome, Suite, Told};

use super::artefacts::{Place, folder as as_folder};
use super::{Error, Verdict, heading};

/// How many seeds each scenario gets, unless the run is to be a short one.
const ROUNDS: u64 = 3;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these scenarios; `--list` tells which there are
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = scenario)]
    scenario: Vec<&'static Scenario>,
    /// Only scenarios with these kinds of fault
    #[arg(long, value_name = "KIND", num_args = 1.., value_delimiter = ',', value_enum)]
    faults: Vec<Kind>,
    /// One seed for each scenario instead of three
    #[arg(long)]
    smoke: bool,
    /// Begins no run after so much time, such as 60s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    budget: Option<Duration>,
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    /// How many client processes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) clients: u8,
    /// What workloads and faults are drawn from, such as 17 or 0x11 [default: another one each time]
    #[arg(long, value_parser = parse_seed)]
    seed: Option<u64>,
    /// How many scenarios run at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) jobs: u8,
    /// Carries out this plan instead of drawing one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "faults", "seed", "budget"])]
    plan: Option<PathBuf>,
    /// Fails for whatever is seen, also where the client does not promise that it is not
    #[arg(long)]
    strict: bool,
    /// Writes artefacts also of runs in which everything holds
    #[arg(long)]
    pictures: bool,
    /// Lists the scenarios, and runs nothing
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    place: Place,
}

impl Args {
    /// The same, with the plan in this file.
    pub(crate) fn of_plan(self, plan: &Path) -> Self {
        Self { plan: Some(plan.to_owned()), scenario: Vec::new(), seed: None, ..self }
    }
}

/// Where nodes come from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Nodes {
    /// Where nodes come from
    #[arg(long, value_enum, default_value_t = Source::Processes)]
    backend: Source,
    /// A server of yours, for `--backend external`; one for each node
    #[arg(long = "node", value_name = "URL", num_args = 1.., required_if_eq("backend", "external"))]
    urls: Vec<String>,
    /// They may be flushed, configured and their expiries shifted: nobody else uses them
    #[arg(long)]
    disposable: bool,
    /// How many nodes
    #[arg(long = "nodes", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=9))]
    count: u8,
    /// The server program of processes, or the image of containers
    #[arg(long, value_name = "PROGRAM|IMAGE")]
    server: Option<String>,
}

/// Where nodes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Source {
    /// redis-server processes of this machine
    Processes,
    /// Containers; the harness has to be built with the feature `containers`
    Containers,
    /// Servers of yours
    External,
}

/// Which client is put to the test.
#[derive(Clone, Debug, clap::Args)]
struct Client {
    /// An adapter that comes with the harness [default: native, the driver of this project]
    #[arg(long, value_name = "NAME", conflicts_with = "command")]
    adapter: Option<String>,
    /// The folder of the adapters [default: harness/adapters, here or above]
    #[arg(long, value_name = "FOLDER")]
    adapters: Option<PathBuf>,
    /// An adapter of yours, after --: docs/adapters.md is its protocol
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    None,
    Node,
    Network,
    Data,
    Clock,
    Client,
}

impl Kind {
    const fn group(self) -> Group {
        match self {
            Self::None => Group::None,
            Self::Node => Group::Node,
            Self::Network => Group::Network,
            Self::Data => Group::Data,
            Self::Clock => Group::Clock,
            Self::Client => Group::Client,
        }
    }
}

fn scenario(name: &str) -> Result<&'static Scenario, String> {
    Scenario::named(name)
        .ok_or_else(|| format!("there is no such scenario; there are {}", names(SCENARIOS)))
}

fn names(scenarios: &[Scenario]) -> String {
    scenarios.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}

impl Nodes {
    pub(crate) fn backend(&self) -> Result<Arc<dyn Backend + Send + Sync>, Error> {
        Ok(match self.backend {
            Source::Processes => match &self.server {
                Some(program) => Arc::new(Processes::new().program(program)),
                None => Arc::new(Processes::new()),
            },
            Source::Containers => self.containers()?,
            Source::External => {
                let external = External::new(self.urls.clone());
                Arc::new(if self.disposable { external.disposable() } else { external })
            }
        })
    }

    #[cfg(feature = "containers")]
    fn containers(&self) -> Result<Arc<dyn Backend + Send + Sync>, Error> {
        Ok(match &self.server {
            Some(image) => Arc::new(Containers::new().image(image)),
            None => Arc::new(Containers::new()),
        })
    }

    #[cfg(not(feature = "containers"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn containers(&self) -> Result<Arc<dyn Backend + Send + Sync>, Error> {
        Err("containers are a feature of their own, with two hundred crates: build the harness with \
             --features containers"
            .into())
    }

    pub(crate) fn count(&self) -> u8 {
        match self.backend {
            Source::Processes | Source::Containers => self.count,
            Source::External => u8::try_from(self.urls.len()).unwrap_or(u8::MAX),
        }
    }

    pub(crate) const fn pace(&self) -> Pace {
        match self.backend {
            Source::Processes | Source::External => Pace::Quick,
            Source::Containers => Pace::Containers,
        }
    }

    /// As words of a command, without what may have a password in it.
    pub(crate) fn words(&self) -> String {
        let server = self.server.as_ref().map(|server| format!(" --server '{server}'"));
        let server = server.unwrap_or_default();
        match self.backend {
            Source::Processes => format!(" --nodes {}{server}", self.count),
            Source::Containers => format!(" --backend containers --nodes {}{server}", self.count),
            Source::External => {
                let disposable = if self.disposable { " --disposable" } else { "" };
                format!(" --backend external --node URL…{disposable}")
            }
        }
    }

    /// What the nodes are, with their version.
    pub(crate) fn version(&self) -> Result<String, Error> {
        let backend = self.backend()?;
        let nodes = backend.start(1)?;
        let [node, ..] = nodes.as_slice() else { return Ok(backend.name().to_owned()) };
        let info: String = node.query(&["INFO", "server"])?;
        let tell = |name: &str| {
            info.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let version = match (tell("valkey_version:"), tell("redis_version:")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => "servers of an unknown version".to_owned(),
        };
        Ok(format!("{version}, {}", backend.name()))
    }

    /// What the nodes of this backend can be made to do.
    pub(crate) fn abilities(&self) -> Result<Vec<Ability>, Error> {
        let nodes = self.backend()?.start(1)?;
        let can = |ability: &Ability| nodes.iter().all(|node| node.can(*ability));
        Ok(Ability::ALL.into_iter().filter(can).collect())
    }
}

impl Client {
    fn command(&self) -> Result<AdapterCommand, Error> {
        match (&self.adapter, self.command.as_slice()) {
            (Some(name), _) => named(name, self.adapters.as_deref()),
            (None, []) => native(),
            (None, words) => Ok(AdapterCommand::new(words.to_vec())),
        }
    }

    /// As the last words of a command.
    fn words(&self) -> String {
        match (&self.adapter, self.command.as_slice()) {
            (Some(name), _) => format!(" --adapter {name}"),
            (None, []) => String::new(),
            (None, words) => {
                let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
                format!(" -- {}", words.join(" "))
            }
        }
    }
}

/// The driver of this project needs nothing but this program.
fn native() -> Result<AdapterCommand, Error> {
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let mut command = AdapterCommand::new(vec![program, "adapter".to_owned(), "native".to_owned()]);
    command.name = "native".to_owned();
    Ok(command)
}

/// An adapter of `harness/adapters`, installed if it is not.
fn named(name: &str, at: Option<&Path>) -> Result<AdapterCommand, Error> {
    let Some(place) = at.map(Path::to_owned).or_else(folder) else {
        return match name {
            "native" => native(),
            _ => Err("no folder harness/adapters here or above; name one with --adapters".into()),
        };
    };
    let known = adapters(&place)?;
    let names = known.iter().map(|adapter| adapter.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = known.into_iter().find(|adapter| adapter.name == name);
    let found = found.ok_or_else(|| format!("no adapter is called {name}; there are {names}"))?;
    if !found.is_installed() {
        eprintln!("installing {}", found.name);
        found.install()?;
    }
    Ok(found)
}

/// Which runs are to be made, and which scenarios are not possible here.
fn todo(args: &Args, seed: u64, setup: &Arc<Setup>) -> Result<(Vec<Job>, Vec<String>), Error> {
    if let Some(path) = &args.plan {
        let json = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let plan =
            Plan::from_json(&json).map_err(|error| format!("{}: {error}", path.display()))?;
        return Ok((vec![Job { setup: Arc::clone(setup), plan }], Vec::new()));
    }
    let is_wanted = |scenario: &&'static Scenario| {
        let by_name = args.scenario.iter().any(|wanted| wanted.name == scenario.name);
        let by_kind = args.faults.iter().any(|kind| kind.group() == scenario.group);
        (args.scenario.is_empty() || by_name) && (args.faults.is_empty() || by_kind)
    };
    let sizes = Sizes { nodes: args.nodes.count(), clients: args.clients, pace: args.nodes.pace() };
    let abilities = args.nodes.abilities()?;
    let (mut jobs, mut left_out) = (Vec::new(), Vec::new());
    let rounds = if args.smoke || !args.scenario.is_empty() { 1 } else { ROUNDS };
    for round in 0..rounds {
        for scenario in SCENARIOS.iter().filter(is_wanted) {
            let lacks = scenario.needs.iter().find(|ability| !abilities.contains(ability));
            let reason = match lacks {
                Some(ability) => Some(format!("nodes of this backend cannot {ability}")),
                None if !scenario.fits(sizes.nodes) => Some("it takes more nodes".to_owned()),
                None => None,
            };
            match reason {
                Some(reason) if round == 0 => left_out.push(format!("{}: {reason}", scenario.name)),
                Some(_) => {}
                None => {
                    let plan = scenario.plan(seed.wrapping_add(round), sizes);
                    jobs.push(Job { setup: Arc::clone(setup), plan });
                }
            }
        }
    }
    Ok((jobs, left_out))
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Error> {
    if args.list {
        list();
        return Ok(Verdict::Valid);
    }
    // Short enough to be typed again.
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let setup = Arc::new(Setup {
        backend: args.nodes.backend()?,
        adapter: args.client.command()?,
        prefix: format!("live-{seed:x}"),
    });
    let (jobs, left_out) = todo(args, seed, &setup)?;
    let shape = jobs.first().map_or_else(String::new, |job| job.plan.shape.to_string());
    let seed = jobs.first().filter(|_| args.plan.is_some()).map_or(seed, |job| job.plan.seed);
    say!(
        "{}  {} runs of {} on {}: {shape}",
        heading(&format!("seed {seed:#x}")),
        jobs.len(),
        setup.adapter.name,
        setup.backend.name()
    );
    for reason in &left_out {
        say!("{:<21} {reason}", "left out");
    }
    let until = args.budget.map(|budget| Instant::now() + budget);
    let mut told = Runs::new(args);
    let total = jobs.len();
    let not_begun = campaign(jobs, args.jobs.into(), until, |job, came| match came {
        Ok(run) => told.take(&run),
        Err(error) => told.not_made(job, &error.to_string()),
    });
    if not_begun > 0 {
        say!("{:<21} {not_begun} of {total} runs, for want of time", "left out");
    }
    told.place.write_junit(&told.suite)?;
    told.summary(total - not_begun)
}

/// Tells of runs as they end.
struct Runs<'a> {
    args: &'a Args,
    place: &'a Place,
    suite: Suite,
    held: usize,
    /// Runs in which something was seen that nobody promised not to happen, and nothing else.
    noted: usize,
    broken: usize,
    unknown: usize,
    /// The command that shows the first failure again.
    replay: Option<String>,
    trouble: Option<Error>,
}

impl<'a> Runs<'a> {
    fn new(args: &'a Args) -> Self {
        Self {
            args,
            place: &args.place,
            suite: Suite { name: "live".to_owned(), outcomes: Vec::new() },
            held: 0,
            noted: 0,
            broken: 0,
            unknown: 0,
            replay: None,
            trouble: None,
        }
    }

    fn take(&mut self, run: &Run) {
        let case = Case { replay: replay(self.args, &run.plan), ..run.case.clone() };
        let is_broken = !run.broken.is_empty() || self.args.strict && !run.told.is_empty();
        let word = match (is_broken, &run.unknown, run.told.is_empty()) {
            (true, ..) => "BROKEN",
            (false, Some(_), _) => "unknown",
            (false, None, true) => "held",
            (false, None, false) => "noted",
        };
        let counts = run.judgement.counts;
        say!(
            "{word:<8}{:<21} seed {:#x}  {:.1} s  {} grants, {} refusals, {} extensions, {} losses told, \
             {} late writes refused",
            run.plan.scenario,
            run.plan.seed,
            case.elapsed.as_secs_f64(),
            counts.grants,
            counts.refusals,
            counts.extensions,
            counts.losses_in_time,
            counts.refused_writes
        );
        for line in lines(run) {
            say!("        {line}");
        }
        if let Some(why) = &run.unknown {
            say!("        {}", why.replace('\n', "\n        "));
        }
        let is_worth = !run.told.is_empty() || run.unknown.is_some() || self.args.pictures;
        let files = match is_worth.then(|| self.place.write(&name(run), &case)) {
            None => None,
            Some(Ok(files)) => Some(files),
            Some(Err(error)) => {
                self.trouble.get_or_insert(error);
                None
            }
        };
        // What was seen but not promised fails nothing.
        let violation = case.violation.clone().filter(|_| is_broken);
        let mut outcome = Outcome::of(&Case { violation, ..case.clone() }, files.as_ref());
        match (&run.unknown, is_broken) {
            (_, true) => self.broken += 1,
            (Some(why), false) => {
                self.unknown += 1;
                outcome.told = Told::Unknown { why: why.clone() };
            }
            (None, false) if run.told.is_empty() => self.held += 1,
            (None, false) => self.noted += 1,
        }
        if self.replay.is_none() && (run.unknown.is_some() || is_broken) {
            self.replay = Some(case.replay.clone());
        }
        self.suite.outcomes.push(outcome);
    }

    fn not_made(&mut self, job: &Job, why: &str) {
        say!("{:<8}{:<21} {}", "unknown", job.plan.scenario, why.replace('\n', "\n        "));
        self.unknown += 1;
        self.replay.get_or_insert_with(|| replay(self.args, &job.plan));
        self.suite.outcomes.push(Outcome {
            tier: "live".to_owned(),
            name: job.plan.scenario.clone(),
            elapsed: Duration::ZERO,
            told: Told::Unknown { why: why.to_owned() },
            attachments: Vec::new(),
        });
    }

    fn summary(self, made: usize) -> Result<Verdict, Error> {
        if let Some(error) = self.trouble {
            return Err(error);
        }
        let Self { held, noted, broken, unknown, .. } = self;
        say!("{made} runs: {held} held, {noted} noted, {broken} broken, {unknown} unknown");
        if let Some(replay) = self.replay {
            say!("{replay}");
        }
        Ok(match (broken, unknown, held + noted) {
            (1.., ..) => Verdict::Violation,
            (0, 1.., _) | (0, 0, 0) => Verdict::Unknown,
            (0, 0, 1..) => Verdict::Valid,
        })
    }
}

/// The folder of a run's artefacts.
fn name(run: &Run) -> String {
    let client = as_folder(run.hello.name.as_str());
    format!("live-{}-{client}-{:#x}", run.plan.scenario, run.plan.seed)
}

/// What was found, one line for each word and invariant: a lock that is wrong is so again and again.
fn lines(run: &Run) -> Vec<String> {
    let mut lines: Vec<(&Finding, usize)> = Vec::new();
    for finding in &run.told {
        let same = |(other, _): &&mut (&Finding, usize)| {
            other.word == finding.word && other.invariant == finding.invariant
        };
        match lines.iter_mut().find(same) {
            Some((_, more)) => *more += 1,
            None => lines.push((finding, 0)),
        }
    }
    let line = |(finding, more): (&Finding, usize)| {
        let Finding { invariant, word, story, .. } = finding;
        let aside =
            if run.broken.contains(finding) { "" } else { ", which this client does not promise" };
        let more = if more > 0 { format!(" (and {more} times more)") } else { String::new() };
        format!("{word} ({invariant}){aside}: {story}{more}")
    };
    lines.into_iter().map(line).collect()
}

/// The command that does the same again, as far as real machines do.
fn replay(args: &Args, plan: &Plan) -> String {
    let Plan { scenario, seed, .. } = plan;
    let (nodes, clients, client) = (args.nodes.words(), args.clients, args.client.words());
    let strict = if args.strict { " --strict" } else { "" };
    format!(
        "redlatch-harness live --scenario {scenario} --seed {seed:#x}{nodes} --clients \
         {clients}{strict}{client}"
    )
}

fn list() {
    for scenario in SCENARIOS {
        say!("{:<21} {:<8} {}", scenario.name, scenario.group.name(), scenario.fault);
        say!("{:30} holds: {}", "", scenario.holds);
        say!("{:30} else users notice: {}", "", scenario.notice);
    }
}
