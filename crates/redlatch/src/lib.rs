#![forbid(unsafe_code)]
//! A distributed lock on a majority of independent Redis nodes, with fencing tokens.
//!
//! ```no_run
//! use redlatch::{Options, Redlatch};
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let redlatch = Redlatch::new(["redis://a:6379", "redis://b:6379", "redis://c:6379"])?;
//!
//! // Renewed while the work goes on, stopped if the lock is lost, released in any case.
//! let options = Options::new(Duration::from_secs(30)).wait(Duration::from_secs(5));
//! redlatch
//!     .using("report", options, async |lease| {
//!         println!("write with fence {:?}", lease.fence());
//!     })
//!     .await?;
//!
//! // Or step by step.
//! let guard = redlatch.acquire("report", Duration::from_secs(30)).await?;
//! println!("fence {:?}, good for {:?}", guard.fence(), guard.remaining());
//! guard.release().await?;
//!
//! redlatch.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What Redlock does not promise
//!
//! A lease is a promise about time. It is broken by a node whose wall clock jumps, by a node that forgets
//! (unless it has a [restart guard](Builder::restart_guard)), and it cannot stop a holder that was
//! paused from acting after its lease has ended. Hand the [fence](Guard::fence) to what the lock
//! protects, and refuse there what is lower than the highest fence seen: that covers all three.
//!
//! # Concepts
//!
//! - A **node** is one Redis server that fails independently of the others. A lock needs a majority, so
//!   of five nodes two may be down, or hung, and nothing is slower for it.
//! - The **ttl** is how long nodes keep a lock whose holder has gone. Its **validity**, the ttl less 1 %
//!   and 2 ms for clocks, counted from before the first byte was sent, is how long the holder may rely
//!   on it.
//! - [`Guard`] is a lock that is held. Dropping it, or a future of this crate at any point, releases
//!   whatever may be held, in the background, even if the application's runtime is gone: a thread of
//!   the client's own carries all locks. [`Redlatch::shutdown`] waits for it.
//! - Errors tell what to do by their kind, and what each node said by their `Display`.
//! - What is wrong with the nodes themselves is told by [`Redlatch::examine`], and while they are used to
//!   [`Builder::on_finding`].
//! - [`Redlatch::fake`] is for your unit tests: nodes in memory, which grant, refuse, fail and lose locks on
//!   command. Everything else about it is the real thing.
//!
//! # Features
//!
//! - `tls` (on by default): `rediss://` URLs, with the system's certificates.
//! - `cluster`: a Redis Cluster as a node, `redis+cluster://` URLs.
//! - `tracing`: a span for each lock, and events for what happens to locks and connections.
//! - `metrics`: counters, gauges and histograms for recorders of the `metrics` facade; the module of that
//!   name tells which.
//! - `clock-faults`: for harnesses, a clock that is wrong on purpose.
//!
//! Features only add; none changes what happens.
//!
//! # Non-features
//!
//! - Semaphores, read-write locks and re-entrant locks: Redlock is a mutex, and so is its proof.
//! - Safe failovers inside a node (Sentinel, a Redis Cluster): they work, but a replica that takes over
//!   may have forgotten locks.
//! - Retries by the Redis client: the protocol repeats what it may repeat.

mod address;
pub mod blocking;
mod builder;
mod calls;
mod client;
mod clock;
#[cfg(feature = "clock-faults")]
pub mod clock_faults;
mod dial;
mod drive;
mod error;
mod examine;
mod failure;
pub mod fake;
mod finding;
mod flight;
mod guard;
mod inspect;
mod measure;
#[cfg(feature = "metrics")]
pub mod metrics;
mod node;
mod options;
mod poll;
mod reaper;
mod spread;
mod trace;
mod value;

pub use builder::Builder;
pub use client::Redlatch;
pub use dial::Credentials;
pub use error::{
    AcquireError, AdoptError, BuildError, ExtendError, InvalidRequest, ReleaseError, UsingError,
    Vote, Votes,
};
pub use examine::{Examination, NodeExamination};
pub use finding::{Aspect, ClockReading, Finding, Problem, Weight};
pub use guard::{Guard, LeaseParts, LeaseView};
pub use inspect::{Inspection, LockState, NodeSighting, NodeState};
pub use options::{Options, Resources};
pub use redlatch_core::{Drift, Loss, Token};
