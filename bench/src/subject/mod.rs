//! Who is measured.

mod ours;
mod peers;
mod raw;

use std::future::Future;
use std::time::Duration;

pub use ours::Ours;
pub use peers::{Redlock, Rslock};
pub use raw::{Apart, Raw};

/// How long every lock lives that is not held: longer than any measurement, so that none goes by itself.
pub const TTL: Duration = Duration::from_secs(60);
/// How long a held lock lives that is renewed.
pub const TTL_HELD: Duration = Duration::from_secs(10);

/// A lock client in Rust, the way that its users call it.
pub trait Client: Clone + Send + Sync + 'static {
    /// A lock that is held.
    type Lock: Send + 'static;

    /// A client of the nodes at these URLs.
    fn connect(nodes: &[String]) -> impl Future<Output = Result<Self, String>> + Send;
    /// Takes the lock on the resource, waiting for it.
    fn acquire(&self, resource: &str) -> impl Future<Output = Result<Self::Lock, String>> + Send;
    /// Gives it back.
    fn release(&self, lock: Self::Lock) -> impl Future<Output = Result<(), String>> + Send;
    /// Whether a lock that is held is held still.
    fn is_held(&self, lock: &Self::Lock) -> bool;
    /// Ends what goes on behind.
    fn drain(self) -> impl Future<Output = ()> + Send;
}

/// A subject's name, in the order of the report.
pub const OURS: [&str; 6] = [
    "ours-plain",
    "ours-fenced",
    "ours-unfenced",
    "ours-renewed",
    "ours-plain-here",
    "ours-fenced-here",
];
/// The floors: no library.
pub const RAW: [&str; 3] = ["raw-2t", "raw-1t", "raw-apart"];
/// Other libraries in Rust.
pub const RUST: [&str; 2] = ["rslock", "redlock-rs"];
/// Programs in other languages, and the adapters of the harness that install their libraries.
pub const PROGRAMS: [(&str, &str); 3] =
    [("node-redlock", "node-redlock"), ("redlock-py", "redlock-py"), ("pottery", "pottery")];

/// All of them.
#[must_use]
pub fn all() -> Vec<&'static str> {
    let programs = PROGRAMS.iter().map(|(name, _)| *name);
    OURS.into_iter().chain(RAW).chain(RUST).chain(programs).collect()
}

/// One line about a subject.
#[must_use]
pub fn about(subject: &str) -> &'static str {
    match subject {
        "ours-plain" => "redlatch, plain dialect",
        "ours-fenced" => "redlatch, with a fence",
        "ours-unfenced" => "redlatch, scripts without a fence",
        "ours-renewed" => "redlatch, with a fence, renewed",
        "ours-plain-here" => "redlatch, plain dialect, caller's thread",
        "ours-fenced-here" => "redlatch, with a fence, caller's thread",
        "raw-2t" => "redis-rs alone, two worker threads",
        "raw-1t" => "redis-rs alone, one thread",
        "raw-apart" => "redis-rs alone, on a thread of its own",
        "rslock" => "rslock 0.10.0",
        "redlock-rs" => "redlock 2.0.0 (Rust)",
        "node-redlock" => "node-redlock 5, ioredis 5",
        "redlock-py" => "redlock-py 1.0.8",
        "pottery" => "pottery 3.0.1",
        _ => "",
    }
}
