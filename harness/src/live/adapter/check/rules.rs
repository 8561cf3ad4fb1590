//! The rules, each with the attempt that shows whether it is kept.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::protocol::{Ability, FailureKind, Grant, Handle, Hello, Init, Options};
use super::super::{Adapter, AdapterCommand, AdapterError};
use super::CheckError;
use super::nodes::{Key, Nodes};

/// The ttl of locks that must not end by themselves during an attempt.
const LONG: Duration = Duration::from_secs(120);
/// The ttl of locks that are to end by themselves.
const SHORT: Duration = Duration::from_millis(500);
/// How long a lock is waited for that is not given back.
const BRIEF: Duration = Duration::from_millis(300);
/// How often something is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// A client that stands still is given this long to show that it does not.
const STILL: Duration = Duration::from_millis(300);

/// One rule of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Start,
    Free,
    Key,
    Taken,
    Wait,
    Release,
    Handle,
    Extend,
    Check,
    Fence,
    Expiry,
    Lost,
    Nobody,
    Unknown,
    Pause,
    Quit,
    End,
}

/// What an attempt came to, if the rule is kept as far as it was tried.
pub(super) enum Found {
    Kept,
    Note(String),
    Skipped(String),
}

/// Why an attempt did not show that the rule is kept.
pub(super) enum Trouble {
    Wrong { seen: String, advice: String },
    Ended(CheckError),
}

type Attempt = Result<Found, Trouble>;

impl Rule {
    pub(super) const ALL: &[Self] = &[
        Self::Start,
        Self::Free,
        Self::Key,
        Self::Taken,
        Self::Wait,
        Self::Release,
        Self::Handle,
        Self::Extend,
        Self::Check,
        Self::Fence,
        Self::Expiry,
        Self::Lost,
        Self::Nobody,
        Self::Unknown,
        Self::Pause,
        Self::Quit,
        Self::End,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Free => "free",
            Self::Key => "key",
            Self::Taken => "taken",
            Self::Wait => "wait",
            Self::Release => "release",
            Self::Handle => "handle",
            Self::Extend => "extend",
            Self::Check => "check",
            Self::Fence => "fence",
            Self::Expiry => "expiry",
            Self::Lost => "lost",
            Self::Nobody => "nobody",
            Self::Unknown => "unknown",
            Self::Pause => "pause",
            Self::Quit => "quit",
            Self::End => "end",
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Start => "init is answered with `ok` true, `name` and `caps`",
            Self::Free => {
                "a free lock is granted; handles differ; `valid_ms` is above 0 and at most `ttl_ms`"
            }
            Self::Key => "a lock that is held is on the nodes, under `key`, for `ttl_ms` at most",
            Self::Taken => "a lock that another client holds is refused",
            Self::Wait => {
                "a lock that is taken is waited for, for `wait_ms`, and granted once it is free"
            }
            Self::Release => "release takes the lock from the nodes, and others can have it",
            Self::Handle => "a handle that is not held is answered with `ok` false",
            Self::Extend => "extend lets the keys live for `ttl_ms` again",
            Self::Check => {
                "check tells how long the lock is good for, and that it is lost after its ttl"
            }
            Self::Fence => "every grant has a higher `fence` than the one before",
            Self::Expiry => "a lock that nobody extends ends with its ttl",
            Self::Lost => "a lock that ends with its ttl is told by the event `lost`",
            Self::Nobody => {
                "if no node can be reached, init or acquire is answered with `ok` false"
            }
            Self::Unknown => {
                "an unknown op is answered with `ok` false, and unknown fields are ignored"
            }
            Self::Pause => {
                "a client that is stopped stands still, and goes on when it is continued"
            }
            Self::Quit => "quit is answered, and then the process ends with status 0",
            Self::End => "the end of stdin ends the process",
        }
    }
}

/// What all attempts share.
pub(super) struct Trial<'a> {
    pub(super) command: &'a AdapterCommand,
    pub(super) servers: &'a [String],
    pub(super) patience: Duration,
    pub(super) nodes: Nodes,
    pub(super) hello: Option<Hello>,
}

impl From<(usize, redis::RedisError)> for Trouble {
    fn from(error: (usize, redis::RedisError)) -> Self {
        Self::Ended(error.into())
    }
}

impl From<AdapterError> for Trouble {
    fn from(error: AdapterError) -> Self {
        let advice = match &error {
            AdapterError::NotStarted { .. } => return Self::Ended(CheckError::NotStarted(error)),
            AdapterError::Refused(_) => "it should work with the nodes that it was given",
            AdapterError::Hung { .. } => {
                "answer every request with one line, end it with a newline, and flush stdout after it"
            }
            AdapterError::Died { .. } => "answer with `ok` false instead of ending",
            AdapterError::Nonsense { .. } => {
                "write nothing to stdout but one JSON object a line, with the fields that the page has"
            }
            AdapterError::Busy => "answer every request once",
        };
        wrong(error.to_string(), advice)
    }
}

fn wrong(seen: impl Into<String>, advice: impl Into<String>) -> Trouble {
    Trouble::Wrong { seen: seen.into(), advice: advice.into() }
}

fn kept_or_note(notes: Vec<String>) -> Found {
    match notes.is_empty() {
        true => Found::Kept,
        false => Found::Note(notes.join("\n")),
    }
}

impl Trial<'_> {
    pub(super) async fn attempt(&mut self, rule: Rule) -> Attempt {
        let needs = match rule {
            Rule::Extend => Some((Ability::Extend, "extend")),
            Rule::Check => Some((Ability::Check, "check")),
            Rule::Fence => Some((Ability::Fence, "fence")),
            Rule::Lost => Some((Ability::LostEvent, "lost_event")),
            Rule::Start
            | Rule::Free
            | Rule::Key
            | Rule::Taken
            | Rule::Wait
            | Rule::Release
            | Rule::Handle
            | Rule::Expiry
            | Rule::Nobody
            | Rule::Unknown
            | Rule::Pause
            | Rule::Quit
            | Rule::End => None,
        };
        if let Some((ability, word)) = needs
            && !self.hello.as_ref().is_some_and(|hello| hello.can(ability))
        {
            return Ok(Found::Skipped(format!("`caps` does not have \"{word}\"")));
        }
        match rule {
            Rule::Start => self.starts().await,
            Rule::Free => self.grants().await,
            Rule::Key => self.shows().await,
            Rule::Taken => self.excludes().await,
            Rule::Wait => self.waits().await,
            Rule::Release => self.releases().await,
            Rule::Handle => self.knows_handles().await,
            Rule::Extend => self.extends().await,
            Rule::Check => self.checks().await,
            Rule::Fence => self.fences().await,
            Rule::Expiry => self.expires().await,
            Rule::Lost => self.tells_loss().await,
            Rule::Nobody => self.bears_silence().await,
            Rule::Unknown => self.bears_news().await,
            Rule::Pause => self.stands_still().await,
            Rule::Quit => self.quits().await,
            Rule::End => self.ends().await,
        }
    }

    async fn client(&self) -> Result<Client, Trouble> {
        self.client_of(self.servers).await
    }

    async fn client_of(&self, nodes: &[String]) -> Result<Client, Trouble> {
        let init = Init {
            nodes: nodes.to_vec(),
            client: "check".into(),
            options: Options { ttl_max: LONG, ..Options::default() },
        };
        let (adapter, hello) = Adapter::start(self.command, &init, self.patience).await?;
        Ok(Client { adapter, hello, patience: self.patience })
    }

    async fn starts(&mut self) -> Attempt {
        let client = self.client().await?;
        let name = client.hello.name.clone();
        self.hello = Some(client.hello.clone());
        Ok(Found::Note(format!("it is {name}")))
    }

    async fn grants(&mut self) -> Attempt {
        let mut client = self.client().await?;
        let (one, other) = (fresh(), fresh());
        let first = client.take(&one, LONG).await?;
        let second = client.take(&other, LONG).await?;
        if first.handle == second.handle {
            return Err(wrong(
                format!("the handle {} for two locks", first.handle),
                "give every lock that is granted a handle of its own, such as h1, h2, h3",
            ));
        }
        for grant in [&first, &second] {
            if grant.valid > LONG || grant.valid.is_zero() {
                return Err(wrong(
                    format!("valid_ms {} for ttl_ms {}", ms(grant.valid), LONG.as_millis()),
                    "say for how many milliseconds the lock is good from now; the ttl less what has passed, \
                     if the library does not tell",
                ));
            }
        }
        client.give_back(&first.handle).await?;
        client.give_back(&second.handle).await?;
        Ok(Found::Kept)
    }

    async fn shows(&mut self) -> Attempt {
        let mut client = self.client().await?;
        let resource = fresh();
        let key = client.hello.key_of(&resource);
        let grant = client.take(&resource, LONG).await?;
        let seen = self.nodes.look(&key)?;
        client.give_back(&grant.handle).await?;
        let held = seen.iter().filter(|key| **key != Key::Absent).count();
        if held == 0 {
            return Err(wrong(
                format!("no node has the key {key}"),
                "say in the reply to init which key the lock has on the nodes: \"key\":\"prefix:{resource}\"",
            ));
        }
        let too_long = |key: &Key| match *key {
            Key::Absent => false,
            Key::Forever => true,
            Key::For(remaining) => remaining > LONG,
        };
        if seen.iter().any(too_long) {
            return Err(wrong(
                "a key that lives for longer than ttl_ms, or for ever",
                "let the library set the ttl that it is asked for, in milliseconds",
            ));
        }
        let majority = self.nodes.majority();
        Ok(kept_or_note(match held < majority {
            true => vec![format!("{held} of {} nodes have it, which is no majority", seen.len())],
            false => vec![],
        }))
    }

    async fn excludes(&mut self) -> Attempt {
        let (mut holder, mut other) = (self.client().await?, self.client().await?);
        let resource = fresh();
        let grant = holder.take(&resource, LONG).await?;
        let answer = other.adapter.acquire(&resource, LONG, Duration::ZERO, self.patience).await?;
        match answer.outcome {
            // What a release of either would do now, nobody knows.
            Ok(_) => Err(wrong(
                "the lock was granted to a second client while the first one held it",
                "answer with `ok` false and kind \"contended\" if somebody else holds the lock",
            )),
            Err(failure) => {
                holder.give_back(&grant.handle).await?;
                Ok(kept_or_note(match failure.kind {
                    FailureKind::Contended => vec![],
                    FailureKind::Unavailable
                    | FailureKind::Lost
                    | FailureKind::Timeout
                    | FailureKind::Other => vec![format!(
                        "it is said to be {}; where the library tells, say contended: {}",
                        failure.kind.name(),
                        failure.text
                    )],
                }))
            }
        }
    }

    async fn waits(&mut self) -> Attempt {
        let (mut holder, mut other) = (self.client().await?, self.client().await?);
        let resource = fresh();
        let grant = holder.take(&resource, LONG).await?;
        let in_vain = other.adapter.acquire(&resource, LONG, BRIEF, BRIEF + self.patience).await?;
        if in_vain.outcome.is_ok() {
            return Err(wrong(
                "the lock was granted to a second client while the first one held it",
                "answer with `ok` false when wait_ms is over",
            ));
        }
        let wait = self.patience.min(Duration::from_secs(5));
        let waiting = other.adapter.acquire(&resource, LONG, wait, wait + self.patience);
        let giving = async {
            tokio::time::sleep(BRIEF).await;
            holder.give_back(&grant.handle).await
        };
        let (waited, given) = tokio::join!(waiting, giving);
        given?;
        match waited?.outcome {
            Ok(grant) => {
                other.give_back(&grant.handle).await?;
                Ok(Found::Kept)
            }
            Err(failure) => Ok(Found::Note(format!(
                "not granted, though it was free after {} of {} ms: {failure}",
                BRIEF.as_millis(),
                wait.as_millis()
            ))),
        }
    }

    async fn releases(&mut self) -> Attempt {
        let (mut holder, mut other) = (self.client().await?, self.client().await?);
        let resource = fresh();
        let key = holder.hello.key_of(&resource);
        let grant = holder.take(&resource, LONG).await?;
        holder.give_back(&grant.handle).await?;
        if let Some(left) = self.left_of(&key).await? {
            return Err(wrong(
                format!("{left} nodes still have the key {key} after release"),
                "release with the library's own call, and answer when it is done",
            ));
        }
        let grant = other.take(&resource, LONG).await?;
        other.give_back(&grant.handle).await?;
        Ok(Found::Kept)
    }

    async fn knows_handles(&mut self) -> Attempt {
        let mut client = self.client().await?;
        let answer = client.adapter.release(&Handle::new("no-such-handle"), self.patience).await?;
        match answer.outcome {
            Ok(()) => Err(wrong(
                "a handle that was never given out is released with `ok` true",
                "answer with `ok` false and kind \"lost\" if no lock is held under the handle",
            )),
            Err(_) => Ok(Found::Kept),
        }
    }

    async fn extends(&mut self) -> Attempt {
        let mut client = self.client().await?;
        let resource = fresh();
        let key = client.hello.key_of(&resource);
        let grant = client.take(&resource, LONG).await?;
        tokio::time::sleep(BRIEF).await;
        let before = self.nodes.look(&key)?;
        let answer = client.adapter.extend(&grant.handle, LONG, self.patience).await?;
        let after = self.nodes.look(&key)?;
        let valid = answer.outcome.map_err(|failure| {
            wrong(format!("extend of a lock that is held failed: {failure}"), "extend it")
        })?;
        if valid > LONG || valid.is_zero() {
            return Err(wrong(
                format!("valid_ms {} for ttl_ms {}", ms(valid), LONG.as_millis()),
                "say for how many milliseconds the lock is good from now",
            ));
        }
        let grown = before.iter().zip(&after).filter(|(before, after)| match (before, after) {
            (Key::For(before), Key::For(after)) => after > before,
            (Key::Absent | Key::Forever | Key::For(_), _) => false,
        });
        let grown = grown.count();
        client.give_back(&grant.handle).await?;
        if grown == 0 {
            return Err(wrong(
                "`ok` true, and no key lives longer for it",
                "extend with the library's own call, or leave \"extend\" out of `caps`",
            ));
        }
        let majority = self.nodes.majority();
        Ok(kept_or_note(match grown < majority {
            true => vec![format!("on {grown} of {} nodes, which is no majority", after.len())],
            false => vec![],
        }))
    }

    async fn checks(&mut self) -> Attempt {
        let mut client = self.client().await?;
        let grant = client.take(&fresh(), LONG).await?;
        let answer = client.adapter.check(&grant.handle, self.patience).await?;
        match answer.outcome {
            Ok(valid) if valid <= LONG && !valid.is_zero() => {}
            Ok(valid) => {
                return Err(wrong(
                    format!("valid_ms {} of a lock of ttl_ms {}", ms(valid), LONG.as_millis()),
                    "say for how many milliseconds the lock is good from now",
                ));
            }
            Err(failure) => {
                return Err(wrong(
                    format!("check of a lock that is held failed: {failure}"),
                    "say for how many milliseconds the lock is good from now",
                ));
            }
        }
        client.give_back(&grant.handle).await?;
        let grant = client.take(&fresh(), SHORT).await?;
        tokio::time::sleep(SHORT + BRIEF).await;
        let answer = client.adapter.check(&grant.handle, self.patience).await?;
        match answer.outcome {
            Ok(Duration::ZERO) | Err(_) => Ok(Found::Kept),
            Ok(valid) => Err(wrong(
                format!("valid_ms {} of a lock whose ttl has passed", ms(valid)),
                "answer with `ok` false and kind \"lost\" when the lock is over",
            )),
        }
    }

    async fn fences(&mut self) -> Attempt {
        let mut client = self.client().await?;
        let resource = fresh();
        let mut highest = None;
        for _ in 0..3 {
            let grant = client.take(&resource, LONG).await?;
            client.give_back(&grant.handle).await?;
            if grant.fence <= highest {
                let shown = |fence: Option<u64>| match fence {
                    Some(fence) => fence.to_string(),
                    None => "no fence".into(),
                };
                return Err(wrong(
                    format!("{} after {}", shown(grant.fence), shown(highest)),
                    "give the library's fencing token, or leave \"fence\" out of `caps`",
                ));
            }
            highest = grant.fence;
        }
        Ok(Found::Kept)
    }

    async fn expires(&mut self) -> Attempt {
        let (mut holder, mut other) = (self.client().await?, self.client().await?);
        let resource = fresh();
        let key = holder.hello.key_of(&resource);
        holder.take(&resource, SHORT).await?;
        if let Some(left) = self.left_of(&key).await? {
            return Err(wrong(
                format!(
                    "{left} nodes still have the key long after the ttl of {} ms",
                    SHORT.as_millis()
                ),
                "turn off what renews locks by itself: the harness asks for every extension",
            ));
        }
        let grant = other.take(&resource, LONG).await?;
        other.give_back(&grant.handle).await?;
        Ok(Found::Kept)
    }

    async fn tells_loss(&mut self) -> Attempt {
        let mut client = self.client().await?;
        let grant = client.take(&fresh(), SHORT).await?;
        let taken = Instant::now();
        let advice =
            "write the event as soon as the library tells, or leave \"lost_event\" out of `caps`";
        match tokio::time::timeout(SHORT + self.patience, client.adapter.lost()).await {
            Ok(Some(loss)) if loss.handle == grant.handle => {
                let late = loss.read.saturating_duration_since(taken + grant.valid);
                Ok(kept_or_note(match late > BRIEF {
                    true => vec![format!("{} ms after the end of its validity", late.as_millis())],
                    false => vec![],
                }))
            }
            Ok(Some(loss)) => Err(wrong(
                format!("lost: {}, where {} was lost", loss.handle, grant.handle),
                "name the handle of the lock that is lost",
            )),
            Ok(None) => Err(client.gone().await),
            Err(_) => Err(wrong("no event", advice)),
        }
    }

    async fn bears_silence(&mut self) -> Attempt {
        let nowhere = closed_ports(self.servers.len()).map_err(|error| {
            wrong(format!("no free port on this machine: {error}"), "free some")
        })?;
        let started = self.client_of(&nowhere).await;
        let mut client = match started {
            Ok(client) => client,
            // Refused at init: an answer, too.
            Err(Trouble::Wrong { seen, .. }) if seen.starts_with("init is refused") => {
                return Ok(Found::Kept);
            }
            Err(trouble) => return Err(trouble),
        };
        let asked = client.adapter.acquire(&fresh(), LONG, Duration::ZERO, self.patience).await;
        // Some libraries wait for nodes for ever. They do so under test, too, where it is told.
        if let Err(error @ AdapterError::Hung { .. }) = asked {
            return Ok(Found::Note(error.to_string()));
        }
        match asked?.outcome {
            Ok(_) => Err(wrong("granted without any node", "answer with `ok` false")),
            Err(failure) => Ok(kept_or_note(match failure.kind {
                FailureKind::Contended | FailureKind::Lost => {
                    vec![format!("it is said to be {}: {}", failure.kind.name(), failure.text)]
                }
                FailureKind::Unavailable | FailureKind::Timeout | FailureKind::Other => vec![],
            })),
        }
    }

    async fn bears_news(&mut self) -> Attempt {
        let mut client = self.client().await?;
        if client.adapter.dance(self.patience).await?.outcome.is_ok() {
            return Err(wrong(
                "`ok` true for an op that does not exist",
                "answer every op that you do not know with `ok` false, kind \"other\", `definite` true",
            ));
        }
        let grant = client.take(&fresh(), LONG).await?;
        client.give_back(&grant.handle).await?;
        Ok(Found::Kept)
    }

    async fn stands_still(&mut self) -> Attempt {
        let mut client = self.client().await?;
        let not_stopped = |error: std::io::Error| {
            wrong(
                format!("it cannot be stopped: {error}"),
                "stay in the process group you were started in",
            )
        };
        client.adapter.pause().map_err(not_stopped)?;
        match client.adapter.acquire(&fresh(), SHORT, Duration::ZERO, STILL).await {
            Err(AdapterError::Hung { .. }) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                return Err(wrong(
                    "it answered while its process group was stopped",
                    "do the work in the process group you were started in: no setsid, no daemon",
                ));
            }
        }
        client.adapter.resume().map_err(not_stopped)?;
        client.adapter.overdue(self.patience).await?;
        Ok(Found::Kept)
    }

    async fn quits(&mut self) -> Attempt {
        let client = self.client().await?;
        let status = client.adapter.quit(self.patience).await?;
        match status.success() {
            true => Ok(Found::Kept),
            false => Err(wrong(format!("it ended with {status}"), "end with status 0 after quit")),
        }
    }

    async fn ends(&mut self) -> Attempt {
        let client = self.client().await?;
        match client.adapter.hang_up(self.patience).await {
            Ok(_) => Ok(Found::Kept),
            Err(error) => Err(wrong(
                format!("still running: {error}"),
                "end when stdin ends, whatever else is going on: the harness may have been killed",
            )),
        }
    }

    /// On how many nodes the key still is when patience is over; nothing, once it is on none.
    async fn left_of(&mut self, key: &str) -> Result<Option<usize>, Trouble> {
        let until = Instant::now() + self.patience;
        loop {
            let seen = self.nodes.look(key)?;
            let left = seen.iter().filter(|key| **key != Key::Absent).count();
            if left == 0 {
                return Ok(None);
            }
            if Instant::now() >= until {
                return Ok(Some(left));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// One process of the adapter.
struct Client {
    adapter: Adapter,
    hello: Hello,
    patience: Duration,
}

impl Client {
    async fn take(&mut self, resource: &str, ttl: Duration) -> Result<Grant, Trouble> {
        let answer = self.adapter.acquire(resource, ttl, Duration::ZERO, self.patience).await?;
        answer.outcome.map_err(|failure| {
            let seen = format!("a lock that nobody holds was refused: {failure}");
            wrong(seen, "acquire it with one attempt if wait_ms is 0")
        })
    }

    async fn give_back(&mut self, handle: &Handle) -> Result<(), Trouble> {
        let answer = self.adapter.release(handle, self.patience).await?;
        answer.outcome.map_err(|failure| {
            let seen = format!("release of a lock that is held failed: {failure}");
            wrong(seen, "keep what the library needs for it under the handle")
        })
    }

    async fn gone(&mut self) -> Trouble {
        match self.adapter.dance(self.patience).await {
            Err(error) => error.into(),
            Ok(_) => wrong("its stdout has ended", "keep it open"),
        }
    }
}

/// A resource that nobody else has locked.
fn fresh() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("check:{}:{}", std::process::id(), now.as_nanos())
}

/// Addresses at which nobody listens.
fn closed_ports(count: usize) -> std::io::Result<Vec<String>> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<_>>()?;
    listeners.iter().map(|it| Ok(format!("redis://{}", it.local_addr()?))).collect()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
