//! Why a lock cannot be asked for, as a number.
//!
//! The words for it are the driver's: in JavaScript they are compressed together with its other texts, and
//! nothing has to be thrown out of here, for which wasm-bindgen keeps a table of what it throws.

use redlatch_core::wire::{KeysError, WireError};
use redlatch_core::{ConfigError, ProposalError, QuorumError, TokenError, TtlError, WrongPhase};
use wasm_bindgen::prelude::wasm_bindgen;

/// Why a lock cannot be asked for.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It can.
    None,
    /// A ttl is 1 ms to 24 h, in whole milliseconds.
    Ttl,
    /// A lock takes 1 to 16 nodes.
    Nodes,
    /// A drift of more than half of the ttl leaves no lock.
    Drift,
    /// The ttl leaves no validity when the clock drift and the least validity are taken off.
    TtlTooShort,
    /// The node timeout is zero.
    NodeTimeout,
    /// The wall clock cannot be proposed as a fence.
    Clock,
    /// A token has 40 lowercase hexadecimal digits.
    Token,
    /// A nonce has 16 bytes.
    Nonce,
    /// The lock is being acquired, held or released.
    Busy,
    /// The plain dialect has no fences.
    PlainFence,
    /// The plain dialect locks one resource at a time.
    PlainKeys,
    /// A lock takes 1 to 8 resources.
    Resources,
    /// The name of a resource must have 1 to 1024 bytes.
    NameLength,
    /// Names that begin with `redlatch:` are kept for the library's own keys.
    NameReserved,
    /// A resource was named before.
    NameTwice,
    /// A resource is in another Redis Cluster slot than the first.
    Slot,
    /// The name of a resource has a closing brace but no hash tag, so there is no key for its fence.
    FenceSlot,
    /// Something else, which a later version of the core may find.
    Other,
    /// No problem, but how many there are: a problem of one resource is told as the sum of the problem and
    /// this many times the place of the resource, counted from 1.
    Count,
}

/// What JavaScript is told: a [`Problem`], and the place of the resource that has it.
#[derive(Debug)]
pub(crate) struct Invalid(pub(crate) u32);

impl Invalid {
    fn of_resource(problem: Problem, index: usize) -> Self {
        Self(problem as u32 + Problem::Count as u32 * (index as u32 + 1))
    }

    /// What JavaScript is told of `result`.
    pub(crate) fn told<T>(result: Result<T, Self>) -> u32 {
        match result {
            Ok(_) => Problem::None as u32,
            Err(Self(told)) => told,
        }
    }
}

impl From<Problem> for Invalid {
    fn from(problem: Problem) -> Self {
        Self(problem as u32)
    }
}

impl From<TtlError> for Invalid {
    fn from(_: TtlError) -> Self {
        Problem::Ttl.into()
    }
}

impl From<QuorumError> for Invalid {
    fn from(_: QuorumError) -> Self {
        Problem::Nodes.into()
    }
}

impl From<ConfigError> for Invalid {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::TtlTooShort { .. } => Problem::TtlTooShort.into(),
            ConfigError::NodeTimeoutZero => Problem::NodeTimeout.into(),
            _ => Problem::Other.into(),
        }
    }
}

impl From<ProposalError> for Invalid {
    fn from(_: ProposalError) -> Self {
        Problem::Clock.into()
    }
}

impl From<TokenError> for Invalid {
    fn from(_: TokenError) -> Self {
        Problem::Token.into()
    }
}

impl From<WrongPhase> for Invalid {
    fn from(_: WrongPhase) -> Self {
        Problem::Busy.into()
    }
}

impl From<WireError> for Invalid {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the core may add reasons")]
    fn from(error: WireError) -> Self {
        match error {
            WireError::Keys(error) => error.into(),
            WireError::PlainFence => Problem::PlainFence.into(),
            WireError::PlainKeys => Problem::PlainKeys.into(),
            _ => Problem::Other.into(),
        }
    }
}

impl From<KeysError> for Invalid {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Count { .. } => Problem::Resources.into(),
            KeysError::Length { index, .. } => Self::of_resource(Problem::NameLength, index),
            KeysError::Reserved { index } => Self::of_resource(Problem::NameReserved, index),
            KeysError::Duplicate { index } => Self::of_resource(Problem::NameTwice, index),
            KeysError::Slots { index, .. } => Self::of_resource(Problem::Slot, index),
            KeysError::FenceSlot { index } => Self::of_resource(Problem::FenceSlot, index),
            _ => Problem::Other.into(),
        }
    }
}
