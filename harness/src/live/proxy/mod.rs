//! A TCP proxy that understands Redis commands, for faults of the network.

mod connection;
mod link;
mod log;
pub(super) mod resp;
mod rule;

pub(crate) use self::link::Place;
pub use self::link::{Connections, Link};
pub(crate) use self::log::Recorder;
pub use self::log::{Answer, Fate, Log, Told};
pub(super) use self::resp::Frames;
pub use self::rule::{Command, Fault, InVain, Match, Rule, Then};
