//! What has to hold, and what each of it assumes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, Profile};

/// Something that has to hold at every moment of every run in which its assumptions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Invariant {
    /// I1: whoever believes to hold the lock is backed, now, by a majority of nodes that nobody else can
    /// lock: they have its token in the key, or may not vote.
    Witness = 1,
    /// I2: at most one client believes.
    Mutex = 2,
    /// I3: no fence is granted twice.
    FenceUnique = 3,
    /// I4: of two grants, one of which was over before the other was asked for, the later has the larger
    /// fence.
    FenceOrder = 4,
    /// I5: whoever believes has the largest fence granted so far.
    HoldOrder = 5,
    /// I6: when a fence is granted, and as long as its holder believes, a majority of nodes has numbers
    /// as large.
    FenceWitness = 6,
    /// I7: at the resource, accepted fences never fall nor change hands, and where reads and writes are
    /// fenced, no update is lost.
    Resource = 7,
    /// I8: a lease is not promised for longer than its majority of keys is going to live.
    LeaseSound = 8,
    /// I9: once nothing is under way any more, no key of a dead attempt is left; none at all after a ttl.
    NoGhost = 9,
    /// I10: when everything has healed, the lock is granted again, in time, and a free lock at once.
    Progress = 10,
    /// I11: every operation ends by its deadline.
    Termination = 11,
    /// I12: a lease is not lost while a majority's promises, as answered, still stand.
    NoFalseLoss = 12,
    /// I13: events and answers come in an order that makes sense: nothing is held without a grant, nor
    /// after its deadline, a release or a loss; nobody believes while its keys are being released; and of
    /// two attempts one after the other, calls begin one at most.
    Api = 13,
}

/// What may be taken for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Assumption {
    /// A4, A4': nodes keep what they acknowledged, or are kept from voting for as long.
    Retain,
    /// A5: clocks run at rates within the lock's allowance and do not jump to its disadvantage.
    Rate,
    /// Fence numbers outlive whatever else a node forgets, or nodes are guarded and the clients' wall
    /// clocks are closer than the guard is long.
    DurableFences,
    /// Fence numbers outlive whatever else a node forgets, without ifs.
    UnfailingFences,
}

impl Invariant {
    /// Every invariant, I1 to I13.
    pub const ALL: [Self; 13] = [
        Self::Witness,
        Self::Mutex,
        Self::FenceUnique,
        Self::FenceOrder,
        Self::HoldOrder,
        Self::FenceWitness,
        Self::Resource,
        Self::LeaseSound,
        Self::NoGhost,
        Self::Progress,
        Self::Termination,
        Self::NoFalseLoss,
        Self::Api,
    ];

    /// `I1` to `I13`.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Witness => "I1",
            Self::Mutex => "I2",
            Self::FenceUnique => "I3",
            Self::FenceOrder => "I4",
            Self::HoldOrder => "I5",
            Self::FenceWitness => "I6",
            Self::Resource => "I7",
            Self::LeaseSound => "I8",
            Self::NoGhost => "I9",
            Self::Progress => "I10",
            Self::Termination => "I11",
            Self::NoFalseLoss => "I12",
            Self::Api => "I13",
        }
    }

    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Mutex => "mutex",
            Self::FenceUnique => "fence-unique",
            Self::FenceOrder => "fence-order",
            Self::HoldOrder => "hold-order",
            Self::FenceWitness => "fence-witness",
            Self::Resource => "resource",
            Self::LeaseSound => "lease-sound",
            Self::NoGhost => "no-ghost",
            Self::Progress => "progress",
            Self::Termination => "termination",
            Self::NoFalseLoss => "no-false-loss",
            Self::Api => "api",
        }
    }

    /// What it assumes, beside unique tokens, atomic nodes and one list of nodes (A1 to A3).
    #[must_use]
    pub const fn needs(self) -> &'static [Assumption] {
        match self {
            Self::Witness | Self::Mutex | Self::LeaseSound => {
                &[Assumption::Retain, Assumption::Rate]
            }
            Self::HoldOrder => &[Assumption::Retain, Assumption::Rate, Assumption::DurableFences],
            Self::FenceUnique | Self::FenceOrder | Self::Resource => &[Assumption::DurableFences],
            Self::FenceWitness => &[Assumption::UnfailingFences],
            // Of the machine alone, on its own clock; or after everything has healed.
            Self::NoGhost | Self::Progress | Self::Termination | Self::NoFalseLoss | Self::Api => {
                &[]
            }
        }
    }

    /// Whether all that it assumes is given under `plan`.
    #[must_use]
    pub fn holds_under(self, plan: &Plan) -> bool {
        self.needs().iter().all(|assumption| match assumption {
            Assumption::Retain => plan.profile == Profile::Synchronous,
            Assumption::Rate => plan.profile != Profile::Asynchronous,
            Assumption::DurableFences => {
                plan.shape.fences_survive || plan.profile == Profile::Synchronous
            }
            Assumption::UnfailingFences => plan.shape.fences_survive,
        })
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id(), self.name())
    }
}

/// A set of invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Invariants(u16);

impl Invariants {
    /// All of them.
    pub const ALL: Self = Self(0b11_1111_1111_1110);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Those of them that have to hold under `plan`.
    #[must_use]
    pub fn under(self, plan: &Plan) -> Self {
        let holding = Invariant::ALL.into_iter().filter(|invariant| invariant.holds_under(plan));
        Self(self.0 & holding.fold(0, |set, invariant| set | 1 << invariant as u8))
    }

    /// Whether `invariant` is one of them.
    #[must_use]
    pub const fn contains(self, invariant: Invariant) -> bool {
        self.0 & 1 << invariant as u8 != 0
    }

    /// These and `invariant`.
    #[must_use]
    pub const fn with(self, invariant: Invariant) -> Self {
        Self(self.0 | 1 << invariant as u8)
    }

    /// These without `invariant`.
    #[must_use]
    pub const fn without(self, invariant: Invariant) -> Self {
        Self(self.0 & !(1 << invariant as u8))
    }
}
