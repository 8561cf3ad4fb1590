//! Why a node gave no answer that is of use.

use std::fmt;
use std::sync::Arc;

/// Why a node could not be asked: for people, without credentials or tokens.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    text: Arc<str>,
    pub(crate) nature: Nature,
}

/// What a failure is due to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// The node does not let this user in.
    Denied,
    /// This user may not do that, or nobody may.
    Forbidden,
    /// The node is the same server as this other one.
    Twin(Arc<str>),
    Other,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    pub(crate) fn twin(other: Arc<str>) -> Self {
        let text = format!("is the same server as {other}; nodes must be independent servers");
        Self { text: text.into(), nature: Nature::Twin(other) }
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self { text: text.into(), nature: Nature::Other }
    }
}

impl From<&redis::RedisError> for Failure {
    fn from(error: &redis::RedisError) -> Self {
        // Servers repeat arguments of commands that they do not know, and ours have tokens in them.
        let text = match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            (_, _) => error.to_string(),
        };
        let text = text.split(", with args beginning with").next().unwrap_or_default();
        // What the library calls the error, and where in our script the server met it.
        let text = text.replacen(&format!(" - {:?}", error.kind()), "", 1);
        let text = text.split(" script: ").next().unwrap_or_default();
        let nature = match (error.kind(), error.code()) {
            (redis::ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
                Nature::Denied
            }
            (_, Some("NOPERM")) => Nature::Forbidden,
            (_, _) if text.contains("unknown command") => Nature::Forbidden,
            (_, _) => Nature::Other,
        };
        Self { text: text.trim().into(), nature }
    }
}

/// Why a question got no answer.
pub(crate) enum Trouble {
    /// It was asked, and this came of it.
    Redis(redis::RedisError),
    /// It was not asked, or the answer is of no use.
    Ours(Failure),
}

impl Trouble {
    pub(crate) fn of(error: impl fmt::Display) -> Self {
        Self::from(error.to_string().as_str())
    }
}

impl From<&str> for Trouble {
    fn from(text: &str) -> Self {
        Self::Ours(Failure::from(text))
    }
}

impl From<redis::RedisError> for Trouble {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}

/// Whether a server refuses to write because it is a replica. Redis below 7.0 wraps what a script met.
pub(crate) fn is_read_only(error: &redis::RedisError) -> bool {
    error.code() == Some("READONLY")
        || error.detail().is_some_and(|detail| detail.contains(": READONLY "))
}
