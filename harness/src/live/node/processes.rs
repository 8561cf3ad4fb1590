//! Nodes that are processes of this machine.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::clock::{self, WallClock};
use super::home::{CONFIGURATION, Home, OUTPUT};
use super::{Ability, Backend, Fsync, Keep, Node, NodeError, at_once, ready};
use crate::live::estate::{self, Estate};
use crate::live::process::Process;
use crate::port::Port;

/// Why a node has no clock of its own.
const NO_FAKETIME: &str = "libfaketime is not installed, or was switched off; on Debian: sudo apt-get install \
                           libfaketime";

/// `redis-server` processes on 127.0.0.1, each with a folder and a port of its own.
///
/// They have wall clocks of their own where libfaketime is installed.
#[derive(Clone, Debug)]
pub struct Processes {
    program: OsString,
    fsync: Fsync,
    preload: Option<String>,
    args: Vec<String>,
}

impl Default for Processes {
    fn default() -> Self {
        let preload = clock::preload();
        Self { program: "redis-server".into(), fsync: Fsync::Off, preload, args: Vec::new() }
    }
}

impl Processes {
    /// The `redis-server` that is found in `PATH`, without persistence.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another server program, by name or path; it must know the options of Redis 7.0.
    #[must_use]
    pub fn program(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// Whether and when they write to disk, from the start.
    #[must_use]
    pub fn fsync(mut self, fsync: Fsync) -> Self {
        self.fsync = fsync;
        self
    }

    /// Without wall clocks of their own: libfaketime costs a server some 15 µs for each command.
    #[must_use]
    pub fn without_clocks(mut self) -> Self {
        self.preload = None;
        self
    }

    /// Adds an argument to the command line, which overrules the configuration.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }
}

impl Backend for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn start(&self, count: usize) -> Result<Vec<Arc<dyn Node>>, NodeError> {
        at_once(count, |index| {
            let node = ProcessNode::new(index, self)?;
            node.start(Keep::All)?;
            Ok(Arc::new(node) as Arc<dyn Node>)
        })
    }
}

/// One process, over all its lives.
struct ProcessNode {
    name: String,
    port: Port,
    config: Processes,
    // In this order: the process is gone before its folder, and the folder before the one around it.
    state: Mutex<State>,
    _folder: TempDir,
    _estate: Arc<Estate>,
}

#[derive(Debug)]
struct State {
    process: Option<Process>,
    started: std::time::SystemTime,
    home: Home,
}

impl fmt::Debug for ProcessNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process on {})", self.name, self.port.addr())
    }
}

impl ProcessNode {
    fn new(index: usize, config: &Processes) -> Result<Self, NodeError> {
        let name = format!("n{index}");
        let failed = |error| NodeError::failed(&name, "make a folder and a port", error);
        let estate = Estate::open().map_err(failed)?;
        let folder = estate.part(&name).map_err(failed)?;
        let port = Port::reserve().map_err(failed)?;
        let listen = (IpAddr::V4(Ipv4Addr::LOCALHOST), port.number());
        let home = Home::new(folder.path(), folder.path(), listen, config.fsync);
        let state = State { process: None, started: std::time::SystemTime::now(), home };
        let (state, config) = (Mutex::new(state), config.clone());
        Ok(Self { name, port, config, state, _folder: folder, _estate: estate })
    }

    /// Even after a thread panicked while it held the lock, `Drop` must get at the process.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self, home: &Home) -> io::Result<Process> {
        let output = File::options().create(true).append(true).open(home.folder().join(OUTPUT))?;
        let mut command = Command::new(&self.config.program);
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        command.arg(home.folder().join(CONFIGURATION)).args(&self.config.args);
        if let Some(preload) = &self.config.preload {
            command.envs(clock::environment(preload, &home.folder().join(clock::FILE)));
        }
        let process = Process::start(command)?;
        fs::write(home.folder().join(estate::PROCESS), process.id().to_string() + "\n")?;
        Ok(process)
    }

    fn failed(&self, what: &str, why: impl fmt::Display) -> NodeError {
        NodeError::failed(&self.name, what, why)
    }
}

impl Node for ProcessNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    fn can(&self, ability: Ability) -> bool {
        match ability {
            Ability::Process
            | Ability::Pause
            | Ability::Wipe
            | Ability::PowerLoss
            | Ability::Command => true,
            Ability::ClockShift | Ability::ClockRate => self.config.preload.is_some(),
        }
    }

    fn kill(&self) -> Result<(), NodeError> {
        let mut state = self.state();
        if let Some(mut process) = state.process.take() {
            process.kill();
            state.home.note_end();
            clock::forget_shared_memory(process.id());
        }
        Ok(())
    }

    fn stop(&self) -> Result<(), NodeError> {
        let mut state = self.state();
        if let Some(process) = &mut state.process {
            process.terminate().map_err(|error| self.failed("stop", error))?;
            state.process = None;
            state.home.note_end();
        }
        Ok(())
    }

    fn start(&self, keep: Keep) -> Result<(), NodeError> {
        self.kill()?;
        let pid = {
            let mut state = self.state();
            state.home.prepare(keep).map_err(|error| self.failed("write its files", error))?;
            state.started = std::time::SystemTime::now();
            let process = self.launch(&state.home).map_err(|error| {
                let program = self.config.program.display();
                self.failed("start", format!("cannot run {program} ({error}); is it installed?"))
            })?;
            let pid = process.id();
            state.process = Some(process);
            pid
        };
        let answers =
            ready(&self.url(), || self.state().process.as_mut().is_some_and(Process::is_running));
        clock::forget_shared_memory(pid);
        answers.map_err(|error| {
            let words = self.state().home.last_words();
            self.failed("start", format!("{error}; it said:\n{words}"))
        })
    }

    fn pause(&self) -> Result<(), NodeError> {
        let mut state = self.state();
        let process = state.process.as_mut().ok_or_else(|| self.failed("pause", "it is down"))?;
        process.pause().map_err(|error| self.failed("pause", error))
    }

    fn resume(&self) -> Result<(), NodeError> {
        let mut state = self.state();
        let process = state.process.as_mut().ok_or_else(|| self.failed("resume", "it is down"))?;
        process.resume().map_err(|error| self.failed("resume", error))
    }

    fn set_clock(&self, ahead_ms: i64, rate_ppm: i32) -> Result<(), NodeError> {
        if self.config.preload.is_none() {
            return Err(NodeError::unable(&self.name, Ability::ClockShift, NO_FAKETIME));
        }
        let mut state = self.state();
        state.home.clock = WallClock::set(ahead_ms, rate_ppm);
        let written = state.home.clock.write(state.home.folder(), state.started);
        written.map_err(|error| self.failed("set its clock", error))
    }

    fn remember(&self, name: &str, value: &str) {
        self.state().home.remember(name, value);
    }
}

impl Drop for ProcessNode {
    fn drop(&mut self) {
        // It cannot fail here.
        let _ = self.kill();
    }
}
