//! Redis servers that a run starts, stops and disturbs.
//!
//! A [`Backend`] starts a number of independent [`Node`]s: [`Processes`] of this machine, [`Containers`] (feature
//! `containers`), or [`External`] ones that somebody else runs. What needs no more than commands works on all of
//! them and stands on `dyn Node`: [`flush`](trait.Node.html#method.flush), limits of memory, a jump of all
//! expiries. What a backend cannot do it says beforehand ([`Node::can`]) and refuses with a reason.
//!
//! Calls block, normally for milliseconds and never for longer than [`PATIENCE`]; from async code use a thread for
//! blocking work. Dropping the nodes ends and removes what was started; `estate` says what happens when the whole
//! process is killed.

mod clock;
mod commands;
#[cfg(feature = "containers")]
mod containers;
mod external;
mod home;
mod processes;

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::{LOOK_EVERY, PATIENCE};

pub use self::commands::{Eviction, Fsync};
#[cfg(feature = "containers")]
pub use self::containers::{BUILT_IMAGE, Containers, KNOWN_IMAGE};
pub use self::external::External;
pub use self::processes::Processes;
pub use crate::plan::Keep;

/// One Redis server, independent of all others.
///
/// All calls take `&self` and may come from any thread.
pub trait Node: Send + Sync + fmt::Debug {
    /// What reports call it, such as `n0`.
    fn name(&self) -> &str;

    /// Where it listens; the same over all restarts.
    fn addr(&self) -> SocketAddr;

    /// Where the other nodes of the same backend reach it, as a replica has to. Another start may change it.
    ///
    /// # Errors
    ///
    /// If it is down, and only a node that runs has one.
    fn addr_among_nodes(&self) -> Result<SocketAddr, NodeError> {
        Ok(self.addr())
    }

    /// The `redis://` URL that leads straight to it, with the credentials if it wants some: not to be printed.
    fn url(&self) -> String;

    /// Whether it can be made to do this.
    fn can(&self, ability: Ability) -> bool;

    /// Ends the process at once, paused or not (SIGKILL); it is gone on return. Nothing happens to one that is down.
    ///
    /// # Errors
    ///
    /// If it has no [`Ability::Process`], or could not be ended.
    fn kill(&self) -> Result<(), NodeError>;

    /// Asks the process to end (SIGTERM); it is gone on return. Nothing happens to one that is down.
    ///
    /// # Errors
    ///
    /// As [`kill`](Self::kill); also if it is still there after [`PATIENCE`], or is paused.
    fn stop(&self) -> Result<(), NodeError>;

    /// Starts it again at the same address; it answers on return. One that still runs is killed first.
    ///
    /// # Errors
    ///
    /// If it has no [`Ability::Process`], [`Ability::Wipe`] or [`Ability::PowerLoss`] as `keep` needs them, or does
    /// not answer within [`PATIENCE`].
    fn start(&self, keep: Keep) -> Result<(), NodeError>;

    /// Stops the process in its tracks (SIGSTOP); it stands still on return. The kernel goes on accepting connections
    /// and bytes for it, so that clients see pure silence.
    ///
    /// # Errors
    ///
    /// If it has no [`Ability::Pause`], or does not run.
    fn pause(&self) -> Result<(), NodeError>;

    /// Lets a paused process go on; it then handles what came in meanwhile. Nothing happens to one that runs.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    fn resume(&self) -> Result<(), NodeError>;

    /// Sets the server's own wall clock: from now on it is `ahead_ms` ahead of true time (behind, if negative), and
    /// runs `rate_ppm` faster than true time (slower, if negative). Both survive restarts.
    ///
    /// # Errors
    ///
    /// If it has no [`Ability::ClockShift`], or no [`Ability::ClockRate`] where the rate is not 0, or does not take it.
    fn set_clock(&self, ahead_ms: i64, rate_ppm: i32) -> Result<(), NodeError>;

    /// Takes note of a setting that was changed by a command, so that it has it again after its next start.
    fn remember(&self, _name: &str, _value: &str) {}
}

/// What a node can be made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// To die, end and start: [`Node::kill`], [`Node::stop`], [`Node::start`] with [`Keep::All`].
    Process,
    /// To stand still: [`Node::pause`], [`Node::resume`].
    Pause,
    /// To start without data: [`Keep::Nothing`].
    Wipe,
    /// To start with what it last synced: [`Keep::Synced`].
    PowerLoss,
    /// Commands that concern more than the locks of a run: flushing, limits, policies, shifted expiries.
    Command,
    /// To have another wall clock: [`Node::set_clock`].
    ClockShift,
    /// To have one that runs at another rate.
    ClockRate,
}

impl Ability {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Process,
        Self::Pause,
        Self::Wipe,
        Self::PowerLoss,
        Self::Command,
        Self::ClockShift,
        Self::ClockRate,
    ];
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "be killed and started",
            Self::Pause => "be paused",
            Self::Wipe => "start without its data",
            Self::PowerLoss => "lose what it had not synced",
            Self::Command => "be flushed or configured",
            Self::ClockShift => "have a wall clock of its own",
            Self::ClockRate => "have a wall clock that runs at another rate",
        })
    }
}

/// Where nodes come from.
pub trait Backend: fmt::Debug {
    /// What reports call it, such as `processes`.
    fn name(&self) -> &'static str;

    /// Starts `count` nodes, `n0` onwards, at the same time; all answer on return.
    ///
    /// # Errors
    ///
    /// If one of them does not start; the others are gone then. Or if there are not as many.
    fn start(&self, count: usize) -> Result<Vec<Arc<dyn Node>>, NodeError>;
}

/// Why a node did not do what it was to do. Never holds a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeError {
    /// It cannot be made to do this, ever.
    Unable {
        /// Which node.
        node: String,
        /// What it cannot do.
        ability: Ability,
        /// Why, and what can be done.
        why: String,
    },
    /// It did not do it this time.
    Failed {
        /// Which node, or which backend.
        node: String,
        /// What it was to do.
        what: String,
        /// Why it did not, and what can be done.
        why: String,
    },
}

impl NodeError {
    fn unable(node: &str, ability: Ability, why: &str) -> Self {
        Self::Unable { node: node.to_owned(), ability, why: why.to_owned() }
    }

    fn failed(node: &str, what: &str, why: impl fmt::Display) -> Self {
        Self::Failed { node: node.to_owned(), what: what.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unable { node, ability, why } => write!(f, "{node} cannot {ability}: {why}"),
            Self::Failed { node, what, why } => write!(f, "{node}: {what}: {why}"),
        }
    }
}

impl Error for NodeError {}

/// Does the same for each index at the same time; what was made is dropped where one fails.
fn at_once<T: Send>(
    count: usize,
    make: impl Fn(usize) -> Result<T, NodeError> + Sync,
) -> Result<Vec<T>, NodeError> {
    let make = &make;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|index| scope.spawn(move || make(index))).collect();
        let joined = threads.into_iter().map(|thread| {
            let panicked = |_| NodeError::failed("a node", "start", "its thread panicked");
            thread.join().unwrap_or_else(|cause| Err(panicked(cause)))
        });
        // All are joined, whatever the first comes to.
        joined.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Polls `PING` until it is answered, as long as there is hope; the error is for a person.
fn ready(url: &str, mut is_alive: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Looked at first: an error is worth reporting only of a server that still runs.
        let alive = is_alive();
        match commands::query::<String>(url, &["PING"], PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) if !alive || Instant::now() > deadline => {
                return Err(format!("it does not answer PING: {error}"));
            }
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}
