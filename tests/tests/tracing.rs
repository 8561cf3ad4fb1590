//! What subscribers of `tracing` are told: what happened to which lock, and no secret.

#![expect(clippy::unwrap_used, reason = "a log that cannot be read fails the test")]

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use redlatch::Redlatch;
use redlatch_tests::{Cluster, Owner, PATIENCE, RedisServer, eventually, unique_resource};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the only subscriber of this process was told.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    log
});

#[tokio::test]
async fn the_life_of_a_lock_is_told_in_its_span_and_its_token_is_not() {
    let log = &*LOG;
    let cluster = Cluster::start(3);
    let redlatch = Redlatch::new(cluster.urls()).unwrap();
    let resource = unique_resource("traced");
    let guard = redlatch.acquire(&resource, Duration::from_secs(60)).await.unwrap();
    let is_taken = async || cluster[0].owner_of(&resource) != Owner::Nobody;
    eventually("the first node is asked", is_taken).await;
    let Owner::Token(token) = cluster[0].owner_of(&resource) else { panic!("nobody has it") };
    guard.extend().await.unwrap();
    guard.release().await.unwrap();
    redlatch.shutdown().await;

    eventually("the release is told", async || log.text().contains("released")).await;
    let text = log.text();
    for news in ["connected", "granted", "extended", "released"] {
        let of_this = |line: &&str| line.contains(&resource) || news == "connected";
        let mut lines = text.lines().filter(|line| line.contains(news));
        assert!(lines.any(|line| of_this(&line)), "no {news}: {text}");
    }
    assert!(!text.contains(&token[..32]), "the token is told");
}

/// R16: a replica that takes over may have forgotten locks, and nothing can be done about it then.
#[tokio::test]
async fn a_node_that_has_a_replica_is_warned_of() {
    let log = &*LOG;
    let (node, alone, replica) = (RedisServer::start(), RedisServer::start(), RedisServer::start());
    replica.command(&["REPLICAOF", "127.0.0.1", &node.port().to_string()]);
    eventually("it is replicated", async || {
        let info: String = node.query(&["INFO", "replication"]);
        info.contains("connected_slaves:1")
    })
    .await;
    let builder = Redlatch::builder().connect_timeout(PATIENCE);
    let redlatch = builder.node(node.url()).node(alone.url()).build().unwrap();
    let connected = async || {
        let inspection = redlatch.inspect("job").await.unwrap();
        inspection.nodes.iter().all(|node| node.sighting.is_ok())
    };
    eventually("both are connected", connected).await;
    let text = log.text();
    let warned = |node: &RedisServer| {
        let name = node.addr().to_string();
        text.lines().any(|line| line.contains("has 1 replica;") && line.contains(&name))
    };
    assert!(warned(&node), "{text}");
    assert!(!warned(&alone), "{text}");
    let forgets = |line: &&str| line.contains("append-only file") && line.contains("WARN");
    let node = alone.addr().to_string();
    let told = text.lines().filter(forgets).find(|line| line.contains(&node));
    // With what to do about it.
    assert!(told.is_some_and(|line| line.contains("appendonly yes")), "{text}");
}
