//! Making a connection to a node: where its server is, and who we are there, is asked each time.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use redis::aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection};
use redis::io::AsyncDNSResolver;
use redis::{Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, Value};

use crate::address::display;
use crate::failure::Failure;
use crate::node::{Channel, Endpoint, IN_FLIGHT_MAX, Multiplexed, lock};

/// Who a client is to a server: a user and a password. It shows neither.
#[derive(Clone)]
pub struct Credentials {
    username: Option<String>,
    password: String,
}

impl Credentials {
    /// The user `username`.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: Some(username.into()), password: password.into() }
    }

    /// The user of the node's URL, or else the default user.
    pub fn password(password: impl Into<String>) -> Self {
        Self { username: None, password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

type Provider = Arc<dyn Fn(&str) -> BoxFuture<'static, Result<Credentials, Failure>> + Send + Sync>;

/// A function that makes a connection.
pub(crate) type Connector =
    Box<dyn Fn() -> BoxFuture<'static, redis::RedisResult<Box<dyn Channel>>> + Send + Sync>;

pub(crate) fn connector<C, F>(connect: impl Fn() -> F + Send + Sync + 'static) -> Connector
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
    F: Future<Output = redis::RedisResult<C>> + Send + 'static,
{
    Box::new(move || {
        let connection = connect();
        Box::pin(async move { Ok(Box::new(connection.await?) as Box<dyn Channel>) })
    })
}

/// Sentinels, and the master that they watch.
pub(crate) struct Sentinels {
    pub(crate) sentinels: Vec<Client>,
    pub(crate) master: String,
    /// How to connect to the master, wherever it is.
    pub(crate) server: ConnectionInfo,
}

/// A connection to a node.
pub(crate) struct Dialed {
    pub(crate) channel: Arc<dyn Channel>,
    /// Who tells when the node is elsewhere.
    pub(crate) watch: Option<Watch>,
}

impl From<Arc<dyn Channel>> for Dialed {
    fn from(channel: Arc<dyn Channel>) -> Self {
        Self { channel, watch: None }
    }
}

/// Who is told of the messages on a connection.
pub(crate) type Pushes = Arc<dyn AsyncPushSender>;

/// The sentinel that named the master, and what it named. A master that is replaced while it is well
/// goes on serving for ten seconds and more: no connection breaks until then.
pub(crate) struct Watch {
    sentinel: MultiplexedConnection,
    master: String,
    address: (String, u16),
}

impl Watch {
    /// Whether the sentinel names another server by now.
    pub(crate) async fn has_moved(&mut self) -> redis::RedisResult<bool> {
        let named = ask_sentinel(&mut self.sentinel, &self.master).await?;
        Ok(named.is_some_and(|address| address != self.address))
    }
}

async fn ask_sentinel(
    sentinel: &mut MultiplexedConnection,
    master: &str,
) -> redis::RedisResult<Option<(String, u16)>> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    question.query_async(sentinel).await
}

/// What the connections to all nodes are made with.
#[derive(Clone, Default)]
pub(crate) struct Dialer {
    credentials: Option<Provider>,
    resolver: Option<Resolver>,
}

impl Dialer {
    pub(crate) fn set_credentials<F, E>(
        &mut self,
        provider: impl Fn(&str) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.credentials = Some(Arc::new(move |node| {
            let credentials = provider(node);
            Box::pin(async move {
                let failure = |error| Failure::from(format!("no credentials: {error}").as_str());
                credentials.await.map_err(failure)
            })
        }));
    }

    pub(crate) fn set_resolver(&mut self, resolver: impl AsyncDNSResolver) {
        self.resolver = Some(Resolver(Arc::new(resolver)));
    }

    /// Connects to the node. The time for that is for the caller to bound.
    pub(crate) async fn dial(
        &self,
        node: &str,
        endpoint: &Endpoint,
        #[cfg_attr(
            not(feature = "cluster"),
            expect(unused_variables, reason = "only a client of clusters has timeouts of its own")
        )]
        connect_timeout: Duration,
    ) -> Result<Dialed, Failure> {
        let failure = |error: redis::RedisError| Failure::from(&error);
        let channel: Arc<dyn Channel> = match endpoint {
            Endpoint::Client(client) => {
                let login = self.login(node).await?;
                Arc::new(Multiplexed(self.connect_as(login, client, None).await.map_err(failure)?))
            }
            Endpoint::Sentinels(sentinels) => {
                let login = self.login(node).await?;
                let (master, watch) = self.connect_to_master(login, sentinels, None).await?;
                return Ok(Dialed { channel: Arc::new(Multiplexed(master)), watch: Some(watch) });
            }
            #[cfg(feature = "cluster")]
            Endpoint::Cluster(seeds) => {
                let login = self.login(node).await?;
                let cluster = self.connect_to_cluster(login, seeds, connect_timeout).await;
                Arc::new(cluster.map_err(failure)?)
            }
            Endpoint::Connector(connect) => connect().await.map_err(failure)?.into(),
            Endpoint::Connection(channel) => channel.boxed_clone().into(),
        };
        Ok(channel.into())
    }

    /// Makes a connection to the node that tells `pushes` of messages; not one that is made by others.
    /// The time for that is for the caller to bound.
    pub(crate) async fn dial_for_pushes(
        &self,
        node: &str,
        endpoint: &Endpoint,
        pushes: Pushes,
    ) -> Result<MultiplexedConnection, Failure> {
        match endpoint {
            Endpoint::Client(client) => {
                let login = self.login(node).await?;
                let connection = self.connect_as(login, client, Some(pushes)).await;
                connection.map_err(|error| Failure::from(&error))
            }
            Endpoint::Sentinels(sentinels) => {
                let login = self.login(node).await?;
                Ok(self.connect_to_master(login, sentinels, Some(pushes)).await?.0)
            }
            #[cfg(feature = "cluster")]
            Endpoint::Cluster(_) => Err("is a Redis Cluster".into()),
            Endpoint::Connector(_) | Endpoint::Connection(_) => {
                Err("the application makes its connections".into())
            }
        }
    }

    async fn login(&self, node: &str) -> Result<Option<Credentials>, Failure> {
        match &self.credentials {
            Some(provider) => provider(node).await.map(Some),
            None => Ok(None),
        }
    }

    async fn connect_as(
        &self,
        login: Option<Credentials>,
        client: &Client,
        pushes: Option<Pushes>,
    ) -> redis::RedisResult<MultiplexedConnection> {
        let info = client.get_connection_info().clone();
        let mut settings = info.redis_settings().clone();
        if let Some(Credentials { username, password }) = login {
            settings = settings.set_password(password);
            if let Some(username) = username {
                settings = settings.set_username(username);
            }
        }
        if pushes.is_some() {
            // Below RESP3 a message is an answer to no command.
            settings = settings.set_protocol(ProtocolVersion::RESP3);
        }
        self.connect(&Client::open(info.set_redis_settings(settings))?, pushes).await
    }

    async fn connect(
        &self,
        client: &Client,
        pushes: Option<Pushes>,
    ) -> redis::RedisResult<MultiplexedConnection> {
        // Every timeout is ours: the one for connecting, and the deadline of each command. So is the bound
        // on commands that wait: with a lower one, those of many locks would wait for each other.
        let mut config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(IN_FLIGHT_MAX)
            .set_response_timeout(None);
        if let Some(resolver) = &self.resolver {
            config = config.set_dns_resolver(resolver.clone());
        }
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Asks all sentinels at once, so that one that hangs is in nobody's way, and connects to whatever
    /// they name; the first server that says that it is the master it is.
    async fn connect_to_master(
        &self,
        login: Option<Credentials>,
        sentinels: &Sentinels,
        pushes: Option<Pushes>,
    ) -> Result<(MultiplexedConnection, Watch), Failure> {
        let named = Mutex::new(Vec::new());
        let ask = |sentinel| {
            let (login, named, pushes) = (login.clone(), &named, pushes.clone());
            async move {
                let found = self.connect_by(sentinel, login, sentinels, named, pushes).await;
                found.map_err(|failure| {
                    let sentinel = display(sentinel.get_connection_info().addr());
                    failure.map(|failure| format!("sentinel {sentinel}: {failure}"))
                })
            }
        };
        let mut asked: FuturesUnordered<_> = sentinels.sentinels.iter().map(ask).collect();
        let mut failures = Vec::new();
        while let Some(found) = asked.next().await {
            match found {
                Ok(found) => return Ok(found),
                Err(failure) => failures.extend(failure),
            }
        }
        Err(Failure::from(failures.join("; ").as_str()))
    }

    /// A connection to the master that `sentinel` names; no failure if another one has named it.
    async fn connect_by(
        &self,
        sentinel: &Client,
        login: Option<Credentials>,
        sentinels: &Sentinels,
        named: &Mutex<Vec<(String, u16)>>,
        pushes: Option<Pushes>,
    ) -> Result<(MultiplexedConnection, Watch), Option<Failure>> {
        let failure = |error: redis::RedisError| Some(Failure::from(&error));
        let mut asked = self.connect(sentinel, None).await.map_err(failure)?;
        let answer = ask_sentinel(&mut asked, &sentinels.master).await.map_err(failure)?;
        let Some((host, port)) = answer else {
            let text = format!("knows no master {}", sentinels.master);
            return Err(Some(Failure::from(text.as_str())));
        };
        {
            let mut named = lock(named);
            if named.contains(&(host.clone(), port)) {
                return Err(None);
            }
            named.push((host.clone(), port));
        }
        let address = sentinels.server_at(host.clone(), port);
        let name = display(address.addr());
        let server = Client::open(address).map_err(failure)?;
        let connection = self.connect_as(login, &server, pushes).await;
        let mut connection = connection.map_err(failure)?;
        if is_replica(&mut connection).await {
            let text = format!("names {name}, which is a replica");
            return Err(Some(Failure::from(text.as_str())));
        }
        let (sentinel, master) = (asked, sentinels.master.clone());
        Ok((connection, Watch { sentinel, master, address: (host, port) }))
    }

    #[cfg(feature = "cluster")]
    async fn connect_to_cluster(
        &self,
        login: Option<Credentials>,
        seeds: &[ConnectionInfo],
        connect_timeout: Duration,
    ) -> redis::RedisResult<redis::cluster_async::ClusterConnection> {
        /// Enough for a slot on its way: `MOVED`, `ASK`, `TRYAGAIN`. Ours are retries of whole rounds.
        const REDIRECTIONS_MAX: u32 = 4;
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        // Redis-rs waits for servers before it follows a slot; each command has its own deadline too.
        let mut cluster = redis::cluster::ClusterClientBuilder::new(seeds.iter().cloned())
            .connection_timeout(connect_timeout)
            .response_timeout(connect_timeout)
            .overall_response_timeout(None)
            .retries(REDIRECTIONS_MAX)
            .tcp_settings(tcp);
        if let Some(Credentials { username, password }) = login {
            cluster = cluster.password(password);
            if let Some(username) = username {
                cluster = cluster.username(username);
            }
        }
        if let Some(resolver) = &self.resolver {
            cluster = cluster.async_dns_resolver(resolver.clone());
        }
        cluster.build()?.get_async_connection().await
    }
}

impl Sentinels {
    fn server_at(&self, host: String, port: u16) -> ConnectionInfo {
        let address =
            if let ConnectionAddr::TcpTls { insecure, tls_params, .. } = self.server.addr() {
                let (insecure, tls_params) = (*insecure, tls_params.clone());
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            } else {
                ConnectionAddr::Tcp(host, port)
            };
        self.server.clone().set_addr(address)
    }
}

/// Whether the server says so. One that this user may not ask is believed to be what sentinels say:
/// a replica refuses what we write.
async fn is_replica(connection: &mut MultiplexedConnection) -> bool {
    match redis::cmd("ROLE").query_async(connection).await {
        Ok(Value::Array(role)) => role.first() != Some(&Value::BulkString(b"master".to_vec())),
        Ok(_) | Err(_) => false,
    }
}

/// One resolver for all nodes.
#[derive(Clone)]
struct Resolver(Arc<dyn AsyncDNSResolver>);

impl AsyncDNSResolver for Resolver {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> redis::RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        self.0.resolve(host, port)
    }
}
