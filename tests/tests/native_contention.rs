//! Waiters queue in the nodes and are called (R18). On real servers.
//!
//! Time is never what gets a lock here where a call is to be shown: those who are to be called ask once an
//! hour.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use redlatch::{AcquireError, Credentials, Guard, Options, Redlatch};
use redlatch_tests::{
    ClientAuth, Cluster, Connections, Fault, FaultProxy, Match, Owner, PATIENCE, RedisServer, Then,
    eventually,
};
use tokio::task::JoinHandle;

/// Longest time in which anything may end. No test measures time: this only tells an end from a
/// hang, on a machine however slow.
const LIMIT: Duration = Duration::from_secs(30);
/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);
const PASSWORD: &str = "correct-horse-battery-staple";
/// The nonce of a waiter that a test makes up.
const NONCE: &str = "00112233445566778899aabbccddeeff";

/// Waits for an hour between two attempts.
fn hourly() -> Options {
    let options = Options::new(FOREVER).node_timeout(PATIENCE).wait(10 * HOUR);
    options.retry_delay(HOUR, HOUR)
}

/// Asks again and again.
fn often() -> Options {
    hourly().retry_delay(Duration::from_millis(1), Duration::from_millis(20))
}

fn client(cluster: &Cluster) -> Redlatch {
    Redlatch::new(cluster.urls()).expect("a client")
}

type Waiting = JoinHandle<Result<Guard, AcquireError>>;

fn wait(redlatch: &Redlatch, resource: &str, options: Options) -> Waiting {
    let (redlatch, resource) = (redlatch.clone(), resource.to_owned());
    tokio::spawn(async move { redlatch.acquire(resource, options).await })
}

/// Takes the lock, on every node: a majority is enough for it, and where others came first it may have no
/// key. Who waits then takes no place there, because there the key is kept for it.
async fn hold<'a>(
    redlatch: &Redlatch,
    nodes: impl IntoIterator<Item = &'a RedisServer>,
    resource: &str,
) -> Guard {
    // On a busy machine, connecting may take longer than a node has as a rule.
    let options = Options::new(FOREVER).node_timeout(PATIENCE);
    let guard = redlatch.acquire(resource, options).await.expect("a free lock");
    for node in nodes {
        let is_taken = || node.owner_of(resource) != Owner::Nobody;
        eventually("the node has a key", async || is_taken()).await;
    }
    guard
}

async fn granted(waiting: Waiting) -> Guard {
    let ended = tokio::time::timeout(LIMIT, waiting).await;
    ended.expect("it ends").expect("no panic").expect("the lock")
}

/// Gives a waiter up, and returns when its future is gone.
async fn give_up(waiting: Waiting) {
    waiting.abort();
    assert!(waiting.await.is_err_and(|error| error.is_cancelled()));
}

/// The channels on which clients are called by `node`, one for each client.
fn channels(node: &RedisServer) -> Vec<String> {
    node.query(&["PUBSUB", "CHANNELS", "redlatch:call:*"])
}

/// Has `redlatch` listen to every node: whoever waits for the first time polls until it does, and takes a
/// place only where it does.
async fn listening<'a>(redlatch: &Redlatch, nodes: impl IntoIterator<Item = &'a RedisServer>) {
    let nodes: Vec<_> = nodes.into_iter().collect();
    for node in &nodes {
        node.command(&["SET", "warm", "a stranger"]);
    }
    let waiting = wait(redlatch, "warm", often());
    queued(nodes.iter().copied(), "warm", 1).await;
    give_up(waiting).await;
    queued(nodes, "warm", 0).await;
}

async fn listener(cluster: &Cluster) -> Redlatch {
    let redlatch = client(cluster);
    listening(&redlatch, cluster).await;
    redlatch
}

fn queue_of(resource: &str) -> String {
    format!("redlatch:queue:{{{resource}}}")
}

fn queue(node: &RedisServer, resource: &str) -> Vec<String> {
    node.query(&["ZRANGE", &queue_of(resource), "0", "-1"])
}

/// Waits until so many are in the queue of each node.
async fn queued<'a>(
    nodes: impl IntoIterator<Item = &'a RedisServer>,
    resource: &str,
    waiters: usize,
) {
    let nodes: Vec<_> = nodes.into_iter().collect();
    let what = format!("{waiters} wait for {resource}");
    let all = || nodes.iter().all(|node| queue(node, resource).len() == waiters);
    eventually(&what, async || all()).await;
}

async fn queued_by_majority(cluster: &Cluster, resource: &str) {
    let queues = || cluster.iter().filter(|node| !queue(node, resource).is_empty()).count();
    eventually("a majority has somebody in the queue", async || queues() > cluster.len() / 2).await;
}

/// How often a node has carried out `command`.
fn calls_of(node: &RedisServer, command: &str) -> u64 {
    let info: String = node.query(&["INFO", "commandstats"]);
    let prefix = format!("cmdstat_{command}:calls=");
    let value = info.lines().find_map(|line| line.strip_prefix(&prefix));
    value.map_or(0, |rest| rest.split(',').next().expect("a value").parse().expect("a number"))
}

// Calls.

/// R18.
#[tokio::test]
async fn who_waits_is_called_when_the_lock_is_released() {
    let cluster = Cluster::start(3);
    let (ours, theirs) = (client(&cluster), listener(&cluster).await);
    let guard = hold(&ours, &cluster, "job").await;
    let waiting = wait(&theirs, "job", hourly());
    queued(&cluster, "job", 1).await;
    guard.release().await.expect("a release");
    let next = granted(waiting).await;
    assert!(next.is_valid());
    queued(&cluster, "job", 0).await;
}

/// The connections on which it is called are made while it polls.
#[tokio::test]
async fn who_waits_at_the_first_time_is_called_as_well() {
    let cluster = Cluster::start(3);
    let (ours, theirs) = (client(&cluster), client(&cluster));
    let guard = hold(&ours, &cluster, "job").await;
    let waiting = wait(&theirs, "job", hourly());
    queued_by_majority(&cluster, "job").await;
    guard.release().await.expect("a release");
    drop(granted(waiting).await);
}

#[tokio::test]
async fn a_waiter_of_the_holders_own_client_is_called() {
    let cluster = Cluster::start(3);
    let redlatch = listener(&cluster).await;
    let guard = hold(&redlatch, &cluster, "job").await;
    let waiting = wait(&redlatch, "job", hourly());
    queued(&cluster, "job", 1).await;
    drop(guard);
    drop(granted(waiting).await);
}

/// R18: a majority is enough.
#[tokio::test]
async fn a_node_that_is_down_calls_nobody_and_delays_nobody() {
    let cluster = Cluster::start(3);
    let (ours, theirs) = (client(&cluster), listener(&cluster).await);
    cluster[2].kill();
    let guard = hold(&ours, cluster.iter().take(2), "job").await;
    let waiting = wait(&theirs, "job", hourly());
    queued(cluster.iter().take(2), "job", 1).await;
    guard.release().await.expect("a release");
    drop(granted(waiting).await);
}

#[tokio::test]
async fn waiters_of_many_clients_are_called_in_the_order_in_which_they_came() {
    const WAITERS: usize = 6;
    let cluster = Cluster::start(3);
    let guard = hold(&client(&cluster), &cluster, "job").await;
    let clients = [listener(&cluster).await, listener(&cluster).await, listener(&cluster).await];
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut turns = Vec::new();
    for turn in 0..WAITERS {
        let waiting = wait(&clients[turn % clients.len()], "job", hourly());
        queued(&cluster, "job", turn + 1).await;
        let order = order.clone();
        turns.push(tokio::spawn(async move {
            let guard = granted(waiting).await;
            order.lock().expect("no panic").push(turn);
            guard.release().await.expect("a release");
        }));
    }
    guard.release().await.expect("a release");
    for turn in turns {
        turn.await.expect("its turn");
    }
    assert_eq!(*order.lock().expect("no panic"), (0..WAITERS).collect::<Vec<_>>());
}

/// Nobody listens for a client that was killed.
#[tokio::test]
async fn a_waiter_whose_client_is_gone_is_passed_over() {
    let cluster = Cluster::start(3);
    let (ours, theirs) = (client(&cluster), listener(&cluster).await);
    let guard = hold(&ours, &cluster, "job").await;
    for node in &cluster {
        node.command(&["ZADD", &queue_of("job"), "1", NONCE]);
    }
    let waiting = wait(&theirs, "job", hourly());
    queued(&cluster, "job", 2).await;
    guard.release().await.expect("a release");
    drop(granted(waiting).await);
    queued(&cluster, "job", 0).await;
}

/// R18: a key that is kept for somebody who does not come is free again by itself.
#[tokio::test]
async fn a_key_is_not_kept_for_long_for_a_waiter_that_does_not_come() {
    let server = RedisServer::start();
    let redlatch = Redlatch::new([server.url()]).expect("a client");
    let guard = hold(&redlatch, [&server], "job").await;
    let subscriber = redis::Client::open(server.url()).expect("a client");
    let mut subscriber = subscriber.get_async_pubsub().await.expect("a connection");
    let channel = format!("redlatch:call:{}", &NONCE[..16]);
    subscriber.subscribe(&channel).await.expect("a subscription");
    server.command(&["ZADD", &queue_of("job"), "1", NONCE]);
    guard.release().await.expect("a release");
    let called = subscriber.on_message().next().await.expect("a call");
    assert_eq!(called.get_payload::<String>().expect("text"), NONCE);
    let guard = granted(wait(&redlatch, "job", often())).await;
    assert!(guard.is_valid());
}

#[tokio::test]
async fn messages_that_are_no_calls_are_ignored() {
    let cluster = Cluster::start(1);
    let redlatch = listener(&cluster).await;
    let guard = hold(&redlatch, &cluster, "job").await;
    let waiting = wait(&redlatch, "job", hourly());
    queued(&cluster, "job", 1).await;
    let [channel] = &*channels(&cluster[0]) else { panic!("one client listens") };
    let client = channel.strip_prefix("redlatch:call:").expect("the prefix");
    let asked = calls_of(&cluster[0], "evalsha");
    for message in ["", "nonsense", NONCE, &format!("{client}0000000000000000"), &"z".repeat(32)] {
        let heard: u32 = cluster[0].query(&["PUBLISH", channel, message]);
        assert_eq!(heard, 1);
    }
    guard.release().await.expect("a release");
    let _guard = granted(waiting).await;
    // The call is heard after them, and nothing was begun before it: one release and one acquire.
    assert_eq!(calls_of(&cluster[0], "evalsha"), asked + 2);
}

// Calls that are lost.

#[tokio::test]
async fn a_client_that_was_cut_off_listens_again() {
    let cluster = Cluster::start(3);
    let (ours, theirs) = (client(&cluster), listener(&cluster).await);
    let guard = hold(&ours, &cluster, "job").await;
    let waiting = wait(&theirs, "job", hourly());
    queued(&cluster, "job", 1).await;
    for node in &cluster {
        assert_eq!(node.query::<u32>(&["CLIENT", "KILL", "TYPE", "pubsub"]), 1);
        eventually("it listens again", async || channels(node).len() == 1).await;
    }
    guard.release().await.expect("a release");
    drop(granted(waiting).await);
}

/// Its connection for calls may be back before the one for commands, which nobody has needed yet.
#[tokio::test]
async fn a_node_that_was_away_queues_waiters_again() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(&server);
    let ours = Redlatch::new([server.url()]).expect("a client");
    let theirs = Redlatch::new([proxy.url()]).expect("a client");
    listening(&theirs, [&server]).await;
    let guard = hold(&ours, [&server], "job").await;
    let early = wait(&theirs, "job", hourly());
    queued([&server], "job", 1).await;
    proxy.connections(Connections::Refuse);
    proxy.reset_all();
    let inspection = theirs.inspect("job").await.expect("a good name");
    assert!(inspection.nodes[0].sighting.is_err(), "it is known to be away");
    eventually("nothing listens", async || channels(&server).is_empty()).await;
    proxy.heal();
    eventually("it listens again", async || channels(&server).len() == 1).await;
    let late = wait(&theirs, "job", often());
    queued([&server], "job", 2).await;
    guard.release().await.expect("a release");
    granted(early).await.release().await.expect("a release");
    drop(granted(late).await);
}

/// What is told of one connection for calls is not taken for news of the next.
#[tokio::test]
async fn a_connection_that_breaks_while_it_is_made_does_not_end_the_next() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(&server);
    let redlatch = Redlatch::new([proxy.url()]).expect("a client");
    let first = Match::command("SUBSCRIBE").nth(1);
    let broken = proxy.inject(first, Fault::DropRequest(Then::Reset));
    listening(&redlatch, [&server]).await;
    redlatch.shutdown().await;
    assert_eq!((broken.struck(), proxy.count("SUBSCRIBE")), (1, 2));
}

/// A client that may not listen from now on: its connections are closed, and calls go nowhere.
#[tokio::test]
async fn who_misses_its_call_polls() {
    let cluster = Cluster::start_with(3, |_, builder| {
        builder.user("locker", PASSWORD, &["~*", "&*", "+@all"])
    });
    let ours = client(&cluster);
    let theirs = Redlatch::new(cluster.iter().map(|node| node.url_as("locker")));
    let theirs = theirs.expect("a client");
    listening(&theirs, &cluster).await;
    let guard = hold(&ours, &cluster, "job").await;
    let waiting = wait(&theirs, "job", often());
    queued(&cluster, "job", 1).await;
    for node in &cluster {
        node.command(&["ACL", "SETUSER", "locker", "resetchannels"]);
        eventually("its connection is closed", async || channels(node).is_empty()).await;
    }
    guard.release().await.expect("a release");
    drop(granted(waiting).await);
}

#[tokio::test]
async fn who_may_use_no_channel_locks_waits_and_releases_all_the_same() {
    let cluster = Cluster::start_with(3, |_, builder| {
        builder.user("locker", PASSWORD, &["~*", "resetchannels", "+@all"])
    });
    let locker = Redlatch::new(cluster.iter().map(|node| node.url_as("locker")));
    let locker = locker.expect("a client");
    let guard = hold(&locker, &cluster, "job").await;
    // There is somebody to call, which it may not.
    let other = listener(&cluster).await;
    let waiting = wait(&other, "job", often());
    queued(&cluster, "job", 1).await;
    guard.release().await.expect("a release that is confirmed");
    let guard = granted(waiting).await;
    let waiting = wait(&locker, "job", often());
    let asked: Vec<_> = cluster.iter().map(|node| calls_of(node, "evalsha")).collect();
    let polled = || cluster.iter().zip(&asked).all(|(it, asked)| calls_of(it, "evalsha") > *asked);
    eventually("it asks", async || polled()).await;
    guard.release().await.expect("a release");
    granted(waiting).await.release().await.expect("a release");
    assert!(cluster.iter().all(|node| queue(node, "job").is_empty()));
}

// Ways to a node.

/// That a waiter of this client is called by the one server that it uses.
async fn assert_called(redlatch: &Redlatch, server: &RedisServer) {
    listening(redlatch, [server]).await;
    let guard = hold(redlatch, [server], "job").await;
    let waiting = wait(redlatch, "job", hourly());
    queued([server], "job", 1).await;
    guard.release().await.expect("a release");
    granted(waiting).await.release().await.expect("a release");
    redlatch.shutdown().await;
    eventually("nothing listens after a shutdown", async || channels(server).is_empty()).await;
}

#[tokio::test]
async fn calls_come_by_both_versions_of_the_protocol() {
    let server = RedisServer::start();
    for protocol in ["resp2", "resp3"] {
        let url = format!("{}?protocol={protocol}", server.url());
        assert_called(&Redlatch::new([url]).expect("a client"), &server).await;
    }
}

#[tokio::test]
async fn calls_come_over_a_unix_socket() {
    let server = RedisServer::builder().password(PASSWORD).unix_only().start();
    assert_called(&Redlatch::new([server.unix_url()]).expect("a client"), &server).await;
}

#[tokio::test]
async fn calls_come_over_tls() {
    let server = RedisServer::builder().password(PASSWORD).tls(ClientAuth::Optional).start();
    let root_cert = Some(std::fs::read(server.certificates().ca()).expect("a certificate"));
    let certificates = redis::TlsCertificates { client_tls: None, root_cert };
    let client = redis::Client::build_with_tls(server.tls_url(), certificates).expect("a client");
    let redlatch = Redlatch::builder().client(client).build().expect("a client");
    assert_called(&redlatch, &server).await;
}

#[tokio::test]
async fn calls_come_to_whoever_the_credentials_name() {
    let server = RedisServer::builder()
        .user("locker", PASSWORD, &["~*", "&redlatch:call:*", "+@all"])
        .without_default_user()
        .start();
    let redlatch = Redlatch::builder()
        .node(format!("redis://{}", server.addr()))
        .credentials(|_: &str| async { Ok::<_, String>(Credentials::new("locker", PASSWORD)) })
        .build();
    assert_called(&redlatch.expect("a client"), &server).await;
}

/// A second connection cannot be had where the application makes them.
#[tokio::test]
async fn connections_of_the_application_are_polled() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).expect("a client");
    let connect = move || {
        let client = client.clone();
        async move { client.get_multiplexed_async_connection().await }
    };
    let redlatch = Redlatch::builder().connector("mine", connect).build().expect("a client");
    let guard = hold(&redlatch, [&server], "job").await;
    let waiting = wait(&redlatch, "job", often());
    let asked = calls_of(&server, "evalsha");
    eventually("it polls", async || calls_of(&server, "evalsha") > asked + 20).await;
    assert_eq!((channels(&server).len(), calls_of(&server, "zadd")), (0, 0));
    guard.release().await.expect("a release");
    drop(granted(waiting).await);
}

#[tokio::test]
async fn who_waits_for_several_resources_polls() {
    let cluster = Cluster::start(3);
    let redlatch = listener(&cluster).await;
    let before: Vec<_> = cluster.iter().map(|node| calls_of(node, "zadd")).collect();
    let guard = hold(&redlatch, &cluster, "{a}:1").await;
    let both = {
        let redlatch = redlatch.clone();
        tokio::spawn(async move { redlatch.acquire(["{a}:1", "{a}:2"], often()).await })
    };
    let asked = calls_of(&cluster[0], "evalsha");
    eventually("it polls", async || calls_of(&cluster[0], "evalsha") > asked + 20).await;
    let after: Vec<_> = cluster.iter().map(|node| calls_of(node, "zadd")).collect();
    assert_eq!(before, after);
    guard.release().await.expect("a release");
    drop(granted(both).await);
}

/// Its release hands over all the same.
#[tokio::test]
async fn whoever_released_several_resources_calls_those_who_wait_for_one() {
    let cluster = Cluster::start(3);
    let redlatch = listener(&cluster).await;
    let guard = redlatch.acquire(["{a}:1", "{a}:2"], FOREVER).await.expect("free locks");
    for node in &cluster {
        let is_taken = || node.owner_of("{a}:1") != Owner::Nobody;
        eventually("the node has the keys", async || is_taken()).await;
    }
    let waiting = ["{a}:1", "{a}:2"].map(|resource| wait(&redlatch, resource, hourly()));
    for node in &cluster {
        // A name with a hash tag brings its own.
        for queue in ["redlatch:queue:{a}:1", "redlatch:queue:{a}:2"] {
            let is_queued = || node.query::<usize>(&["ZCARD", queue]) == 1;
            eventually("both wait", async || is_queued()).await;
        }
    }
    guard.release().await.expect("a release");
    for waiting in waiting {
        drop(granted(waiting).await);
    }
}

// Foreign clients.

#[tokio::test]
async fn others_get_the_lock_from_us_and_we_from_them() {
    let cluster = Cluster::start(3);
    let redlatch = listener(&cluster).await;
    let mut theirs = rslock::LockManager::new(cluster.urls());
    theirs.set_retry(10_000, Duration::from_millis(5));
    let lock = theirs.lock("job", FOREVER).await.expect("a free lock");
    // They call nobody, so ours polls.
    let waiting = wait(&redlatch, "job", often());
    queued_by_majority(&cluster, "job").await;
    theirs.unlock(&lock).await;
    let guard = granted(waiting).await;
    let them = tokio::spawn(async move {
        let lock = theirs.lock("job", FOREVER).await;
        theirs.unlock(&lock.expect("the lock")).await;
    });
    let another = wait(&redlatch, "job", often());
    queued_by_majority(&cluster, "job").await;
    guard.release().await.expect("a release");
    granted(another).await.release().await.expect("a release");
    let ended = tokio::time::timeout(LIMIT, them).await;
    ended.expect("it ends").expect("theirs got it as well");
}

// Nothing is left.

fn connections(node: &RedisServer) -> usize {
    let list: String = node.query(&["CLIENT", "LIST"]);
    list.lines().filter(|line| line.contains("user=default")).count()
}

#[tokio::test]
async fn who_gives_up_leaves_the_queues() {
    let cluster = Cluster::start(3);
    let redlatch = listener(&cluster).await;
    let guard = hold(&redlatch, &cluster, "job").await;
    let waiting = wait(&redlatch, "job", hourly());
    queued(&cluster, "job", 1).await;
    give_up(waiting).await;
    queued(&cluster, "job", 0).await;
    assert!(guard.is_valid());
}

#[tokio::test]
async fn whose_wait_has_passed_leaves_the_queues() {
    let cluster = Cluster::start(3);
    let redlatch = listener(&cluster).await;
    let before: Vec<_> = cluster.iter().map(|node| calls_of(node, "zadd")).collect();
    let _guard = hold(&redlatch, &cluster, "job").await;
    let few = often().attempts_max(3.try_into().expect("not zero"));
    let error = redlatch.acquire("job", few).await.expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    queued(&cluster, "job", 0).await;
    let after =
        || cluster.iter().zip(&before).all(|(node, before)| calls_of(node, "zadd") > *before);
    assert!(after(), "it was in the queues");
}

#[tokio::test]
async fn a_shutdown_leaves_neither_places_nor_connections() {
    let cluster = Cluster::start(3);
    let redlatch = listener(&cluster).await;
    let guard = hold(&redlatch, &cluster, "job").await;
    let waiting = wait(&redlatch, "job", hourly());
    queued(&cluster, "job", 1).await;
    give_up(waiting).await;
    drop(guard);
    redlatch.shutdown().await;
    assert!(cluster.iter().all(|node| queue(node, "job").is_empty()));
    for node in &cluster {
        assert_eq!(node.owner_of("job"), Owner::Nobody);
        eventually("nothing listens any more", async || channels(node).is_empty()).await;
    }
    drop(redlatch);
    for node in &cluster {
        eventually("no connection is left", async || connections(node) == 0).await;
    }
}

#[tokio::test]
async fn a_client_that_is_dropped_while_it_waits_leaves_nothing() {
    let cluster = Cluster::start(3);
    let ours = client(&cluster);
    let guard = hold(&ours, &cluster, "job").await;
    let theirs = listener(&cluster).await;
    let waiting = wait(&theirs, "job", hourly());
    queued(&cluster, "job", 1).await;
    drop(theirs);
    give_up(waiting).await;
    queued(&cluster, "job", 0).await;
    for node in &cluster {
        eventually("nothing listens any more", async || channels(node).is_empty()).await;
    }
    guard.release().await.expect("a release");
}

/// Who never waits has one connection to each node, as ever.
#[tokio::test]
async fn who_does_not_wait_is_not_listened_for() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = hold(&redlatch, &cluster, "job").await;
    for _ in 0..20 {
        redlatch.try_acquire("job", FOREVER).await.expect_err("it is taken");
    }
    guard.release().await.expect("a release");
    redlatch.shutdown().await;
    for node in &cluster {
        assert_eq!((connections(node), calls_of(node, "subscribe")), (1, 0));
        assert_eq!(calls_of(node, "zadd"), 0);
    }
}
