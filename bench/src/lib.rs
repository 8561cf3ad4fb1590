//! The native driver, the raw floor and other clients, measured side by side on real servers.
//!
//! Each subject runs in a process of its own, which this program starts again for those in Rust. All are
//! measured in turn, in rounds of changing order, and ratios are taken within a round: what else the
//! machine does then hits both sides. `docs/bench.md` tells how to read the result.

pub mod arena;
pub mod chart;
pub mod cli;
pub mod measure;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod subject;
