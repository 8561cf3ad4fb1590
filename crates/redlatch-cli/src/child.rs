//! The command that is run: how it is started, reached, and kept from outliving redlatch.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use rustix::process::{Pid, Signal};
use tokio::process::Child;

use crate::exit::Exit;
use crate::signals::Terminal;

/// A command that was started and has not been waited for.
pub(crate) struct Running {
    child: Child,
    pid: Pid,
    reach: Reach,
}

/// Whom signals go to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The command alone, which is in our process group, or else it could not use the terminal.
    Process,
    /// The command's process group, and with it what it has started.
    Group,
}

impl Running {
    /// Starts `command` with these additions to the environment; `None` takes a variable out.
    pub(crate) fn start(
        command: &[OsString],
        environment: &[(&str, Option<OsString>)],
        terminal: Terminal,
    ) -> io::Result<Self> {
        let [program, args @ ..] = command else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut command = death_with_us::command(program);
        command.args(args);
        for (name, value) in environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let reach = match terminal {
            Terminal::Present => Reach::Process,
            Terminal::Absent => {
                command.process_group(0);
                Reach::Group
            }
        };
        let child = command.spawn()?;
        let raw = child.id().and_then(|id| i32::try_from(id).ok());
        let pid = raw.and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { child, pid, reach })
    }

    /// Waits until the command has ended. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends a signal to the command, and to its process group where it has one of its own.
    pub(crate) fn signal(&self, signal: Signal) {
        // An error means that nobody is left to get it.
        let _gone = match self.reach {
            Reach::Group => rustix::process::kill_process_group(self.pid, signal),
            // Once it was waited for, its number may be somebody else's.
            Reach::Process if self.child.id().is_none() => return,
            Reach::Process => rustix::process::kill_process(self.pid, signal),
        };
    }

    /// Whether anybody whom a signal would reach is left.
    pub(crate) fn is_reachable(&self) -> bool {
        match self.reach {
            Reach::Group => rustix::process::test_kill_process_group(self.pid).is_ok(),
            Reach::Process => self.child.id().is_some(),
        }
    }
}

/// How redlatch ends if the command ended like this.
pub(crate) fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Some(signal)) => Exit::Signal(u8::try_from(signal).unwrap_or(u8::MAX)),
        (None, None) => Exit::Command(u8::MAX),
    }
}

/// Tells why the command was not started, in the code that shells use for it.
fn not_started(program: &OsStr, error: &io::Error) -> u8 {
    const NOT_FOUND: u8 = 127;
    const NOT_EXECUTABLE: u8 = 126;
    eprintln!("redlatch: {} cannot be run: {error}", program.display());
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

/// The exit for a command that could not be started.
pub(crate) fn exit_not_started(command: &[OsString], error: &io::Error) -> Exit {
    let program = command.first().map(OsString::as_os_str).unwrap_or_default();
    Exit::Command(not_started(program, error))
}

/// If this process was started to become a command, becomes it, or tells why not. Must be the first
/// thing in `main`.
pub(crate) fn become_command() -> Option<ExitCode> {
    death_with_us::become_command().map(ExitCode::from)
}

/// On Linux the kernel kills the command when redlatch ends without having waited for it. The command
/// has to ask for that itself between fork and exec, where only unsafe code can be run; so redlatch
/// is started once more under another name, asks, and becomes the command.
#[cfg(target_os = "linux")]
mod death_with_us {
    use std::env;
    use std::ffi::OsStr;
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::path::Path;

    use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

    /// The name under which redlatch is started to become a command.
    const NAME: &str = "redlatch (about to run)";
    /// This very program, even if its file was replaced.
    const OURSELVES: &str = "/proc/self/exe";

    pub(super) fn command(program: &OsStr) -> tokio::process::Command {
        if !Path::new(OURSELVES).exists() {
            return tokio::process::Command::new(program);
        }
        let mut command = tokio::process::Command::new(OURSELVES);
        command.arg0(NAME).arg(getpid().to_string()).arg(program);
        command
    }

    pub(super) fn become_command() -> Option<u8> {
        let mut args = env::args_os();
        if args.next().is_none_or(|name| name != NAME) {
            return None;
        }
        let parent = args.next()?.to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let program = args.next()?;
        if let Err(error) = ask_for_death(parent) {
            return Some(super::not_started(&program, &error));
        }
        let error = std::process::Command::new(&program).args(args).exec();
        Some(super::not_started(&program, &error))
    }

    fn ask_for_death(parent: Pid) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that has ended before the call above sends no signal any more.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::other("redlatch has ended")) }
    }
}

/// Other systems have no such call: there the command goes on if redlatch is killed.
#[cfg(not(target_os = "linux"))]
mod death_with_us {
    use std::ffi::OsStr;

    pub(super) fn command(program: &OsStr) -> tokio::process::Command {
        tokio::process::Command::new(program)
    }

    pub(super) fn become_command() -> Option<u8> {
        None
    }
}
