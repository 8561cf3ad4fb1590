//! A node in memory: as much of Redis as our scripts need.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use redlatch_core::wire::{ACQUIRE, EXTEND, INSPECT, RELEASE, SCRIPTS, SEAL, Script};
use redlatch_core::{Instant, NodeId, Token};

use super::{Cause, Mode, World};
use crate::clock;
use crate::node::lock;

/// For how long nodes that are said to have been restarted do not vote.
const QUARANTINE: Duration = Duration::from_secs(60);

/// For how long a key is kept for who is called.
const KEPT: Duration = Duration::from_millis(200);
/// The digits of a nonce, with which a token begins.
const NONCE_LEN: usize = Token::HEX_LEN - ATTEMPT_LEN;
/// The digits of an attempt's number.
const ATTEMPT_LEN: usize = 8;

/// A connection to one node.
#[derive(Clone)]
pub(super) struct FakeNode {
    pub(super) world: Arc<World>,
    pub(super) index: usize,
}

/// What a node has stored.
#[derive(Default)]
pub(super) struct Keys(Mutex<Stored>);

#[derive(Default)]
struct Stored {
    locks: HashMap<Vec<u8>, Held>,
    /// The fence numbers, by their keys. Tests end before they would be forgotten.
    fences: HashMap<Vec<u8>, u64>,
    /// Who waits, by since when, and by their nonces; by the keys of the queues.
    queues: HashMap<Vec<u8>, BTreeSet<(u64, Vec<u8>)>>,
}

struct Held {
    token: Vec<u8>,
    expires_at: Instant,
}

impl Keys {
    /// Loses these keys, but no fence numbers.
    pub(super) fn forget<'a>(&self, names: impl Iterator<Item = &'a [u8]>) {
        let mut stored = lock(&self.0);
        for name in names {
            stored.locks.remove(name);
        }
    }
}

impl ConnectionLike for FakeNode {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        let answer = self.answer(cmd);
        Box::pin(async move { answer })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let commands = pipeline.cmd_iter().skip(offset).take(count);
        let answers: RedisResult<Vec<_>> = commands.map(|cmd| self.answer(cmd)).collect();
        Box::pin(async move { answers })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

impl FakeNode {
    fn answer(&self, cmd: &Cmd) -> RedisResult<Value> {
        let args: Vec<&[u8]> = cmd.args_iter().filter_map(simple).collect();
        match args.as_slice() {
            // It tells nothing of itself.
            [b"INFO", ..] => Ok(Value::BulkString(Vec::new())),
            [b"EVALSHA" | b"EVAL", script, count, rest @ ..] => {
                let script = script_of(script).ok_or_else(|| error("it has no such script"))?;
                let count = usize::try_from(number(count)?).map_err(|_| malformed())?;
                let (keys, args) = rest.split_at_checked(count).ok_or_else(malformed)?;
                self.run(script, keys, args)
            }
            _ => Err(error("it has no such command")),
        }
    }

    /// What the script of that name does, as its Lua text says it.
    fn run(&self, script: Script, keys: &[&[u8]], args: &[&[u8]]) -> RedisResult<Value> {
        let mode = lock(&self.world.orders).mode;
        if mode == Mode::Fail(Cause::NoQuorum) {
            return Err(error("the test wants it to fail"));
        }
        let node = self.world.nodes.get(self.index).ok_or_else(malformed)?;
        let mut stored = lock(&node.0);
        let now = clock::now();
        stored.locks.retain(|_, held| now < held.expires_at);
        let numbers =
            |values: &[i64]| Value::Array(values.iter().copied().map(Value::Int).collect());
        let answer = match (script, args) {
            (ACQUIRE, [token, ttl, n, proposal, ..]) => {
                let (names, fences) = split(keys, n)?;
                let command = Acquire { names, fences, token, ttl: millis(ttl)? };
                let proposal = number(proposal)?;
                numbers(&self.acquire(&mut stored, mode, now, &command, proposal))
            }
            (SEAL, [token, fence, n, ..]) => {
                let (names, fences) = split(keys, n)?;
                match stored.has(mode, names, token) {
                    true => numbers(&[1, signed(stored.raise(fences, number(fence)?))]),
                    false => numbers(&[0]),
                }
            }
            (EXTEND, [token, ttl, n, ..]) => {
                let (names, _) = split(keys, n)?;
                let is_held = stored.has(mode, names, token);
                if is_held {
                    stored.extend(names, now.saturating_add(millis(ttl)?));
                }
                numbers(&[i64::from(is_held)])
            }
            (RELEASE, [token, n, since @ ..]) => {
                let (names, queues) = split(keys, n)?;
                let since = since.first().map(|since| number(since)).transpose()?;
                let is_done = self.release(&mut stored, names, queues, token, since);
                numbers(&[i64::from(is_done || mode == Mode::Bypass)])
            }
            (INSPECT, [n]) => {
                let (names, fences) = split(keys, n)?;
                self.inspect(&stored, mode, now, names, fences)
            }
            _ => return Err(error("it has no such script")),
        };
        Ok(answer)
    }

    fn acquire(
        &self,
        stored: &mut Stored,
        mode: Mode,
        now: Instant,
        command: &Acquire<'_>,
        proposal: u64,
    ) -> Vec<i64> {
        let Acquire { names, fences, token, ttl } = *command;
        if mode == Mode::Fail(Cause::Quarantined) {
            return vec![2, left(now, now.saturating_add(QUARANTINE))];
        }
        let mine = names.iter().filter(|name| stored.token(name) == Some(token)).count();
        let others = names.iter().filter_map(|name| stored.locks.get(*name));
        // A key that is kept for this waiter is free to it (R18).
        let own = kept_for(token.get(..NONCE_LEN).unwrap_or_default());
        let others = others.filter(|held| held.token != token && held.token != own);
        let others = others.map(|held| held.expires_at).max();
        let top = fences.iter().filter_map(|fence| stored.fences.get(*fence)).max();
        let top = top.copied().unwrap_or(0);
        let is_mine = mine == names.len();
        if mode != Mode::Bypass && !is_mine {
            // Somebody else never ends.
            let is_refused = lock(&self.world.orders).refuse(names.iter().copied());
            if is_refused {
                return vec![0, -1, signed(top)];
            }
            if others.is_some() || mine > 0 {
                return vec![0, others.map_or(0, |end| left(now, end)), signed(top)];
            }
        }
        let next = if is_mine { top } else { top.saturating_add(1) };
        let fence = if fences.is_empty() { 0 } else { stored.raise(fences, next.max(proposal)) };
        if !is_mine {
            for name in names {
                let held = Held { token: token.into(), expires_at: now.saturating_add(ttl) };
                stored.locks.insert(name.to_vec(), held);
            }
        }
        vec![1, signed(fence)]
    }

    /// Deletes what this attempt left, and what earlier ones with its nonce did. A waiter takes its place
    /// in the queues, and anybody else leaves them. Free keys are kept for who is called.
    fn release(
        &self,
        stored: &mut Stored,
        names: &[&[u8]],
        queues: &[&[u8]],
        token: &[u8],
        since: Option<u64>,
    ) -> bool {
        let mut is_done = stored.release(names, token);
        let nonce = token.get(..NONCE_LEN).unwrap_or_default();
        for (name, queue) in names.iter().zip(queues) {
            let waiting = stored.queues.entry(queue.to_vec()).or_default();
            waiting.retain(|(_, waiter)| waiter != nonce);
            if let Some(since) = since {
                waiting.insert((since, nonce.to_vec()));
                is_done = true;
            }
            if !stored.locks.contains_key(*name) {
                let called = std::iter::from_fn(|| waiting.pop_first());
                let heir = called.map(|(_, heir)| heir).find(|heir| self.call(heir));
                if let Some(heir) = heir {
                    let expires_at = clock::now().saturating_add(KEPT);
                    stored.locks.insert(name.to_vec(), Held { token: kept_for(&heir), expires_at });
                }
            }
        }
        is_done
    }

    /// Whether anybody hears it.
    fn call(&self, heir: &[u8]) -> bool {
        NodeId::new(self.index).is_some_and(|node| self.world.calls.hear(node, heir))
    }

    fn inspect(
        &self,
        stored: &Stored,
        mode: Mode,
        now: Instant,
        names: &[&[u8]],
        fences: &[&[u8]],
    ) -> Value {
        let held: Vec<_> = names.iter().filter_map(|name| stored.locks.get(*name)).collect();
        let until = held.iter().map(|held| held.expires_at).max();
        let fence = fences.iter().filter_map(|fence| stored.fences.get(*fence)).max();
        let is_refused =
            mode == Mode::Faithful && lock(&self.world.orders).refuse(names.iter().copied());
        let (token, left) = match (held.first(), until) {
            (Some(held), Some(until)) => (Value::BulkString(held.token.clone()), left(now, until)),
            _ if is_refused => (Value::BulkString(b"somebody else".to_vec()), -1),
            _ => (Value::Nil, 0),
        };
        Value::Array(vec![token, Value::Int(left), Value::Int(signed(fence.copied().unwrap_or(0)))])
    }
}

/// The parts of an acquire.
struct Acquire<'a> {
    names: &'a [&'a [u8]],
    fences: &'a [&'a [u8]],
    token: &'a [u8],
    ttl: Duration,
}

impl Stored {
    fn token(&self, name: &[u8]) -> Option<&[u8]> {
        self.locks.get(name).map(|held| held.token.as_slice())
    }

    /// Whether the token is in all of the keys, or is to be taken for it.
    fn has(&self, mode: Mode, names: &[&[u8]], token: &[u8]) -> bool {
        mode == Mode::Bypass || names.iter().all(|name| self.token(name) == Some(token))
    }

    /// Raises all fence numbers to the largest of them and `to`.
    fn raise(&mut self, fences: &[&[u8]], to: u64) -> u64 {
        let largest = fences.iter().filter_map(|fence| self.fences.get(*fence)).copied().max();
        let fence = largest.unwrap_or(0).max(to);
        for key in fences {
            self.fences.insert(key.to_vec(), fence);
        }
        fence
    }

    fn extend(&mut self, names: &[&[u8]], until: Instant) {
        for name in names {
            if let Some(held) = self.locks.get_mut(*name) {
                held.expires_at = held.expires_at.max(until);
            }
        }
    }

    /// Deletes what this attempt left, and what earlier ones with its nonce did.
    fn release(&mut self, names: &[&[u8]], token: &[u8]) -> bool {
        let mut is_deleted = false;
        for name in names {
            let is_ours = self.token(name).is_some_and(|held| {
                // Digits of the same length compare as their numbers do.
                held.len() == token.len()
                    && held.get(..NONCE_LEN) == token.get(..NONCE_LEN)
                    && held <= token
            });
            if is_ours {
                is_deleted = self.locks.remove(*name).is_some();
            }
        }
        is_deleted
    }
}

/// What is in a key that is kept for the waiter of this nonce: the token of an attempt before its first.
fn kept_for(nonce: &[u8]) -> Vec<u8> {
    [nonce, &[b'0'; ATTEMPT_LEN]].concat()
}

fn script_of(name: &[u8]) -> Option<Script> {
    let is_named =
        |script: &Script| [script.sha1, script.text].iter().any(|s| s.as_bytes() == name);
    SCRIPTS.into_iter().find(is_named)
}

/// Some of a command's keys.
type Names<'k, 'a> = &'k [&'a [u8]];

/// The lock keys and the fence keys.
fn split<'k, 'a>(keys: &'k [&'a [u8]], n: &[u8]) -> RedisResult<(Names<'k, 'a>, Names<'k, 'a>)> {
    let n = usize::try_from(number(n)?).map_err(|_| malformed())?;
    keys.split_at_checked(n).ok_or_else(malformed)
}

fn millis(arg: &[u8]) -> RedisResult<Duration> {
    number(arg).map(Duration::from_millis)
}

fn number(arg: &[u8]) -> RedisResult<u64> {
    std::str::from_utf8(arg).ok().and_then(|arg| arg.parse().ok()).ok_or_else(malformed)
}

/// As Lua hands it over.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As `PTTL` answers.
fn left(now: Instant, end: Instant) -> i64 {
    i64::try_from(end.saturating_duration_since(now).as_millis()).unwrap_or(i64::MAX)
}

fn simple(arg: redis::Arg<&[u8]>) -> Option<&[u8]> {
    match arg {
        redis::Arg::Simple(arg) => Some(arg),
        redis::Arg::Cursor | _ => None,
    }
}

fn error(text: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Client, text))
}

fn malformed() -> RedisError {
    error("the command is none of ours")
}
