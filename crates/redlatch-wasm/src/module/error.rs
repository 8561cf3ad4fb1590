//! Why a lock cannot be asked for, in words.
//!
//! The machinery of `core::fmt` would be a third of the module, so the texts here are fixed but for one
//! digit. They say what is allowed; what was asked for the caller knows.

use alloc::string::String;

use redlatch_core::wire::{KeysError, WireError};
use redlatch_core::{ConfigError, ProposalError, QuorumError, TokenError, TtlError, WrongPhase};
use wasm_bindgen::JsError;

/// A text, and the place of the resource that it is about.
pub(crate) struct Invalid(pub(crate) &'static str, Option<usize>);

impl Invalid {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self(text, None)
    }
}

impl From<Invalid> for JsError {
    fn from(Invalid(text, index): Invalid) -> Self {
        let Some(index) = index else { return Self::new(text) };
        let mut message = String::from("resource ");
        // There are at most eight.
        message.push(char::from(b'1' + index.min(8) as u8));
        message.push_str(text);
        Self::new(&message)
    }
}

impl From<TtlError> for Invalid {
    fn from(_: TtlError) -> Self {
        Self::new("a ttl must be 1 ms to 24 h, in whole milliseconds")
    }
}

impl From<QuorumError> for Invalid {
    fn from(_: QuorumError) -> Self {
        Self::new("a lock takes 1 to 16 nodes (3 or 5 are usual)")
    }
}

impl From<ConfigError> for Invalid {
    fn from(error: ConfigError) -> Self {
        Self::new(match error {
            ConfigError::TtlTooShort { .. } => {
                "the ttl leaves no validity when the clock drift and the least validity are taken off; \
                 ask for a longer ttl"
            }
            ConfigError::NodeTimeoutZero => "the node timeout is zero; nodes need time to answer",
            _ => "no lock could be granted with these settings",
        })
    }
}

impl From<ProposalError> for Invalid {
    fn from(_: ProposalError) -> Self {
        Self::new("the wall clock cannot be proposed as a fence: set the clock")
    }
}

impl From<TokenError> for Invalid {
    fn from(_: TokenError) -> Self {
        Self::new("a token has 40 lowercase hexadecimal digits")
    }
}

impl From<WrongPhase> for Invalid {
    fn from(_: WrongPhase) -> Self {
        Self::new("the lock is being acquired, held or released; wait until it is idle")
    }
}

impl From<WireError> for Invalid {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the core may add reasons")]
    fn from(error: WireError) -> Self {
        match error {
            WireError::Keys(error) => error.into(),
            WireError::PlainFence => Self::new(
                "the plain dialect has no fences; use the scripts dialect or ask for no fence",
            ),
            WireError::PlainKeys => Self::new(
                "the plain dialect locks one resource at a time; use the scripts dialect for several",
            ),
            _ => Self::new("the command cannot be put into bytes"),
        }
    }
}

impl From<KeysError> for Invalid {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Count { .. } => Self::new("a lock takes 1 to 8 resources"),
            KeysError::Length { index, .. } => {
                Self(": its name must have 1 to 1024 bytes", Some(index))
            }
            KeysError::Reserved { index } => Self(
                ": names that begin with `redlatch:` are kept for the library's own keys; choose another",
                Some(index),
            ),
            KeysError::Duplicate { index } => {
                Self(" was named before; name each one once", Some(index))
            }
            KeysError::Slots { index, .. } => Self(
                " is in another Redis Cluster slot than the first; resources that are locked together \
                 must share a slot: give their names one hash tag, as in {order:7}:stock and \
                 {order:7}:invoice",
                Some(index),
            ),
            KeysError::FenceSlot { index } => Self(
                " has a closing brace in its name but no hash tag, so no key for its fence can share its \
                 slot: give it a hash tag, as in {order:7}:stock, take the brace out, or lock it without \
                 a fence",
                Some(index),
            ),
            _ => Self::new("these resources cannot be locked together"),
        }
    }
}
