//! Planted bugs: what a lock gets wrong in the wild, one at a time, to see whether the harness notices.
//!
//! Each is a wrapper around the shipped [`Lock`](redlatch_core::Lock) that spoils one thing ([`Plant`]),
//! a [`Cell`](crate::node::Cell) that does one operation wrongly, or a [`Setting`] of the nodes that is
//! wrong. [`each`] hands every one of them to a [`Trial`], which may be any tier that is generic over
//! [`Machine`](crate::system::Machine) and [`NodeCell`](crate::system::NodeCell); [`Exhaustive`] and
//! [`Duels`] are the ones that are here.
//!
//! The numbers are those of the research note: M are protocol bugs, L are bugs of liveness, X were
//! added so that every invariant has a bug that nothing else finds.

mod cells;
mod duel;
mod plant;
mod registry;
mod replies;
mod runner;
mod terms;
mod votes;

pub use cells::{
    BlindExtend, BlindRelease, BlindSeal, NoNx, NoRaise, OwnIsRefused, PlainExpire, Recreate,
};
pub use duel::{Duel, Duels, duel};
pub use plant::Plant;
pub use registry::{MUTANTS, Mutant, Setting, Trial, each};
pub use replies::{AnyReply, AnyRound, ExtendFromReply, Late, OneIsAll, SealAnyNumber, Timely};
pub use runner::{Exhaustive, Report, Row, Verdict, run};
pub use terms::{
    FromReply, HeldInRelease, NoCheck, NoDrift, NoJitter, NoUndo, OneByOne, Revive, SameToken,
    ShortFirst, WaitsForAll,
};
pub use votes::{HalfIsEnough, Largest, QuarantineIsYes, Smallest, TwiceIsTwo, Unsealed};
