//! A run: every subject in every scenario, each in a process of its own, in rounds of changing order.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime};

use redlatch_harness::live::adapter::{AdapterCommand, folder};

use crate::arena::Arena;
use crate::record::{Line, Measured, Phase, Record, Run, Task};
use crate::scenario::{Clients, Scenario, Shape};
use crate::subject;

/// How long a subject may take beyond what it measures.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long subjects go on after a fault before the clock counts.
const SETTLE: f64 = 0.3;
/// How long held locks are watched, at least: three renewals of each.
const HELD_SECONDS: f64 = 10.0;

/// What to do.
pub struct Plan {
    /// How often.
    pub rounds: usize,
    /// How long each measurement takes.
    pub seconds: f64,
    /// Who.
    pub subjects: Vec<&'static str>,
    /// What.
    pub scenarios: Vec<Scenario>,
}

impl Plan {
    /// Whether the subject is measured in the scenario. What tells least is left out, so that a whole run
    /// takes minutes: a library that waits for every node, or has no renewal, tells nothing by some.
    fn has(subject: &str, scenario: &Scenario) -> bool {
        let is_driver = matches!(subject, "ours-plain" | "ours-fenced");
        let is_swift_peer = matches!(subject, "rslock" | "node-redlock");
        match scenario.shape {
            Shape::Held => subject == "ours-renewed",
            Shape::Contention { workers, clients } => {
                let usual = workers == 8 && clients == Clients::Shared && scenario.hung == 0;
                is_driver || (usual && is_swift_peer)
            }
            Shape::Pairs { .. } => match (scenario.hung, scenario.down) {
                (0, 0) => true,
                (1, 0) => !matches!(subject, "ours-unfenced" | "ours-renewed"),
                (0, 1) => is_driver || is_swift_peer || subject.starts_with("raw-"),
                (_, _) => is_driver || subject.starts_with("raw-"),
            },
        }
    }
}

/// Does all of it; `tell` hears of each record.
pub fn run(plan: &Plan, mut tell: impl FnMut(&Record)) -> Result<Run, String> {
    let arena = Arena::start()?;
    let mut run = Run {
        started_unix: unix_seconds(),
        machine: machine(&arena),
        seconds: plan.seconds,
        ..Run::default()
    };
    let mut present = Vec::new();
    for name in &plan.subjects {
        match Launcher::of(name) {
            Ok(launcher) => present.push((*name, launcher)),
            Err(why) => drop(run.missing.insert((*name).to_owned(), why)),
        }
    }
    let load = Load::now();
    let mut ours = 0.0;
    for round in 0..plan.rounds {
        for scenario in &plan.scenarios {
            let mut subjects: Vec<_> =
                present.iter().filter(|(name, _)| Plan::has(name, scenario)).collect();
            let count = subjects.len().max(1);
            subjects.rotate_left(round % count);
            for (name, launcher) in subjects {
                let record = one(&arena, plan, round, scenario, name, launcher)?;
                for phase in &record.phases {
                    ours += phase.measured.cpu_us + phase.seen.cpu_us * 5.0;
                }
                tell(&record);
                run.records.push(record);
            }
        }
    }
    run.others = load.others(ours / 1e6);
    Ok(run)
}

/// One subject in one scenario.
fn one(
    arena: &Arena,
    plan: &Plan,
    round: usize,
    scenario: &Scenario,
    subject: &str,
    launcher: &Launcher,
) -> Result<Record, String> {
    let (workers, contended, own_clients) = match scenario.shape {
        Shape::Pairs { workers } => (workers, false, false),
        Shape::Held => (1, false, false),
        Shape::Contention { workers, clients } => (workers, true, clients == Clients::Own),
    };
    let seconds = match scenario.shape {
        Shape::Held => plan.seconds.max(HELD_SECONDS),
        Shape::Pairs { .. } => plan.seconds,
        // A wait is many sections long.
        Shape::Contention { .. } => plan.seconds * 2.0,
    };
    let task = Task {
        subject: subject.to_owned(),
        scenario: *scenario,
        nodes: arena.urls(),
        seconds,
        workers,
        contended,
        own_clients,
        settle_seconds: if scenario.is_faulty() { SETTLE } else { 0.0 },
    };
    let mut phases = Vec::new();
    let failure = conduct(arena, &task, launcher, &mut phases).err();
    arena.heal(scenario)?;
    let keys_left = arena.clear()?;
    let (scenario, subject) = (*scenario, subject.to_owned());
    Ok(Record { round, scenario, subject, phases, keys_left, failure })
}

/// Leads a subject's process through its phases.
fn conduct(
    arena: &Arena,
    task: &Task,
    launcher: &Launcher,
    phases: &mut Vec<Phase>,
) -> Result<(), String> {
    let mut process = Running::start(launcher, task)?;
    match process.read(task)? {
        Line::Ready => {}
        Line::Measured(_) => return Err("it measured before it was told to".to_owned()),
    }
    arena.harm(&task.scenario)?;
    for _ in 0..task.scenario.phases() {
        let look = arena.look(&task.scenario)?;
        process.go_on()?;
        let measured = match process.read(task)? {
            Line::Measured(measured) => *measured,
            Line::Ready => return Err("it was ready twice".to_owned()),
        };
        let seen = look.end()?;
        phases.push(Phase { measured, seen });
    }
    // What it still has to do it does on nodes that are well.
    arena.heal(&task.scenario)?;
    process.go_on()?;
    process.end()
}

/// How a subject's process is started.
struct Launcher {
    argv: Vec<String>,
    environment: BTreeMap<String, String>,
    complaints: Complaints,
}

/// What becomes of what a subject writes to stderr.
#[derive(Clone, Copy)]
enum Complaints {
    Shown,
    /// Libraries that log each failure say the same thousands of times; we count errors.
    Dropped,
}

impl Launcher {
    fn of(subject: &str) -> Result<Self, String> {
        let known = subject::PROGRAMS.iter().find(|(name, _)| *name == subject);
        let Some((name, adapter)) = known else {
            let program = std::env::current_exe().map_err(|error| error.to_string())?;
            let argv = vec![program.to_string_lossy().into_owned(), "subject".to_owned()];
            let (environment, complaints) = (BTreeMap::new(), Complaints::Shown);
            return Ok(Self { argv, environment, complaints });
        };
        let adapters = folder().ok_or("run it in the tree: harness/adapters is not here")?;
        let root = adapters.ancestors().nth(2).ok_or("harness/adapters is not below a tree")?;
        let installed = AdapterCommand::load(&adapters.join(adapter));
        let installed = installed.map_err(|error| error.to_string())?;
        if !installed.is_installed() {
            return Err(format!(
                "not installed: cargo run -p redlatch-harness -- adapter install {adapter}"
            ));
        }
        let extension = if installed.environment.contains_key("NODE_PATH") { "cjs" } else { "py" };
        let program = root.join(format!("bench/programs/{name}.{extension}"));
        let interpreter = installed.argv.first().ok_or("the adapter has no program")?.clone();
        let argv = vec![interpreter, program.to_string_lossy().into_owned()];
        let (environment, complaints) = (installed.environment, Complaints::Dropped);
        Ok(Self { argv, environment, complaints })
    }
}

/// A subject's process, which ends with this.
struct Running {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Running {
    fn start(launcher: &Launcher, task: &Task) -> Result<Self, String> {
        let task = serde_json::to_string(task).map_err(|error| error.to_string())?;
        let [program, arguments @ ..] = launcher.argv.as_slice() else {
            return Err("there is no program".to_owned());
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(task).envs(&launcher.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(match launcher.complaints {
            Complaints::Shown => Stdio::inherit(),
            Complaints::Dropped => Stdio::null(),
        });
        let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err("no pipes to the process".to_owned());
        };
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, lines })
    }

    fn read(&self, task: &Task) -> Result<Line, String> {
        let patience = PATIENCE + Duration::from_secs_f64(task.seconds);
        let line = self.lines.recv_timeout(patience).map_err(|_| "it ended, or hangs")?;
        serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))
    }

    fn go_on(&mut self) -> Result<(), String> {
        writeln!(self.stdin, "go").map_err(|error| error.to_string())
    }

    fn end(mut self) -> Result<(), String> {
        // Its last line closes what we read.
        match self.lines.recv_timeout(PATIENCE) {
            Err(mpsc::RecvTimeoutError::Disconnected) => {}
            Ok(line) => return Err(format!("it said more than it was asked: {line}")),
            Err(mpsc::RecvTimeoutError::Timeout) => return Err("it does not end".to_owned()),
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Ticks of all processors that were not idle.
struct Load {
    at: std::time::Instant,
    busy_seconds: f64,
}

impl Load {
    fn now() -> Self {
        Self { at: std::time::Instant::now(), busy_seconds: busy_seconds() }
    }

    /// Processors that were used for something else, on average.
    fn others(&self, ours_seconds: f64) -> f64 {
        let busy = busy_seconds() - self.busy_seconds - ours_seconds;
        (busy / self.at.elapsed().as_secs_f64()).max(0.0)
    }
}

/// `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, in hundredths of a second.
fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks = first.split_whitespace().skip(1).map(|tick| tick.parse().unwrap_or(0.0));
    let busy = ticks.take(7).enumerate().filter(|(place, _)| !matches!(place, 3 | 4));
    busy.map(|(_, tick): (_, f64)| tick).sum::<f64>() / 100.0
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn machine(arena: &Arena) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} × {model}, Redis {}", arena.server())
}

/// The last phase's measurement, which is what a record is about.
#[must_use]
pub fn last(record: &Record) -> Option<&Measured> {
    record.phases.last().map(|phase| &phase.measured)
}
