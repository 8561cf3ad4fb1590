//! The harness that doubts Redlock clients: a simulator, an exhaustive model, and embedded nodes.
//!
//! | module | what |
//! | --- | --- |
//! | [`sim`] | a lock under test in a hostile world, in virtual time; one seed, one history |
//! | [`model`] | every interleaving of small worlds |
//! | `mutants` | planted bugs, each of which has to be found (feature `mutants`) |
//! | `embedded` | nodes that speak RESP over TCP, to test one's own code without Redis (feature `embedded`) |
//! | `redis` | what those nodes run: Redis by the byte, compared with real servers (feature `embedded`) |
//! | `live` | real Redis servers, faults between them and any lock client (feature `live`) |
//! | [`plan`], [`history`], [`check`], [`report`] | the words that all tiers share: faults, events, invariants, artefacts |
//!
//! The command `redlatch-harness` (feature `cli`) runs them all.

pub mod check;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod history;
#[cfg(feature = "live")]
pub mod live;
pub mod model;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod node;
pub mod plan;
#[cfg(any(feature = "embedded", feature = "live"))]
pub mod port;
#[cfg(feature = "embedded")]
pub mod redis;
pub mod report;
pub mod sim;
pub mod system;

/// The examples of the guide are examples of this crate.
#[cfg(all(doctest, feature = "embedded"))]
#[doc = include_str!("../../docs/harness.md")]
struct Guide;
