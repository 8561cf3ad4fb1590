//! Nodes without Redis: the model of [`redis`](crate::redis) behind real sockets, for tests on a machine
//! that has nothing installed, and with faults that a real server cannot be asked for.
//!
//! Any client can connect, in RESP2 or RESP3. Each node has a thread, a port, a wall clock and a
//! `run_id` of its own. Dropping the cluster ends all of it.
//!
//! ```
//! use redlatch_harness::embedded::Cluster;
//! use redlatch_harness::redis::Keep;
//!
//! let cluster = Cluster::embedded(5)?;
//! println!("REDLATCH_NODES={}", cluster.urls().join(","));
//!
//! cluster[0].hang();                  // connections stay, answers do not come
//! cluster[1].kill();                  // connections break, new ones are refused
//! cluster[2].jump(-30_000);           // its wall clock steps back half a minute
//! cluster[1].restart(Keep::Nothing)?; // under another run_id, without its keys
//! cluster[0].resume();                // and now answers all that waited
//! # Ok::<(), std::io::Error>(())
//! ```

mod cluster;
mod node;
mod server;

pub use cluster::{Builder, Cluster};
pub use node::{Glimpse, Node, State};
