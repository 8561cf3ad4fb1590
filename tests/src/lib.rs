//! Fixtures of every test that needs a real Redis: servers, sets of servers, and faults between them.
//!
//! [`RedisServer`] is one `redis-server` process and [`Cluster`] is n of them. [`FaultProxy`] stands
//! in front of a server and does to single commands what a network may do to them: it is a link of
//! `redlatch_harness::live`. [`Sentinels`] watch a server and its replicas, and
//! [`redis_cluster()`] is a node of several servers.
//! [`Certificates`] are made afresh for TLS, [`unique_resource`] names a lock that no other test
//! touches, and [`eventually`] waits for what no call can wait for.
//!
//! A fixture never skips: without `redis-server` the test fails and says what installs it. What
//! breaks within a fixture panics, because a test cannot go on without its world. Every wait is
//! bounded by [`PATIENCE`] or less.
//!
//! Calls on servers block the calling thread, at most for a few seconds and normally for less than
//! a millisecond. A proxy lives on a thread of its own, so it works on while a test blocks.

mod builder;
mod cluster;
mod proxy;
mod redis_cluster;
mod sentinel;
mod server;
mod tls;
mod wait;

pub use builder::RedisServerBuilder;
pub use cluster::Cluster;
pub use proxy::{FaultProxy, Rule};
pub use redis_cluster::{free_port, redis_cluster};
pub use redlatch_harness::live::PATIENCE;
pub use redlatch_harness::live::proxy::{Command, Connections, Fault, Match, Then};
pub use sentinel::Sentinels;
pub use server::{Owner, RedisServer};
pub use tls::{Certificates, ClientAuth};
pub use wait::eventually;

/// Names a resource that no other test, in this process or another, ever uses.
///
/// The label only tells a reader which test the key belongs to.
#[must_use]
pub fn unique_resource(label: &str) -> String {
    format!("{label}:{}", uuid::Uuid::new_v4())
}
