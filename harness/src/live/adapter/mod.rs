//! Lock clients under test, each in a process of its own: any language, by JSON lines on stdin and stdout.
//!
//! `docs/adapters.md` is the protocol; `protocol` reads and writes it, [`Adapter`] is the process,
//! [`check`] tells whether one keeps to it, and `manifest` knows those that come with the harness.
//! [`native`] speaks it with the driver of this project, so one client needs nothing but this binary.

pub mod check;
mod manifest;
pub mod native;
mod process;
mod protocol;
mod redact;
pub mod serve;

pub use manifest::{AdapterCommand, Install, ManifestError, adapters, folder};
pub use process::{Adapter, AdapterError, Answer, Loss, Overdue};
pub use protocol::{
    Ability, Failure, FailureKind, Grant, Handle, Hello, Init, Options, VERSION, key_of,
};
pub use redact::redact;
