//! Version 1 of the line protocol, as `docs/adapters.md` has it: what is written, and what may be read.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::redact::redact;

/// The version of the protocol that this harness speaks.
pub const VERSION: u32 = 1;

/// What a client is told at its start.
#[derive(Clone, Debug)]
pub struct Init {
    /// URLs of the nodes, in an order that all clients have.
    pub nodes: Vec<String>,
    /// Which client this is, for its own log.
    pub client: String,
    /// How the locks are meant to be.
    pub options: Options,
}

/// How the locks of a run are meant to be. A client that knows no such setting ignores it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// No lock is asked for longer than this.
    pub ttl_max: Duration,
    /// Whether a node that came back without its keys should grant nothing for the longest ttl.
    pub restart_guard: bool,
    /// How long one node may take; what the client does by itself where absent.
    pub node_timeout: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self { ttl_max: Duration::from_secs(30), restart_guard: false, node_timeout: None }
    }
}

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Name and version of the lock library.
    pub name: String,
    /// What it can do beyond acquire and release.
    pub abilities: Vec<Ability>,
    /// Where the lock of a resource is on each node: `{resource}` stands for the resource's name.
    pub key: String,
}

impl Hello {
    /// Whether the client can do this.
    pub fn can(&self, ability: Ability) -> bool {
        self.abilities.contains(&ability)
    }

    /// The key of a resource's lock on each node.
    pub fn key_of(&self, resource: &str) -> String {
        key_of(&self.key, resource)
    }
}

/// The key that `template` gives for `resource`.
pub fn key_of(template: &str, resource: &str) -> String {
    template.replace("{resource}", resource)
}

/// What a client may be able to do beyond acquire and release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// Holds a lock for longer than it was acquired for.
    Extend,
    /// Tells how long a lock that it holds is still good for.
    Check,
    /// Gives fencing tokens.
    Fence,
    /// Tells by itself when a lock is lost.
    LostEvent,
    /// Takes no vote of a node that may have forgotten its keys, if asked so.
    Guard,
}

/// What the client calls a lock that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(String);

impl Handle {
    /// A handle of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

/// A lock as it was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What the client calls it.
    pub handle: Handle,
    /// How long it is good for, from when the line was written.
    pub valid: Duration,
    /// Its fencing token.
    pub fence: Option<u64>,
}

/// What the client gave as the reason for not doing what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of reason it is.
    pub kind: FailureKind,
    /// The reason in the client's own words, without secrets.
    pub text: String,
    /// Whether it is certain that nothing was done.
    pub definite: bool,
}

/// What kind of reason it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Somebody else holds the lock.
    Contended,
    /// Too few nodes answered.
    Unavailable,
    /// The lock was held, and is not any more.
    Lost,
    /// It took too long.
    Timeout,
    /// Anything else, or the library does not tell.
    Other,
}

impl FailureKind {
    /// As it is in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contended => "contended",
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubt = if self.definite { "" } else { ", outcome unknown" };
        write!(f, "{} ({}{doubt})", self.text, self.kind.name())
    }
}

/// One line to the client.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    pub(super) id: u64,
    #[serde(flatten)]
    pub(super) op: Op<'a>,
}

/// What the client is asked for.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Op<'a> {
    Init {
        v: u32,
        nodes: &'a [String],
        client: &'a str,
        options: OptionsLine,
    },
    Acquire {
        resource: &'a str,
        ttl_ms: u64,
        wait_ms: u64,
    },
    Extend {
        handle: &'a Handle,
        ttl_ms: u64,
    },
    Check {
        handle: &'a Handle,
    },
    Release {
        handle: &'a Handle,
    },
    Quit,
    /// What no adapter knows, for the check.
    Dance {
        future_field: bool,
    },
}

#[derive(Debug, Serialize)]
pub(super) struct OptionsLine {
    ttl_max_ms: u64,
    restart_guard: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_timeout_ms: Option<u64>,
}

impl From<&Options> for OptionsLine {
    fn from(options: &Options) -> Self {
        Self {
            ttl_max_ms: to_ms(options.ttl_max),
            restart_guard: options.restart_guard,
            node_timeout_ms: options.node_timeout.map(to_ms),
        }
    }
}

/// Whole milliseconds, which no duration of ours has too many of.
pub(super) fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Which operation an answer is for; they differ in what they have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Init,
    Acquire,
    Extend,
    Check,
    Release,
    Quit,
    Dance,
}

/// One line of the client.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    Reply { id: u64, body: Body },
    Lost { handle: Handle },
}

/// What a reply says, before it is known what was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Done(Fields),
    Failed(Failure),
}

/// All fields that a reply may have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    id: Option<u64>,
    ok: Option<bool>,
    event: Option<String>,
    name: Option<String>,
    caps: Option<Vec<Ability>>,
    key: Option<String>,
    handle: Option<Handle>,
    valid_ms: Option<f64>,
    fence: Option<u64>,
    error: Option<String>,
    kind: Option<FailureKind>,
    definite: Option<bool>,
}

/// What is wrong with a line. It quotes nothing; whoever has the line does.
pub(super) type Flaw = String;

impl Line {
    /// Reads one line, which has to be all of the protocol and nothing else.
    pub(super) fn parse(line: &str) -> Result<Self, Flaw> {
        if !line.trim_start().starts_with('{') {
            return Err(
                "not a JSON object: stdout is for the protocol alone, print to stderr".into()
            );
        }
        let fields: Fields = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if let Some(event) = &fields.event {
            return match (event.as_str(), &fields) {
                ("lost", Fields { handle: Some(handle), id: None, ok: None, .. }) => {
                    Ok(Self::Lost { handle: handle.clone() })
                }
                ("lost", _) => Err("the event `lost` has a `handle`, and no `id` or `ok`".into()),
                _ => Err("the only event is `lost`".into()),
            };
        }
        let id = fields.id.ok_or("a reply has the `id` of its request")?;
        match fields.ok {
            None => Err("a reply has `ok`, true or false".into()),
            Some(true) => Ok(Self::Reply { id, body: Body::Done(fields) }),
            Some(false) => Ok(Self::Reply { id, body: Body::Failed(fields.failure()?) }),
        }
    }
}

/// The longest validity that is taken as a number: more is more than any lock is asked for.
const VALID_MAX_MS: f64 = 86_400_000.0;

impl Fields {
    fn failure(self) -> Result<Failure, Flaw> {
        let text = self.error.ok_or("a reply with `ok` false has `error`, a text")?;
        let kind = self.kind.ok_or(
            "a reply with `ok` false has `kind`: contended, unavailable, lost, timeout or other",
        )?;
        let definite = self.definite.ok_or(
            "a reply with `ok` false has `definite`: true only if it is certain that nothing was done",
        )?;
        Ok(Failure { kind, text: redact(&text), definite })
    }

    pub(super) fn hello(self) -> Result<Hello, Flaw> {
        let name = self.name.filter(|name| !name.is_empty());
        let name = name.ok_or("the reply to init has `name`: library and version")?;
        let abilities = self.caps.ok_or("the reply to init has `caps`, a list; [] is one")?;
        let key = self.key.unwrap_or_else(|| "{resource}".into());
        if !key.contains("{resource}") {
            return Err("`key` has `{resource}` where the resource's name stands".into());
        }
        Ok(Hello { name, abilities, key })
    }

    pub(super) fn grant(self) -> Result<Grant, Flaw> {
        let valid = self.valid()?;
        let handle = self.handle.filter(|handle| !handle.0.is_empty());
        let handle = handle.ok_or("the reply to acquire has `handle`, a name for this lock")?;
        Ok(Grant { handle, valid, fence: self.fence })
    }

    pub(super) fn valid(&self) -> Result<Duration, Flaw> {
        let ms = self.valid_ms.ok_or("the reply has `valid_ms`, how long the lock is good for")?;
        if !ms.is_finite() || ms < 0.0 {
            return Err("`valid_ms` is not below 0; a lock that is over already has 0".into());
        }
        Ok(Duration::from_secs_f64(ms.min(VALID_MAX_MS) / 1000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(line: &str) -> Fields {
        match Line::parse(line) {
            Ok(Line::Reply { body: Body::Done(fields), .. }) => fields,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_is_all_of_the_protocol_or_refused_with_the_reason() {
        for (line, reason) in [
            ("Connected to redis", "stdout is for the protocol alone"),
            ("", "not a JSON object"),
            ("{\"id\":1", "EOF"),
            ("{\"ok\":true}", "`id`"),
            ("{\"id\":1}", "`ok`"),
            ("{\"id\":1,\"ok\":true,\"valid\":5}", "unknown field `valid`"),
            ("{\"id\":-1,\"ok\":true}", "u64"),
            ("{\"id\":1,\"ok\":false,\"kind\":\"lost\",\"definite\":true}", "`error`"),
            ("{\"id\":1,\"ok\":false,\"error\":\"x\",\"definite\":true}", "`kind`"),
            ("{\"id\":1,\"ok\":false,\"error\":\"x\",\"kind\":\"lost\"}", "`definite`"),
            (
                "{\"id\":1,\"ok\":false,\"error\":\"x\",\"kind\":\"busy\",\"definite\":true}",
                "`busy`",
            ),
            ("{\"event\":\"gone\",\"handle\":\"h\"}", "only event"),
            ("{\"event\":\"lost\"}", "`handle`"),
            ("{\"event\":\"lost\",\"handle\":\"h\",\"id\":1}", "no `id`"),
        ] {
            let flaw = Line::parse(line).expect_err(line);
            assert!(flaw.contains(reason), "{line}: {flaw}");
        }
        assert!(done("{\"id\":1,\"ok\":true}").grant().is_err());
        assert!(done("{\"id\":1,\"ok\":true,\"handle\":\"h\",\"valid_ms\":-1}").grant().is_err());
        assert!(done("{\"id\":1,\"ok\":true,\"handle\":\"\",\"valid_ms\":1}").grant().is_err());
        assert!(
            done("{\"id\":1,\"ok\":true,\"name\":\"x\",\"caps\":[],\"key\":\"k\"}")
                .hello()
                .is_err()
        );
    }

    #[test]
    fn an_overflown_validity_is_a_long_one_and_no_panic() {
        let line = "{\"id\":1,\"ok\":true,\"handle\":\"h\",\"valid_ms\":18446744073709551399}";
        let grant = done(line).grant().expect("a grant");
        assert_eq!(grant.valid, Duration::from_secs(86_400));
    }

    #[test]
    fn failures_are_shown_without_secrets() {
        let line = "{\"id\":1,\"ok\":false,\"error\":\"redis://a:b@h down\",\"kind\":\"other\",\"definite\":false}";
        let Ok(Line::Reply { body: Body::Failed(failure), .. }) = Line::parse(line) else {
            panic!("a failure");
        };
        assert_eq!(failure.to_string(), "redis://***@h down (other, outcome unknown)");
    }
}
