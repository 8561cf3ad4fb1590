//! One lock client in a process of its own.
//!
//! Three threads carry what it reads and writes, so that the time of each line is when it arrived and
//! not when somebody looked, and so that nothing here waits for a process that stands still.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::mpsc;

use super::manifest::AdapterCommand;
use super::protocol::{
    Body, Failure, Fields, Flaw, Grant, Handle, Hello, Init, Kind, Line, Op, Request, VERSION,
    to_ms,
};
use super::redact::redact;
use crate::live::process::spawn;

/// No line of the protocol is longer; what is, is not of the protocol.
const LINE_MAX: u64 = 64 * 1024;
/// Of a line that makes no sense, what is shown.
const QUOTE_MAX: usize = 200;
/// Lines that wait to be looked at; then the process has to wait.
const LINES_MAX: usize = 64;
/// Lost events that nobody has asked for yet. A client holds a few locks at a time.
const LOSSES_MAX: usize = 1024;
/// What is kept of stderr: the end, where the reason is.
const ERRORS_MAX: usize = 16 * 1024;
/// How often an exit is looked for.
const LOOK: Duration = Duration::from_millis(5);
/// How long a process whose stdout has ended may take to end itself, before it is said that it has not.
const FAREWELL: Duration = Duration::from_secs(1);

/// A lock client in a process of its own. Dropping it kills the process and its children.
///
/// One operation at a time. One that is [`Hung`](AdapterError::Hung) is still going on: its reply is
/// fetched with [`overdue`](Self::overdue), and until then nothing else can be asked for.
#[derive(Debug)]
pub struct Adapter {
    group: Group,
    requests: Option<SyncSender<String>>,
    arrived: mpsc::Receiver<Arrived>,
    losses: mpsc::Receiver<Loss>,
    errors: Arc<Mutex<VecDeque<u8>>>,
    asked: u64,
    outstanding: Option<Outstanding>,
}

/// What was asked for and not answered yet.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    id: u64,
    kind: Kind,
    sent: Instant,
}

/// What came from the process, and when.
#[derive(Debug)]
enum Arrived {
    Reply { id: u64, body: Body, read: Instant },
    Nonsense { line: String, flaw: Flaw },
}

/// An answer, and the time in which the operation took place.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// Before the request was written.
    pub sent: Instant,
    /// When the reply had been read. What was in it was so a moment earlier.
    pub read: Instant,
    /// What came of it.
    pub outcome: Result<T, Failure>,
}

/// The answer of an operation that had been [`Hung`](AdapterError::Hung).
#[derive(Clone, Debug)]
pub enum Overdue {
    /// Of [`Adapter::acquire`].
    Acquire(Answer<Grant>),
    /// Of [`Adapter::extend`].
    Extend(Answer<Duration>),
    /// Of [`Adapter::check`].
    Check(Answer<Duration>),
    /// Of [`Adapter::release`].
    Release(Answer<()>),
    /// Of the start or the end: nothing to be told.
    Other,
}

/// The client said by itself that a lock is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Which lock.
    pub handle: Handle,
    /// When the line was read.
    pub read: Instant,
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdapterError {
    /// The process could not be started.
    NotStarted {
        /// Its program.
        program: String,
        /// The system's reason.
        source: io::Error,
        /// What helps.
        advice: String,
    },
    /// The process says that it cannot work with these nodes or options.
    Refused(Failure),
    /// No reply so far. It may still come.
    Hung {
        /// What was asked for.
        what: &'static str,
        /// How long a reply was waited for.
        after: Duration,
    },
    /// The process has ended, or at least its stdout.
    Died {
        /// How it ended, if it did.
        status: Option<ExitStatus>,
        /// The end of its stderr, without secrets.
        errors: String,
    },
    /// The process wrote what the protocol does not have.
    Nonsense {
        /// The line, without secrets.
        line: String,
        /// What is wrong with it.
        flaw: String,
    },
    /// An operation that had no reply in time is still going on.
    Busy,
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { program, source, advice } => {
                write!(f, "{program} does not start: {source}. {advice}")
            }
            Self::Refused(failure) => write!(f, "init is refused: {failure}"),
            Self::Hung { what, after } => {
                write!(f, "no reply to {what} within {} ms", after.as_millis())
            }
            Self::Died { status, errors } => {
                match status {
                    Some(status) => write!(f, "the process ended ({status})")?,
                    None => f.write_str("the process closed its stdout")?,
                }
                match errors.trim() {
                    "" => f.write_str("; it wrote nothing to stderr"),
                    errors => write!(f, "; at the end of its stderr:\n{errors}"),
                }
            }
            Self::Nonsense { line, flaw } => write!(f, "{flaw}; the line was `{line}`"),
            Self::Busy => f.write_str("the operation before has no reply yet"),
        }
    }
}

impl std::error::Error for AdapterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotStarted { source, .. } => Some(source),
            Self::Refused(_)
            | Self::Hung { .. }
            | Self::Died { .. }
            | Self::Nonsense { .. }
            | Self::Busy => None,
        }
    }
}

impl Adapter {
    /// Starts the process and tells it its nodes. `patience` is for the start of both together.
    pub async fn start(
        command: &AdapterCommand,
        init: &Init,
        patience: Duration,
    ) -> Result<(Self, Hello), AdapterError> {
        let mut adapter = Self::spawn(command)?;
        let hello = adapter.init(init, patience).await?;
        Ok((adapter, hello))
    }

    /// Starts the process alone.
    pub(super) fn spawn(command: &AdapterCommand) -> Result<Self, AdapterError> {
        let not_started = |source| AdapterError::NotStarted {
            program: command.program().to_owned(),
            source,
            advice: command.advice(),
        };
        let mut process = command.to_command().map_err(not_started)?;
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group::start(process).map_err(not_started)?;
        let stdin = group.child.stdin.take();
        let stdout = group.child.stdout.take();
        let stderr = group.child.stderr.take();
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(not_started(io::ErrorKind::BrokenPipe.into()));
        };

        let (requests, to_write) = sync_channel::<String>(LINES_MAX);
        let (to_arrive, arrived) = mpsc::channel(LINES_MAX);
        let (to_lose, losses) = mpsc::channel(LOSSES_MAX);
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&errors);
        let named = |name: &str| thread::Builder::new().name(format!("adapter {name}"));
        named("stdin")
            .spawn(move || to_write.into_iter().try_for_each(|line| write(&stdin, &line)))
            .and_then(|_| named("stdout").spawn(move || read(stdout, &to_arrive, &to_lose)))
            .and_then(|_| named("stderr").spawn(move || keep_tail(stderr, &kept)))
            .map_err(not_started)?;
        let requests = Some(requests);
        Ok(Self { group, requests, arrived, losses, errors, asked: 0, outstanding: None })
    }

    pub(super) async fn init(
        &mut self,
        init: &Init,
        patience: Duration,
    ) -> Result<Hello, AdapterError> {
        let op = Op::Init {
            v: VERSION,
            nodes: &init.nodes,
            client: &init.client,
            options: (&init.options).into(),
        };
        let answer = self.ask(Kind::Init, op, Fields::hello, patience).await?;
        answer.outcome.map_err(AdapterError::Refused)
    }

    /// Asks for a lock on `resource`. `wait` is how long the client may wait for others to go; zero is one attempt.
    pub async fn acquire(
        &mut self,
        resource: &str,
        ttl: Duration,
        wait: Duration,
        patience: Duration,
    ) -> Result<Answer<Grant>, AdapterError> {
        let op = Op::Acquire { resource, ttl_ms: to_ms(ttl), wait_ms: to_ms(wait) };
        self.ask(Kind::Acquire, op, Fields::grant, patience).await
    }

    /// Asks for a lock to be held for `ttl` from now. Answers how long it is good for.
    pub async fn extend(
        &mut self,
        handle: &Handle,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Answer<Duration>, AdapterError> {
        let op = Op::Extend { handle, ttl_ms: to_ms(ttl) };
        self.ask(Kind::Extend, op, |fields| fields.valid(), patience).await
    }

    /// Asks how long a lock is still good for, as the client sees it.
    pub async fn check(
        &mut self,
        handle: &Handle,
        patience: Duration,
    ) -> Result<Answer<Duration>, AdapterError> {
        self.ask(Kind::Check, Op::Check { handle }, |fields| fields.valid(), patience).await
    }

    /// Asks for a lock to be given back.
    pub async fn release(
        &mut self,
        handle: &Handle,
        patience: Duration,
    ) -> Result<Answer<()>, AdapterError> {
        self.ask(Kind::Release, Op::Release { handle }, |_| Ok(()), patience).await
    }

    /// Asks for something that no adapter knows.
    pub(super) async fn dance(&mut self, patience: Duration) -> Result<Answer<()>, AdapterError> {
        let op = Op::Dance { future_field: true };
        self.ask(Kind::Dance, op, |_| Ok(()), patience).await
    }

    /// Asks the process to end, and waits until it has.
    pub async fn quit(mut self, patience: Duration) -> Result<ExitStatus, AdapterError> {
        let since = Instant::now();
        self.ask(Kind::Quit, Op::Quit, |_| Ok(()), patience).await?;
        let left = patience.saturating_sub(since.elapsed());
        self.exited(left).await.ok_or(AdapterError::Hung { what: "quit", after: patience })
    }

    /// Closes the process's stdin, and waits until the process has ended.
    pub(super) async fn hang_up(mut self, patience: Duration) -> Result<ExitStatus, AdapterError> {
        self.requests = None;
        let hung = AdapterError::Hung { what: "the end of its stdin", after: patience };
        self.exited(patience).await.ok_or(hung)
    }

    /// The reply to an operation that was [`Hung`](AdapterError::Hung), or nothing if none was.
    pub async fn overdue(&mut self, patience: Duration) -> Result<Option<Overdue>, AdapterError> {
        let Some(outstanding) = self.outstanding else { return Ok(None) };
        Ok(Some(match outstanding.kind {
            Kind::Acquire => Overdue::Acquire(self.reply(Fields::grant, patience).await?),
            Kind::Extend => Overdue::Extend(self.reply(|it| it.valid(), patience).await?),
            Kind::Check => Overdue::Check(self.reply(|it| it.valid(), patience).await?),
            Kind::Release => Overdue::Release(self.reply(|_| Ok(()), patience).await?),
            Kind::Init | Kind::Quit | Kind::Dance => {
                self.reply(|_| Ok(()), patience).await?;
                Overdue::Other
            }
        }))
    }

    /// The lost events that have been read and not been asked for yet.
    pub fn losses(&mut self) -> Vec<Loss> {
        std::iter::from_fn(|| self.losses.try_recv().ok()).collect()
    }

    /// The next lost event, or nothing if the process writes no more. Nothing is missed if this is dropped.
    pub async fn lost(&mut self) -> Option<Loss> {
        self.losses.recv().await
    }

    /// Stops the process and its children where they are (SIGSTOP). They stand still when this returns.
    pub fn pause(&self) -> io::Result<()> {
        self.group.pause()
    }

    /// Lets the process and its children go on (SIGCONT).
    pub fn resume(&self) -> io::Result<()> {
        self.group.signal(Signal::CONT)
    }

    /// Kills the process and its children (SIGKILL). They are gone when this returns.
    pub fn kill(&mut self) {
        self.group.end();
    }

    /// The end of what the process has written to stderr, without secrets.
    pub fn errors(&self) -> String {
        let mut kept = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        redact(&String::from_utf8_lossy(kept.make_contiguous()))
    }

    async fn ask<T>(
        &mut self,
        kind: Kind,
        op: Op<'_>,
        take: impl FnOnce(Fields) -> Result<T, Flaw>,
        patience: Duration,
    ) -> Result<Answer<T>, AdapterError> {
        if self.outstanding.is_some() {
            return Err(AdapterError::Busy);
        }
        self.asked += 1;
        let id = self.asked;
        let mut line = serde_json::to_string(&Request { id, op })
            .map_err(|error| nonsense(String::new(), error.to_string()))?;
        line.push('\n');
        self.outstanding = Some(Outstanding { id, kind, sent: Instant::now() });
        let sent = self.requests.as_ref().map(|requests| requests.try_send(line));
        match sent {
            Some(Ok(())) => self.reply(take, patience).await,
            Some(Err(TrySendError::Full(_))) => {
                Err(AdapterError::Hung { what: kind.name(), after: Duration::ZERO })
            }
            // Nobody reads its stdin any more; what it has written before may say why.
            Some(Err(TrySendError::Disconnected(_))) | None => self.reply(take, patience).await,
        }
    }

    async fn reply<T>(
        &mut self,
        take: impl FnOnce(Fields) -> Result<T, Flaw>,
        patience: Duration,
    ) -> Result<Answer<T>, AdapterError> {
        let Some(Outstanding { id, kind, sent }) = self.outstanding else {
            return Err(AdapterError::Busy);
        };
        let arrived = match tokio::time::timeout(patience, self.arrived.recv()).await {
            Err(_) => return Err(AdapterError::Hung { what: kind.name(), after: patience }),
            Ok(None) => return Err(self.died().await),
            Ok(Some(arrived)) => arrived,
        };
        self.outstanding = None;
        let (answered, body, read) = match arrived {
            Arrived::Reply { id, body, read } => (id, body, read),
            Arrived::Nonsense { line, flaw } => return Err(nonsense(line, flaw)),
        };
        let quote = || redact(&format!("{body:?}"));
        if answered != id {
            let flaw =
                format!("a reply with id {answered}, where the request {id} was outstanding");
            return Err(nonsense(quote(), flaw));
        }
        let outcome = match body.clone() {
            Body::Failed(failure) => Err(failure),
            Body::Done(fields) => Ok(take(fields).map_err(|flaw| nonsense(quote(), flaw))?),
        };
        Ok(Answer { sent, read, outcome })
    }

    async fn died(&mut self) -> AdapterError {
        let status = self.exited(FAREWELL).await;
        AdapterError::Died { status, errors: self.errors() }
    }

    async fn exited(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.group.exited() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Acquire => "acquire",
            Self::Extend => "extend",
            Self::Check => "check",
            Self::Release => "release",
            Self::Quit => "quit",
            Self::Dance => "an unknown op",
        }
    }
}

fn nonsense(line: String, flaw: Flaw) -> AdapterError {
    AdapterError::Nonsense { line, flaw }
}

/// A process and its children, which are paused and killed together. One that is dropped is killed.
#[derive(Debug)]
struct Group {
    child: Child,
    pid: Pid,
    status: Option<ExitStatus>,
}

impl Group {
    fn start(mut command: Command) -> io::Result<Self> {
        command.process_group(0);
        let mut child = spawn(command)?;
        match i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            Some(pid) => Ok(Self { child, pid, status: None }),
            None => {
                child.kill()?;
                child.wait()?;
                Err(io::Error::other("a process id that is none"))
            }
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        // The id of a process that has been waited for may be another's.
        match self.status {
            Some(_) => Ok(()),
            None => Ok(kill_process_group(self.pid, signal)?),
        }
    }

    fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        if self.status.is_none() {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(self.pid), options)?;
        }
        Ok(())
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
            if self.status.is_some() {
                // What it started and left behind keeps the group's id from being another's.
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
        }
        self.status
    }

    fn end(&mut self) {
        if self.exited().is_none() {
            let _ = self.signal(Signal::KILL);
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

fn write(mut stdin: impl Write, line: &str) -> io::Result<()> {
    stdin.write_all(line.as_bytes())?;
    stdin.flush()
}

/// Sorts what the process writes, until it ends, or writes nonsense, or nobody listens.
fn read(stdout: impl Read, replies: &mpsc::Sender<Arrived>, losses: &mpsc::Sender<Loss>) {
    let mut stdout = BufReader::new(stdout);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let Ok(length) = stdout.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes) else {
            return;
        };
        let read = Instant::now();
        if length == 0 {
            return;
        }
        let line = match understand(&bytes) {
            Ok(Line::Reply { id, body }) => Ok(Arrived::Reply { id, body, read }),
            Ok(Line::Lost { handle }) => match losses.try_send(Loss { handle, read }) {
                Ok(()) => continue,
                Err(_) => Err(format!("more than {LOSSES_MAX} lost events that nobody waits for")),
            },
            Err(flaw) => Err(flaw),
        };
        let arrived = line.unwrap_or_else(|flaw| {
            let line = quote(&String::from_utf8_lossy(&bytes));
            Arrived::Nonsense { line, flaw }
        });
        if replies.blocking_send(arrived).is_err() {
            return;
        }
    }
}

fn understand(bytes: &[u8]) -> Result<Line, Flaw> {
    let Some(line) = bytes.strip_suffix(b"\n") else {
        return Err(match u64::try_from(bytes.len()) {
            Ok(LINE_MAX) => format!("a line of more than {LINE_MAX} bytes"),
            _ => "stdout ended within a line".into(),
        });
    };
    let line = std::str::from_utf8(line).map_err(|_| "a line that is not UTF-8")?;
    Line::parse(line)
}

fn quote(line: &str) -> String {
    let line = redact(line.trim_end());
    match line.char_indices().nth(QUOTE_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn keep_tail(mut stderr: impl Read, kept: &Mutex<VecDeque<u8>>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut bytes) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&bytes[..length]);
        let excess = kept.len().saturating_sub(ERRORS_MAX);
        kept.drain(..excess);
    }
}
