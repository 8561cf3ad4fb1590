//! What carries commands to nodes: the one thing that a program on the edge brings itself.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use redlatch_core::{Instant, wire};

/// The surroundings of a [`Redlatch`](crate::Redlatch): nodes, time, randomness, tasks.
///
/// Nothing here needs to be `Send`. A transport retries nothing by itself: a command that may have been
/// carried out and is sent again looks like a rival's.
pub trait Transport: 'static {
    /// Sends `args` to `node`, counted from 0, as one Redis command, and brings back what it answers.
    /// Anything else, be it a redirect, half a body or no connection, is a [`Failure`].
    fn send(
        &self,
        node: usize,
        args: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<Value, Failure>> + 'static;

    /// Waits for about `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;

    /// A clock that never goes back and counts suspended time. Where it ticks coarsely it must be slow by
    /// no more than a millisecond, which is part of the allowance for drift.
    fn now(&self) -> Instant;

    /// The wall clock, since 1970. The order of fences does not depend on it.
    fn unix_time(&self) -> Duration;

    /// Sixteen bytes of a cryptographic random generator.
    fn random(&self) -> Result<[u8; 16], Failure>;

    /// Runs `task` to its end, beside whatever else goes on: it renews locks, and releases those whose
    /// guards were dropped. On Workers it is handed to `ctx.wait_until`.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// One Redis value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Null, also a Lua `false`.
    Nil,
    /// An integer.
    Int(i64),
    /// A simple or a bulk string.
    Text(String),
    /// An array.
    Array(Vec<Value>),
    /// An error of the node.
    Error(String),
}

/// The longest array that a node answers to our commands, and one more.
const ITEMS_MAX: usize = 4;

impl Value {
    /// Lends the value in the protocol's form.
    pub(crate) fn lend<T>(&self, read: impl FnOnce(&wire::Value<'_>) -> T) -> T {
        let Self::Array(items) = self else { return read(&self.scalar()) };
        let mut flat = [wire::Value::Nil; ITEMS_MAX];
        match flat.get_mut(..items.len()) {
            Some(flat) => {
                for (place, item) in flat.iter_mut().zip(items) {
                    *place = item.scalar();
                }
                read(&wire::Value::Array(flat))
            }
            None => read(&UNEXPECTED),
        }
    }

    fn scalar(&self) -> wire::Value<'_> {
        match self {
            Self::Nil => wire::Value::Nil,
            Self::Int(int) => wire::Value::Int(*int),
            Self::Text(text) => wire::Value::Bytes(text.as_bytes()),
            Self::Error(text) => wire::Value::Error(text.as_bytes()),
            Self::Array(_) => UNEXPECTED,
        }
    }
}

/// Stands for a value that is no answer to any of our commands.
const UNEXPECTED: wire::Value<'static> = wire::Value::Error(b"");

/// Why a node could not be asked: for people, without credentials or tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure, in words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Failure {}
