//! Every rule of the protocol, by name: the tests of R1 to R18, by life cycle, through the public API.

mod acquire;
mod config;
mod fence;
mod hold;
mod late;
mod queue;
mod release;
mod retry;
#[path = "../support/mod.rs"]
mod support;
