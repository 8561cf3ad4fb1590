//! What the process ends with, and why.

use std::fmt;
use std::process::ExitCode;

use redlatch::{
    AcquireError, AdoptError, BuildError, ExtendError, InvalidRequest, Loss, ReleaseError,
};

/// How the process ends. The numbers are stable; where there is one in `sysexits.h` for it, it is
/// that, because few commands that are run use those themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done; for `status`, the lock is held; for `doctor`, all is well.
    Done,
    /// `status`: the lock is free.
    Free,
    /// `doctor`: there is something to mend, or to find out.
    Found,
    /// The arguments or settings are wrong; no node was asked.
    Usage,
    /// What was read is no lease.
    Data,
    /// Too few nodes answered, or vote.
    NoQuorum,
    /// The system denied something that every process needs.
    Internal,
    /// A file could not be read or written.
    File,
    /// Somebody else holds the lock.
    Contended,
    /// The lock was lost.
    Lost,
    /// The command's own code.
    Command(u8),
    /// A signal ended the command, or redlatch while it waited for the lock.
    Signal(u8),
}

/// The table in the help: what ends with which code.
pub(crate) const TABLE: &str = "\
Exit codes:
      0  done; `run`: the command ended with 0; `status`: the lock is held; `doctor`: all is well
      1  `status`: the lock is free; `doctor`: there is something to mend, or to find out
     64  bad usage: an argument, a setting, or the configuration file
     65  what was read is no lease
     69  too few nodes answered, or vote, in time
     70  the system denied redlatch a thread, a signal, or random bytes
     74  a file or stream could not be read or written
     75  the lock is taken: try again later, or wait longer
     76  the lock was lost: `run` has ended the command; else: the lease was over
    126  `run`: the command was found but cannot be executed
    127  `run`: the command was not found
  128+N  `run`, `acquire`: signal N ended the command, or the wait for the lock
  other  `run`: the command's own

64 to 75 come from `run` only if the command was not started, and 76 only if it
was. A command may use these codes itself: on each of its own redlatch prints a
line that begins with `redlatch:` on standard error, unless told --quiet.";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Free | Exit::Found => 1,
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::NoQuorum => 69,
            Exit::Internal => 70,
            Exit::File => 74,
            Exit::Contended => 75,
            Exit::Lost => 76,
            Exit::Command(code) => code,
            Exit::Signal(number) => 128_u8.saturating_add(number),
        })
    }
}

/// Why something was not done: a code for scripts and a sentence for people. It never has a password
/// or a token in it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn lost(loss: Loss) -> Self {
        ExtendError::Lost(loss).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let exit = match &error {
            BuildError::Thread(_) => Exit::Internal,
            BuildError::Nodes(_)
            | BuildError::Address { .. }
            | BuildError::Duplicate { .. }
            | BuildError::Options(_)
            | _ => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<InvalidRequest> for Failure {
    fn from(error: InvalidRequest) -> Self {
        let exit = match &error {
            InvalidRequest::Clock(_) | InvalidRequest::Randomness => Exit::Internal,
            InvalidRequest::Ttl(_)
            | InvalidRequest::Config(_)
            | InvalidRequest::Resources(_)
            | _ => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        let exit = match &error {
            AcquireError::Invalid(invalid) => return invalid.clone().into(),
            AcquireError::Contended { .. } => Exit::Contended,
            AcquireError::NoQuorum { .. }
            | AcquireError::TooLate { .. }
            | AcquireError::Quarantined { .. }
            | AcquireError::DeadlineExceeded { .. } => Exit::NoQuorum,
            AcquireError::Cancelled | _ => Exit::Internal,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ExtendError> for Failure {
    fn from(error: ExtendError) -> Self {
        let exit = match &error {
            ExtendError::AtRisk { .. } => Exit::NoQuorum,
            ExtendError::Lost(_) | _ => Exit::Lost,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ReleaseError> for Failure {
    fn from(error: ReleaseError) -> Self {
        let exit = match &error {
            ReleaseError::Unconfirmed { .. } => Exit::NoQuorum,
            ReleaseError::Lost(_) | _ => Exit::Lost,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<AdoptError> for Failure {
    fn from(error: AdoptError) -> Self {
        match error {
            AdoptError::Invalid(invalid) => invalid.into(),
            AdoptError::Release(error) => error.into(),
            AdoptError::Lost(loss) => Self::lost(loss),
            _ => Self::new(Exit::Lost, error.to_string()),
        }
    }
}
