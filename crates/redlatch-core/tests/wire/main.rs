//! The bytes: what is sent for each operation, what an answer means, and what may be locked.

mod answers;
mod arguments;
mod names;

use std::time::Duration;

use redlatch_core::wire::{Compare, Dialect};
use redlatch_core::{Fence, Op, Place, Proposal, Token, Ttl};

const TOKEN: Token =
    Token::new(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\xfe\xff", 42);
/// [`TOKEN`] on the wire.
const HEX: &str = "000102030405060708090a0b0c0dfeff0000002a";

/// Scripts with a restart guard of 60 s; fences are kept for a day.
const GUARDED: Dialect = Dialect::Scripts {
    restart_guard: Some(TTL_MAX),
    fence_retention: Duration::from_secs(24 * 60 * 60),
};
const TTL_MAX: Ttl = match Ttl::from_millis(60_000) {
    Ok(ttl) => ttl,
    Err(_) => panic!("a minute is a ttl"),
};
const COMPARES: [Compare; 3] = [Compare::Script, Compare::Delex, Compare::Delifeq];

fn ttl() -> Ttl {
    Ttl::from_millis(30_000).expect("30 s is a ttl")
}

fn acquire() -> Op {
    Op::Acquire { token: TOKEN, ttl: ttl(), proposal: None }
}

fn acquire_fenced() -> Op {
    let proposal = Proposal::from_unix_micros(1_700_000_000_000_000).ok();
    Op::Acquire { token: TOKEN, ttl: ttl(), proposal }
}

fn seal() -> Op {
    Op::Seal { token: TOKEN, fence: Fence::new(77).expect("a fence") }
}

fn extend() -> Op {
    Op::Extend { token: TOKEN, ttl: ttl(), fence: None }
}

fn extend_fenced() -> Op {
    Op::Extend { token: TOKEN, ttl: ttl(), fence: Fence::new(77) }
}

fn release() -> Op {
    Op::Release { token: TOKEN, place: None }
}

/// Of one that goes on waiting.
fn release_queued() -> Op {
    Op::Release { token: TOKEN, place: Some(Place::since_millis(1_700_000_000_000)) }
}

const OPS: [fn() -> Op; 7] =
    [acquire, acquire_fenced, seal, extend, extend_fenced, release, release_queued];
