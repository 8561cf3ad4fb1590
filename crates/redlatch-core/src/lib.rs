#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]
//! The Redlock protocol as a pure state machine: no I/O, no clock, no randomness, no allocation.
//!
//! Redlock takes a lock on a majority of n independent Redis nodes. [`Lock`] decides what to ask of
//! which node and what the answers mean; a *driver* carries the commands and reads the clock. Everything
//! that can vary is an argument, so the very bytes that run in production also run in a simulator, in a
//! model checker, in a browser and on an edge worker. If you have a runtime that the drivers do not
//! cover, write your own: it is the loop below.
//!
//! # What Redlock does not promise
//!
//! A lease is a promise about time. It is broken by a node whose wall clock jumps (Redis expires by
//! wall clock), by a node that forgets (restarted without its data, flushed, replaced by a replica)
//! unless it is kept from voting for a while (R16), and it cannot stop a holder that was paused from
//! acting after its lease has ended. A [`Fence`] covers all three, whatever the clocks do, if the
//! resource refuses a fence lower than the highest it has seen.
//!
//! # A transport of one's own
//!
//! ```
//! use redlatch_core::wire::{Answer, Dialect, Form, Keys, Value, Wire};
//! use redlatch_core::{Command, Config, Event, Instant, Lock, Quorum, Reply, Ttl};
//!
//! // Yours: send `args` to the node as one Redis command, and bring back what it answers.
//! fn send(node: usize, args: &[&[u8]]) -> Value<'static> {
//!     Value::Array(&[Value::Int(1), Value::Int(0)])
//! }
//!
//! // Yours: a clock that counts suspended time.
//! fn now() -> Instant {
//!     Instant::from_nanos(1)
//! }
//!
//! let wire = Wire::new(Keys::new(&[b"report"])?, Dialect::SCRIPTS)?;
//! let mut lock = Lock::new(Config::new(Quorum::of(3)?, Ttl::from_millis(30_000)?)?);
//! lock.acquire(now(), [0x42; 16], None)?; // 16 random bytes, never used again
//! let lease = loop {
//!     while let Some(Command { id, op, .. }) = lock.poll_command() {
//!         let mut buffer = [0; 256];
//!         let value = send(id.node().index(), wire.encode(&op, Form::Sha1, &mut buffer)?.as_slice());
//!         match wire.decode(&op, &value) {
//!             Answer::Reply(reply) => lock.handle_reply(now(), id, reply),
//!             Answer::ScriptMissing => lock.handle_reply(now(), id, Reply::Unknown), // or `Form::Text`
//!         }
//!     }
//!     match lock.poll_event() {
//!         Some(Event::Granted(lease)) => break lease,
//!         Some(event) => panic!("{event:?}"),
//!         None => lock.handle_timeout(now()), // sleep until `lock.poll_timeout()` first
//!     }
//! };
//! assert!(lock.is_valid(now()));
//! # assert_eq!(lease.fence, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/custom_transport.rs` is the same over sockets, with a thread per node.
//!
//! # The rules
//!
//! A **quorum** is q = ⌊n/2⌋ + 1 of n **nodes**. A **resource** is locked by a **token**; a **lease** is a
//! token, its **fence**, and the instant `valid_until`. An **attempt** is one fan-out of acquire
//! commands, a **round** is any fan-out. A node answers *applied*, *refused*, or *unknown*. The line of
//! the source that implements a rule cites it, and so does at least one test.
//!
//! | rule | |
//! | --- | --- |
//! | R1 | A lease is a promise of each node. A yes to a command that was sent at `s` (read before its first byte could leave) promises until `s + ttl − drift(ttl)`, and never shortens an earlier promise. `valid_until` is the q-th largest promise. Acquire, late answers, partial and full extension are all this one rule. |
//! | R2 | A lease is granted only while `now + validity_min < valid_until`, counting only nodes that may count (R15, R16). |
//! | R3 | Every attempt has a token of its own, so that nothing of an earlier attempt that arrives late can remove or fake a vote of a later one. |
//! | R4 | An attempt that does not end in a grant sends a release to every node that was sent an acquire, also to those that refused or never answered. It undoes the attempts before it as well: each was given up before the next began. |
//! | R5 | Unknown is neither yes nor no: never counted towards a quorum, never counted as released. |
//! | R6 | When a yes arrives after its attempt was given up, that node gets one more release. No transport is assumed to keep commands in order. |
//! | R7 | A reply counts once, for the attempt, round and node that it answers. |
//! | R8 | The decision is total: for every n, every split and any silence, a round is decided as soon as arithmetic permits, at the latest at its deadline. A tie is lost. |
//! | R9 | Each command has a deadline of its own, whatever its kind; the attempt's limit bounds them all. |
//! | R10 | An extension keeps the token, never creates a key, never shortens its life, never releases. A miss changes nothing: the lease is at risk, and the extension is tried again until `valid_until`. |
//! | R11 | A loss is told no later than `valid_until`, by a deadline that no network can delay, and is for good. Validity is computed, never stored. |
//! | R12 | A release drops the lease before its first command is handed out, whatever nodes answer. Those that answered unknown are asked again, boundedly, until the token would have expired by itself. |
//! | R13 | Retries are bounded by attempts, by a wait, or both; the delay has jitter and is no shorter than useful; there is no sleep after the last try; the last cause is the one reported. |
//! | R14 | Renewal is asked for explicitly, starts early enough for several tries, and is bounded by a longest hold. |
//! | R15 | Fences are unique, and increase from any grant to any acquire that begins after it. A lease that asked for a fence is not granted without it, and only nodes registered for exactly that fence count. |
//! | R16 | A node that may have forgotten keys does not vote until every key that it may have forgotten has expired. |
//! | R17 | `now` never goes backwards inside the machine. |
//! | R18 | A call is a hint: it can begin an attempt, never decide one. A key that is kept for an heir refuses everybody else for at most 200 ms, and nobody counts it as a vote. |
//!
//! Why they are enough, and what they assume of clocks and nodes, is in `docs/protocol.md`.
//!
//! # Features
//!
//! None: the crate has no dependencies and no features, and is `no_std` without `alloc`.
//!
//! # Non-features
//!
//! - Semaphores and read-write locks: Redlock is a mutex, and its proof is about a mutex.
//! - Re-entrant locks: a second `acquire` is another holder.
//! - Quorums below a majority: two of them need not meet.
//! - Promised fairness: whoever waits in the nodes' queues is served in the order of its
//!   [place](Lock::set_place), which is as true as the clients' wall clocks, and whoever only asks from
//!   time to time comes behind.

mod attempt;
mod backoff;
mod cleanup;
mod command;
mod config;
mod event;
mod hold;
mod lease;
mod lock;
mod queue;
mod quorum;
mod renewal;
mod round;
mod time;
pub mod wire;

pub use backoff::Retry;
pub use command::{Command, CommandId, Op, Question, Reply};
pub use config::{Config, ConfigError};
pub use event::{Cause, Event, Loss, Released, WrongPhase};
pub use lease::{Drift, Fence, Lease, Proposal, ProposalError, Token, TokenError, Ttl, TtlError};
pub use lock::Lock;
pub use queue::Place;
pub use quorum::{NODES_MAX, NodeId, NodeSet, Nodes, Quorum, QuorumError, Tally, Verdict};
pub use renewal::Renewal;
pub use time::Instant;
