//! Embedded nodes do what they promise, to the real driver and to redis-rs.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpStream;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Value};
use redlatch::{AcquireError, Options, Redlatch, Vote};
use redlatch_harness::embedded::{Cluster, State};
use redlatch_harness::redis::{Flavour, Keep};

/// Longer than anything takes; shorter than a person waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);
const TTL: Duration = Duration::from_secs(30);

fn cluster(count: usize) -> Cluster {
    Cluster::embedded(count).unwrap()
}

fn driver(cluster: &Cluster) -> Redlatch {
    Redlatch::new(cluster.urls()).unwrap()
}

/// On how many nodes the most common value of `resource` is.
fn holders(cluster: &Cluster, resource: &str) -> usize {
    let values: Vec<_> = cluster.iter().filter_map(|node| node.value(resource)).collect();
    values
        .iter()
        .map(|value| values.iter().filter(|other| *other == value).count())
        .max()
        .unwrap_or(0)
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn connect(cluster: &Cluster, index: usize) -> MultiplexedConnection {
    let client = Client::open(cluster[index].url()).unwrap();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

#[tokio::test]
async fn the_driver_locks_extends_and_releases() {
    let cluster = cluster(5);
    let redlatch = driver(&cluster);
    let guard = redlatch.acquire("report", TTL).await.unwrap();
    assert!(guard.fence().is_some());
    eventually("all have the token", async || holders(&cluster, "report") == 5).await;
    guard.extend().await.unwrap();
    let refused = redlatch.try_acquire("report", TTL).await.unwrap_err();
    assert!(matches!(refused, AcquireError::Contended { .. }), "{refused}");
    guard.release().await.unwrap();
    redlatch.shutdown().await;
    assert_eq!(holders(&cluster, "report"), 0);
}

#[tokio::test]
async fn the_driver_bears_two_of_five_that_hang_and_no_third() {
    let cluster = cluster(5);
    let redlatch = driver(&cluster);
    cluster[0].hang();
    cluster[1].deafen();
    let guard = redlatch.acquire("report", TTL).await.unwrap();
    assert_eq!(holders(&cluster, "report"), 3);
    guard.release().await.unwrap();

    cluster[2].mute();
    let options = Options::new(TTL).node_timeout(Duration::from_millis(50));
    let error = redlatch.try_acquire("report", options).await.unwrap_err();
    let AcquireError::NoQuorum { votes } = error else { panic!("{error}") };
    let silent = votes.iter().filter(|(_, vote)| matches!(vote, Vote::Silent)).count();
    assert_eq!(silent, 3, "{votes}");
}

/// R4, R6: what a hung node does late is undone as well.
#[tokio::test]
async fn commands_that_waited_in_a_hung_node_are_carried_out_late_and_undone() {
    let cluster = cluster(3);
    let redlatch = driver(&cluster);
    // A connection to every node, before one hangs.
    redlatch.acquire("warm-up", TTL).await.unwrap().release().await.unwrap();
    eventually("all are free", async || holders(&cluster, "warm-up") == 0).await;
    let before = cluster[0].commands();
    cluster[0].hang();
    let guard = redlatch.acquire("report", TTL).await.unwrap();
    guard.release().await.unwrap();
    assert_eq!(cluster[0].commands(), before, "it does nothing while it hangs");
    cluster[0].resume();
    eventually("it has caught up", async || cluster[0].commands() > before).await;
    eventually("nothing is left", async || holders(&cluster, "report") == 0).await;
}

#[tokio::test]
async fn a_node_that_was_killed_refuses_connections_and_comes_back() {
    let cluster = cluster(3);
    let redlatch = driver(&cluster);
    redlatch.acquire("a", TTL).await.unwrap().release().await.unwrap();
    cluster[1].kill();
    assert_eq!(cluster[1].state(), State::Down);
    assert!(TcpStream::connect(cluster[1].address()).is_err());
    let guard = redlatch.acquire("b", TTL).await.unwrap();
    assert_eq!(holders(&cluster, "b"), 2);
    guard.release().await.unwrap();

    let id = cluster[1].change_redis(|redis, _| redis.run_id().to_owned());
    cluster[1].restart(Keep::All).unwrap();
    assert_ne!(cluster[1].change_redis(|redis, _| redis.run_id().to_owned()), id);
    eventually("the driver is back on it", async || {
        let guard = redlatch.acquire("c", TTL).await.unwrap();
        let all = holders(&cluster, "c") == 3;
        drop(guard.release().await);
        all
    })
    .await;
}

/// R16, by the driver and over the wire.
#[tokio::test]
async fn a_node_that_forgot_does_not_vote() {
    let cluster = cluster(3);
    let builder = cluster.urls().into_iter().fold(Redlatch::builder(), |all, url| all.node(url));
    let redlatch = builder.restart_guard(FOREVER).build().unwrap();
    assert_eq!(redlatch.declare_fresh().await.len(), 3);
    let guard = redlatch.acquire("report", TTL).await.unwrap();
    eventually("all have the token", async || holders(&cluster, "report") == 3).await;
    for index in [0, 1] {
        cluster[index].restart(Keep::Nothing).unwrap();
    }
    // Without a guard two empty nodes would be a majority for somebody else.
    eventually("both say that they may have forgotten", async || {
        let options = Options::new(TTL).node_timeout(Duration::from_secs(1));
        let error = redlatch.try_acquire("report", options).await.unwrap_err();
        let votes = error.votes().unwrap();
        votes.iter().filter(|(_, vote)| matches!(vote, Vote::Quarantined { .. })).count() == 2
    })
    .await;
    assert!(guard.is_valid());
}

#[tokio::test]
async fn keys_expire_by_the_node_s_own_clock() {
    let cluster = cluster(3);
    let redlatch = driver(&cluster);
    let guard = redlatch.acquire("report", TTL).await.unwrap();
    eventually("all have the token", async || holders(&cluster, "report") == 3).await;
    cluster[0].jump(30_001);
    assert_eq!(cluster[0].value("report"), None);
    assert!(cluster[0].clock_offset_ms() >= 30_000);
    cluster[0].jump(-30_001);
    assert!(cluster[0].value("report").is_some(), "nobody looked, so it is still there");
    cluster[1].drift(1_000_000_000); // a thousand times as fast
    eventually("30 s have passed for it", async || cluster[1].value("report").is_none()).await;
    assert!(cluster[2].evict("report"));
    assert!(!cluster[2].evict("report"));
    drop(guard);
}

#[tokio::test]
async fn a_slow_node_delays_nobody_else() {
    let cluster = cluster(3);
    let redlatch = driver(&cluster);
    redlatch.acquire("warm-up", TTL).await.unwrap().release().await.unwrap();
    let mut connection = connect(&cluster, 0).await;
    let slow = Duration::from_secs(2);
    cluster[0].slow(slow);
    let begin = Instant::now();
    drop(redlatch.acquire("report", TTL).await.unwrap());
    assert!(begin.elapsed() < slow);
    let begin = Instant::now();
    let _: () = redis::cmd("PING").query_async(&mut connection).await.unwrap();
    assert!(begin.elapsed() >= slow);
}

/// The plain dialect chooses its commands by what the server says it is.
#[tokio::test]
async fn the_plain_dialect_works_on_every_flavour() {
    for flavour in Flavour::ALL {
        let cluster = Cluster::builder(3).flavour(flavour).start().unwrap();
        let builder =
            cluster.urls().into_iter().fold(Redlatch::builder(), |all, url| all.node(url));
        let redlatch = builder.plain().build().unwrap();
        let guard = redlatch.acquire("report", TTL).await.unwrap();
        guard.extend().await.unwrap();
        eventually("all have the token", async || holders(&cluster, "report") == 3).await;
        guard.release().await.unwrap();
        redlatch.shutdown().await;
        assert_eq!(holders(&cluster, "report"), 0, "{flavour:?}");
    }
}

#[test]
fn redis_rs_speaks_to_it_without_async() {
    let cluster = cluster(1);
    let client = Client::open(cluster[0].url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let set: Value =
        redis::cmd("SET").arg(&["a", "1", "NX", "PX", "5000"]).query(&mut connection).unwrap();
    assert_eq!(set, Value::Okay);
    let again: Value = redis::cmd("SET").arg(&["a", "2", "NX"]).query(&mut connection).unwrap();
    assert_eq!(again, Value::Nil);
    let (a, left): (u32, i64) = redis::pipe()
        .atomic()
        .cmd("INCR")
        .arg("a")
        .cmd("PTTL")
        .arg("a")
        .query(&mut connection)
        .unwrap();
    assert_eq!(a, 2);
    assert!((1..=5000).contains(&left));
    let error: RedisResult<Value> = redis::cmd("NOSUCH").query(&mut connection);
    assert!(error.unwrap_err().to_string().contains("unknown command"));
}

#[tokio::test]
async fn redis_rs_speaks_resp3_to_it() {
    let cluster = cluster(1);
    let client = Client::open(format!("{}/?protocol=resp3", cluster[0].url())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let parameters: Value = redis::cmd("CONFIG")
        .arg(&["GET", "maxmemory-policy"])
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(matches!(parameters, Value::Map(_)), "{parameters:?}");
    let nothing: Value = redis::cmd("GET").arg("a").query_async(&mut connection).await.unwrap();
    assert_eq!(nothing, Value::Nil);
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.unwrap();
    assert!(info.contains("run_id:"), "{info}");
}

/// Anything but an embedded node would need a debugger to be caught in this state.
#[tokio::test]
async fn a_transaction_is_spoilt_by_a_change_of_what_is_watched() {
    let cluster = cluster(1);
    let (mut one, mut other) = (connect(&cluster, 0).await, connect(&cluster, 0).await);
    let _: () = redis::cmd("WATCH").arg("a").query_async(&mut one).await.unwrap();
    let _: () = redis::cmd("SET").arg(&["a", "1"]).query_async(&mut other).await.unwrap();
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("SET").arg(&["a", "2"]).ignore();
    let outcome: Value = transaction.query_async(&mut one).await.unwrap();
    assert_eq!(outcome, Value::Nil);
    assert_eq!(cluster[0].value("a"), Some(b"1".to_vec()));
}

#[test]
fn everything_ends_with_the_cluster() {
    let cluster = cluster(2);
    let addresses: Vec<_> = cluster.iter().map(|node| node.address()).collect();
    let open = TcpStream::connect(addresses[0]).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(cluster);
    let end = std::io::Read::read(&mut &open, &mut [0]);
    assert!(end.is_err() || end.is_ok_and(|len| len == 0));
    assert!(addresses.iter().all(|address| TcpStream::connect(address).is_err()));
}

#[test]
fn a_port_that_is_taken_is_told() {
    let cluster = cluster(1);
    let port = cluster[0].address().port();
    let error = Cluster::builder(1).port(port).start().unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}
