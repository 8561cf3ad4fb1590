//! However a process ends, nothing of it is left: no server, no container, no folder.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use redlatch_harness::live::PATIENCE;
use redlatch_harness::live::estate::{Estate, LABEL};
use redlatch_harness::live::node::{Backend, Containers, Fsync, Processes};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::eventually;

/// Tells a victim which backend it starts, and how it ends by itself: `processes panic`.
const VICTIM: &str = "REDLATCH_LIVE_VICTIM";

/// Marks the line by which a victim tells its folder and where its nodes are.
const HERE: &str = "here: ";

/// How a victim comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Returns,
    Panics,
    Aborts,
    /// Ctrl-C on a terminal: to all processes of the group.
    Interrupted,
    Terminated,
    Killed,
}

#[test]
fn nothing_of_processes_is_left_however_we_end() {
    for end in
        [End::Returns, End::Panics, End::Aborts, End::Interrupted, End::Terminated, End::Killed]
    {
        Victim::start("processes", end).ends(end);
    }
}

#[test]
fn nothing_of_containers_is_left_however_we_end() {
    for end in [End::Panics, End::Interrupted, End::Killed] {
        Victim::start("containers", end).ends(end);
    }
}

/// Not even somebody who waits for the end is left: the next process does it.
#[test]
fn what_the_heir_could_not_do_the_next_process_does() {
    let mut victim = Victim::start("containers", End::Killed);
    let heir = victim.heir();
    kill_process(heir, Signal::KILL).expect("the heir is there");
    // Looked at before its end: after that, any other process may already have cleared it away.
    assert!(victim.folder.exists() && !victim.containers().is_empty(), "the canary");
    victim.child.kill().expect("the victim is ours");
    victim.child.wait().expect("the victim is ours");
    Victim::start("containers", End::Returns).ends(End::Returns);
    victim.is_gone(End::Killed);
}

/// What the others start: not a test by itself, so it only says so.
#[test]
fn a_victim_is_started_by_the_tests_beside_it() {
    let Ok(role) = std::env::var(VICTIM) else {
        let estate = Estate::open().expect("an estate");
        assert!(estate.folder().exists());
        return;
    };
    let (backend, end) = role.split_once(' ').expect("two words");
    let started = match backend {
        "processes" => Processes::new().fsync(Fsync::EverySecond).start(2),
        _ => Containers::new().fsync(Fsync::EverySecond).start(2),
    };
    let nodes = started.expect("nodes");
    nodes[1].pause().expect("it can be paused");
    nodes[0].set_clock(60_000, 0).expect("it has a clock");
    let estate = Estate::open().expect("an estate");
    println!("\n{HERE}{} {} {}", estate.folder().display(), nodes[0].addr(), nodes[1].addr());
    drop(estate);
    match end {
        "Panics" => panic!("as a failing test does"),
        "Aborts" => std::process::abort(),
        "Returns" => {}
        _ => thread::sleep(6 * PATIENCE),
    }
}

struct Victim {
    child: Child,
    folder: PathBuf,
    nodes: Vec<SocketAddr>,
}

impl Victim {
    fn start(backend: &str, end: End) -> Self {
        let program = std::env::current_exe().expect("this test's program");
        let test = "left_behind::a_victim_is_started_by_the_tests_beside_it";
        let mut child = Command::new(program)
            .args(["--exact", test, "--nocapture"])
            .env(VICTIM, format!("{backend} {end:?}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("this test's program runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(HERE).map(str::to_owned))
            .expect("the victim tells where it is");
        let words: Vec<_> = line.split(' ').collect();
        let addr = |word: &&str| word.parse().expect("an address");
        Self { child, folder: words[0].into(), nodes: words[1..].iter().map(addr).collect() }
    }

    fn ends(mut self, end: End) {
        let pid = Pid::from_child(&self.child);
        match end {
            End::Returns | End::Panics | End::Aborts => {}
            End::Interrupted => kill_process_group(pid, Signal::INT).expect("it is ours"),
            End::Terminated => kill_process(pid, Signal::TERM).expect("it is ours"),
            End::Killed => kill_process(pid, Signal::KILL).expect("it is ours"),
        }
        let status = self.child.wait().expect("the victim is ours");
        let signal = match end {
            End::Returns | End::Panics => None,
            End::Aborts => Some(Signal::ABORT.as_raw()),
            End::Interrupted => Some(Signal::INT.as_raw()),
            End::Terminated => Some(Signal::TERM.as_raw()),
            End::Killed => Some(Signal::KILL.as_raw()),
        };
        assert_eq!(status.signal(), signal, "{status}");
        self.is_gone(end);
    }

    fn is_gone(&self, end: End) {
        eventually(&format!("{end:?}: the folder is gone"), || !self.folder.exists());
        eventually(&format!("{end:?}: the containers are gone"), || self.containers().is_empty());
        for node in &self.nodes {
            let is_down = || TcpStream::connect(node).is_err();
            eventually(&format!("{end:?}: {node} is down"), is_down);
        }
        assert_eq!(shared_memory(), Vec::<String>::new(), "{end:?}");
    }

    /// The containers of its estate, by the engine's own word.
    fn containers(&self) -> Vec<String> {
        let filter = format!("label={LABEL}");
        let format = format!("{{{{.ID}}}} {{{{.Label \"{LABEL}\"}}}}");
        let output = Command::new("docker")
            .args(["ps", "-a", "--filter", &filter, "--format", &format])
            .output()
            .expect("docker; `just setup` installs it");
        assert!(output.status.success(), "no Docker engine answers; `just setup` starts one");
        let text = String::from_utf8(output.stdout).expect("text");
        let folder = format!(":{}", self.folder.display());
        text.lines().filter(|line| line.ends_with(&folder)).map(str::to_owned).collect()
    }

    /// The process that waits for the victim's end.
    fn heir(&self) -> Pid {
        let is_heir = |process: &Path| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            let folder = self.folder.as_os_str().as_encoded_bytes();
            words.contains(&&b"redlatch-heir"[..]) && words.contains(&folder)
        };
        let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
        let heir = processes
            .filter(|process| is_heir(process))
            .find_map(|process| Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?));
        heir.expect("the heir waits")
    }
}

/// What libfaketime left of processes that are no more.
fn shared_memory() -> Vec<String> {
    let names = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_left = |name: &String| {
        let pid = name.strip_prefix("faketime_shm_").or(name.strip_prefix("sem.faketime_sem_"));
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    names.filter(is_left).collect()
}
