#![no_std]
//! The Redlock distributed lock on the edge, where there are no threads and often no sockets.

extern crate alloc;

#[cfg(feature = "module")]
mod poll;
#[cfg(feature = "module")]
mod sightings;

#[cfg(feature = "module")]
pub mod module;
