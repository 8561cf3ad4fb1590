//! Redis by the byte: one node's keyspace, its commands, and its scripts, run by a real Lua 5.1.
//!
//! [`Redis`] is a server without a network: a list of byte strings goes in, a [`Resp`] comes out. It
//! knows strings and sorted sets with an expiry and channels, which is all that locks use, and runs any
//! script, so any lock client's commands work on it. It reads no clock: the wall clock, by which keys expire, is an argument, and
//! [`Clock`] is one that drifts and jumps. It is checked against a real server by [`fidelity`], reply
//! for reply.
//!
//! ```
//! use redlatch_harness::redis::{Flavour, Redis, Resp, Session};
//!
//! let mut redis = Redis::new(Flavour::Redis8, 1);
//! let mut session = Session::default();
//! let set = redis.execute(1_000, &mut session, &["SET", "report", "token", "NX", "PX", "500"]);
//! assert_eq!(set, Resp::OK);
//! assert_eq!(redis.execute(1_500, &mut session, &["PTTL", "report"]), Resp::Int(0));
//! assert_eq!(redis.execute(1_501, &mut session, &["PTTL", "report"]), Resp::Int(-2));
//! ```
//!
//! # Faults
//!
//! - [`Redis::restart`]: comes back under a new `run_id`, having kept all, what was synced, or nothing.
//! - [`Redis::evict`], [`Redis::flush`]: keys that go without their expiry.
//! - [`Redis::stop_script_after`]: the next script is cut off after so many writes, which stay.
//! - [`Redis::replace_script`]: a planted bug, as Lua.
//!
//! # Non-features
//!
//! Lists, hashes and other types, scores that are no whole numbers, options of `ZADD`, ranges by score,
//! subscriptions to patterns, replication, cluster mode, and the Lua libraries `cjson`, `cmsgpack`,
//! `struct` and `bit`.

mod clock;
pub(crate) mod codec;
mod engine;
pub mod fidelity;
mod flavour;
mod keys;
mod keyspace;
mod lua;
mod node;
mod number;
mod pubsub;
mod resp;
mod server;
mod session;
mod sorted;
mod strings;
mod table;
mod transaction;

pub use clock::Clock;
pub use flavour::Flavour;
pub use keyspace::Keep;
pub use node::Redis;
pub use resp::Resp;
pub use session::{Protocol, Session};
