//! Commands on what is in a key.

use super::flavour::Flavour;
use super::keyspace::{Millis, Value};
use super::number::integer;
use super::resp::Resp;
use super::sorted::wrong_type;
use super::table::{Call, Outcome, wrong_arity};

impl Call<'_> {
    /// The string in `key`, if it is there.
    fn value(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Resp> {
        let entry = self.store.keyspace.find(self.now, self.session.db, key);
        let value = entry.map(|entry| entry.value.string().cloned().ok_or_else(wrong_type));
        value.transpose()
    }

    fn is_there(&mut self, key: &[u8]) -> bool {
        self.store.keyspace.find(self.now, self.session.db, key).is_some()
    }

    fn put(&mut self, key: &[u8], value: &[u8], expires_at: Option<Millis>) {
        let value = Value::String(value.to_vec());
        self.store.keyspace.put(self.session.db, key, value, expires_at);
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        self.store.keyspace.remove(self.now, self.session.db, key)
    }
}

pub(super) fn get(call: &mut Call<'_>) -> Outcome {
    Ok(call.value(call.args[1])?.into())
}

pub(super) fn mget(call: &mut Call<'_>) -> Outcome {
    // A key of another type counts as none.
    let args = call.args;
    let values = args[1..].iter().map(|key| call.value(key).unwrap_or_default().into());
    Ok(Resp::Array(values.collect()))
}

pub(super) fn strlen(call: &mut Call<'_>) -> Outcome {
    let len = call.value(call.args[1])?.map_or(0, |value| value.len());
    Ok(Resp::Int(i64::try_from(len).unwrap_or(i64::MAX)))
}

/// What `SET` was asked for.
#[derive(Default)]
struct SetOptions<'a> {
    condition: Option<Condition<'a>>,
    expiry: Option<Expiry>,
    get: bool,
}

/// When `SET` sets.
#[derive(Clone, Copy)]
enum Condition<'a> {
    Absent,
    Present,
    Equal(&'a [u8]),
}

/// What `SET` makes of the key's expiry.
#[derive(Clone, Copy)]
enum Expiry {
    Keep,
    At(Millis),
}

pub(super) fn set(call: &mut Call<'_>) -> Outcome {
    let (key, value) = (call.args[1], call.args[2]);
    let options = set_options(call)?;
    let was_there = call.is_there(key);
    // What is there is looked at only if that is asked for.
    let looks = options.get || matches!(options.condition, Some(Condition::Equal(_)));
    let old = if looks { call.value(key)? } else { None };
    let holds = match options.condition {
        None => true,
        Some(Condition::Absent) => !was_there,
        Some(Condition::Present) => was_there,
        Some(Condition::Equal(expected)) => old.as_deref() == Some(expected),
    };
    if holds {
        let expires_at = match options.expiry {
            None => None,
            Some(Expiry::At(at)) => Some(at),
            Some(Expiry::Keep) => call
                .store
                .keyspace
                .find(call.now, call.session.db, key)
                .and_then(|entry| entry.expires_at),
        };
        call.put(key, value, expires_at);
    }
    Ok(match (options.get, holds) {
        (true, _) => old.into(),
        (false, true) => Resp::OK,
        (false, false) => Resp::Nil,
    })
}

fn set_options<'a>(call: &Call<'a>) -> Result<SetOptions<'a>, Resp> {
    let mut options = SetOptions::default();
    let mut time: Option<(&str, &[u8])> = None;
    let mut words = call.args[3..].iter().copied();
    while let Some(word) = words.next() {
        let name = word.to_ascii_uppercase();
        let condition = match name.as_slice() {
            b"NX" => Some(Condition::Absent),
            b"XX" => Some(Condition::Present),
            b"IFEQ" if call.store.flavour.has_set_ifeq() => {
                Some(Condition::Equal(words.next().ok_or_else(syntax)?))
            }
            _ => None,
        };
        let unit = match name.as_slice() {
            b"EX" => Some("EX"),
            b"PX" => Some("PX"),
            b"EXAT" => Some("EXAT"),
            b"PXAT" => Some("PXAT"),
            _ => None,
        };
        // The same unit again is allowed, and the last one counts.
        let is_timed =
            options.expiry.is_some() || time.is_some_and(|(known, _)| Some(known) != unit);
        match (condition, unit, name.as_slice()) {
            (Some(_), _, _) if options.condition.is_none() => options.condition = condition,
            // Saying the same again is allowed.
            (Some(Condition::Absent), _, _)
                if matches!(options.condition, Some(Condition::Absent)) => {}
            (Some(Condition::Present), _, _)
                if matches!(options.condition, Some(Condition::Present)) => {}
            (Some(Condition::Equal(_)), _, _)
                if matches!(options.condition, Some(Condition::Equal(_)))
                    && call.store.flavour == Flavour::Redis8 =>
            {
                options.condition = condition;
            }
            (None, Some(unit), _) if !is_timed => {
                time = Some((unit, words.next().ok_or_else(syntax)?));
            }
            (None, None, b"KEEPTTL") if time.is_none() => options.expiry = Some(Expiry::Keep),
            (None, None, b"GET") => options.get = true,
            _ => return Err(syntax()),
        }
    }
    if let Some((unit, text)) = time {
        options.expiry = Some(Expiry::At(expiry(call.now, unit, text, "set")?));
    }
    Ok(options)
}

/// The instant that a unit and a number name.
fn expiry(now: Millis, unit: &str, text: &[u8], command: &str) -> Result<Millis, Resp> {
    let invalid = || Resp::error(format!("ERR invalid expire time in '{command}' command"));
    let number = integer(text)?;
    let is_seconds = matches!(unit, "EX" | "EXAT");
    let is_relative = matches!(unit, "EX" | "PX");
    if number <= 0 {
        return Err(invalid());
    }
    let millis = if is_seconds { number.checked_mul(1_000) } else { Some(number) };
    let millis = millis.ok_or_else(invalid)?;
    if is_relative { now.checked_add(millis).ok_or_else(invalid) } else { Ok(millis) }
}

fn syntax() -> Resp {
    Resp::error("ERR syntax error")
}

pub(super) fn setnx(call: &mut Call<'_>) -> Outcome {
    let (key, value) = (call.args[1], call.args[2]);
    let absent = !call.is_there(key);
    if absent {
        call.put(key, value, None);
    }
    Ok(absent.into())
}

pub(super) fn setex(call: &mut Call<'_>) -> Outcome {
    set_for(call, "EX", "setex")
}

pub(super) fn psetex(call: &mut Call<'_>) -> Outcome {
    set_for(call, "PX", "psetex")
}

fn set_for(call: &mut Call<'_>, unit: &str, command: &str) -> Outcome {
    let (key, time, value) = (call.args[1], call.args[2], call.args[3]);
    let expires_at = expiry(call.now, unit, time, command)?;
    call.put(key, value, Some(expires_at));
    Ok(Resp::OK)
}

pub(super) fn getset(call: &mut Call<'_>) -> Outcome {
    let (key, value) = (call.args[1], call.args[2]);
    let old = call.value(key)?;
    call.put(key, value, None);
    Ok(old.into())
}

pub(super) fn getdel(call: &mut Call<'_>) -> Outcome {
    let key = call.args[1];
    let old = call.value(key)?;
    call.remove(key);
    Ok(old.into())
}

/// Puts a value into a key that keeps its expiry.
fn replace(call: &mut Call<'_>, key: &[u8], value: &[u8]) {
    let entry = call.store.keyspace.find(call.now, call.session.db, key);
    let expires_at = entry.and_then(|entry| entry.expires_at);
    call.put(key, value, expires_at);
}

pub(super) fn append(call: &mut Call<'_>) -> Outcome {
    let (key, more) = (call.args[1], call.args[2]);
    let mut value = call.value(key)?.unwrap_or_default();
    value.extend_from_slice(more);
    replace(call, key, &value);
    Ok(Resp::Int(i64::try_from(value.len()).unwrap_or(i64::MAX)))
}

pub(super) fn incr(call: &mut Call<'_>) -> Outcome {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call<'_>) -> Outcome {
    add(call, -1)
}

pub(super) fn incrby(call: &mut Call<'_>) -> Outcome {
    let by = integer(call.args[2])?;
    add(call, by)
}

pub(super) fn decrby(call: &mut Call<'_>) -> Outcome {
    let by = integer(call.args[2])?;
    let by = by.checked_neg().ok_or_else(|| Resp::error("ERR decrement would overflow"))?;
    add(call, by)
}

fn add(call: &mut Call<'_>, by: i64) -> Outcome {
    let key = call.args[1];
    let old = integer(&call.value(key)?.unwrap_or_else(|| b"0".to_vec()))?;
    let overflow = || Resp::error("ERR increment or decrement would overflow");
    let sum = old.checked_add(by).ok_or_else(overflow)?;
    replace(call, key, sum.to_string().as_bytes());
    Ok(Resp::Int(sum))
}

/// `DELEX key [IFEQ value | IFNE value]`, of Redis 8.4.
pub(super) fn delex(call: &mut Call<'_>) -> Outcome {
    let key = call.args[1];
    let (if_equal, value) = match (call.args[2..].first(), call.args.get(3), call.args.len()) {
        // Of any type.
        (None, None, 2) => return Ok(call.remove(key).into()),
        (Some(word), Some(value), 4) => match word.to_ascii_uppercase().as_slice() {
            b"IFEQ" => (true, *value),
            b"IFNE" => (false, *value),
            _ => return Err(syntax()),
        },
        (_, _, _) => return Err(wrong_arity("delex")),
    };
    let old = call
        .value(key)
        .map_err(|_| Resp::error("ERR Key should be of string type if conditions are specified"))?;
    let holds = (old.as_deref() == Some(value)) == if_equal;
    Ok((holds && call.remove(key)).into())
}

/// `DELIFEQ key value`, of Valkey 9.0.
pub(super) fn delifeq(call: &mut Call<'_>) -> Outcome {
    let (key, value) = (call.args[1], call.args[2]);
    let holds = call.value(key)?.as_deref() == Some(value);
    Ok((holds && call.remove(key)).into())
}

#[cfg(test)]
mod tests {
    use crate::redis::number::parse;

    #[test]
    fn integers_are_read_strictly() {
        for (text, number) in [("0", Some(0)), ("-1", Some(-1)), ("10", Some(10))] {
            assert_eq!(parse(text.as_bytes()), number, "{text}");
        }
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "1.0", "9223372036854775808"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
