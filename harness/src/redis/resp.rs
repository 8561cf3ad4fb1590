//! One reply of a server.

use std::borrow::Cow;

use redlatch_core::wire::Value;

/// A value as servers answer it, in RESP2's and RESP3's common words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resp {
    /// Null, also a Lua `false`.
    Nil,
    /// An integer.
    Int(i64),
    /// A simple string, such as `OK`.
    Simple(Cow<'static, str>),
    /// A bulk string.
    Bulk(Vec<u8>),
    /// A text for people: `txt` in RESP3, a bulk string in RESP2.
    Verbatim(Vec<u8>),
    /// The score of a member: a double in RESP3, a bulk string in RESP2.
    Score(i64),
    /// An array.
    Array(Vec<Resp>),
    /// What was not asked for, or is of its kind: a push in RESP3, an array in RESP2.
    Push(Vec<Resp>),
    /// Several replies to one command, one after the other.
    Several(Vec<Resp>),
    /// Keys and values: a map in RESP3, a flat array in RESP2.
    Map(Vec<(Resp, Resp)>),
    /// An error, beginning with its code.
    Error(Vec<u8>),
}

impl Resp {
    /// The simple string `OK`.
    pub const OK: Self = Self::Simple(Cow::Borrowed("OK"));
    /// The integer 0, which is how Redis says no.
    pub(super) const NO: Self = Self::Int(0);
    /// The integer 1, which is how Redis says yes.
    pub(super) const YES: Self = Self::Int(1);

    /// A simple string.
    #[must_use]
    pub fn simple(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Simple(text.into())
    }

    /// A bulk string.
    #[must_use]
    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(bytes.into())
    }

    /// An error, beginning with its code.
    #[must_use]
    pub fn error(text: impl Into<Vec<u8>>) -> Self {
        Self::Error(text.into())
    }

    /// Lends the reply in the form that the protocol core reads. Arrays of anything but scalars have no
    /// place in its answers and are read as an error.
    pub fn read<T>(&self, read: impl FnOnce(&Value<'_>) -> T) -> T {
        match self {
            Self::Array(items) => {
                let items: Vec<Value<'_>> = items.iter().map(scalar).collect();
                read(&Value::Array(&items))
            }
            Self::Nil
            | Self::Int(_)
            | Self::Simple(_)
            | Self::Bulk(_)
            | Self::Verbatim(_)
            | Self::Score(_)
            | Self::Push(_)
            | Self::Several(_)
            | Self::Map(_)
            | Self::Error(_) => read(&scalar(self)),
        }
    }
}

fn scalar(resp: &Resp) -> Value<'_> {
    match resp {
        Resp::Nil => Value::Nil,
        Resp::Int(int) => Value::Int(*int),
        Resp::Simple(text) => Value::Bytes(text.as_bytes()),
        Resp::Bulk(bytes) | Resp::Verbatim(bytes) => Value::Bytes(bytes),
        Resp::Error(bytes) => Value::Error(bytes),
        Resp::Score(_) | Resp::Array(_) | Resp::Push(_) | Resp::Several(_) | Resp::Map(_) => {
            Value::Error(b"no scalar")
        }
    }
}

impl From<bool> for Resp {
    fn from(yes: bool) -> Self {
        if yes { Self::YES } else { Self::NO }
    }
}

impl From<Option<Vec<u8>>> for Resp {
    fn from(value: Option<Vec<u8>>) -> Self {
        value.map_or(Self::Nil, Self::Bulk)
    }
}
