//! Commands on whether a key is there, and for how long.

use super::keyspace::{Millis, Value};
use super::number::integer;
use super::resp::Resp;
use super::table::{Call, Outcome};

pub(super) fn del(call: &mut Call<'_>) -> Outcome {
    let (now, db) = (call.now, call.session.db);
    let keys = call.args[1..].iter();
    Ok(count(keys.filter(|key| call.store.keyspace.remove(now, db, key)).count()))
}

pub(super) fn exists(call: &mut Call<'_>) -> Outcome {
    let (now, db) = (call.now, call.session.db);
    let keys = call.args[1..].iter();
    Ok(count(keys.filter(|key| call.store.keyspace.find(now, db, key).is_some()).count()))
}

pub(super) fn kind(call: &mut Call<'_>) -> Outcome {
    let entry = call.store.keyspace.find(call.now, call.session.db, call.args[1]);
    Ok(Resp::simple(match entry.map(|entry| &entry.value) {
        None => "none",
        Some(Value::String(_)) => "string",
        Some(Value::Sorted(_)) => "zset",
    }))
}

pub(super) fn keys(call: &mut Call<'_>) -> Outcome {
    Ok(names(call, call.args[1]))
}

/// All keys at once: a cursor that is always at its end.
pub(super) fn scan(call: &mut Call<'_>) -> Outcome {
    let pattern = call.args[2..].chunks(2).find_map(|option| match option {
        [word, pattern] if word.eq_ignore_ascii_case(b"MATCH") => Some(*pattern),
        _ => None,
    });
    let names = names(call, pattern.unwrap_or(b"*"));
    Ok(Resp::Array(vec![Resp::bulk("0"), names]))
}

fn names(call: &Call<'_>, pattern: &[u8]) -> Resp {
    let names = call.store.keyspace.names(call.now, call.session.db);
    let names = names.into_iter().filter(|name| matches(pattern, name));
    Resp::Array(names.map(Resp::bulk).collect())
}

/// Whether `name` fits a pattern of `*`, `?` and plain bytes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
        ([b'?', pattern @ ..], [_, name @ ..]) => matches(pattern, name),
        ([wanted, pattern @ ..], [byte, name @ ..]) => wanted == byte && matches(pattern, name),
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

pub(super) fn dbsize(call: &mut Call<'_>) -> Outcome {
    Ok(count(call.store.keyspace.names(call.now, call.session.db).len()))
}

pub(super) fn ttl(call: &mut Call<'_>) -> Outcome {
    let now = call.now;
    Ok(time_left(call, |at| (at - now).max(0).saturating_add(500) / 1_000))
}

pub(super) fn pttl(call: &mut Call<'_>) -> Outcome {
    let now = call.now;
    Ok(time_left(call, |at| (at - now).max(0)))
}

pub(super) fn expiretime(call: &mut Call<'_>) -> Outcome {
    Ok(time_left(call, |at| at.saturating_add(500) / 1_000))
}

pub(super) fn pexpiretime(call: &mut Call<'_>) -> Outcome {
    Ok(time_left(call, |at| at))
}

/// −2 for no key, −1 for one that never expires.
fn time_left(call: &mut Call<'_>, left: impl Fn(Millis) -> i64) -> Resp {
    let entry = call.store.keyspace.find(call.now, call.session.db, call.args[1]);
    Resp::Int(entry.map_or(-2, |entry| entry.expires_at.map_or(-1, left)))
}

pub(super) fn expire(call: &mut Call<'_>) -> Outcome {
    expire_at(call, "expire", call.now, 1_000)
}

pub(super) fn pexpire(call: &mut Call<'_>) -> Outcome {
    expire_at(call, "pexpire", call.now, 1)
}

pub(super) fn expireat(call: &mut Call<'_>) -> Outcome {
    expire_at(call, "expireat", 0, 1_000)
}

pub(super) fn pexpireat(call: &mut Call<'_>) -> Outcome {
    expire_at(call, "pexpireat", 0, 1)
}

/// When an expiry may be changed.
#[derive(Clone, Copy, Default)]
struct Only {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Only {
    fn parse(words: &[&[u8]]) -> Result<Self, Resp> {
        let mut only = Self::default();
        for word in words {
            match word.to_ascii_uppercase().as_slice() {
                b"NX" => only.nx = true,
                b"XX" => only.xx = true,
                b"GT" => only.gt = true,
                b"LT" => only.lt = true,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Resp::error(format!("ERR Unsupported option {word}")));
                }
            }
        }
        if only.nx && (only.xx || only.gt || only.lt) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(Resp::error(text));
        }
        if only.gt && only.lt {
            return Err(Resp::error("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(only)
    }

    /// A key that never expires counts as one that expires in the farthest future.
    fn allows(self, old: Option<Millis>, new: Millis) -> bool {
        let refused = self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old);
        !refused
    }
}

fn expire_at(call: &mut Call<'_>, command: &str, base: Millis, unit: i64) -> Outcome {
    let key = call.args[1];
    let only = Only::parse(&call.args[3..])?;
    let invalid = || Resp::error(format!("ERR invalid expire time in '{command}' command"));
    let when = integer(call.args[2])?.checked_mul(unit).ok_or_else(invalid)?;
    let when = when.checked_add(base).ok_or_else(invalid)?;
    let (now, db) = (call.now, call.session.db);
    let Some(entry) = call.store.keyspace.find(now, db, key) else { return Ok(Resp::NO) };
    if !only.allows(entry.expires_at, when) {
        return Ok(Resp::NO);
    }
    if when <= now {
        call.store.keyspace.remove(now, db, key);
    } else {
        call.store.keyspace.set_expiry(db, key, Some(when));
    }
    Ok(Resp::YES)
}

pub(super) fn persist(call: &mut Call<'_>) -> Outcome {
    let (now, db, key) = (call.now, call.session.db, call.args[1]);
    let entry = call.store.keyspace.find(now, db, key);
    let expires = entry.is_some_and(|entry| entry.expires_at.is_some());
    if expires {
        call.store.keyspace.set_expiry(db, key, None);
    }
    Ok(expires.into())
}

pub(super) fn flushall(call: &mut Call<'_>) -> Outcome {
    check_flush_mode(call)?;
    call.store.keyspace.clear_all();
    Ok(Resp::OK)
}

pub(super) fn flushdb(call: &mut Call<'_>) -> Outcome {
    check_flush_mode(call)?;
    call.store.keyspace.clear(call.session.db);
    Ok(Resp::OK)
}

fn check_flush_mode(call: &Call<'_>) -> Result<(), Resp> {
    match &call.args[1..] {
        [] => Ok(()),
        [mode] if [&b"SYNC"[..], b"ASYNC"].iter().any(|known| known.eq_ignore_ascii_case(mode)) => {
            Ok(())
        }
        [..] => Err(Resp::error("ERR syntax error")),
    }
}

fn count(count: usize) -> Resp {
    Resp::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
