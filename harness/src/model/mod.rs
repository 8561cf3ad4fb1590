//! The exhaustive model: every interleaving of machines and cells, within bounds.
//!
//! What runs is the shipped [`Lock`](redlatch_core::Lock) (or a planted bug) on each client and a
//! [`Cell`](crate::node::Cell) on each node. A step is one of: an application acquires, extends,
//! releases or gives up; a node carries out a request; a client takes replies; a timer fires; a key
//! expires; a node crashes; a millisecond passes. After each step every [`Invariant`](crate::check::Invariant) is looked at. The
//! search is breadth first, so the story of a violation is as short as one can be.
//!
//! # Time without clocks
//!
//! Clocks enter the protocol through two numbers only: for how long a key is kept at least, and for how
//! long at most a client relies on it. The machine works in nanoseconds and is left to do so; a tick of
//! the model is a millisecond, and a ttl is asked for whose validity, after the margin for drift, is a
//! few ticks exactly. The model takes the whole margin away: a key may expire as soon as those ticks
//! have passed since the node carried out the request, and may then also stay for ever. So a green run
//! stands for all clocks within their bounds. Safety here is exact: one tick more of belief, or one tick
//! less of quarantine, is found.
//!
//! In the untimed model there are no bounds: keys expire at any moment, and timers fire when they like.
//! There only fences are demanded.
//!
//! # What is left out
//!
//! A message that is lost is one that is late for ever. The [`Reductions`] leave out states that differ
//! by names or by the origin of time, and steps that commute with all others. They are switches: with
//! and without them, the verdict is the same.
//!
//! The checks use no arithmetic of the core: a lease is believed until the instant that it names, and a
//! node backs it if it holds the token now.
//!
//! ```
//! use redlatch_core::Lock;
//! use redlatch_harness::model::{Bounds, Budget, explore};
//! use redlatch_harness::node::Cell;
//!
//! let outcome = explore::<Lock, Cell>(&Bounds::exclusion(3, 1), &Budget::default())?;
//! assert!(outcome.complete && outcome.violation.is_none(), "{outcome}");
//! # Ok::<(), redlatch_harness::model::BoundsError>(())
//! ```

mod bounds;
mod chronicle;
mod dissect;
mod explore;
mod known;
mod local;
mod presets;
mod site;
mod space;
mod story;
mod table;

pub use bounds::{
    Bounds, BoundsError, CLIENTS_MAX, Choice, FOR_GOOD, Fences, Keep, MODELLED, NODES_MAX,
    Reductions, Switch, Time,
};
pub use chronicle::STEP;
pub use explore::{Budget, Outcome, explore};
pub use presets::{every_commit, nightly};
pub use space::Sights;
pub use story::Story;
