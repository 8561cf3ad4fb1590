//! What the adapters in Rust share: the protocol.

// The harness's own file: to depend on the harness would be to build all of it.
#[path = "../../src/live/adapter/serve.rs"]
mod serve;

pub use serve::{Client, Events, Failure, Granted, Options, serve};
