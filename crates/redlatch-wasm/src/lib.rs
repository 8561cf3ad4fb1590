#![no_std]
//! The Redlock distributed lock on the edge, where there are no threads and often no sockets: a lock on a
//! majority of independent Redis nodes that are reached through HTTP proxies, or however else.
//!
//! **What Redlock does not promise.** A lease is a promise about time. It is broken by a node whose wall
//! clock jumps or that forgets, and it cannot stop a holder that was paused from acting after its lease
//! has ended. The [fence](Guard::fence) covers that, if the resource refuses one that is lower than the
//! highest it has seen. More in the documentation of `redlatch_core`.
//!
//! # From JavaScript
//!
//! The npm package `redlatch` is made of this crate, with the feature `module`.
//!
//! # From Rust
//!
//! [`Redlatch`] drives locks over a [`Transport`] of yours, which sends commands, sleeps, reads clocks and
//! spawns tasks; none of it needs to be `Send`. A program for Workers that does so with `fetch` is in
//! `examples/worker-rs`.
//!
//! ```no_run
//! # use redlatch_wasm::{Redlatch, Transport};
//! # use std::time::Duration;
//! # async fn example(transport: impl Transport) -> Result<(), Box<dyn std::error::Error>> {
//! let redlatch = Redlatch::new(transport, 3)?;
//! let guard = redlatch.acquire(&["report"], Duration::from_secs(30)).await?;
//! if guard.is_valid() {
//!     // … hand guard.fence() to what is written to …
//! }
//! guard.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `driver`, by default: the driver for Rust.
//! - `module`: the module for JavaScript. It brings an allocator and a panic handler of its own on
//!   wasm32, so a program in Rust cannot have it.

#[cfg(any(feature = "driver", feature = "module"))]
extern crate alloc;

#[cfg(feature = "module")]
pub mod module;

#[cfg(any(feature = "driver", feature = "module"))]
mod poll;

#[cfg(feature = "driver")]
mod client;
#[cfg(feature = "driver")]
mod clock;
#[cfg(feature = "driver")]
mod drive;
#[cfg(feature = "driver")]
mod error;
#[cfg(feature = "driver")]
mod guard;
#[cfg(feature = "driver")]
mod node;
#[cfg(feature = "driver")]
mod options;

#[cfg(feature = "driver")]
pub use {
    client::Redlatch,
    error::{AcquireError, ExtendError, InvalidRequest, ReleaseError, Vote, Votes},
    guard::Guard,
    node::{Failure, Transport, Value},
    options::Options,
};

pub use redlatch_core::wire::Dialect;
pub use redlatch_core::{Instant, Loss};
