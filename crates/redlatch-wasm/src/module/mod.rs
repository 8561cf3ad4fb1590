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
//! const list = settings(3, 30_000);                  // nodes, ttl in ms: a Float64Array, for any number of locks
//! list[Setting.Wait] = 5_000;
//! const machine = Machine.of(list, "\0report");      // undefined: problem(list, "\0report") tells why
//! machine.acquire(now(), crypto.getRandomValues(new Uint8Array(16)), Date.now() * 1000); // Problem.None, or which
//!
//! function drain() {
//!   for (let id; (id = machine.pollCommand()) !== 0; ) {
//!     const text = machine.commandArgs();
//!     if (text !== undefined) args = text.slice(1).split(text[0]);
//!     send(id, machine.commandNode(), args, machine.commandDeadline());
//!   }
//!   for (let kind; (kind = machine.pollEvent()) !== EventKind.None; ) tell(kind);
//!   wakeAt(machine.pollTimeout());                   // Infinity: nothing is going to happen by itself
//! }
//! // when an answer comes, be it late:  machine.pushArray(2); machine.pushInt(1); machine.pushInt(0);
//! //                                    machine.handleValue(now(), id); drain();
//! // when there will be none:           machine.handleFailure(now(), id); drain();
//! // when it is time:                   machine.handleTimeout(now()); drain();
//! // when machine.isIdle() and machine.inFlight() === 0:  machine.free();
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
//! separator: it occurs in none of the strings. JavaScript chooses one for the names of the resources, and
//! gets arguments with the same, so it must not be in a script either: no line feed, no printable ASCII.
//! Commands are `EVAL` with the whole script, or in the plain dialect `SET key token NX PX ttl`; never
//! `EVALSHA`. What cannot be asked for is told as a [`Problem`].
//!
//! An answer is one value of RESP. It is pushed piece by piece, in the order in which RESP has them (a
//! `pushArray(n)` stands before its n items), and then handed in as a whole. `pushText` is for simple and
//! for bulk strings, `pushOther` for all that is neither null, integer, string nor array: errors first of
//! all.
//!
//! # Memory
//!
//! JavaScript does not collect what is in wasm. The one object here, [`Machine`], has a `free()`, made by
//! wasm-bindgen. Nothing may be called after it.

mod clock;
mod in_flight;
mod machine;
mod names;
mod owned;
mod problem;
mod settings;
mod sightings;
mod value;

pub use machine::{
    Cause, EventKind, LockState, Loss, Machine, NodeState, Op, Question, Tally, Vote,
};
pub use owned::{Owned, problem};
pub use problem::Problem;
pub use settings::{Setting, settings};

#[cfg(target_arch = "wasm32")]
#[global_allocator]
// SAFETY: the module has no threads.
static ALLOCATOR: lol_alloc::AssumeSingleThreaded<lol_alloc::FreeListAllocator> =
    unsafe { lol_alloc::AssumeSingleThreaded::new(lol_alloc::FreeListAllocator::new()) };

/// A panic is a bug; it ends as `RuntimeError: unreachable`. To tell it in words would double the size.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
