//! The harness that doubts: a simulator, an exhaustive model, and embedded nodes.

pub mod check;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod history;
pub mod model;
pub mod mutants;
pub mod node;
pub mod plan;
#[cfg(feature = "embedded")]
pub mod redis;
pub mod report;
pub mod sim;
pub mod system;
