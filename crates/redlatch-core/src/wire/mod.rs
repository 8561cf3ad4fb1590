//! The bytes: a command becomes a list of byte strings, a Redis value becomes a reply.
//!
//! This is the only place that knows Redis. A transport sends the list as one Redis command, in
//! whatever form it likes (RESP, a JSON array over HTTP, arguments of a client library), and hands
//! back the one value that the node answers. Nothing is allocated: names and script texts are
//! borrowed, the rest is written into a buffer that the caller lends.
//!
//! ```
//! use redlatch_core::wire::{Answer, Dialect, Form, Keys, Value, Wire};
//! use redlatch_core::{Op, Reply, Token, Ttl};
//!
//! let wire = Wire::new(Keys::new(&[b"report"])?, Dialect::SCRIPTS)?;
//! let op = Op::Acquire { token: Token::new([7; 16], 1), ttl: Ttl::from_millis(30_000)?, proposal: None };
//! let mut buffer = [0; 256];
//! let args = wire.encode(&op, Form::Sha1, &mut buffer)?;
//! assert_eq!(args.as_slice()[0], b"EVALSHA");
//!
//! let answer = wire.decode(&op, &Value::Array(&[Value::Int(1), Value::Int(0)]));
//! assert_eq!(answer, Answer::Reply(Reply::Applied { fence: None }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod args;
mod keys;
mod script;

use core::fmt;
use core::time::Duration;

pub use args::Args;
use args::Writer;
use keys::{FENCE, QUEUE};
pub use keys::{Keys, KeysError, MARKER, QUARANTINE};
pub use script::{ACQUIRE, DECLARE_FRESH, EXTEND, INSPECT, RELEASE, SCRIPTS, SEAL, Script};

use crate::command::{Op, Reply};
use crate::lease::{Fence, Token, Ttl};
use crate::queue::CAN_QUEUE;

/// How nodes are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Each command is one script. Needed for fences, several keys, and the restart guard; tells how
    /// long a rival's key still lives; knows a repeated acquire as its own.
    Scripts {
        /// The longest ttl that any client uses, if nodes that may have forgotten keys are to be kept
        /// from voting for that long (R16). Every client of the nodes must use the same.
        restart_guard: Option<Ttl>,
        /// How long a fence number is kept after its last grant.
        fence_retention: Duration,
    },
    /// `SET key token NX PX ttl` to acquire: one key, no fence, for servers and proxies that forbid
    /// scripts.
    Plain {
        /// How to compare the token on extend and release.
        compare: Compare,
    },
}

impl Dialect {
    /// How long fence numbers are kept, unless told otherwise: the longest ttl, twice.
    pub const FENCE_RETENTION: Duration = Duration::from_secs(2 * 24 * 60 * 60);
    /// Scripts without a restart guard.
    pub const SCRIPTS: Self =
        Self::Scripts { restart_guard: None, fence_retention: Self::FENCE_RETENTION };

    /// The reply that `value` is to `op`. Anything but an answer of the expected form is
    /// [`Reply::Unknown`].
    #[must_use]
    pub fn decode(self, op: &Op, value: &Value<'_>) -> Answer {
        let reply = match *value {
            Value::Error(error) if error.starts_with(b"NOSCRIPT") => return Answer::ScriptMissing,
            Value::Array(items) if self.is_script(op) => decode_script(op, items),
            Value::Bytes(b"OK") | Value::Nil | Value::Int(_) if !self.is_script(op) => {
                decode_plain(op, value)
            }
            Value::Array(_) | Value::Bytes(_) | Value::Nil | Value::Int(_) | Value::Error(_) => {
                None
            }
        };
        Answer::Reply(reply.unwrap_or(Reply::Unknown))
    }

    /// Whether `op` is carried out by a script.
    const fn is_script(self, op: &Op) -> bool {
        match (self, op) {
            (Self::Scripts { .. }, _) => true,
            (Self::Plain { .. }, Op::Acquire { .. } | Op::Seal { .. }) => false,
            (Self::Plain { compare }, Op::Extend { .. } | Op::Release { .. }) => {
                matches!(compare, Compare::Script)
            }
        }
    }
}

/// How the plain dialect compares the token and acts, which is always one atomic step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// By the scripts [`EXTEND`] and [`RELEASE`]; works on every server.
    Script,
    /// `SET … IFEQ` and `DELEX … IFEQ`, of Redis 8.4 and Valkey 9.2 on.
    Delex,
    /// `SET … IFEQ` and `DELIFEQ`, of Valkey 9.0 on.
    Delifeq,
}

impl Compare {
    /// The best way that a server has, by its answer to `INFO server`.
    #[must_use]
    pub fn of_server(info: &[u8]) -> Self {
        // Valkey reports a `redis_version` as well, frozen at 7.2.
        if version(info, b"valkey_version:") >= Some((9, 0)) {
            Self::Delifeq
        } else if version(info, b"redis_version:") >= Some((8, 4)) {
            Self::Delex
        } else {
            Self::Script
        }
    }
}

/// The major and minor number behind `field`.
fn version(info: &[u8], field: &[u8]) -> Option<(u32, u32)> {
    let line = info.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(field))?;
    let mut numbers = line.split(|&byte| byte == b'.').map(|number| {
        number.iter().take_while(|byte| byte.is_ascii_digit()).fold(0_u32, |sum, &digit| {
            sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
        })
    });
    Some((numbers.next()?, numbers.next()?))
}

/// Whether a script is named or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `EVALSHA`: to be tried first.
    Sha1,
    /// `EVAL`: after [`Answer::ScriptMissing`]. The node then knows the script.
    Text,
}

/// One Redis value, as a node answered it. Attributes, maps and pushes have no place in an answer to
/// these commands. `Debug` hides strings: a token may be among them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Null, also a Lua `false`.
    Nil,
    /// An integer.
    Int(i64),
    /// A bulk or simple string.
    Bytes(&'a [u8]),
    /// An array; the answers to these commands are flat.
    Array(&'a [Value<'a>]),
    /// An error, beginning with its code.
    Error(&'a [u8]),
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("Nil"),
            Self::Int(number) => write!(f, "Int({number})"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Array(values) => f.debug_tuple("Array").field(values).finish(),
            Self::Error(text) => write!(f, "Error({} bytes)", text.len()),
        }
    }
}

/// What a value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The reply to hand to the [`Lock`](crate::Lock).
    Reply(Reply),
    /// The node does not have the script: send the same command again in [`Form::Text`]. It was not
    /// carried out, so it counts as sent when it was first handed out.
    ScriptMissing,
}

/// What one node knows of a lock. The token itself is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// A fingerprint of what is in the key, equal on all nodes that have one token; `None` if the key
    /// is free.
    pub holder: Option<u64>,
    /// How long the key still lives; `None` if it is free or never expires.
    pub remaining: Option<Duration>,
    /// The fence number.
    pub fence: Option<Fence>,
}

/// The keys of one lock and how to speak of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire<'a> {
    keys: Keys<'a>,
    dialect: Dialect,
}

impl<'a> Wire<'a> {
    /// Commands for `keys` in `dialect`.
    ///
    /// # Errors
    /// [`WireError::PlainKeys`] for several keys in the plain dialect.
    pub fn new(keys: Keys<'a>, dialect: Dialect) -> Result<Self, WireError> {
        if matches!(dialect, Dialect::Plain { .. }) && keys.names().len() > 1 {
            return Err(WireError::PlainKeys);
        }
        Ok(Self { keys, dialect })
    }

    /// Whether waiters of this lock can wait in the queues of the nodes (R18). Only then is there any use
    /// in a [place](crate::Lock::set_place); a release that has one is written without it otherwise.
    ///
    /// Not those of several keys: while one key is kept for a waiter and another is taken, calls would
    /// lead to nothing. Nor those in the plain dialect, to whose `SET … NX` a key that is kept for them is
    /// taken as well; nor those of a name that has no queue of its own in its slot, because it has a `}`
    /// but no hash tag, or is nothing but one (`{b}`, whose queue would be that of `b`).
    #[must_use]
    pub fn can_queue(&self) -> bool {
        CAN_QUEUE
            && matches!(self.dialect, Dialect::Scripts { .. })
            && self.keys.names().len() == 1
            && self.keys.have_queues()
    }

    /// Bytes of a buffer that is large enough for every command.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        /// A token, six numbers of at most 20 digits, and the braces and prefixes of fence keys.
        const FIXED: usize = Token::HEX_LEN + 6 * 20 + Keys::MAX * 17;
        FIXED + self.keys.names().iter().map(|name| name.len()).sum::<usize>()
    }

    /// The list of byte strings for `op`, which uses parts of `buffer`.
    ///
    /// # Errors
    /// [`WireError::BufferTooSmall`] if `buffer` is shorter than this command needs
    /// ([`Wire::buffer_len`] is always enough), [`WireError::PlainFence`] if the plain dialect is asked
    /// for a fence, [`WireError::Keys`] if a name has no fence key.
    pub fn encode<'b>(
        &self,
        op: &Op,
        form: Form,
        buffer: &'b mut [u8],
    ) -> Result<Args<'b>, WireError>
    where
        'a: 'b,
    {
        args::write(buffer, |w| match self.dialect {
            Dialect::Scripts { restart_guard, fence_retention } => {
                // Without the 128 bits of `as_millis`.
                let retention_ms = fence_retention.as_secs().saturating_mul(1000);
                let retention_ms =
                    retention_ms.saturating_add(fence_retention.subsec_millis().into());
                self.encode_script(op, form, restart_guard, retention_ms, w);
            }
            Dialect::Plain { compare } => self.encode_plain(op, form, compare, w),
        })
    }

    fn encode_script<'b>(
        &self,
        op: &Op,
        form: Form,
        restart_guard: Option<Ttl>,
        retention_ms: u64,
        w: &mut Writer<'_, 'b>,
    ) where
        'a: 'b,
    {
        let names = self.keys.names();
        let n = names.len() as u64;
        match *op {
            Op::Acquire { token, ttl, proposal } => {
                let fenced = if proposal.is_some() { names } else { &[] };
                let guard: &[_] = if restart_guard.is_some() { &[MARKER, QUARANTINE] } else { &[] };
                w.script(&ACQUIRE, form, names, (FENCE, fenced), guard);
                w.token(&token);
                w.numbers(&[
                    ttl.as_millis().into(),
                    n,
                    proposal.map_or(0, |proposal| proposal.fence().get()),
                    retention_ms,
                    restart_guard.map_or(0, |ttl_max| ttl_max.as_millis().into()),
                ]);
            }
            Op::Seal { token, fence } => {
                w.script(&SEAL, form, names, (FENCE, names), &[]);
                w.token(&token);
                w.numbers(&[fence.get(), n, retention_ms]);
            }
            Op::Extend { token, ttl, fence } => {
                let fenced = if fence.is_some() { names } else { &[] };
                w.script(&EXTEND, form, names, (FENCE, fenced), &[]);
                w.token(&token);
                w.numbers(&[ttl.as_millis().into(), n, retention_ms]);
            }
            Op::Release { token, place } => {
                let queued = if self.keys.have_queues() { names } else { &[] };
                w.script(&RELEASE, form, names, (QUEUE, queued), &[]);
                w.token(&token);
                w.number(n);
                if let Some(place) = place.filter(|_| self.can_queue()) {
                    w.number(place.as_millis());
                }
            }
        }
    }

    fn encode_plain<'b>(&self, op: &Op, form: Form, compare: Compare, w: &mut Writer<'_, 'b>)
    where
        'a: 'b,
    {
        let key = self.keys.names()[0];
        match (*op, compare) {
            (Op::Acquire { proposal: Some(_), .. } | Op::Seal { .. }, _)
            | (Op::Extend { fence: Some(_), .. }, _) => w.fail(WireError::PlainFence),
            (Op::Acquire { token, ttl, proposal: None }, _) => {
                w.all(&[b"SET", key]);
                w.token(&token);
                w.all(&[b"NX", b"PX"]);
                w.number(ttl.as_millis().into());
            }
            // A lock has one ttl, and this one starts later than all before it, so the key's life is
            // not shortened although PX sets it outright (R10).
            (Op::Extend { token, ttl, fence: None }, Compare::Delex | Compare::Delifeq) => {
                w.all(&[b"SET", key]);
                w.token(&token);
                w.all(&[b"IFEQ"]);
                w.token(&token);
                w.all(&[b"PX"]);
                w.number(ttl.as_millis().into());
            }
            (Op::Release { token, .. }, Compare::Delex) => {
                w.all(&[b"DELEX", key, b"IFEQ"]);
                w.token(&token);
            }
            (Op::Release { token, .. }, Compare::Delifeq) => {
                w.all(&[b"DELIFEQ", key]);
                w.token(&token);
            }
            (Op::Extend { fence: None, .. } | Op::Release { .. }, Compare::Script) => {
                self.encode_script(op, form, None, 0, w);
            }
        }
    }

    /// As [`Dialect::decode`].
    #[must_use]
    pub fn decode(&self, op: &Op, value: &Value<'_>) -> Answer {
        self.dialect.decode(op, value)
    }

    /// The list of byte strings that asks a node who holds the lock. In the plain dialect it is `PTTL`.
    ///
    /// # Errors
    /// As [`Wire::encode`].
    pub fn encode_inspect<'b>(
        &self,
        form: Form,
        buffer: &'b mut [u8],
    ) -> Result<Args<'b>, WireError>
    where
        'a: 'b,
    {
        let names = self.keys.names();
        args::write(buffer, |w| {
            if matches!(self.dialect, Dialect::Plain { .. }) {
                return w.all(&[b"PTTL", names[0]]);
            }
            // Names that can have no fence can still be locked without one.
            let fenced = if self.keys.check_fence_keys().is_ok() { names } else { &[] };
            w.script(&INSPECT, form, names, (FENCE, fenced), &[]);
            w.number(names.len() as u64);
        })
    }

    /// As [`Sighting::of`].
    #[must_use]
    pub fn decode_inspect(&self, value: &Value<'_>) -> Option<Sighting> {
        Sighting::of(value)
    }
}

impl Sighting {
    /// What a node told of a lock; `None` if it is no answer to [`Wire::encode_inspect`].
    #[must_use]
    pub fn of(value: &Value<'_>) -> Option<Self> {
        match *value {
            // PTTL: −2 for no key, −1 for one that never expires.
            Value::Int(-2) => Some(Self { holder: None, remaining: None, fence: None }),
            Value::Int(left) => {
                Some(Self { holder: Some(0), remaining: millis(left), fence: None })
            }
            Value::Array(&[held, Value::Int(left), Value::Int(fence)]) => {
                let fence = number(fence);
                match held {
                    Value::Nil => Some(Self { holder: None, remaining: None, fence }),
                    Value::Bytes(token) => Some(Self {
                        holder: Some(fingerprint(token)),
                        remaining: millis(left),
                        fence,
                    }),
                    Value::Int(_) | Value::Array(_) | Value::Error(_) => None,
                }
            }
            Value::Nil | Value::Bytes(_) | Value::Array(_) | Value::Error(_) => None,
        }
    }
}

/// The list of byte strings that tells a node it is new and has forgotten nothing (R16); the node
/// answers `[1]`, or `[0]` if it has been seen before.
///
/// # Errors
/// [`WireError::BufferTooSmall`] if `buffer` has less than 20 bytes and the command needs them.
pub fn encode_declare_fresh(form: Form, buffer: &mut [u8]) -> Result<Args<'_>, WireError> {
    args::write(buffer, |w| {
        w.script(&DECLARE_FRESH, form, &[MARKER], (FENCE, &[]), &[]);
    })
}

/// `SET` answers OK or nothing, `DELEX` and `DELIFEQ` how many keys they deleted.
const fn decode_plain(op: &Op, value: &Value<'_>) -> Option<Reply> {
    match (op, value) {
        (Op::Acquire { .. } | Op::Extend { .. }, Value::Bytes(_))
        | (Op::Release { .. }, Value::Int(1)) => Some(Reply::Applied { fence: None }),
        (Op::Acquire { .. } | Op::Extend { .. }, Value::Nil)
        | (Op::Release { .. }, Value::Int(0)) => {
            Some(Reply::Refused { remaining: None, fence: None })
        }
        (Op::Acquire { .. } | Op::Extend { .. } | Op::Release { .. } | Op::Seal { .. }, _) => None,
    }
}

/// Scripts answer an array that begins with 1 (applied), 0 (refused) or 2 (quarantined).
fn decode_script(op: &Op, items: &[Value<'_>]) -> Option<Reply> {
    let mut ints = [0; 3];
    let ints = ints.get_mut(..items.len())?;
    for (place, item) in ints.iter_mut().zip(items) {
        let Value::Int(int) = *item else { return None };
        *place = int;
    }
    match (op, &*ints) {
        // Without a proposal the number means nothing; with one, it must be a fence.
        (Op::Acquire { proposal: None, .. }, [1, _]) => Some(Reply::Applied { fence: None }),
        (Op::Acquire { .. } | Op::Seal { .. }, &[1, fence]) => {
            Some(Reply::Applied { fence: Some(number(fence)?) })
        }
        (Op::Acquire { .. }, &[0, left, fence]) => {
            Some(Reply::Refused { remaining: millis(left), fence: number(fence) })
        }
        (Op::Acquire { .. }, &[2, left]) => {
            Some(Reply::Quarantined { remaining: millis(left).unwrap_or(Ttl::MAX.as_duration()) })
        }
        (Op::Extend { .. } | Op::Release { .. }, [1]) => Some(Reply::Applied { fence: None }),
        (Op::Seal { .. } | Op::Extend { .. } | Op::Release { .. }, [0]) => {
            Some(Reply::Refused { remaining: None, fence: None })
        }
        (Op::Acquire { .. } | Op::Seal { .. } | Op::Extend { .. } | Op::Release { .. }, _) => None,
    }
}

fn number(fence: i64) -> Option<Fence> {
    u64::try_from(fence).ok().and_then(Fence::new)
}

fn millis(left: i64) -> Option<Duration> {
    u64::try_from(left).ok().map(Duration::from_millis)
}

/// FNV-1a: equal tokens have equal fingerprints, and a fingerprint does not tell the token.
fn fingerprint(token: &[u8]) -> u64 {
    token.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// A command cannot be put into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The lent buffer is too small.
    BufferTooSmall,
    /// The plain dialect was asked for a fence.
    PlainFence,
    /// The plain dialect was given several keys.
    PlainKeys,
    /// The keys do not allow it.
    Keys(KeysError),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferTooSmall => f.write_str("the buffer is too small; lend `buffer_len` bytes"),
            Self::PlainFence => f.write_str(
                "the plain dialect has no fences; use the scripts dialect or ask for no fence",
            ),
            Self::PlainKeys => f.write_str(
                "the plain dialect locks one resource at a time; use the scripts dialect for several",
            ),
            Self::Keys(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for WireError {}

impl From<KeysError> for WireError {
    fn from(error: KeysError) -> Self {
        Self::Keys(error)
    }
}
