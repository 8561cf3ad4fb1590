//! The state machine as JavaScript sees it: what the npm package `redlatch` drives.
//!
//! Everything here is synchronous and does no I/O: no timers, no fetch, no clock, no randomness. The
//! driver in JavaScript asks for commands, carries them out, and hands in answers and the time. It is the
//! loop that the documentation of `redlatch_core` describes, and the duties of a driver are listed at
//! [`redlatch_core::Lock`].
//!
//! # One lock, from JavaScript
//!
//! ```js
//! initSync({ module });                              // core.js, made by wasm-bindgen --target web
//! const settings = new Settings(3, 30_000);          // nodes, ttl in ms; may be kept for many locks
//! const names = new Names();
//! names.push("report");
//! const value = new Value();                         // scratch paper for answers; one for all locks
//! const machine = new Machine(settings, names);      // throws an Error whose message is for people
//! names.free();
//! machine.acquire(now(), crypto.getRandomValues(new Uint8Array(16)), Date.now() * 1000);
//!
//! function drain() {
//!   let args;
//!   for (let id; (id = machine.pollCommand()) !== 0; ) {
//!     const text = machine.commandArgs();
//!     if (text !== undefined) args = text.slice(1).split(text[0]);
//!     send(id, machine.commandNode(), args, machine.commandDeadline());
//!   }
//!   for (let kind; (kind = machine.pollEvent()) !== EventKind.None; ) tell(kind);
//!   wakeAt(machine.pollTimeout());                   // Infinity: nothing is going to happen by itself
//! }
//! // when an answer comes, be it late:  value.reset(); value.pushArray(2); value.pushInt(1); …
//! //                                    machine.handleValue(now(), id, value); drain();
//! // when there will be none:           machine.handleFailure(now(), id); drain();
//! // when it is time:                   machine.handleTimeout(now()); drain();
//! // when machine.isIdle() and no command is unanswered:  machine.free();
//! ```
//!
//! # Time
//!
//! Instants and durations are milliseconds in a `number`, with decimals. The machine counts in
//! nanoseconds and converts to the nearest one, so every whole nanosecond survives the way in and out for
//! 52 days after the origin, and is off by a nanosecond or two in the years after that. Let the origin be
//! some instant shortly before the first use. What is no time counts as the safe one: `NaN` and negative
//! numbers as the origin (before the latest instant seen, so as that one), `Infinity` as the end of time.
//! An instant that is not known is 0, a duration that is not known is negative.
//!
//! A clock that stands still, or ticks coarsely, must be rounded by the driver: an instant at which a
//! command is caused (`acquire`, `extend`) downwards, one at which an answer or a timer arrives upwards.
//!
//! # Names, arguments, answers
//!
//! All text is strings. A list of strings comes as one string, of which the first character is the
//! separator: it occurs in none of the strings. Commands are `EVAL` with the whole script, or in the plain
//! dialect `SET key token NX PX ttl`; never `EVALSHA`.
//!
//! An answer is one value of RESP, written into a [`Value`] piece by piece in the order in which RESP has
//! them: a `pushArray(n)` stands before its n items. `pushText` is for simple and for bulk strings.
//!
//! # Memory
//!
//! JavaScript does not collect what is in wasm. Each object here has a `free()`, made by wasm-bindgen.

mod clock;
mod inspection;
mod machine;
mod names;
mod settings;
mod value;

pub use inspection::{Inspection, LockState, NodeState};
pub use machine::{Cause, EventKind, Loss, Machine, Op, Question, Tally, Vote};
pub use names::Names;
pub use settings::{Dialect, Settings};
pub use value::Value;

use alloc::string::ToString;
use core::fmt::Display;

use wasm_bindgen::JsError;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// A panic is a bug; it ends as `RuntimeError: unreachable`. To tell it in words would double the size.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

fn js_error(error: impl Display) -> JsError {
    JsError::new(&error.to_string())
}
