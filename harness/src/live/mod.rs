//! Real Redis servers, faults between them and any lock client, and checks of what it then does.
//!
//! | module | what |
//! | --- | --- |
//! | [`node`] | servers as local processes, as containers, or somebody else's; started, killed, paused, with clocks of their own |
//! | [`network`] | a listener per client and node, with faults of single commands and of whole links |
//! | [`proxy`] | what the network is made of: links, rules, and the log of what each node was told |
//! | [`observe`] | what each node keeps for each resource, over time |
//! | [`adapter`] | lock clients in processes of their own, in any language |
//! | [`process`] | child processes that do not outlive this one |
//! | [`estate`] | folders and containers that do not outlive this process |
//! | [`scenario`] | the faults, with names; [`plan`] is one of them, drawn from a seed |
//! | [`record`] | what is recorded of a run; [`judge`] says what is wrong in it |
//! | [`rehearsal`] | servers that fail, for tests of one's own code |
//! | [`stress`] | hundreds of clients of this project's driver for minutes, judged as they go |
//! | [`run`] | one plan, carried out; [`campaign`] is many of them, [`scorecard`] a table of what came of them |

mod act;
pub mod adapter;
pub mod campaign;
pub mod estate;
mod gather;
mod host;
pub mod judge;
mod ledger;
pub mod network;
pub mod node;
pub mod observe;
pub mod plan;
pub mod process;
pub mod proxy;
pub mod record;
pub mod rehearsal;
pub mod run;
pub mod scenario;
pub mod scorecard;
mod story;
pub mod stress;
mod workload;

use std::time::Duration;

/// The longest that anything here waits for a server or a thread before it says that it waited in vain.
///
/// A server starts in some 20 ms, a container in 400, and both answer in less than one; the rest is room for a machine
/// that does other things at the same time.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks at something that no call can wait for.
const LOOK_EVERY: Duration = Duration::from_millis(2);
