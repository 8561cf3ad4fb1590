//! The ways to name a node, and what their names are good for.

use super::*;

use redis::AsyncConnectionConfig;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redlatch::{BuildError, Vote};

fn redis_client(server: &RedisServer) -> redis::Client {
    redis::Client::open(server.url()).expect("a URL")
}

async fn multiplexed(server: &RedisServer) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let client = redis_client(server);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.expect("a connection")
}

async fn managed(server: &RedisServer) -> ConnectionManager {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let client = redis_client(server);
    client.get_connection_manager_with_config(config).await.expect("a connection")
}

#[tokio::test]
async fn nodes_are_given_as_urls_as_clients_and_as_connections() {
    let cluster = Cluster::start(5);
    let redlatch = Redlatch::builder()
        .connect_timeout(PATIENCE)
        .node(cluster[0].url())
        .named_node("attic", cluster[1].unix_url())
        .client(redis_client(&cluster[2]))
        .connection("cellar", multiplexed(&cluster[3]).await)
        .connection("garage", managed(&cluster[4]).await)
        .build()
        .expect("a client");
    let names = [
        cluster[0].addr().to_string(),
        "attic".to_owned(),
        cluster[2].addr().to_string(),
        "cellar".to_owned(),
        "garage".to_owned(),
    ];
    let shown = format!("{redlatch:?}");
    assert!(names.iter().all(|name| shown.contains(name)), "{shown}");

    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let token = holder(&cluster, "job").expect("a majority");
    eventually("every node has the token", async || cluster.holds("job", &token) == 5).await;
    guard.extend().await.expect("an extension");

    let error = redlatch.try_acquire("job", options()).await.expect_err("it is taken");
    let told: Vec<_> = error.votes().expect("votes").iter().map(|(name, _)| name).collect();
    assert_eq!(told, names, "in the order in which they were given");

    guard.release().await.expect("a release");
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn an_error_names_each_node_that_could_not_be_asked() {
    let cluster = Cluster::start(3);
    let broken = multiplexed(&cluster[2]).await;
    let redlatch = Redlatch::builder()
        .connect_timeout(PATIENCE)
        .node(cluster[0].url())
        .named_node("attic", cluster[1].url())
        .connection("cellar", broken)
        .build()
        .expect("a client");
    for node in &cluster {
        node.kill();
    }
    let error = redlatch.try_acquire("job", options()).await.expect_err("all are down");
    let AcquireError::NoQuorum { votes } = &error else { panic!("{error:?}") };
    // Two that failed are enough to know; the third may not have been heard yet.
    let failed = votes.iter().filter(|(_, vote)| matches!(vote, Vote::Failed(_))).count();
    assert!(failed >= 2, "{votes}");
    let text = error.to_string();
    assert!(text.contains(&format!("{}: ", cluster[0].addr())), "{text}");
    assert!(text.contains("attic: ") && text.contains("cellar: "), "{text}");
    assert!(text.starts_with("too few nodes answered"), "{text}");
}

#[tokio::test]
async fn a_managed_connection_finds_its_restarted_server_again() {
    let cluster = Cluster::start(1);
    let redlatch = Redlatch::builder()
        .connect_timeout(PATIENCE)
        .connection("garage", managed(&cluster[0]).await)
        .build()
        .expect("a client");
    redlatch.acquire("job", options()).await.expect("a lock").release().await.expect("a release");
    cluster[0].restart();
    let guard = redlatch.acquire("job", options()).await.expect("the manager reconnects");
    guard.release().await.expect("a release");
}

/// A majority of servers, not of names.
#[tokio::test]
async fn one_server_under_two_names_counts_once_and_is_told() {
    let cluster = Cluster::start(2);
    let (port, url) = (cluster[0].port(), cluster[0].url());
    let twice = |other: String| {
        let builder = Redlatch::builder().connect_timeout(PATIENCE);
        builder.node(&url).node(other)
    };
    for alias in [format!("redis://localhost:{port}"), cluster[0].unix_url()] {
        let redlatch = twice(alias).build().expect("two names");
        let error = redlatch.try_acquire("job", options()).await.expect_err("one server");
        assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("is the same server as "), "{text}");
        assert!(text.contains("nodes must be independent servers"), "{text}");
        eventually_free(&cluster, "job").await;
    }

    // With a third node there is a majority, of two servers; the twin gives it no third vote.
    let redlatch = twice(format!("redis://localhost:{port}")).node(cluster[1].url());
    let redlatch = redlatch.build().expect("three names");
    let guard = redlatch.try_acquire("job", options()).await.expect("two servers");
    let inspection = redlatch.inspect("job").await.expect("a name");
    let twins = inspection.nodes.iter().filter_map(|node| node.sighting.as_ref().err());
    assert!(twins.clone().count() == 1, "{inspection:?}");
    assert!(twins.clone().all(|why| why.contains("is the same server as")), "{inspection:?}");
    guard.release().await.expect("a release");
    cluster[1].kill();
    let error = redlatch.try_acquire("job", options()).await.expect_err("one server");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
}

#[test]
fn an_address_given_twice_is_refused() {
    let table = [
        ["redis://a:1", "redis://a:1"],
        ["redis://a", "redis://a:6379"],
        ["redis://a/1", "redis://a/2"],
        ["redis://one:secret@a", "redis://two:secret@a"],
        ["redis://a", "rediss://a"],
        ["redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock?db=1"],
        ["redis://[::1]:7", "redis://[::1]:7"],
    ];
    for [one, other] in table {
        let error = Redlatch::new([one, "redis://b", other]).expect_err("one address");
        assert!(matches!(error, BuildError::Duplicate { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("is given twice"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    let error = Redlatch::builder().named_node("x", "redis://a").named_node("x", "redis://b");
    let error = error.build().expect_err("one name");
    assert_eq!(error, BuildError::Duplicate { name: "x".into() });
}

#[test]
fn a_number_of_nodes_that_cannot_work_is_refused() {
    let none: [&str; 0] = [];
    let error = Redlatch::new(none).expect_err("no nodes");
    assert!(matches!(error, BuildError::Nodes(_)), "{error:?}");
    let urls = |count| (0..count).map(|i| format!("redis://node{i}"));
    assert!(Redlatch::new(urls(16)).is_ok());
    let error = Redlatch::new(urls(17)).expect_err("too many nodes");
    assert!(error.to_string().contains("16"), "{error}");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let build = |change: fn(Builder) -> Builder| {
        let error = change(Redlatch::builder().node("redis://a")).build().expect_err("no client");
        assert!(matches!(error, BuildError::Options(_)), "{error:?}");
        error.to_string()
    };
    assert!(build(|b| b.plain().restart_guard(FOREVER)).contains("restart guard"));
    assert!(build(|b| b.plain().fence_retention(500 * FOREVER)).contains("no fences"));
    assert!(build(|b| b.fence_retention(FOREVER)).contains("24 h"));
    assert!(build(|b| b.restart_guard(Duration::ZERO)).contains("1 ms to 24 h"));
    assert!(build(|b| b.restart_guard(Duration::from_secs(90_000))).contains("1 ms to 24 h"));
}

/// Lazy: a client of nodes that are not there yet is a client.
#[tokio::test]
async fn nodes_that_start_after_the_client_are_used() {
    let cluster = Cluster::start(3);
    for node in &cluster {
        node.kill();
    }
    let redlatch = client(&cluster);
    let error = redlatch.try_acquire("job", options()).await.expect_err("all are down");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
    for node in &cluster {
        node.restart();
    }
    let guard = redlatch.acquire("job", options()).await.expect("the nodes are there");
    guard.release().await.expect("a release");
}
