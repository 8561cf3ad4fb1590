//! The simulator: a lock under test in a hostile world, in virtual time.
//!
//! A [`World`] is made of a [`Plan`](crate::plan::Plan) and a [`System`]: clients with clocks of their own,
//! links that lose, delay, repeat and reorder messages, nodes that crash, forget, pause and drift, and a
//! resource that the lock is to guard. Nothing in it is random but the plan; equal plans give equal
//! histories.
//!
//! [`check`] runs one plan, [`Campaign`] runs many, and [`shrink()`] makes one that fails simple.
//!
//! # A lock of one's own
//!
//! Whatever implements [`System`] can be checked; [`plain`] has the usual Redis commands for it. This is
//! `examples/toy_lock.rs`:
//!
//! ```
#![doc = include_str!("../../examples/toy_lock.rs")]
//! ```

mod campaign;
pub mod clock;
pub mod contention;
pub mod dice;
mod failure;
mod faults;
mod heal;
mod network;
mod node;
pub mod plain;
mod queue;
mod shrink;
pub mod system;
mod worker;
mod world;

pub use campaign::{AfterViolation, Campaign, Report, Verdict};
pub use failure::{Counterexample, Failure, check, check_only, replay};
pub use shrink::shrink;
pub use system::{Client, Input, Node, Outbox, Proper, Request, Shipped, Surroundings, System};
pub use world::{Outcome, World};
