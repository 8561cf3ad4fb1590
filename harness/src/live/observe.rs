//! What each node keeps for each resource, over time.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::IntoConnectionInfo;
use redlatch_core::Token;
use redlatch_core::wire::{MARKER, QUARANTINE};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time;

use super::PATIENCE;
use super::host::Host;
use super::node::Node;
use super::proxy::{Answer, Frames, resp};

/// Time between two looks at a node: less than a command takes over any network, and some percent of a server.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A node that answers nothing for this long counts as unreachable; the question stays asked.
const SILENCE: Duration = Duration::from_millis(20);

/// How far two looks at the same expiry may differ: Redis counts whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

/// One look: value and time left of each key, whether the guard's marker is that of this life, and whether there is a
/// quarantine. It changes nothing.
const LOOK: &str = "
    local seen = {}
    for i = 3, #KEYS do
        local value = redis.pcall('GET', KEYS[i])
        if type(value) == 'table' then value = 'no text' end
        seen[#seen + 1] = {value, redis.call('PTTL', KEYS[i])}
    end
    local marker = redis.call('GET', KEYS[1])
    local is_known = marker and string.find(redis.call('INFO', 'server'), 'run_id:' .. marker, 1, true)
    return {seen, is_known and 1 or 0, redis.call('EXISTS', KEYS[2])}";

/// Whether the clients of a run use redlatch's restart guard, so that a node can be there and not be lockable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// They do: a node that has forgotten, or is in quarantine, gives no lock.
    On,
    /// They do not: a node without the key gives the lock.
    Off,
}

/// Looks at some keys on all nodes, over direct connections, about every millisecond.
///
/// It lives on a thread of its own; a node that hangs keeps nobody from looking at the others. Between two sightings
/// the log of the [`Network`](super::network::Network) is exact: who said what when, and what was answered.
#[derive(Debug)]
pub struct Watch {
    sightings: Arc<Mutex<Vec<Sighting>>>,
    looks: Arc<Mutex<Vec<Vec<Duration>>>>,
    /// Its end is that of the looking.
    host: Arc<Host>,
}

impl Watch {
    /// Begins to look; times are counted from `origin`. For clients without a restart guard.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub fn start(nodes: &[Arc<dyn Node>], keys: Vec<String>, origin: Instant) -> io::Result<Self> {
        Self::start_with(nodes, keys, origin, Guard::Off)
    }

    /// As [`start`](Self::start), for clients with or without a restart guard.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(
        nodes: &[Arc<dyn Node>],
        keys: Vec<String>,
        origin: Instant,
        guard: Guard,
    ) -> io::Result<Self> {
        let host = Host::start("watch")?;
        let sightings = Arc::default();
        let looks = Arc::new(Mutex::new(vec![Vec::new(); nodes.len()]));
        for (node, at) in nodes.iter().enumerate() {
            let seer = Seer {
                node,
                addr: at.addr(),
                login: login(&at.url()),
                question: question(&keys),
                keys: keys.len(),
                guard,
                origin,
                last: vec![None; keys.len()],
                asked: vec![Duration::ZERO; keys.len()],
                sightings: Arc::clone(&sightings),
                looks: Arc::clone(&looks),
            };
            host.spawn(seer.look());
        }
        Ok(Self { sightings, looks, host })
    }

    /// What was seen to change so far, in the order in which it was seen.
    #[must_use]
    pub fn sightings(&self) -> Vec<Sighting> {
        let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sightings.sort_by_key(|sighting| sighting.until);
        sightings
    }

    /// For each node, when a question was sent that it answered. What happens between two of them may be seen in no
    /// sighting.
    #[must_use]
    pub fn looks(&self) -> Vec<Vec<Duration>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends, and tells what was seen to change, in the order in which it was seen.
    #[must_use]
    pub fn stop(self) -> Vec<Sighting> {
        let Self { sightings, host, .. } = self;
        drop(host);
        let mut sightings =
            std::mem::take(&mut *sightings.lock().unwrap_or_else(PoisonError::into_inner));
        sightings.sort_by_key(|sighting| sighting.until);
        sightings
    }
}

/// What was seen on one node for one key, where it differs from what was seen there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which node, by its place.
    pub node: usize,
    /// Which key, by its place.
    pub key: usize,
    /// When the question was sent: what was seen was so at some moment between this and `until`.
    pub at: Duration,
    /// When the answer was there.
    pub until: Duration,
    /// When the question before was sent: what had been seen until now was so until then at least.
    pub since: Duration,
    /// What was seen.
    pub seen: Seen,
}

/// What a node keeps for a key.
#[derive(Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: anybody can lock it.
    Nobody,
    /// Nothing, and nobody can lock it: redlatch's restart guard keeps the node from voting.
    Withheld,
    /// A value: the token of whoever holds it.
    Value {
        /// The token, cut off after 256 bytes.
        value: Vec<u8>,
        /// What it has still to live; `None` for ever.
        remaining: Option<Duration>,
    },
    /// The node did not answer.
    Unreachable,
}

/// Without the token.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Withheld => f.write_str("Withheld"),
            Self::Value { value, remaining } => {
                write!(f, "Value({} bytes, {remaining:?} left)", value.len())
            }
            Self::Unreachable => f.write_str("Unreachable"),
        }
    }
}

impl Sighting {
    /// Whether `later` tells nothing new: the same, and an expiry at the same time.
    fn foretells(&self, later: &Self) -> bool {
        match (&self.seen, &later.seen) {
            (
                Seen::Value { value, remaining: Some(remaining) },
                Seen::Value { value: same, remaining: Some(left) },
            ) => {
                let (soonest, latest) = (self.at + *remaining, self.until + *remaining + ROUNDING);
                value == same
                    && later.at + *left <= latest
                    && soonest <= later.until + *left + ROUNDING
            }
            (one, other) => one == other,
        }
    }
}

/// Whoever looks at one node.
struct Seer {
    node: usize,
    addr: std::net::SocketAddr,
    login: Option<Vec<u8>>,
    question: Vec<u8>,
    keys: usize,
    guard: Guard,
    origin: Instant,
    last: Vec<Option<Sighting>>,
    /// For each key, when the last question was sent.
    asked: Vec<Duration>,
    sightings: Arc<Mutex<Vec<Sighting>>>,
    looks: Arc<Mutex<Vec<Vec<Duration>>>>,
}

impl Seer {
    async fn look(mut self) {
        loop {
            let at = self.origin.elapsed();
            // Whatever ended it, the node is not seen now.
            let _ = self.look_while_connected().await;
            self.note_all(at, &Seen::Unreachable);
            time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look_while_connected(&mut self) -> io::Result<()> {
        let connecting = time::timeout(PATIENCE, TcpStream::connect(self.addr));
        let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let mut frames = Frames::new(reader);
        if let Some(login) = self.login.take() {
            let asked = self.ask(&mut frames, &mut writer, &login).await;
            self.login = Some(login);
            asked?;
        }
        let question = self.question.clone();
        loop {
            let (at, answer) = self.ask(&mut frames, &mut writer, &question).await?;
            self.note_answer(at, answer)?;
            time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks, and says when; a node that is silent is unreachable until it answers.
    async fn ask(
        &mut self,
        frames: &mut Frames<OwnedReadHalf>,
        writer: &mut OwnedWriteHalf,
        question: &[u8],
    ) -> io::Result<(Duration, Answer)> {
        let at = self.origin.elapsed();
        writer.write_all(question).await?;
        let frame = match time::timeout(SILENCE, frames.next()).await {
            Ok(frame) => frame?,
            Err(_) => {
                self.note_all(at, &Seen::Unreachable);
                frames.next().await?
            }
        };
        let frame = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((at, resp::answer(&frame)))
    }

    fn note_answer(&mut self, at: Duration, answer: Answer) -> io::Result<()> {
        let unexpected = || io::Error::from(io::ErrorKind::InvalidData);
        let Answer::Array(parts) = answer else { return Err(unexpected()) };
        let Ok([Answer::Array(seen), Answer::Integer(is_known), Answer::Integer(is_quarantined)]) =
            <[Answer; 3]>::try_from(parts)
        else {
            return Err(unexpected());
        };
        if let Some(looks) =
            self.looks.lock().unwrap_or_else(PoisonError::into_inner).get_mut(self.node)
        {
            looks.push(at);
        }
        let votes = self.guard == Guard::Off || (is_known == 1 && is_quarantined == 0);
        for (key, seen) in seen.into_iter().enumerate() {
            let Answer::Array(seen) = seen else { return Err(unexpected()) };
            let seen = match <[Answer; 2]>::try_from(seen) {
                // What is kept there for a waiter was put there by a release, which no quarantine stops.
                Ok([Answer::Text(value), Answer::Integer(_)])
                    if !votes && is_reservation(&value) =>
                {
                    Seen::Withheld
                }
                Ok([Answer::Text(value), Answer::Integer(left_ms)]) => {
                    let remaining = u64::try_from(left_ms).ok().map(Duration::from_millis);
                    Seen::Value { value, remaining }
                }
                Ok([Answer::Nil, Answer::Integer(_)]) if votes => Seen::Nobody,
                Ok([Answer::Nil, Answer::Integer(_)]) => Seen::Withheld,
                Ok(_) | Err(_) => return Err(unexpected()),
            };
            self.note(key, at, seen);
        }
        Ok(())
    }

    fn note_all(&mut self, at: Duration, seen: &Seen) {
        (0..self.keys).for_each(|key| self.note(key, at, seen.clone()));
    }

    fn note(&mut self, key: usize, at: Duration, seen: Seen) {
        let (Some(last), Some(asked)) = (self.last.get_mut(key), self.asked.get_mut(key)) else {
            return;
        };
        let since = std::mem::replace(asked, at);
        let until = self.origin.elapsed();
        let sighting = Sighting { node: self.node, key, at, until, since, seen };
        if last.as_ref().is_some_and(|last| last.foretells(&sighting)) {
            return;
        }
        *last = Some(sighting.clone());
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner).push(sighting);
    }
}

/// Whether a value only keeps its key for a waiter (R18): a nonce, with the number of no attempt.
fn is_reservation(value: &[u8]) -> bool {
    Token::from_hex(value).is_ok_and(|token| token.attempt() == 0)
}

/// The command by which a node with this URL lets somebody in, if it wants one.
fn login(url: &str) -> Option<Vec<u8>> {
    let info = url.into_connection_info().ok()?;
    let settings = info.redis_settings();
    let password = settings.password()?;
    Some(match settings.username() {
        Some(user) => command(&[b"AUTH", user.as_bytes(), password.as_bytes()]),
        None => command(&[b"AUTH", password.as_bytes()]),
    })
}

fn question(keys: &[String]) -> Vec<u8> {
    let count = (keys.len() + 2).to_string();
    let mut args: Vec<&[u8]> = vec![b"EVAL", LOOK.as_bytes(), count.as_bytes(), MARKER, QUARANTINE];
    args.extend(keys.iter().map(String::as_bytes));
    command(&args)
}

fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut frame = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        frame.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        frame.extend_from_slice(arg);
        frame.extend_from_slice(b"\r\n");
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_nonce_with_the_number_of_no_attempt_is_a_reservation() {
        let nonce = "0123456789abcdef".repeat(2);
        assert!(is_reservation(format!("{nonce}00000000").as_bytes()));
        for other in [format!("{nonce}00000001"), nonce, "00000000".to_owned(), String::new()] {
            assert!(!is_reservation(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn an_expiry_that_comes_nearer_is_no_news_and_an_extension_is() {
        let ms = Duration::from_millis;
        let seen = |at: u64, left: u64, token: &str| Sighting {
            node: 0,
            key: 0,
            at: ms(at),
            until: ms(at + 1),
            since: ms(at - 1),
            seen: Seen::Value { value: token.into(), remaining: Some(ms(left)) },
        };
        let first = seen(100, 1_000, "a");
        for (later, is_news) in [
            (seen(200, 900, "a"), false),
            (seen(200, 897, "a"), false),
            (seen(200, 903, "a"), false),
            (seen(200, 904, "a"), true),
            (seen(200, 896, "a"), true),
            (seen(200, 950, "a"), true),
            (seen(200, 800, "a"), true),
            (seen(200, 900, "b"), true),
            (Sighting { seen: Seen::Nobody, ..seen(200, 0, "") }, true),
        ] {
            assert_eq!(!first.foretells(&later), is_news, "{later:?}");
        }
    }
}
