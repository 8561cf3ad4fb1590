//! Nodes that are more than one server with one address: masters that sentinels name, Redis Clusters,
//! names and passwords that change; and both versions of the protocol that servers speak.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Value;
use redlatch::{
    AcquireError, BuildError, Builder, Credentials, Guard, LockState, Options, Redlatch,
};
use redlatch_tests::{
    Cluster, Owner, PATIENCE, RedisServer, RedisServerBuilder, Sentinels, eventually, free_port,
    redis_cluster,
};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);
const PASSWORD: &str = "correct-horse-battery-staple";
const SENTINEL_PASSWORD: &str = "guard-dog";

fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

fn builder() -> Builder {
    Redlatch::builder().connect_timeout(PATIENCE)
}

/// All that is done to a lock, but its release.
async fn hold(redlatch: &Redlatch, resource: &str) -> Guard {
    let guard = redlatch.try_acquire(resource, options()).await.expect("a free lock");
    let error = redlatch.try_acquire(resource, options()).await.expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let inspection = redlatch.inspect(resource).await.expect("a name");
    assert!(matches!(inspection.state, LockState::Held { .. }), "{inspection:?}");
    guard.extend().await.expect("an extension");
    guard
}

// Protocols.

#[tokio::test]
async fn both_versions_of_the_protocol_carry_everything() {
    let server = RedisServer::start();
    for (protocol, version) in [("resp2", "resp=2"), ("resp3", "resp=3")] {
        let node = || builder().node(format!("{}?protocol={protocol}", server.url()));
        let guarded = node().restart_guard(FOREVER).build().expect("a client");
        guarded.declare_fresh().await;
        for redlatch in [node().build(), node().plain().build(), Ok(guarded)] {
            let redlatch = redlatch.expect("a client");
            let guard = hold(&redlatch, "job").await;
            let clients: String = server.query(&["CLIENT", "LIST"]);
            assert!(clients.contains(version), "{clients}");
            guard.release().await.expect("a release");
            assert_eq!(server.owner_of("job"), Owner::Nobody);
        }
    }
}

// Sentinels.

/// A master and its replica, and three sentinels that watch them.
struct Watched {
    sentinels: Sentinels,
    servers: Cluster,
}

impl Watched {
    async fn start() -> Self {
        let servers = Cluster::start_with(2, |_, builder| {
            // Without the wait for more replicas, which there are none of.
            let args = ["--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"];
            builder.password(PASSWORD).args(&args)
        });
        let port = servers[0].port().to_string();
        servers[1].command(&["REPLICAOF", "127.0.0.1", &port]);
        let synced =
            || servers[0].query::<String>(&["INFO", "replication"]).contains("state=online");
        eventually("the replica follows", async || synced()).await;
        let sentinels = Sentinels::start(3, SENTINEL_PASSWORD, &servers[0], PASSWORD);
        let watched = Self { sentinels, servers };
        let known = || watched.ask::<Vec<Value>>("REPLICAS").is_ok_and(|them| them.len() == 1);
        eventually("the replica is known", async || known()).await;
        watched
    }

    fn url(&self) -> String {
        self.url_with(&self.sentinels.hosts())
    }

    fn url_with(&self, hosts: &str) -> String {
        let master = Sentinels::MASTER;
        let login = format!("sentinel_username=default&sentinel_password={SENTINEL_PASSWORD}");
        format!("redis+sentinel://:{PASSWORD}@{hosts}/{master}?{login}")
    }

    fn ask<T: redis::FromRedisValue>(&self, question: &str) -> redis::RedisResult<T> {
        self.sentinels.try_query(SENTINEL_PASSWORD, &[question, Sentinels::MASTER])
    }

    /// Begins a failover to the replica.
    async fn fail_over(&self) {
        let begun = || self.ask::<()>("FAILOVER").is_ok();
        eventually("the failover begins", async || begun()).await;
    }

    fn replica_leads(&self) -> bool {
        // Sentinels cut all connections to a server whose role they change, ours as well.
        let info = self.servers[1].try_query::<String>(&["INFO", "replication"]);
        info.is_ok_and(|info| info.contains("role:master"))
    }
}

/// R5: at worst the node's answer is not known.
#[tokio::test]
async fn a_failover_moves_the_node_and_locks_are_got_meanwhile() {
    let watched = Watched::start().await;
    let others = Cluster::start(2);
    let builder = others.urls().iter().fold(builder(), |builder, url| builder.node(url));
    let redlatch = builder.node(watched.url()).build().expect("a client");
    let leads = async |server: usize, resource: &str| {
        let guard = redlatch.try_acquire(resource, options()).await.expect("a majority");
        let has_key = watched.servers[server].owner_of(resource) != Owner::Nobody;
        guard.release().await.expect("a majority");
        has_key
    };
    // To be connected by way of a sentinel may take longer than a node has to answer.
    eventually("the node is the master", async || leads(0, "first").await).await;
    let held = hold(&redlatch, "job").await;
    let owner = || watched.servers[0].owner_of("job");
    eventually("the master has a key", async || owner() != Owner::Nobody).await;

    watched.fail_over().await;
    let meanwhile = async || {
        let guard = redlatch.try_acquire("other", options()).await.expect("a majority");
        guard.release().await.expect("a majority");
        watched.replica_leads()
    };
    eventually("the replica has taken over", meanwhile).await;
    eventually("the node is the new master", async || leads(1, "third").await).await;
    held.release().await.expect("a majority");
}

/// R18: whoever waits is called by the server that sentinels name, also when that is another one. It asks
/// once an hour, unless it is called.
#[tokio::test]
async fn waiters_are_called_by_the_master_that_sentinels_name() {
    const HOUR: Duration = Duration::from_secs(3600);
    let watched = Watched::start().await;
    let redlatch = builder().node(watched.url()).build().expect("a client");
    let wait = || {
        let options = options().wait(10 * HOUR).retry_delay(Duration::from_millis(1), HOUR);
        let redlatch = redlatch.clone();
        tokio::spawn(async move { redlatch.acquire("job", options).await })
    };
    let assert_called = async |server: &RedisServer, guard: Guard| {
        let waiting = wait();
        let queued = || server.query::<u32>(&["ZCARD", "redlatch:queue:{job}"]) == 1;
        eventually("it waits in the queue", async || queued()).await;
        guard.release().await.expect("a release");
        let called = tokio::time::timeout(PATIENCE, waiting).await.expect("it is called");
        called.expect("no panic").expect("the lock").release().await.expect("a release");
    };
    let guard = redlatch.try_acquire("job", options()).await.expect("a free lock");
    assert_called(&watched.servers[0], guard).await;

    watched.fail_over().await;
    eventually("the replica has taken over", async || watched.replica_leads()).await;
    let mut guard = None;
    eventually("the node is the new master", async || {
        guard = redlatch.try_acquire("job", options()).await.ok();
        let is_there = watched.servers[1].owner_of("job") != Owner::Nobody;
        guard.is_some() && is_there
    })
    .await;
    assert_called(&watched.servers[1], guard.expect("a guard")).await;
}

/// R16: what is promoted has another `run_id`, and votes when its master's keys have expired.
#[tokio::test]
async fn the_restart_guard_sees_a_failover() {
    let watched = Watched::start().await;
    let redlatch = builder().node(watched.url()).restart_guard(FOREVER).build().expect("a client");
    assert_eq!(redlatch.declare_fresh().await.len(), 1);
    let guard = redlatch.try_acquire("job", options()).await.expect("a free lock");
    watched.fail_over().await;
    eventually("the replica has taken over", async || watched.replica_leads()).await;
    let quarantined = async || {
        let result = redlatch.try_acquire("other", options()).await;
        matches!(result, Err(AcquireError::Quarantined { .. }))
    };
    eventually("the new master does not vote", quarantined).await;
    drop(guard);
}

#[tokio::test]
async fn a_sentinel_that_hangs_or_is_down_is_in_nobodys_way() {
    let watched = Watched::start().await;
    let hung = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hung_addr = hung.local_addr().expect("its address");
    let down = Cluster::start(1);
    down[0].kill();
    let hosts = format!("{hung_addr},{},{}", down[0].addr(), watched.sentinels.hosts());
    let redlatch = builder().node(watched.url_with(&hosts)).build().expect("a client");
    hold(&redlatch, "job").await.release().await.expect("a release");
    assert_eq!(format!("{redlatch:?}").matches(PASSWORD).count(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_sentinels_is_told_without_passwords() {
    let watched = Watched::start().await;
    let wrong_name = watched.url().replace(Sentinels::MASTER, "nobody");
    let wrong_login = watched.url().replace(SENTINEL_PASSWORD, "s3cret");
    for (url, reason) in
        [(wrong_name, "knows no master nobody"), (wrong_login, "sentinel 127.0.0.1")]
    {
        let redlatch = builder().node(url).build().expect("a client");
        let error = redlatch.try_acquire("job", options()).await.expect_err("no node");
        let text = format!("{error} {error:?}");
        assert!(text.contains(reason), "{text}");
        for secret in [PASSWORD, SENTINEL_PASSWORD, "s3cret"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn an_address_with_several_hosts_that_does_not_work_is_told_without_its_password() {
    let table = [
        "redis+sentinel://:s3cret@host",
        "redis+sentinel://:s3cret@/mymaster",
        "redis+sentinel://:s3cret@one,,two/mymaster",
        "redis+sentinel://:s3cret@host:port/mymaster",
        "redis+sentinel://:s3cret@host/mymaster/s3cret",
        "redis+sentinel://host/mymaster?sentinel_username=s3cret",
        "redis+sentinel://host/mymaster?s3cret=1",
        "redis+cluster://:s3cret@one:7000,two:port",
        "redis+cluster://:s3cret@",
        "redis+cluster://host?s3cret=1",
    ];
    for url in table {
        let error = Redlatch::builder().node(url).build().expect_err(url);
        assert!(matches!(&error, BuildError::Address { index: 0, .. }), "{url}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("s3cret"), "{url}: {text}");
    }
}

// Redis Cluster.

async fn three_masters() -> Cluster {
    let configure = |builder: RedisServerBuilder| builder.args(&["--cluster-node-timeout", "5000"]);
    redis_cluster(configure, RedisServer::port).await
}

fn cluster_url(servers: &Cluster) -> String {
    let hosts: Vec<_> = servers.iter().map(|server| server.addr().to_string()).collect();
    format!("redis+cluster://{}", hosts.join(","))
}

#[tokio::test]
async fn a_redis_cluster_is_one_node() {
    let servers = three_masters().await;
    let redlatch = builder().node(cluster_url(&servers)).build().expect("a client");
    let plain = builder().node(cluster_url(&servers)).plain().build().expect("a client");
    // Names in slots of all three.
    for name in ["a", "b", "c", "d", "e", "f"] {
        let guard = hold(&redlatch, name).await;
        assert!(guard.fence().is_some());
        guard.release().await.expect("a release");
        hold(&plain, name).await.release().await.expect("a release");
    }
    let guard = redlatch.try_acquire(["{order:7}:stock", "{order:7}:invoice"], options()).await;
    let guard = guard.expect("free locks");
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
    let used = |server: &RedisServer| server.query::<i64>(&["DBSIZE"]) > 0;
    assert!(servers.iter().all(used), "every server has fences");
}

/// What the guide adds to the rights of any user.
#[tokio::test]
async fn a_user_of_a_redis_cluster_needs_to_see_its_slots() {
    const RIGHTS: &str = "~job:* ~redlatch:fence:{job:*} ~redlatch:queue:{job:*} +evalsha +eval \
        +get +set +pttl +pexpire +del +zrem +zpopmin";
    let servers = three_masters().await;
    let url = cluster_url(&servers).replacen("://", &format!("://locker:{PASSWORD}@"), 1);
    let password = format!(">{PASSWORD}");
    let user = ["ACL", "SETUSER", "locker", "reset", "on", password.as_str()];
    let attempt = async |right: &str| {
        for server in &servers {
            let rights: Vec<_> = RIGHTS.split(' ').chain([right]).collect();
            server.command(&[&user, rights.as_slice()].concat());
        }
        let redlatch = builder().node(&url).build().expect("a client");
        let guard = redlatch.try_acquire("job:1", options()).await?;
        guard.extend().await.expect("an extension");
        guard.release().await.expect("a release");
        Ok::<_, AcquireError>(())
    };
    attempt("+cluster|slots").await.expect("these rights are enough");
    let error = attempt("+ping").await.expect_err("the slots are needed");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
    assert!(!error.to_string().contains(PASSWORD), "{error}");
}

/// `ASK` while it moves, `MOVED` afterwards.
#[tokio::test]
async fn a_lock_follows_its_slot_to_another_server() {
    let servers = three_masters().await;
    let redlatch = builder().node(cluster_url(&servers)).build().expect("a client");
    let guard = hold(&redlatch, "job").await;
    let slot: u16 = servers[0].query(&["CLUSTER", "KEYSLOT", "job"]);
    let home = usize::from(slot / 5461).min(2);
    let (from, to) = (&servers[home], &servers[(home + 1) % 3]);
    let slot = slot.to_string();
    let id = |server: &RedisServer| server.query::<String>(&["CLUSTER", "MYID"]);
    let (from_id, to_id) = (id(from), id(to));
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    for key in from.query::<Vec<String>>(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"]) {
        from.command(&["MIGRATE", "127.0.0.1", &to.port().to_string(), &key, "0", "5000"]);
    }
    guard.extend().await.expect("an extension on the way");
    for server in [to, from] {
        server.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    let error = redlatch.try_acquire("job", options()).await.expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let first = guard.fence();
    guard.release().await.expect("a release");
    // R15: the fence came along.
    let guard = redlatch.try_acquire("job", options()).await.expect("a free lock");
    assert!(guard.fence() > first);
}

/// A Redis Cluster in which the master of the slot of `job` has a replica.
struct Replicated {
    servers: Cluster,
    /// The place of the master that has the slot of `job`.
    master: usize,
    replica: RedisServer,
}

impl Replicated {
    async fn start() -> Self {
        let servers = three_masters().await;
        let slot: u16 = servers[0].query(&["CLUSTER", "KEYSLOT", "job"]);
        let master = usize::from(slot / 5461).min(2);
        let bus = free_port();
        let replica = RedisServer::builder().args(&["--cluster-enabled", "yes"]);
        let replica = replica.args(&["--cluster-port", &bus]).start();
        let this = Self { servers, master, replica };
        // Else it waits for further replicas.
        this.master().command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let port = this.replica.port().to_string();
        this.master().command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        let id: String = this.master().query(&["CLUSTER", "MYID"]);
        let follows = async || this.replica.try_query::<()>(&["CLUSTER", "REPLICATE", &id]).is_ok();
        eventually("the replica knows its master", follows).await;
        let synced = async || {
            let info: String = this.master().query(&["INFO", "replication"]);
            info.contains("state=online")
        };
        eventually("the replica follows", synced).await;
        let known = async || {
            let nodes: String = this.replica.query(&["CLUSTER", "NODES"]);
            let masters = nodes.lines().filter(|line| line.contains("master"));
            masters.filter(|line| line.contains(" connected ")).count() == this.servers.len()
                && this.servers.iter().all(|server| {
                    let nodes: String = server.query(&["CLUSTER", "NODES"]);
                    nodes.contains(&format!("slave {id} "))
                })
        };
        eventually("all know whose replica it is, and it knows all masters", known).await;
        this
    }

    /// What `server` takes the replica for.
    fn role(&self, server: &RedisServer) -> Option<&'static str> {
        let id: String = self.replica.query(&["CLUSTER", "MYID"]);
        let nodes: String = server.query(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| line.starts_with(&id))?;
        let flags = line.split(' ').nth(2)?;
        ["master", "slave"].into_iter().find(|role| flags.split(',').any(|flag| flag == *role))
    }

    fn master(&self) -> &RedisServer {
        &self.servers[self.master]
    }

    /// Waits until all servers that run know that the replica leads.
    async fn replica_leads(&self) {
        let others = self.servers.iter().filter(|server| server.is_running());
        let all: Vec<_> = others.chain([&self.replica]).collect();
        let leads = async || all.iter().all(|server| self.role(server) == Some("master"));
        eventually("the replica leads", leads).await;
    }
}

#[tokio::test]
async fn a_lock_outlives_a_failover_in_a_cluster_that_was_in_no_hurry() {
    let cluster = Replicated::start().await;
    let redlatch = builder().node(cluster_url(&cluster.servers)).build().expect("a client");
    let guard = hold(&redlatch, "job").await;
    // The master waits until the replica has everything.
    let begun = async || cluster.replica.try_query::<()>(&["CLUSTER", "FAILOVER"]).is_ok();
    eventually("the failover begins", begun).await;
    cluster.replica_leads().await;
    // It may call the cluster down for a moment, and then the lock is at risk.
    eventually("the new master extends it", async || guard.extend().await.is_ok()).await;
    let error = redlatch.try_acquire("job", options()).await.expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let first = guard.fence();
    guard.release().await.expect("a release");
    assert_eq!(cluster.replica.owner_of("job"), Owner::Nobody);
    // R15: the fence came along.
    let guard = redlatch.try_acquire("job", options()).await.expect("a free lock");
    assert!(guard.fence() > first);
}

/// What the guide warns of: nothing keeps a second client from the lock. Its fence is larger all the same, because
/// it comes from a clock, so that what asks for fences is still safe.
#[tokio::test]
async fn a_replica_that_lagged_forgets_a_lock_and_grants_a_larger_fence() {
    let cluster = Replicated::start().await;
    let redlatch = builder().node(cluster_url(&cluster.servers)).build().expect("a client");
    cluster.replica.pause();
    // Whatever is written from now on does not even wait for it.
    cluster.master().command(&["CLIENT", "KILL", "TYPE", "REPLICA"]);
    let first = hold(&redlatch, "job").await;
    cluster.master().kill();
    cluster.replica.resume();
    let forced = async || cluster.replica.try_query::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    eventually("the replica takes over", async || forced().await.is_ok()).await;
    cluster.replica_leads().await;
    let granted = async || {
        let Ok(second) = redlatch.try_acquire("job", options()).await else { return false };
        assert!(first.is_valid() && second.is_valid(), "two holders");
        assert!(second.fence() > first.fence());
        true
    };
    eventually("somebody else is granted the lock", granted).await;
}

#[test]
fn a_redis_cluster_has_no_restart_guard() {
    let cluster = Redlatch::builder().node("redis+cluster://host").restart_guard(FOREVER).build();
    assert!(matches!(cluster, Err(BuildError::Options(_))), "{cluster:?}");
}

// Credentials that change.

#[tokio::test]
async fn a_password_that_changes_is_asked_for_at_each_connection() {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "locker", "reset", "on", ">first", "~*", "+@all"]);
    let password = Arc::new(Mutex::new("first"));
    let given = password.clone();
    let provider = move |node: &str| {
        assert!(node.starts_with("127.0.0.1:"), "{node}");
        let password = *given.lock().expect("no panic");
        std::future::ready(Ok::<_, String>(Credentials::new("locker", password)))
    };
    let redlatch = builder().node(server.url()).credentials(provider).build().expect("a client");
    let guard = hold(&redlatch, "job").await;
    let kill = || server.command(&["CLIENT", "KILL", "USER", "locker"]);

    // On the server alone: nobody is let in, and nobody's password is told.
    server.command(&["ACL", "SETUSER", "locker", "resetpass", ">second"]);
    kill();
    let error = redlatch.try_acquire("other", options()).await.expect_err("a wrong password");
    let text = format!("{error} {error:?}");
    assert!(text.contains("127.0.0.1") && !text.contains("first"), "{text}");

    *password.lock().expect("no panic") = "second";
    let let_in = async || redlatch.try_acquire("other", options()).await.is_ok();
    eventually("the new password is used", let_in).await;
    guard.release().await.expect("a release");
    assert!(!format!("{:?}", Credentials::new("locker", "second")).contains("second"));
}

#[tokio::test]
async fn a_provider_that_fails_or_panics_is_asked_again() {
    let server = RedisServer::builder().password(PASSWORD).start();
    let times = Arc::new(Mutex::new(0));
    let provider = move |_: &str| {
        let time = {
            let mut times = times.lock().expect("no panic");
            *times += 1;
            *times
        };
        async move {
            assert_ne!(time, 1, "the first time it panics");
            let credentials = Credentials::password(PASSWORD);
            if time > 2 { Ok(credentials) } else { Err("the vault is sealed") }
        }
    };
    let url = format!("redis://{}", server.addr());
    let redlatch = builder().node(url).credentials(provider).build().expect("a client");
    let mut told = Vec::new();
    let let_in = async || match redlatch.try_acquire("job", options()).await {
        Ok(_) => true,
        Err(error) => {
            told.push(error.to_string());
            false
        }
    };
    let mut let_in = let_in;
    eventually("it is let in at last", async || let_in().await).await;
    let told = told.join("\n");
    assert!(told.contains("no credentials: the vault is sealed"), "{told}");
    assert!(!told.contains(PASSWORD), "{told}");
}

// Names that lead elsewhere.

/// Leads every name to these addresses.
struct Names(Arc<Mutex<Vec<SocketAddr>>>);

impl redis::io::AsyncDNSResolver for Names {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        _port: u16,
    ) -> redis::RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        assert_eq!(host, "node.example");
        let addresses = self.0.lock().expect("no panic").clone();
        Box::pin(async move {
            Ok(Box::new(addresses.into_iter()) as Box<dyn Iterator<Item = _> + Send>)
        })
    }
}

/// A client that has used a node by its name, and the addresses that the name has.
async fn named(server: &RedisServer) -> (Redlatch, Arc<Mutex<Vec<SocketAddr>>>) {
    let addresses = Arc::new(Mutex::new(vec![server.addr()]));
    let names = Names(addresses.clone());
    let node = builder().node("redis://node.example").dns_resolver(names);
    let redlatch = node.build().expect("a client");
    hold(&redlatch, "job").await.release().await.expect("a release");
    (redlatch, addresses)
}

#[tokio::test]
async fn a_name_is_resolved_at_each_connection() {
    let servers = Cluster::start(2);
    let (redlatch, addresses) = named(&servers[0]).await;

    // The old address stays in the list: whichever answers is the server.
    *addresses.lock().expect("no panic") = vec![servers[0].addr(), servers[1].addr()];
    servers[0].kill();
    let moved = async || redlatch.try_acquire("job", options()).await.is_ok();
    eventually("the name leads to the other server", moved).await;
    let fences: Vec<String> = servers[1].query(&["KEYS", "redlatch:fence:*"]);
    assert_eq!(fences, ["redlatch:fence:{job}"]);
}

/// As where a name has been given to another server, and the old one has become its replica.
#[tokio::test]
async fn a_node_that_has_become_a_replica_is_looked_for_anew() {
    let servers = Cluster::start(2);
    let (redlatch, addresses) = named(&servers[0]).await;
    *addresses.lock().expect("no panic") = vec![servers[1].addr()];
    // No connection is closed by that.
    servers[0].command(&["REPLICAOF", "127.0.0.1", &servers[1].port().to_string()]);
    let moved = async || redlatch.try_acquire("job", options()).await.is_ok();
    eventually("the name leads to the other server", moved).await;
}

#[tokio::test]
async fn a_connector_is_called_for_each_connection() {
    let server = RedisServer::start();
    let calls = Arc::new(Mutex::new(0));
    let (counted, url) = (calls.clone(), server.url());
    let connect = move || {
        *counted.lock().expect("no panic") += 1;
        let client = redis::Client::open(url.clone());
        async move { client?.get_multiplexed_async_connection().await }
    };
    let redlatch = builder().connector("mine", connect).build().expect("a client");
    hold(&redlatch, "job").await.release().await.expect("a release");
    assert_eq!(*calls.lock().expect("no panic"), 1);
    server.restart();
    let again = async || redlatch.try_acquire("job", options()).await.is_ok();
    eventually("a new connection works", again).await;
    assert_eq!(*calls.lock().expect("no panic"), 2);
}
