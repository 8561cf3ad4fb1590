//! Putting a client together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use redlatch_core::wire::Dialect;
use redlatch_core::{Quorum, Ttl};

use crate::address;
use crate::calls::Calls;
use crate::client::{Inner, Redlatch};
use crate::dial::{self, Credentials, Dialer};
use crate::drive::NodeDialect;
use crate::error::BuildError;
use crate::fake::World;
use crate::finding::{Finding, Guarded, Listener, Warnings};
use crate::measure::Meters;
use crate::node::{Endpoint, Node, Servers};
use crate::reaper::Engine;

/// Puts a [`Redlatch`] together. Mistakes are told by [`build`](Self::build).
///
/// ```
/// use redlatch::Redlatch;
/// use std::time::Duration;
///
/// let redlatch = Redlatch::builder()
///     .node("redis://10.0.0.1:6379")
///     .node("rediss://locker:s3cret@10.0.0.2:6379")
///     .named_node("attic", "redis+unix:///run/redis/attic.sock")
///     .connect_timeout(Duration::from_millis(500))
///     .build()?;
/// # Ok::<(), redlatch::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    nodes: Vec<Result<(Arc<str>, Endpoint), String>>,
    connect_timeout: Duration,
    plain: Option<Plain>,
    restart_guard: Option<Duration>,
    fence_retention: Option<Duration>,
    key_prefix: Vec<u8>,
    listener: Option<Listener>,
    dialer: Dialer,
    runtime: Option<tokio::runtime::Handle>,
}

/// The plain dialect was asked for.
struct Plain;

impl Builder {
    /// How long a connection may take to be made, unless told otherwise.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            connect_timeout: Self::CONNECT_TIMEOUT,
            plain: None,
            restart_guard: None,
            fence_retention: None,
            key_prefix: Vec::new(),
            listener: None,
            dialer: Dialer::default(),
            runtime: None,
        }
    }

    /// Adds the node at `url`: `redis://`, `rediss://` for TLS (needs the feature `tls`), or
    /// `redis+unix://`, with user and password where needed. Errors and logs name it by its host and
    /// port. Every client must have the same nodes.
    ///
    /// `redis+sentinel://HOST:PORT,HOST:PORT/MASTER` is the server that these sentinels call the master
    /// of that name, and `redis+cluster://HOST:PORT,HOST:PORT` (needs the feature `cluster`) a Redis
    /// Cluster, which is one node: `rediss+sentinel` and `rediss+cluster` for TLS. User and password
    /// before the hosts are those of the servers; sentinels may have their own, as
    /// `?sentinel_username=…&sentinel_password=…`. Either may forget locks in a failover.
    pub fn node(self, url: impl AsRef<str>) -> Self {
        self.open(None, url.as_ref())
    }

    /// Adds the node at `url`, to be named `name` in errors and logs.
    pub fn named_node(self, name: impl Into<Arc<str>>, url: impl AsRef<str>) -> Self {
        self.open(Some(name.into()), url.as_ref())
    }

    /// Adds a node by a client that is already put together, with a TLS configuration for example.
    pub fn client(self, client: redis::Client) -> Self {
        #[cfg(feature = "tls")]
        address::choose_crypto_provider();
        let name = address::display(client.get_connection_info().addr());
        self.add(Ok((name.into(), Endpoint::Client(Box::new(client)))))
    }

    /// Adds a node by a connection that the application has already, to be named `name` in errors and
    /// logs. Whoever made it keeps it alive: a connection that breaks is not replaced, unless it
    /// replaces itself.
    pub fn connection(
        self,
        name: impl Into<Arc<str>>,
        connection: impl redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    ) -> Self {
        self.add(Ok((name.into(), Endpoint::Connection(Box::new(connection)))))
    }

    /// Adds a node by a function that makes a connection, to be named `name` in errors and logs. It is
    /// called, on a thread of the client's own, whenever there is none or the last one is broken.
    pub fn connector<C, F>(
        self,
        name: impl Into<Arc<str>>,
        connect: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
        F: Future<Output = redis::RedisResult<C>> + Send + 'static,
    {
        self.add(Ok((name.into(), Endpoint::Connector(dial::connector(connect)))))
    }

    /// Asks `provider` who we are whenever a connection is made, for passwords and tokens that change
    /// while the client lives: it is told the node's name. What it tells goes before what the node's URL
    /// has. A connection that is there is left as it is; Redis does the same when a password is changed.
    /// Nodes that were added by a connection, or by a function that makes one, are not asked for.
    ///
    /// The time that it takes counts as time for connecting. Its error is shown to people, so it must
    /// not have a secret in it.
    ///
    /// ```
    /// use redlatch::{Credentials, Redlatch};
    ///
    /// let redlatch = Redlatch::builder()
    ///     .node("redis://10.0.0.1")
    ///     .credentials(|_node: &str| async {
    ///         let password = std::fs::read_to_string("/run/secrets/redis")?;
    ///         Ok::<_, std::io::Error>(Credentials::new("locker", password.trim_end()))
    ///     })
    ///     .build()?;
    /// # Ok::<(), redlatch::BuildError>(())
    /// ```
    pub fn credentials<F, E>(mut self, provider: impl Fn(&str) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.dialer.set_credentials(provider);
        self
    }

    /// Resolves the names of hosts by `resolver` instead of the system. Names are resolved whenever a
    /// connection is made, never before.
    pub fn dns_resolver(mut self, resolver: impl redis::io::AsyncDNSResolver) -> Self {
        self.dialer.set_resolver(resolver);
        self
    }

    /// How long a connection may take to be made. It delays only the locks that have no majority
    /// without the node.
    pub fn connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Acquires by `SET NX PX` instead of scripts: for servers that forbid scripts, and the fastest way
    /// to lock without a fence. No fences, one resource a lock, no restart guard.
    pub fn plain(self) -> Self {
        Self { plain: Some(Plain), ..self }
    }

    /// Keeps a node that was restarted, flushed, or restored, and so may have forgotten keys, from
    /// voting for `ttl_max`, the longest ttl that any client uses. Every client of the nodes must have
    /// the same. A node that is new is kept from voting once, unless
    /// [`declare_fresh`](Redlatch::declare_fresh) tells it that it is.
    pub fn restart_guard(self, ttl_max: Duration) -> Self {
        Self { restart_guard: Some(ttl_max), ..self }
    }

    /// How long nodes keep a fence number after its last grant: two days, unless told otherwise. It
    /// must be far longer than any hold.
    pub fn fence_retention(self, retention: Duration) -> Self {
        Self { fence_retention: Some(retention), ..self }
    }

    /// Puts `prefix` before every resource's name. Other Redlock clients must do the same if they are
    /// to be excluded.
    pub fn key_prefix(self, prefix: impl Into<Vec<u8>>) -> Self {
        Self { key_prefix: prefix.into(), ..self }
    }

    /// Carries locks and connections on `runtime` instead of on a thread of the client's own, which must
    /// have time and I/O enabled. Where many locks are taken a second, from tasks of that very runtime,
    /// this can double their number, because nothing crosses from one thread to another.
    ///
    /// The price is what the thread is for. Nobody renews, releases, or tells of a loss while the runtime
    /// is kept busy, and what it had not released when it ends expires by itself:
    /// [`shutdown`](Redlatch::shutdown) comes first. [`is_valid`](crate::Guard::is_valid) and the fence
    /// are right whatever the runtime does. The [`blocking`](crate::blocking) calls must come from
    /// threads that do not drive it.
    pub fn runtime(self, runtime: tokio::runtime::Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// Hands what is found of nodes while they are used to `listener`, once of each: that a node has
    /// replicas, may evict keys, forgets them when it is restarted, or is the same server as another.
    /// It is called on a thread of its own. The feature `tracing` tells the same to subscribers, and
    /// [`Redlatch::examine`] looks when it is asked, and for more.
    ///
    /// ```
    /// # fn page_somebody(_: &str) {}
    /// let redlatch = redlatch::Redlatch::builder()
    ///     .node("redis://10.0.0.1")
    ///     .on_finding(|finding| page_somebody(&format!("{finding}; {}", finding.problem.remedy())))
    ///     .build()?;
    /// # Ok::<(), redlatch::BuildError>(())
    /// ```
    pub fn on_finding(self, listener: impl Fn(&Finding) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), ..self }
    }

    /// The client. No connection is made before it is needed.
    ///
    /// # Errors
    /// [`BuildError`] if there are no nodes or more than 16, an address does not work, two are the same,
    /// options contradict each other, or no thread can be started.
    pub fn build(self) -> Result<Redlatch, BuildError> {
        self.build_in(None)
    }

    /// A client of the nodes of a fake.
    pub(crate) fn build_fake(self, world: Arc<World>) -> Result<Redlatch, BuildError> {
        self.build_in(Some(world))
    }

    fn build_in(self, fake: Option<Arc<World>>) -> Result<Redlatch, BuildError> {
        let quorum = Quorum::of(self.nodes.len()).map_err(BuildError::Nodes)?;
        let dialect = self.dialect()?;
        let servers = Arc::new(Servers::default());
        let warnings = Arc::new(Warnings::new(guarded(dialect), self.listener));
        let mut nodes: Vec<Arc<Node>> = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.into_iter().enumerate() {
            let (name, endpoint) = node.map_err(|reason| BuildError::Address { index, reason })?;
            if nodes.iter().any(|node| *node.name() == name) {
                return Err(BuildError::Duplicate { name });
            }
            if self.restart_guard.is_some() && endpoint.is_cluster() {
                return Err(BuildError::Options(
                    "the restart guard is not for a Redis Cluster: its marker is in a slot of its own",
                ));
            }
            let (dialer, servers, warnings) =
                (self.dialer.clone(), servers.clone(), warnings.clone());
            let node = Node::new(name, endpoint, dialer, self.connect_timeout, servers, warnings);
            nodes.push(Arc::new(node));
        }
        let calls = match &fake {
            Some(world) => world.calls.clone(),
            None => Calls::new(nodes.len()),
        };
        Ok(Redlatch::from_inner(Inner {
            engine: match self.runtime {
                Some(runtime) => Engine::on(runtime),
                None => Engine::start()?,
            },
            nodes: nodes.into(),
            quorum,
            dialect,
            key_prefix: self.key_prefix,
            closing: AtomicBool::new(false),
            meters: Meters::new(),
            calls,
            fake,
        }))
    }

    fn dialect(&self) -> Result<NodeDialect, BuildError> {
        let restart_guard = self.restart_guard.map(Ttl::new).transpose().map_err(|_| {
            BuildError::Options("the restart guard must be 1 ms to 24 h, in whole milliseconds")
        })?;
        let fence_retention = self.fence_retention.unwrap_or(Dialect::FENCE_RETENTION);
        if fence_retention < Ttl::MAX.as_duration() {
            return Err(BuildError::Options(
                "fence numbers must be kept for 24 h, the longest ttl, or longer",
            ));
        }
        match (&self.plain, restart_guard, self.fence_retention) {
            (None, restart_guard, _) => {
                Ok(NodeDialect::Scripts(Dialect::Scripts { restart_guard, fence_retention }))
            }
            (Some(Plain), None, None) => Ok(NodeDialect::Plain),
            (Some(Plain), Some(_), _) => Err(BuildError::Options(
                "the restart guard is a script, which the plain dialect does not use",
            )),
            (Some(Plain), None, Some(_)) => {
                Err(BuildError::Options("the plain dialect has no fences to keep"))
            }
        }
    }

    fn open(self, name: Option<Arc<str>>, url: &str) -> Self {
        let node =
            address::endpoint(url).map(|(address, endpoint)| (name.unwrap_or(address), endpoint));
        self.add(node)
    }

    fn add(mut self, node: Result<(Arc<str>, Endpoint), String>) -> Self {
        self.nodes.push(node);
        self
    }
}

pub(crate) const fn guarded(dialect: NodeDialect) -> Guarded {
    match dialect {
        NodeDialect::Scripts(Dialect::Scripts { restart_guard: Some(_), .. }) => Guarded::Yes,
        NodeDialect::Scripts(_) | NodeDialect::Plain => Guarded::No,
    }
}
