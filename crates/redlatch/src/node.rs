//! One Redis node: a connection that all locks share, made when it is needed, replaced when it breaks.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Shared, join4};
use redis::PushInfo;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redlatch_core::Instant;
use redlatch_core::wire::Compare;

use crate::clock;
use crate::dial::{Connector, Dialer, Sentinels, Watch};
use crate::failure::{Failure, Trouble, is_read_only};
use crate::finding::{Problem, Told, Warnings};
use crate::measure::NodeMeter;

/// The most commands that may wait for one node; more would only pile up in memory.
pub(crate) const IN_FLIGHT_MAX: usize = 16_384;
/// How long a node is left alone after connections to it failed, from the least to the most. The first
/// that fails costs nothing yet: it may have been cut off by a restart that is over by now.
const RECONNECT_DELAY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How often a sentinel is asked whether the master is still where it was: soon beside a failover, which
/// takes seconds, and next to nothing for a sentinel.
const WATCH_EVERY: Duration = Duration::from_secs(1);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Where a node is.
pub(crate) enum Endpoint {
    /// Connections are ours to make.
    Client(Box<redis::Client>),
    /// As well, to the master that these name.
    Sentinels(Box<Sentinels>),
    /// As well, to the servers of the Redis Cluster that these know.
    #[cfg(feature = "cluster")]
    Cluster(Vec<redis::ConnectionInfo>),
    /// The application makes a connection whenever it is asked.
    Connector(Connector),
    /// A connection that the application made and keeps alive.
    Connection(Box<dyn Channel>),
}

impl Endpoint {
    pub(crate) const fn is_cluster(&self) -> bool {
        #[cfg(feature = "cluster")]
        return matches!(self, Self::Cluster(_));
        #[cfg(not(feature = "cluster"))]
        return false;
    }
}

/// Something that commands can be sent on: object-safe, cheap to clone.
pub(crate) trait Channel: Send + Sync {
    fn send(&self, command: Arc<redis::Cmd>) -> BoxFuture<redis::RedisResult<redis::Value>>;
    fn boxed_clone(&self) -> Box<dyn Channel>;
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Channel for C {
    fn send(&self, command: Arc<redis::Cmd>) -> BoxFuture<redis::RedisResult<redis::Value>> {
        let mut connection = self.clone();
        Box::pin(async move { connection.req_packed_command(&command).await })
    }

    fn boxed_clone(&self) -> Box<dyn Channel> {
        Box::new(self.clone())
    }
}

/// A connection that we made. Its own futures need no box around them.
#[derive(Clone)]
pub(crate) struct Multiplexed(pub(crate) MultiplexedConnection);

impl Channel for Multiplexed {
    fn send(&self, command: Arc<redis::Cmd>) -> BoxFuture<redis::RedisResult<redis::Value>> {
        let mut connection = self.0.clone();
        Box::pin(async move { connection.send_packed_command(&command).await })
    }

    fn boxed_clone(&self) -> Box<dyn Channel> {
        Box::new(self.clone())
    }
}

/// A node and its connection.
pub(crate) struct Node {
    name: Arc<str>,
    endpoint: Endpoint,
    dialer: Dialer,
    connect_timeout: Duration,
    state: Mutex<State>,
    /// When the node last answered anything, in nanoseconds of our clock.
    heard: AtomicU64,
    /// When a command of it was last found not to be answered in time.
    missed: AtomicU64,
    in_flight: Arc<AtomicUsize>,
    /// The `run_id` of every node's server, to find the server that was listed twice.
    servers: Arc<Servers>,
    warnings: Arc<Warnings>,
    pub(crate) meter: NodeMeter,
}

enum State {
    /// Not connected; not before `retry_at` again.
    Down {
        retry_at: Instant,
        failures: u32,
        error: Option<Failure>,
    },
    Connecting {
        attempt: Shared<BoxFuture<Result<Link, Failure>>>,
        failures: u32,
    },
    Up {
        link: Link,
        probing: bool,
    },
}

/// A connection that works as far as is known.
#[derive(Clone)]
pub(crate) struct Link {
    channel: Arc<dyn Channel>,
    /// Distinguishes this connection from those before and after it.
    generation: u64,
    /// How the server compares and acts, for the plain dialect.
    pub(crate) compare: Compare,
}

impl Link {
    /// What the server tells of itself at this moment.
    pub(crate) async fn ask_told(&self) -> Result<Told, Failure> {
        ask_told(&*self.channel).await
    }
}

/// Whether a question may have been asked before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    Repeated,
}

/// The `run_id` of the server behind each node, by the node's place in the list.
#[derive(Default)]
pub(crate) struct Servers(Mutex<Vec<(Arc<str>, String)>>);

impl Servers {
    /// Notes that `node` is the server `run_id`; the name of another node that is the same server.
    fn note(&self, node: &Arc<str>, run_id: &str) -> Option<Arc<str>> {
        let mut servers = lock(&self.0);
        servers.retain(|(name, _)| name != node);
        let twin = servers.iter().find(|(_, other)| other == run_id).map(|(name, _)| name.clone());
        if twin.is_none() {
            servers.push((node.clone(), run_id.to_owned()));
        }
        twin
    }
}

impl Node {
    pub(crate) fn new(
        name: Arc<str>,
        endpoint: Endpoint,
        dialer: Dialer,
        connect_timeout: Duration,
        servers: Arc<Servers>,
        warnings: Arc<Warnings>,
    ) -> Self {
        let state = State::Down { retry_at: Instant::ZERO, failures: 0, error: None };
        Self {
            meter: NodeMeter::new(&name),
            name,
            endpoint,
            dialer,
            connect_timeout,
            state: Mutex::new(state),
            heard: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            in_flight: Arc::default(),
            servers,
            warnings,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What distinguishes the node's connection from those before and after it, if there is one.
    pub(crate) fn generation(&self) -> Option<u64> {
        match &*self.state() {
            State::Up { link, .. } => Some(link.generation),
            State::Down { .. } | State::Connecting { .. } => None,
        }
    }

    /// As [`generation`](Self::generation), of a connection that is made if there is none, and it is time.
    pub(crate) async fn connect_if_down(self: &Arc<Self>) -> Result<u64, Failure> {
        Ok(self.link().await?.generation)
    }

    /// Whether it can call: a connection of ours can be made, and all who listen are its own. What one
    /// server of a Redis Cluster publishes reaches those at the others, but it does not count them.
    pub(crate) const fn can_be_listened_to(&self) -> bool {
        matches!(self.endpoint, Endpoint::Client(_) | Endpoint::Sentinels(_))
    }

    /// Makes one more connection, within the time for connecting, and hears on it what is published on
    /// `channel`.
    pub(crate) async fn listen(
        &self,
        channel: &str,
        heard: impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, Failure> {
        let listening = tokio::time::timeout(self.connect_timeout, async {
            let dial = self.dialer.dial_for_pushes(&self.name, &self.endpoint, Arc::new(heard));
            let dialed = AssertUnwindSafe(dial).catch_unwind().await;
            let mut dialed =
                dialed.unwrap_or_else(|_| Err("making a connection panicked".into()))?;
            let subscribed = dialed.subscribe(channel).await;
            subscribed.map(|()| dialed).map_err(|error| Failure::from(&error))
        });
        listening.await.unwrap_or_else(|_| Err("not connected in time".into()))
    }

    /// The node's connection; waits while it is being made, which is bounded, and fails at once while
    /// the node is left alone after a failure.
    async fn link(self: &Arc<Self>) -> Result<Link, Failure> {
        let attempt = {
            let mut state = self.state();
            match &*state {
                State::Up { link, .. } => return Ok(link.clone()),
                State::Connecting { attempt, .. } => attempt.clone(),
                State::Down { retry_at, error: Some(error), .. } if clock::now() < *retry_at => {
                    return Err(error.clone());
                }
                State::Down { failures, .. } => {
                    let failures = *failures;
                    // It goes on when whoever asked first has given up, and ends with the thread: here
                    // is only its answer, for a node that holds its own connecting would never go.
                    let connecting = tokio::spawn(self.clone().connect());
                    let answer = async {
                        let ended = |_| Err(Failure::from("the client has ended"));
                        connecting.await.unwrap_or_else(ended)
                    };
                    let attempt = answer.boxed().shared();
                    *state = State::Connecting { attempt: attempt.clone(), failures };
                    attempt
                }
            }
        };
        attempt.await
    }

    /// The node's connection, if it is there.
    pub(crate) fn link_if_up(&self) -> Option<Link> {
        match &*self.state() {
            State::Up { link, .. } => Some(link.clone()),
            State::Down { .. } | State::Connecting { .. } => None,
        }
    }

    /// Asks `question` on the node's connection; once more on a new one, by `deadline`, if that breaks,
    /// or breaks while it is made. Every question of ours stands that, because it says the same when it
    /// is repeated; it is told whether it is.
    pub(crate) async fn ask<T, F: Future<Output = Result<T, Trouble>>>(
        self: &Arc<Self>,
        deadline: Instant,
        question: impl Fn(Link, Turn) -> F,
    ) -> Result<T, Failure> {
        const TRIES: usize = 2;
        let failure = Failure::from("not connected");
        self.ask_up_to(TRIES, failure, Turn::First, deadline, question).await
    }

    /// As [`ask`](Self::ask), of a question that was asked once with this result.
    pub(crate) async fn ask_again<T, F: Future<Output = Result<T, Trouble>>>(
        self: &Arc<Self>,
        first: Result<T, Trouble>,
        deadline: Instant,
        question: impl Fn(Link, Turn) -> F,
    ) -> Result<T, Failure> {
        match first {
            Ok(answer) => Ok(answer),
            Err(Trouble::Redis(error)) if error.is_unrecoverable_error() => {
                let failure = Failure::from(&error);
                self.ask_up_to(1, failure, Turn::Repeated, deadline, question).await
            }
            Err(Trouble::Redis(error)) => Err(Failure::from(&error)),
            Err(Trouble::Ours(failure)) => Err(failure),
        }
    }

    async fn ask_up_to<T, F: Future<Output = Result<T, Trouble>>>(
        self: &Arc<Self>,
        tries: usize,
        mut failure: Failure,
        mut turn: Turn,
        deadline: Instant,
        question: impl Fn(Link, Turn) -> F,
    ) -> Result<T, Failure> {
        for _ in 0..tries {
            let link = match self.link().await {
                Ok(link) => link,
                Err(error) if clock::now() >= deadline => return Err(error),
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            match question(link, turn).await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Redis(error)) if error.is_unrecoverable_error() => {
                    failure = Failure::from(&error);
                }
                Err(Trouble::Redis(error)) => return Err(Failure::from(&error)),
                Err(Trouble::Ours(failure)) => return Err(failure),
            }
            turn = Turn::Repeated;
        }
        Err(failure)
    }

    /// Sends one command. The answer may take for ever; the caller decides how long it cares.
    pub(crate) async fn send(
        &self,
        link: &Link,
        command: redis::Cmd,
    ) -> redis::RedisResult<redis::Value> {
        let _place = Place::take(&self.in_flight)?;
        self.received(link, link.channel.send(Arc::new(command)).await)
    }

    /// As [`send`](Self::send), without waiting; what comes of it is to be told to
    /// [`received`](Self::received). `None` if there is no place for another command.
    pub(crate) fn launch(&self, link: &Link, command: Arc<redis::Cmd>) -> Option<Sent> {
        let place = Place::take(&self.in_flight).ok()?;
        Some(Sent { answer: link.channel.send(command), _place: place })
    }

    /// Takes notice of what a node answered.
    pub(crate) fn received(
        &self,
        link: &Link,
        result: redis::RedisResult<redis::Value>,
    ) -> redis::RedisResult<redis::Value> {
        let result = result.and_then(redis::Value::extract_error);
        match &result {
            Err(error) if error.is_unrecoverable_error() => self.broken(link),
            Err(error) if is_read_only(error) => self.demoted(link, error),
            Ok(_) | Err(_) => {
                self.heard.store(clock::now().as_nanos(), Ordering::Relaxed);
                self.meter.heard();
            }
        }
        result
    }

    /// Forgets `link`, so that the next command connects anew.
    fn broken(&self, link: &Link) {
        let mut state = self.state();
        if matches!(&*state, State::Up { link: up, .. } if up.generation == link.generation) {
            *state = State::Down { retry_at: Instant::ZERO, failures: 0, error: None };
            self.meter.disconnected();
        }
    }

    /// Forgets `link` to a server that has become a replica, and so is not the node any more where names
    /// lead elsewhere by now. Where they do not, it is found to be the same again: not too often.
    fn demoted(&self, link: &Link, error: &redis::RedisError) {
        let mut state = self.state();
        if !matches!(self.endpoint, Endpoint::Connection(_))
            && matches!(&*state, State::Up { link: up, .. } if up.generation == link.generation)
        {
            let retry_at = clock::now().saturating_add(RECONNECT_DELAY.0);
            let error = Some(Failure::from(error));
            *state = State::Down { retry_at, failures: 1, error };
            self.meter.disconnected();
        }
    }

    /// Forgets the connection once its server is not the node any more. Ends with the connection, or
    /// with the sentinel: then the connection breaks, or the server refuses to write, a little later.
    async fn watch(node: Weak<Self>, generation: u64, mut watch: Watch) {
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            let moved = tokio::time::timeout(WATCH_EVERY, watch.has_moved()).await;
            let Some(node) = node.upgrade() else { return };
            let mut state = node.state();
            match (&*state, moved) {
                (State::Up { link, .. }, Ok(Ok(true))) if link.generation == generation => {
                    *state = State::Down { retry_at: Instant::ZERO, failures: 0, error: None };
                    node.meter.disconnected();
                    return;
                }
                (State::Up { link, .. }, Ok(Ok(false)) | Err(_))
                    if link.generation == generation => {}
                (State::Up { .. } | State::Down { .. } | State::Connecting { .. }, _) => return,
            }
        }
    }

    /// Whether the node has answered nothing since it was found not to answer in time.
    pub(crate) fn is_silent(&self) -> bool {
        self.missed.load(Ordering::Relaxed) > self.heard.load(Ordering::Relaxed)
    }

    /// Tells the node that a command of it was not answered in time. A hung server answers when it
    /// wakes up, but a broken path may not be noticed for minutes: so a second connection is tried
    /// beside the first, and replaces it if the node is still silent on that.
    pub(crate) fn suspect(self: &Arc<Self>) {
        self.meter.suspected();
        self.missed.store(clock::now().as_nanos(), Ordering::Relaxed);
        if matches!(self.endpoint, Endpoint::Connection(_)) {
            return;
        }
        if let State::Up { probing: probing @ false, .. } = &mut *self.state() {
            *probing = true;
            tokio::spawn(self.clone().probe());
        }
    }

    async fn probe(self: Arc<Self>) {
        let since = clock::now().as_nanos();
        let opened = self.open().await;
        let mut state = self.state();
        if let State::Up { link, probing } = &mut *state {
            *probing = false;
            if let Ok(new) = opened
                && self.heard.load(Ordering::Relaxed) < since
            {
                *link = new;
                self.meter.connected();
            }
        }
    }

    async fn connect(self: Arc<Self>) -> Result<Link, Failure> {
        let opened = self.open().await;
        let mut state = self.state();
        let failures = match &*state {
            State::Connecting { failures, .. } => failures.saturating_add(1),
            State::Down { .. } | State::Up { .. } => 1,
        };
        *state = match &opened {
            Ok(link) => State::Up { link: link.clone(), probing: false },
            Err(error) => {
                let (min, max) = RECONNECT_DELAY;
                let delay = match failures {
                    0 | 1 => Duration::ZERO,
                    repeated => min.saturating_mul(1 << (repeated - 2).min(10)).min(max),
                };
                let retry_at = clock::now().saturating_add(delay);
                State::Down { retry_at, failures, error: Some(error.clone()) }
            }
        };
        drop(state);
        match &opened {
            Ok(_) => {
                crate::trace::connected(&self.name);
                self.meter.connected();
            }
            Err(error) => {
                crate::trace::not_connected(&self.name, error);
                self.meter.not_connected();
            }
        }
        opened
    }

    /// Opens a connection and finds out whose it is, within the time for connecting.
    async fn open(self: &Arc<Self>) -> Result<Link, Failure> {
        let link = tokio::time::timeout(self.connect_timeout, async {
            let dial = self.dialer.dial(&self.name, &self.endpoint, self.connect_timeout);
            // It calls what the application gave us. A panic there must not be the end of the node.
            let dialed = AssertUnwindSafe(dial).catch_unwind().await;
            let dialed = dialed.unwrap_or_else(|_| Err("making a connection panicked".into()))?;
            let link = self.identify(dialed.channel).await?;
            if let Some(watch) = dialed.watch {
                tokio::spawn(Self::watch(Arc::downgrade(self), link.generation, watch));
            }
            Ok(link)
        });
        link.await.unwrap_or_else(|_| {
            let millis = self.connect_timeout.as_millis();
            Err(Failure::from(format!("not connected within {millis} ms").as_str()))
        })
    }

    /// Asks the server who it is. One that does not tell, because the user may not ask, is taken as
    /// one of its own.
    async fn identify(&self, channel: Arc<dyn Channel>) -> Result<Link, Failure> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(0);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let told = ask_told(&*channel).await?;
        let twin = told.run_id().and_then(|run_id| self.servers.note(&self.name, run_id));
        if let Some(twin) = twin {
            self.warnings.warn(&self.name, Problem::SameServer { other: twin.clone() });
            return Err(Failure::twin(twin));
        }
        for problem in told.problems(self.warnings.guarded) {
            self.warnings.warn(&self.name, problem);
        }
        let compare = Compare::of_server(told.server.as_bytes());
        Ok(Link { channel, generation, compare })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// What a server tells of itself. It tells nothing if the user may not ask.
async fn ask_told(channel: &dyn Channel) -> Result<Told, Failure> {
    let sections = join4(
        ask_section(channel, "server"),
        ask_section(channel, "replication"),
        ask_section(channel, "memory"),
        ask_section(channel, "persistence"),
    );
    let (server, replication, memory, persistence) = sections.await;
    let mut told = Told::default();
    let places = [
        (&mut told.server, server?),
        (&mut told.replication, replication?),
        (&mut told.memory, memory?),
        (&mut told.persistence, persistence?),
    ];
    for (place, section) in places {
        match section {
            Section::Told(text) => *place = text,
            Section::Untold(error) => told.error = error,
        }
    }
    Ok(told)
}

/// A section of `INFO`, or why there is none, if the server said that.
enum Section {
    Told(String),
    Untold(Option<String>),
}

async fn ask_section(channel: &dyn Channel, name: &str) -> Result<Section, Failure> {
    let mut command = redis::cmd("INFO");
    command.arg(name);
    match channel.send(Arc::new(command)).await.and_then(redis::Value::extract_error) {
        Ok(redis::Value::BulkString(info)) => {
            Ok(Section::Told(String::from_utf8_lossy(&info).into()))
        }
        Ok(redis::Value::VerbatimString { text, .. }) => Ok(Section::Told(text)),
        Err(error) if error.is_unrecoverable_error() || error.code() == Some("NOAUTH") => {
            Err(Failure::from(&error))
        }
        Err(error) => Ok(Section::Untold(Some(Failure::from(&error).to_string()))),
        // A client of a cluster asks all of its servers.
        Ok(_) => Ok(Section::Untold(None)),
    }
}

/// A command that was sent, or will be when this is polled.
pub(crate) struct Sent {
    answer: BoxFuture<redis::RedisResult<redis::Value>>,
    _place: Place,
}

impl Sent {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<redis::RedisResult<redis::Value>> {
        self.answer.as_mut().poll(cx)
    }
}

/// One of the places for commands that wait for a node.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(in_flight: &Arc<AtomicUsize>) -> redis::RedisResult<Self> {
        if in_flight.fetch_add(1, Ordering::Relaxed) >= IN_FLIGHT_MAX {
            in_flight.fetch_sub(1, Ordering::Relaxed);
            let text = "too many commands wait for an answer of this node";
            return Err(redis::RedisError::from((redis::ErrorKind::Client, text)));
        }
        Ok(Self(in_flight.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A lock on data that no panic can leave half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
