//! All planted bugs: what is wrong, what finds it, and where.

use redlatch_core::Lock;

use super::cells::{
    BlindExtend, BlindRelease, BlindSeal, NoNx, NoRaise, OwnIsRefused, PlainExpire, Recreate,
};
use super::replies::{AnyReply, AnyRound, ExtendFromReply, Late, OneIsAll, SealAnyNumber, Timely};
use super::terms::{
    FromReply, HeldInRelease, NoCheck, NoDrift, NoJitter, NoUndo, OneByOne, Revive, SameToken,
    ShortFirst, WaitsForAll,
};
use super::votes::{HalfIsEnough, Largest, QuarantineIsYes, Smallest, TwiceIsTwo, Unsealed};
use crate::model::{Bounds, Fences, Invariant, Reductions, Switch};
use crate::node::Cell;
use crate::system::{Machine, NodeCell};

/// A bug, and what is expected of the harness.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// As in the research note.
    pub id: &'static str,
    /// What is wrong, in a line.
    pub wrong: &'static str,
    /// The invariant that finds it first.
    pub killer: Invariant,
    /// What is wrong about the nodes, if it is not what they run.
    pub setting: Setting,
    /// The model in which it is found; `None` if it takes time, which is for other tiers.
    pub bounds: Option<fn() -> Bounds>,
}

/// How nodes are run.
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
}

/// Something that a planted bug can be put to.
pub trait Trial {
    /// What comes of it.
    type Verdict;
    /// Puts the bug `mutant`, which is `M` on clients and `C` on nodes, to the test. The settings are
    /// for the trial to obey.
    fn put<M: Machine, C: NodeCell>(&mut self, mutant: &Mutant) -> Self::Verdict;
}

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
    ($($id:literal $killer:ident $setting:ident <$machine:ty, $cell:ty> $bounds:expr, $wrong:literal;)*) => {
        /// All planted bugs.
        pub const MUTANTS: &[Mutant] = &[$(Mutant {
            id: $id,
            wrong: $wrong,
            killer: Invariant::$killer,
            setting: Setting::$setting,
            bounds: $bounds,
        }),*];

        /// Puts every bug to `trial`, in order.
        pub fn each<T: Trial>(trial: &mut T) -> Vec<(&'static Mutant, T::Verdict)> {
            let mut verdicts = Vec::with_capacity(MUTANTS.len());
            let mut mutants = MUTANTS.iter();
            $(if let Some(mutant) = mutants.next() {
                verdicts.push((mutant, trial.put::<$machine, $cell>(mutant)));
            })*
            verdicts
        }
    };
}

mutants! {
    "M01" Witness Right <NoDrift, Cell> Some(pair), "no margin for drift";
    "M02" Witness Right <FromReply, Cell> Some(pair), "validity counts from the reply";
    "M03" Witness Right <NoCheck, Cell> Some(pair), "a late majority is a grant";
    "M04" Witness Right <HalfIsEnough, Cell> Some(tabled), "half of the nodes are enough";
    "M05" Witness Right <Lock, NoNx> Some(cells), "acquire overwrites";
    "M06" Witness Right <Lock, BlindRelease> Some(cells), "release does not compare";
    "M07" Witness Right <SameToken, Cell> Some(retrying), "a retry has the same token";
    "M08" Witness Right <AnyReply, Cell> Some(|| Bounds { reductions: TABLE, ..retrying() }), "a reply is matched by its node only";
    "M09" Witness Right <TwiceIsTwo, Cell> Some(|| Bounds { replies_twice: 1, ..tabled() }),
        "a yes that arrives twice counts twice";
    "M10" Witness Right <HeldInRelease, Cell> Some(pair), "believed until the release is confirmed";
    "M11" Witness NoQuarantine <Lock, Cell> Some(crashing), "a node that forgot votes at once";
    "M12" Witness ShortQuarantine <Lock, Cell> Some(crashing), "quarantine ends a tick early";
    "M13" Witness Right <ExtendFromReply, Cell> Some(|| extending(1)),
        "an extension counts from its reply";
    "M14" Witness Right <OneIsAll, Cell> Some(|| extending(1)), "one node's extension counts for all";
    "M15" Witness Right <Lock, BlindExtend> Some(|| Bounds { extensions: 1, ..cells() }),
        "extend does not compare";
    "M16" Witness Right <ShortFirst, PlainExpire> Some(|| extending(1)),
        "a shorter extension shortens the key";
    "M17" Witness Right <AnyRound, Cell> Some(|| extending(2)),
        "the reply to one extension counts for the next";
    "M18" FenceOrder Right <Unsealed<Largest>, Cell> Some(|| Bounds { reductions: TABLE, ..fencing([5, 1, 1, 0, 0]) }),
        "the largest number is the fence, unsealed";
    "M19" FenceUnique Right <Unsealed<Smallest>, Cell> Some(|| Bounds { reductions: TABLE, ..fencing([1, 0, 0, 0, 0]) }),
        "the smallest number is the fence";
    "M20" FenceUnique Right <Lock, BlindSeal> Some(|| Bounds { reductions: CELL, ..fencing([0; 5]) }),
        "seal does not compare";
    "M21" FenceUnique Right <SealAnyNumber<Timely>, Cell>
        Some(|| Bounds { requests_twice: 1, reductions: TABLE, ..fencing([0; 5]) }),
        "a seal counts whatever number is answered";
    "M21b" FenceUnique Right <SealAnyNumber<Late>, Cell> Some(|| Bounds { reductions: TABLE, ..fencing([0; 5]) }),
        "the same, and latecomers are sealed too";
    "M22" FenceOrder FencesLost <Lock, Cell>
        Some(|| Bounds { crashes: 1, ..fencing([5, 1, 1, 0, 0]) }),
        "fence numbers do not survive a crash";
    "M23" FenceUnique Right <Lock, NoRaise> Some(|| Bounds { reductions: CELL, ..fencing([0; 5]) }),
        "a new owner does not raise the number";
    "M24" FenceUnique Right <SameToken, Cell>
        Some(|| Bounds { clients: 1, acquires: [2, 1, 1], ..fencing([0; 5]) }),
        "every call has the same token";
    "M25" HoldOrder Right <Revive, Recreate> Some(|| Bounds { reductions: CELL, ..reviving() }), "extend re-creates keys and revives";
    "M26" HoldOrder Right <Revive, Cell> Some(reviving), "a lapsed lease is revived";
    "L1" NoGhost Right <NoUndo, Cell> Some(|| alone(Invariant::NoGhost)),
        "a failed attempt is not undone";
    "L2" Progress Right <Lock, OwnIsRefused>
        Some(|| Bounds { requests_twice: 1, ..alone(Invariant::Progress) }),
        "one's own key is a refusal";
    "L3" Termination Right <WaitsForAll, Cell> Some(|| alone(Invariant::Termination)),
        "an attempt ends only when a majority says yes";
    "L4" Progress Right <NoJitter, Cell> None, "all retries wait equally long";
    "L5" Termination Right <OneByOne, Cell> Some(|| alone(Invariant::Termination)),
        "one node after the other, without a deadline";
    "X1" Mutex OutForGood <QuarantineIsYes, Cell> Some(crashing), "a node that does not vote counts as a yes";
}
