//! What has to happen sometimes: marks that prove that a green run was not an empty one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::Profile;

/// Something that is rare, and without which the run would have proved little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Mark {
    /// A lock was granted.
    Granted,
    /// A fence took a second round to make one number of several.
    TwoRoundFence,
    /// An attempt was lost to another holder or contender, and another followed.
    Retried,
    /// An acquire gave up.
    Failed,
    /// A lease was extended.
    Extended,
    /// An extension missed its majority, and the lease was at risk.
    AtRisk,
    /// A lease lapsed and was lost.
    Lapsed,
    /// A fault began while an extension was on its way.
    ExtensionHit,
    /// A fault began while an acquire was on its way.
    AcquireHit,
    /// A yes arrived after its attempt was given up, and was answered with a release.
    LateYesReleased,
    /// A release overtook the acquire that it was to undo.
    ReleaseOvertook,
    /// A node found the token of an acquire in its key already, and said yes.
    OwnToken,
    /// A node in quarantine refused to vote.
    Quarantined,
    /// A node forgot a key on which a belief rested.
    NodeForgot,
    /// A holder's process died.
    HolderCrashed,
    /// A holder was paused beyond its lease.
    HolderPaused,
    /// An acquire was called off.
    Cancelled,
    /// A script stopped half-way.
    HalfScript,
    /// The resource refused a fence that had been overtaken.
    StaleRefused,
    /// Two clients believed at once.
    TwoHolders,
    /// A resource that checks too little lost an update.
    LostUpdate,
    /// A fence was granted that was lower than one granted before.
    FenceOvertaken,
    /// A waiter was called, and granted.
    CalledAndGranted,
    /// A call came for nothing: to one that did not wait, or a minority called.
    CalledInVain,
    /// A key was kept for an heir who did not come.
    ReservationLapsed,
    /// A free lock was got, after everything had healed, while a minority of nodes hung.
    MinorityHung,
}

impl Mark {
    /// Every mark.
    pub const ALL: [Self; 26] = [
        Self::Granted,
        Self::TwoRoundFence,
        Self::Retried,
        Self::Failed,
        Self::Extended,
        Self::AtRisk,
        Self::Lapsed,
        Self::ExtensionHit,
        Self::AcquireHit,
        Self::LateYesReleased,
        Self::ReleaseOvertook,
        Self::OwnToken,
        Self::Quarantined,
        Self::NodeForgot,
        Self::HolderCrashed,
        Self::HolderPaused,
        Self::Cancelled,
        Self::HalfScript,
        Self::StaleRefused,
        Self::TwoHolders,
        Self::LostUpdate,
        Self::FenceOvertaken,
        Self::CalledAndGranted,
        Self::CalledInVain,
        Self::ReservationLapsed,
        Self::MinorityHung,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::TwoRoundFence => "two-round-fence",
            Self::Retried => "retried",
            Self::Failed => "failed",
            Self::Extended => "extended",
            Self::AtRisk => "at-risk",
            Self::Lapsed => "lapsed",
            Self::ExtensionHit => "extension-hit",
            Self::AcquireHit => "acquire-hit",
            Self::LateYesReleased => "late-yes-released",
            Self::ReleaseOvertook => "release-overtook",
            Self::OwnToken => "own-token",
            Self::Quarantined => "quarantined",
            Self::NodeForgot => "node-forgot",
            Self::HolderCrashed => "holder-crashed",
            Self::HolderPaused => "holder-paused",
            Self::Cancelled => "cancelled",
            Self::HalfScript => "half-script",
            Self::StaleRefused => "stale-refused",
            Self::TwoHolders => "two-holders",
            Self::LostUpdate => "lost-update",
            Self::FenceOvertaken => "fence-overtaken",
            Self::CalledAndGranted => "called-and-granted",
            Self::CalledInVain => "called-in-vain",
            Self::ReservationLapsed => "reservation-lapsed",
            Self::MinorityHung => "minority-hung",
        }
    }

    /// Whether it has to happen in a campaign of drawn plans of this profile. Two holders, lost updates
    /// and overtaken fences are what the asynchronous profile is there for; without a guard
    /// (lossy profile) nobody is quarantined.
    #[must_use]
    pub const fn is_required(self, profile: Profile) -> bool {
        match self {
            Self::Granted
            | Self::TwoRoundFence
            | Self::Retried
            | Self::Failed
            | Self::Extended
            | Self::AtRisk
            | Self::Lapsed
            | Self::ExtensionHit
            | Self::AcquireHit
            | Self::LateYesReleased
            | Self::ReleaseOvertook
            | Self::OwnToken
            | Self::NodeForgot
            | Self::HolderCrashed
            | Self::HolderPaused
            | Self::Cancelled
            | Self::HalfScript
            | Self::StaleRefused
            | Self::LostUpdate
            | Self::CalledAndGranted
            | Self::CalledInVain
            | Self::ReservationLapsed
            | Self::MinorityHung => true,
            Self::Quarantined => !matches!(profile, Profile::Lossy),
            Self::TwoHolders => !matches!(profile, Profile::Synchronous),
            Self::FenceOvertaken => matches!(profile, Profile::Asynchronous),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which marks were met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks(u32);

impl Marks {
    /// Adds `mark`.
    pub const fn insert(&mut self, mark: Mark) {
        self.0 |= 1 << mark as u8;
    }

    /// Whether `mark` was met.
    #[must_use]
    pub const fn contains(self, mark: Mark) -> bool {
        self.0 & 1 << mark as u8 != 0
    }

    /// The marks of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The marks that `profile` requires and that were not met.
    pub fn missing(self, profile: Profile) -> impl Iterator<Item = Mark> {
        Mark::ALL.into_iter().filter(move |mark| mark.is_required(profile) && !self.contains(*mark))
    }
}
