//! Child processes that do not outlive this one, however it ends.
//!
//! `Drop` ends a child when its owner returns or panics. When the whole process is killed nothing
//! of ours runs any more, so on Linux the kernel does it: every child asks for SIGKILL at its
//! parent's death (`PR_SET_PDEATHSIG`). That "parent" is the *thread* that forked, and threads of
//! tests and runtimes end early; therefore all children are forked by one thread that lives as long
//! as the process. Elsewhere there is no such call, and [`estate`](super::estate) ends the servers.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::{LOOK_EVERY, PATIENCE};

struct Job {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

/// The only way to the forking thread; as a static it is never dropped, so the thread never ends.
static SPAWNER: Mutex<Option<Sender<Job>>> = Mutex::new(None);

/// Starts `command` as a child that dies with this process (on Linux).
///
/// # Errors
///
/// If the program cannot be run, or there is no thread to be had for it.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    #[cfg(target_os = "linux")]
    die_with_parent(&mut command);
    let (answer, result) = mpsc::sync_channel(1);
    let ended = |_| io::Error::other("the thread that starts processes ended");
    spawner()?.send(Job { command, answer }).map_err(ended)?;
    result.recv().map_err(|_| io::Error::other("the thread that starts processes ended"))?
}

fn spawner() -> io::Result<Sender<Job>> {
    let mut spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = &*spawner {
        return Ok(sender.clone());
    }
    let (sender, jobs) = mpsc::channel::<Job>();
    thread::Builder::new().name("spawner".into()).spawn(move || {
        for mut job in jobs {
            // The asker waits for this answer; were it gone, the child would be ours to end.
            if let Err(unwanted) = job.answer.send(job.command.spawn()) {
                end(unwanted.0);
            }
        }
    })?;
    Ok(spawner.insert(sender).clone())
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    use std::os::unix::process::CommandExt;

    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl and getppid, both
    // plain system calls, and nothing allocates.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // A parent that died before the call above sends no signal any more.
            if getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

fn end(child: io::Result<Child>) {
    if let Ok(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A child process. `Drop` kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    is_paused: bool,
}

impl Process {
    /// Starts a child that dies with this process, see [`spawn`].
    ///
    /// # Errors
    ///
    /// As [`spawn`].
    pub fn start(command: Command) -> io::Result<Self> {
        Ok(Self { child: spawn(command)?, is_paused: false })
    }

    /// Its pipes are here to be taken.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id, also after its end.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it exists; a paused one does.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Stops it in its tracks (SIGSTOP) and returns once it stands still.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pause(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        // Signals are asynchronous: without this wait the process could still act on something that
        // comes after `pause`. An exit ends the wait too and stays there for `try_wait`.
        let until = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::Pid(Pid::from_child(&self.child)), until)?;
        self.is_paused = true;
        Ok(())
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn resume(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)?;
        self.is_paused = false;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    ///
    /// If it is paused, or still there after [`PATIENCE`].
    pub fn terminate(&mut self) -> io::Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        if self.is_paused {
            return Err(io::Error::other("it is paused, so that it cannot end by itself"));
        }
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() {
            if Instant::now() > deadline {
                let why = format!("it was asked to end, and {PATIENCE:?} later it is still there");
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Ends it at once (SIGKILL), paused or not, and waits until it is gone. A second call does nothing.
    ///
    /// SIGKILL needs no SIGCONT first, which would let a paused process act on what it has waiting.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // Only a child that is not yet waited for still owns its id.
        if !self.is_running() {
            return Err(io::Error::other("the process is not running"));
        }
        Ok(rustix::process::kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
