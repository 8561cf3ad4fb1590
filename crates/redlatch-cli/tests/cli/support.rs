//! Starts the command and looks at what it does. Nothing sleeps: tests wait for lines and ends.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};

use redlatch_tests::{Cluster, Owner};
use rustix::process::{Pid, Signal};
use serde_json::Value;

/// The command under test.
pub(crate) const REDLATCH: &str = env!("CARGO_BIN_EXE_redlatch");

/// `redlatch` with these nodes in its environment, and nothing else of the tester's settings. It has a
/// session of its own, and so no terminal, whoever runs the tests.
pub(crate) fn redlatch<S: AsRef<OsStr>>(
    nodes: &[String],
    args: impl IntoIterator<Item = S>,
) -> Command {
    program(REDLATCH, nodes, args)
}

/// The same for a program that starts `redlatch`.
pub(crate) fn program<S: AsRef<OsStr>>(
    program: &str,
    nodes: &[String],
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = bare(program);
    command.args(args);
    // SAFETY: between fork and exec only `setsid` is called, a plain system call that is safe there.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into));
    }
    if !nodes.is_empty() {
        command.env("REDLATCH_NODES", nodes.join(","));
    }
    command
}

/// A program without settings, and with pipes.
pub(crate) fn bare(program: &str) -> Command {
    let mut command = heeding_signals(program);
    for name in ["REDLATCH_NODES", "REDLATCH_CONFIG", "REDLATCH_RESOURCE", "REDLATCH_FENCE"] {
        command.env_remove(name);
    }
    // No configuration file of the tester's either.
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("HOME", "/nonexistent");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A program that ignores no signal, although the tests may have been started to do so, as by nohup or
/// in a script's background.
fn heeding_signals(program: &str) -> Command {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let tested = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
    if tested.iter().all(|signal| mask & (1 << (signal.as_raw() - 1)) == 0) {
        return Command::new(program);
    }
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(program);
    command
}

/// What a command that has ended has left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
        }
    }
}

impl Ended {
    /// Checks the code, and shows everything if it is another.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// What was printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).expect("JSON on standard output")
    }
}

/// Runs a command to its end.
pub(crate) fn ended(mut command: Command) -> Ended {
    command.output().expect("the command starts").into()
}

/// Runs `redlatch` with these arguments to its end.
pub(crate) fn run<S: AsRef<OsStr>>(nodes: &[String], args: impl IntoIterator<Item = S>) -> Ended {
    ended(redlatch(nodes, args))
}

/// Runs `redlatch` with this on its standard input to its end.
pub(crate) fn run_with_input(nodes: &[String], args: &[&str], input: &str) -> Ended {
    let mut command = redlatch(nodes, args);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // One that refuses its arguments does not read.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().expect("the command ends").into()
}

/// A command that is running; `Drop` kills it, so that no failed test leaves one behind.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// Starts a command and goes on.
pub(crate) fn start(mut command: Command) -> Running {
    let mut child = command.spawn().expect("the command starts");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    Running { child, stdout }
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its standard input, if that is a pipe.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for the next line on standard output; empty at its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("standard output");
        line.trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn wait_for(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("it runs");
    }

    /// Waits until it has ended and everybody has closed its standard output: also whom it started.
    pub(crate) fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).expect("standard output");
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr).expect("standard error");
        }
        Ended { code: self.status().code(), stdout, stderr }
    }

    pub(crate) fn status(&mut self) -> ExitStatus {
        self.child.wait().expect("the child is ours to wait for")
    }

    /// The signal that has ended it.
    pub(crate) fn ended_by(&mut self) -> Option<i32> {
        self.status().signal()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits for what no call can wait for.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(redlatch_tests::eventually(what, async || condition()));
}

/// On how many nodes somebody holds the lock.
pub(crate) fn holders(cluster: &Cluster, resource: &str) -> usize {
    let owners = cluster.owner_of(resource);
    owners.iter().filter(|owner| matches!(owner, Owner::Token(_))).count()
}

/// Whether the lock can be taken: a majority of all nodes has no key for it. What a slow minority
/// still has expires.
pub(crate) fn is_free(cluster: &Cluster, resource: &str) -> bool {
    holders(cluster, resource) < cluster.len().div_ceil(2)
}

/// The token that somebody holds the lock with, on the first node that has one.
pub(crate) fn token(cluster: &Cluster, resource: &str) -> Option<String> {
    cluster.owner_of(resource).into_iter().find_map(|owner| match owner {
        Owner::Token(token) => Some(token),
        Owner::Nobody | Owner::Unknown => None,
    })
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a readable file")
}

/// The value of a word `key=value` in a line.
pub(crate) fn word<'a>(line: &'a str, key: &str) -> &'a str {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {key} in {line}"))
}
