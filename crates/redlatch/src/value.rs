//! Values of redis-rs as the protocol reads them.

use redlatch_core::wire::{Answer, Value};

/// The longest array that a node answers to our commands.
const ITEMS_MAX: usize = 4;

/// What `decode` makes of a node's answer. An error of the node stays an error, except for a script
/// that it does not have.
pub(crate) fn decode(
    result: redis::RedisResult<redis::Value>,
    decode: impl FnOnce(&Value<'_>) -> Answer,
) -> redis::RedisResult<Answer> {
    match result.and_then(redis::Value::extract_error) {
        Ok(value) => Ok(with_value(&value, decode)),
        Err(error) if error.code() == Some("NOSCRIPT") => Ok(Answer::ScriptMissing),
        Err(error) => Err(error),
    }
}

/// Lends `value` in the protocol's form.
pub(crate) fn with_value<T>(value: &redis::Value, read: impl FnOnce(&Value<'_>) -> T) -> T {
    let redis::Value::Array(items) = value else { return read(&scalar(value)) };
    let mut flat = [Value::Nil; ITEMS_MAX];
    match flat.get_mut(..items.len()) {
        Some(flat) => {
            for (place, item) in flat.iter_mut().zip(items) {
                *place = scalar(item);
            }
            read(&Value::Array(flat))
        }
        None => read(&UNEXPECTED),
    }
}

/// Stands for a value that is no answer to any of our commands.
const UNEXPECTED: Value<'static> = Value::Error(b"");

#[expect(clippy::wildcard_enum_match_arm, reason = "redis-rs may add kinds, none an answer to us")]
fn scalar(value: &redis::Value) -> Value<'_> {
    match value {
        redis::Value::Nil => Value::Nil,
        redis::Value::Int(int) => Value::Int(*int),
        redis::Value::BulkString(bytes) => Value::Bytes(bytes),
        redis::Value::SimpleString(text) => Value::Bytes(text.as_bytes()),
        redis::Value::Okay => Value::Bytes(b"OK"),
        redis::Value::Boolean(false) => Value::Nil,
        _ => UNEXPECTED,
    }
}
