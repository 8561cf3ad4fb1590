//! Planted bugs: what a lock gets wrong in the wild, one at a time, to see whether the harness notices.
//!
//! Each is a wrapper around the shipped [`Lock`](redlatch_core::Lock) that spoils one thing ([`Plant`]),
//! a [`Cell`](crate::node::Cell) that does one operation wrongly, or a [`Setting`] of the world that is
//! wrong. [`each`] hands them to a [`Trial`], which may be any tier that is generic over
//! [`Machine`](crate::system::Machine) and [`NodeCell`](crate::system::NodeCell); [`run`] puts each to
//! the [`Place`] that shows it with the least effort: the exhaustive model, the simulator, or a
//! [`duel()`].
//!
//! M are bugs of the protocol, L are bugs of liveness, Q are bugs of waiting in queues, X were added so that every invariant has a bug
//! that no other of its tier sees ([`Seen::Once`]): an invariant without one could be left out unnoticed.
//!
//! Not among them: an acquire that takes a key which is kept for somebody else. It breaks nothing that is
//! promised, for a reservation is no lock; it only makes waiting unfair.

mod calls;
mod cells;
mod duel;
mod plant;
mod registry;
mod replies;
mod runner;
mod terms;
mod told;
mod votes;

pub use calls::{CallIsYes, NeverDeaf};
pub use cells::{
    BlindExtend, BlindRelease, BlindSeal, ForgetsItsNumber, HandsOverWhatIsHeld, HeirHolds,
    HeirInherits, KeepsTheKey, KeptForGood, NeverRaises, NoNx, NoRaise, OwnIsRefused, PlaceDeletes,
    PlainExpire, Recreate, SealsNothing, WritesBehind,
};
pub use duel::{Duel, duel};
pub use plant::Plant;
pub use registry::{MUTANTS, Mutant, Place, Seen, Setting, Trial, each};
pub use replies::{AnyReply, AnyRound, ExtendFromReply, Late, OneIsAll, SealAnyNumber, Timely};
pub use runner::{Asked, Evidence, Kill, Report, Row, Tiers, Verdict, run, run_one};
pub use terms::{
    AtOneNode, Everywhere, Forgotten, FromReply, HeldInRelease, NoCheck, NoDrift, NoJitter, NoUndo,
    OneByOne, Revive, SameToken, ShortFirst, WaitsForAll,
};
pub use told::{GivesUpEarly, LateEnd, NeverReleases, SleepsForEver, Swapped, TellsMore};
pub use votes::{HalfIsEnough, Largest, QuarantineIsYes, Smallest, TwiceIsTwo, Unsealed};
