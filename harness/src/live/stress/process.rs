//! The process of the clients, seen from outside.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::clients::{GO, Init, Line, Report, STOP};
use super::{Counts, Stress, TTL};
use crate::live::network::Network;
use crate::live::node::Node;
use crate::live::process::Process;
use crate::live::run::RunError;

/// How long it may take to do a step: at the end two hundred clients give up what they have.
const STEP_MAX: Duration = Duration::from_secs(90);

/// The clients. They end when this is dropped.
pub(super) struct Clients {
    process: Process,
    steps: Option<ChildStdin>,
    /// What it told last, and what comes.
    counts: Arc<Mutex<Counts>>,
    lines: Receiver<Line>,
}

impl Clients {
    /// Starts the process; it does nothing yet.
    pub(super) fn start(
        stress: &Stress,
        nodes: &[Arc<dyn Node>],
        network: &Network,
        resources: &[String],
    ) -> Result<Self, RunError> {
        let init = Init {
            ways: (0..super::WAYS).map(|way| network.urls(way)).collect(),
            nodes: nodes.iter().map(|node| node.url()).collect(),
            clients: stress.clients,
            resources: resources.to_vec(),
            ttl_ms: u64::try_from(TTL.as_millis()).unwrap_or(u64::MAX),
            seed: stress.seed,
            plant: stress.plant,
        };
        let missing = || RunError::Plan("no command for the clients' process".to_owned());
        let (program, words) = stress.command.split_first().ok_or_else(missing)?;
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        // What counts is what is kept, not how many heaps threads happen to meet in.
        command.env("MALLOC_ARENA_MAX", "1");
        let mut process = Process::start(command)?;
        let pipes = (process.child().stdin.take(), process.child().stdout.take());
        let (Some(mut steps), Some(out)) = pipes else {
            return Err(RunError::Plan("the clients' process has no pipes".to_owned()));
        };
        let (line, lines) = mpsc::channel();
        let counts = Arc::new(Mutex::new(Counts::default()));
        let told = Arc::clone(&counts);
        thread::spawn(move || {
            for text in BufReader::new(out).lines().map_while(Result::ok) {
                match serde_json::from_str(&text) {
                    Ok(Line::Counts(counts)) => {
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = counts;
                    }
                    Ok(other) => drop(line.send(other)),
                    // It ends, and that is an error.
                    Err(_) => return,
                }
            }
        });
        serde_json::to_writer(&mut steps, &init).map_err(io::Error::from)?;
        steps.write_all(b"\n")?;
        let mut this = Self { process, steps: Some(steps), counts, lines };
        match this.next()? {
            Line::Ready => Ok(this),
            Line::Counts(_) | Line::Report(_) => Err(nonsense()),
        }
    }

    fn next(&mut self) -> Result<Line, RunError> {
        self.lines.recv_timeout(STEP_MAX).map_err(|error| {
            RunError::Plan(match error {
                RecvTimeoutError::Timeout => {
                    format!("the clients' process did not answer for {STEP_MAX:?}")
                }
                RecvTimeoutError::Disconnected => "the clients' process ended".to_owned(),
            })
        })
    }

    fn step(&mut self, step: &str) -> Result<(), RunError> {
        let steps = self.steps.as_mut().ok_or_else(nonsense)?;
        Ok(steps.write_all(format!("{step}\n").as_bytes())?)
    }

    /// The clients begin.
    pub(super) fn go(&mut self) -> Result<(), RunError> {
        self.step(GO)
    }

    /// The clients end, and all that was theirs is given up.
    pub(super) fn stop(&mut self) -> Result<Report, RunError> {
        self.step(STOP)?;
        match self.next()? {
            Line::Report(report) => Ok(report),
            Line::Ready | Line::Counts(_) => Err(nonsense()),
        }
    }

    /// The process ends.
    pub(super) fn quit(mut self) {
        drop(self.steps.take());
    }

    /// All of them stand still, as they would on a machine that does, and go on.
    pub(super) async fn stand_still(&mut self, lasts: Duration) -> Result<(), RunError> {
        self.process.pause()?;
        tokio::time::sleep(lasts).await;
        Ok(self.process.resume()?)
    }

    /// What they have done so far.
    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of its memory is in use, in bytes.
    pub(super) fn resident(&self) -> Result<u64, RunError> {
        let status = fs::read_to_string(self.file("status")).map_err(only_linux)?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(nonsense)
    }

    /// How many files and sockets it has open.
    pub(super) fn descriptors(&self) -> Result<usize, RunError> {
        Ok(fs::read_dir(self.file("fd")).map_err(only_linux)?.count())
    }

    /// How many threads it has.
    pub(super) fn threads(&self) -> Result<usize, RunError> {
        Ok(fs::read_dir(self.file("task")).map_err(only_linux)?.count())
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process.id())
    }
}

fn nonsense() -> RunError {
    RunError::Plan("the clients' process says something else than it should".to_owned())
}

fn only_linux(error: io::Error) -> RunError {
    RunError::Plan(format!("what a process has can be seen on Linux only: {error}"))
}
