//! All planted bugs: what is wrong, what finds it, and where.

use redlatch_core::Lock;

use super::calls::{CallIsYes, NeverDeaf};
use super::cells::{
    BlindExtend, BlindRelease, BlindSeal, HandsOverWhatIsHeld, HeirHolds, HeirInherits,
    KeptForGood, NoNx, NoRaise, OwnIsRefused, PlaceDeletes, PlainExpire, Recreate, WritesBehind,
};
use super::replies::{AnyReply, AnyRound, ExtendFromReply, Late, OneIsAll, SealAnyNumber, Timely};
use super::terms::{
    AtOneNode, Everywhere, FromReply, HeldInRelease, NoCheck, NoDrift, NoJitter, NoUndo, OneByOne,
    Revive, SameToken, ShortFirst, WaitsForAll,
};
use super::told::{GivesUpEarly, LateEnd, Swapped, TellsMore};
use super::votes::{HalfIsEnough, Largest, QuarantineIsYes, Smallest, TwiceIsTwo, Unsealed};
use crate::check::Invariant;
use crate::model::{Bounds, Choice, Fences, Reductions, Switch};
use crate::node::Cell;
use crate::plan::Profile;
use crate::system::{Machine, NodeCell};

/// A bug, and what is expected of the harness.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// M for the protocol, L for liveness, Q for queues, X for those that only one invariant sees.
    pub id: &'static str,
    /// What is wrong, in a line.
    pub wrong: &'static str,
    /// The invariant that finds it.
    pub killer: Invariant,
    /// Whether others would find it too.
    pub seen: Seen,
    /// What is wrong about the world, if it is not the machine nor the cell.
    pub setting: Setting,
    /// Where it is looked for.
    pub place: Place,
}

/// Which invariants see a bug, of those that its place checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// None but its killer: with all others that its tier can check there, everything seems to hold.
    Once,
    /// Its killer, and maybe others.
    Often,
}

/// The tier that a bug is put to: the cheapest that shows it.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The exhaustive model, within these bounds.
    Model(fn() -> Bounds),
    /// The simulator, with so many plans of this profile.
    Simulator(Profile, u64),
    /// Two clients in lock-step.
    Duel,
}

impl Place {
    /// The tier's name.
    #[must_use]
    pub const fn tier(&self) -> &'static str {
        match self {
            Self::Model(_) => "model",
            Self::Simulator(..) => "sim",
            Self::Duel => "duel",
        }
    }
}

/// How nodes are run, and what the resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// As they should be: one that crashed does not vote for the longest ttl, and fences survive.
    Right,
    /// A node that comes back without its keys votes at once.
    NoQuarantine,
    /// It votes a millisecond too early.
    ShortQuarantine,
    /// A crash takes the fence numbers as well.
    FencesLost,
    /// A node that crashed never votes again.
    OutForGood,
    /// The resource lets everybody in, whatever the fence.
    OpenResource,
}

/// Something that a planted bug can be put to.
pub trait Trial {
    /// What comes of it.
    type Verdict;
    /// Puts the bug `mutant`, which is `M` on clients and `C` on nodes, to the test. The settings are
    /// for the trial to obey.
    fn put<M: Machine, C: NodeCell>(&mut self, mutant: &Mutant) -> Self::Verdict;
}

/// Where all assumptions hold, so that every invariant is looked at.
const SYNCHRONOUS: Place = Place::Simulator(Profile::Synchronous, 5_000);

/// For cells that are wrong: a request that does nothing now may do something later.
const CELL: Reductions = Reductions { dead: Switch::Off, ..Reductions::ALL };
/// For machines that keep a table of nodes.
const TABLE: Reductions = Reductions { nodes: Switch::Off, ..Reductions::ALL };
/// For what happens after an operation is over.
const AFTER: Reductions = Reductions::NONE;

fn pair() -> Bounds {
    Bounds::exclusion(3, 2)
}

fn tabled() -> Bounds {
    Bounds { reductions: TABLE, ..pair() }
}

fn cells() -> Bounds {
    Bounds { reductions: CELL, ..pair() }
}

fn retrying() -> Bounds {
    Bounds { tries: [2, 1, 1], ..pair() }
}

fn extending(extensions: u8) -> Bounds {
    Bounds { extensions, ..tabled() }
}

fn crashing() -> Bounds {
    Bounds { crashes: 1, ..pair() }
}

fn fencing(initial: [u64; 5]) -> Bounds {
    let fences = Fences { initial, ..Fences::COUNTED };
    Bounds { fences: Some(fences), ..Bounds::fencing(3, 2) }
}

fn reviving() -> Bounds {
    Bounds { fences: Some(Fences::COUNTED), extensions: 1, ..pair() }
}

/// One client without rivals, and all that it leaves behind.
fn alone(invariant: Invariant) -> Bounds {
    let invariants = vec![invariant];
    Bounds { invariants, fences: None, reductions: AFTER, ..Bounds::fencing(2, 1) }
}

/// Declares the registry: one line for each, with the machine and the cell it consists of.
macro_rules! mutants {
    ($($id:literal $killer:ident $seen:ident $setting:ident <$machine:ty, $cell:ty> $place:expr,
        $wrong:literal;)*) => {
        /// All planted bugs.
        pub const MUTANTS: &[Mutant] = &[$(Mutant {
            id: $id,
            wrong: $wrong,
            killer: Invariant::$killer,
            seen: Seen::$seen,
            setting: Setting::$setting,
            place: $place,
        }),*];

        /// Puts every bug for which `wanted` says yes to `trial`, in order.
        pub fn each<T: Trial>(
            wanted: impl Fn(&Mutant) -> bool,
            trial: &mut T,
        ) -> Vec<(&'static Mutant, T::Verdict)> {
            let mut verdicts = Vec::with_capacity(MUTANTS.len());
            let mut mutants = MUTANTS.iter();
            $(if let Some(mutant) = mutants.next().filter(|mutant| wanted(mutant)) {
                verdicts.push((mutant, trial.put::<$machine, $cell>(mutant)));
            })*
            verdicts
        }
    };
}

mutants! {
    "M01" Witness Often Right <NoDrift, Cell> Place::Model(pair), "no margin for drift";
    "M02" Witness Often Right <FromReply, Cell> Place::Model(pair), "validity counts from the reply";
    "M03" Witness Often Right <NoCheck, Cell> Place::Model(pair), "a late majority is a grant";
    "M04" Witness Often Right <HalfIsEnough, Cell> Place::Model(tabled), "half of the nodes are enough";
    "M05" Witness Often Right <Lock, NoNx> Place::Model(cells), "acquire overwrites";
    "M06" Witness Once Right <Lock, BlindRelease> Place::Model(cells), "release does not compare";
    "M07" Witness Often Right <SameToken, Cell> Place::Model(retrying), "a retry has the same token";
    "M08" Witness Often Right <AnyReply, Cell> Place::Model(|| Bounds { reductions: TABLE, ..retrying() }), "a reply is matched by its node only";
    "M09" Witness Often Right <TwiceIsTwo, Cell> Place::Model(|| Bounds { replies_twice: 1, ..tabled() }),
        "a yes that arrives twice counts twice";
    "M10" Witness Often Right <HeldInRelease, Cell> Place::Model(pair), "believed until the release is confirmed";
    "M11" Witness Often NoQuarantine <Lock, Cell> Place::Model(crashing), "a node that forgot votes at once";
    "M12" Witness Often ShortQuarantine <Lock, Cell> Place::Model(crashing), "quarantine ends a tick early";
    "M13" Witness Often Right <ExtendFromReply, Cell> Place::Model(|| extending(1)),
        "an extension counts from its reply";
    "M14" Witness Often Right <OneIsAll, Cell> Place::Model(|| extending(1)), "one node's extension counts for all";
    "M15" Witness Often Right <Lock, BlindExtend> Place::Model(|| Bounds { extensions: 1, ..cells() }),
        "extend does not compare";
    "M16" Witness Often Right <ShortFirst, PlainExpire> Place::Model(|| extending(1)),
        "a shorter extension shortens the key";
    "M17" Witness Often Right <AnyRound, Cell> Place::Model(|| extending(2)),
        "the reply to one extension counts for the next";
    "M18" FenceOrder Often Right <Unsealed<Largest>, Cell> Place::Model(|| Bounds { reductions: TABLE, ..fencing([5, 1, 1, 0, 0]) }),
        "the largest number is the fence, unsealed";
    "M19" FenceUnique Often Right <Unsealed<Smallest>, Cell> Place::Model(|| Bounds { reductions: TABLE, ..fencing([1, 0, 0, 0, 0]) }),
        "the smallest number is the fence";
    "M20" FenceUnique Once Right <Lock, BlindSeal> Place::Model(|| Bounds { reductions: CELL, ..fencing([0; 5]) }),
        "seal does not compare";
    "M21" FenceUnique Often Right <SealAnyNumber<Timely>, Cell>
        Place::Model(|| Bounds { requests_twice: 1, reductions: TABLE, ..fencing([0; 5]) }),
        "a seal counts whatever number is answered";
    "M21b" FenceUnique Often Right <SealAnyNumber<Late>, Cell> Place::Model(|| Bounds { reductions: TABLE, ..fencing([0; 5]) }),
        "the same, and latecomers are sealed too";
    "M22" FenceOrder Often FencesLost <Lock, Cell>
        Place::Model(|| Bounds { crashes: 1, ..fencing([5, 1, 1, 0, 0]) }),
        "fence numbers do not survive a crash";
    "M23" FenceUnique Often Right <Lock, NoRaise> Place::Model(|| Bounds { reductions: CELL, ..fencing([0; 5]) }),
        "a new owner does not raise the number";
    "M24" FenceUnique Often Right <SameToken, Cell>
        Place::Model(|| Bounds { clients: 1, acquires: [2, 1, 1], ..fencing([0; 5]) }),
        "every call has the same token";
    "M25" HoldOrder Once Right <Revive, Recreate>
        Place::Model(|| Bounds { nodes: 2, validity_ticks: 1, reductions: CELL, ..reviving() }),
        "extend re-creates keys and revives";
    "M26" HoldOrder Often Right <Revive, Cell> Place::Model(reviving), "a lapsed lease is revived";
    "L1" NoGhost Often Right <NoUndo<Everywhere>, Cell> Place::Model(|| alone(Invariant::NoGhost)),
        "a failed attempt is not undone";
    "L2" Progress Often Right <Lock, OwnIsRefused>
        Place::Model(|| Bounds { requests_twice: 1, ..alone(Invariant::Progress) }),
        "one's own key is a refusal";
    "L3" Termination Often Right <WaitsForAll, Cell> Place::Model(|| alone(Invariant::Termination)),
        "an attempt ends only when a majority says yes";
    "L4" Progress Often Right <NoJitter, Cell> Place::Duel, "all retries wait equally long";
    "L5" Termination Often Right <OneByOne, Cell> Place::Model(|| alone(Invariant::Termination)),
        "one node after the other, without a deadline";
    "Q1" Witness Often Right <CallIsYes, Cell> SYNCHRONOUS, "a call is as good as a yes";
    "Q2" Witness Often Right <Lock, HeirHolds> Place::Model(|| Bounds { queues: Choice::Allowed, ..cells() }),
        "an heir is told that it has the key that is kept for it";
    "Q3" Witness Often Right <Lock, PlaceDeletes> SYNCHRONOUS,
        "whoever takes a place in the queue takes the key as well";
    "Q4" NoGhost Often Right <Lock, KeptForGood> SYNCHRONOUS, "a key is kept for its heir for good";
    "Q5" FenceUnique Often Right <Lock, HeirInherits>
        Place::Model(|| Bounds { queues: Choice::Allowed, reductions: CELL, ..fencing([0; 5]) }),
        "the number is not raised for an heir";
    "Q6" Api Often Right <NeverDeaf, Cell> SYNCHRONOUS, "calls begin one attempt after the other";
    "Q7" Witness Often Right <Lock, HandsOverWhatIsHeld>
        Place::Model(|| Bounds { queues: Choice::Allowed, ..cells() }),
        "a release hands over what somebody else holds";
    "X1" Mutex Once OutForGood <QuarantineIsYes, Cell> Place::Model(crashing), "a node that does not vote counts as a yes";
    "X2" FenceWitness Once Right <Lock, WritesBehind> SYNCHRONOUS,
        "the fence number is written when the key goes";
    "X3" Resource Once OpenResource <Lock, Cell> Place::Simulator(Profile::Asynchronous, 5_000),
        "the resource lets everybody in";
    "X4" LeaseSound Once Right <TellsMore, Cell> SYNCHRONOUS,
        "a longer validity is told than relied on";
    "X5" NoGhost Once Right <NoUndo<AtOneNode>, Cell> SYNCHRONOUS,
        "a failed attempt is not undone at one node";
    "X6" Termination Once Right <LateEnd, Cell> SYNCHRONOUS,
        "the end of a release is told too late";
    "X7" NoFalseLoss Once Right <GivesUpEarly, Cell> SYNCHRONOUS,
        "half of the validity is given away";
    "X8" Api Once Right <HeldInRelease, Cell> SYNCHRONOUS,
        "the lock says that it holds what it releases";
    "X9" Progress Once Right <Lock, OwnIsRefused> SYNCHRONOUS,
        "one's own key is a refusal, for a while";
    "X11" Witness Often ShortQuarantine <Lock, Cell> SYNCHRONOUS,
        "quarantine is half as long as it should be";
    "X10" FenceOrder Once Right <Swapped, Cell> Place::Model(|| fencing([1; 5])),
        "each fence is told as its neighbour's number";
}
