//! Nodes that may have forgotten keys do not vote until all that they may have forgotten has
//! expired (R16).

use std::fs;
use std::time::Duration;

use redlatch::{AcquireError, Builder, Guard, Options, Redlatch, ReleaseError, Vote};
use redlatch_core::wire::{MARKER, QUARANTINE};
use redlatch_tests::{Cluster, Owner, PATIENCE, RedisServer, eventually};

/// The longest ttl in use, where a test waits for it.
const TTL_MAX: Duration = Duration::from_secs(2);
/// The longest ttl in use, where a test must not live to see its end.
const FOREVER: Duration = Duration::from_secs(600);

fn builder(cluster: &Cluster) -> Builder {
    let builder = Redlatch::builder().connect_timeout(PATIENCE);
    cluster.urls().iter().fold(builder, |builder, url| builder.node(url))
}

fn guarded(cluster: &Cluster, ttl_max: Duration) -> Redlatch {
    builder(cluster).restart_guard(ttl_max).build().expect("a client")
}

fn options(ttl: Duration) -> Options {
    Options::new(ttl).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

/// A cluster whose nodes vote.
async fn fresh(cluster: &Cluster, ttl_max: Duration) -> Redlatch {
    let redlatch = guarded(cluster, ttl_max);
    assert_eq!(redlatch.declare_fresh().await.len(), cluster.len());
    redlatch
}

#[track_caller]
fn assert_quarantined(result: Result<Guard, AcquireError>, ttl_max: Duration) -> AcquireError {
    let error = result.expect_err("nodes that may have forgotten do not vote");
    let AcquireError::Quarantined { remaining, .. } = &error else { panic!("{error:?}") };
    assert!(*remaining <= ttl_max, "{remaining:?}");
    error
}

/// Releases a lock whose ttl is so short that a slow machine may have lost it by now.
async fn give_back(guard: Guard) {
    if let Err(error) = guard.release().await {
        assert!(matches!(error, ReleaseError::Lost(_)), "{error:?}");
    }
}

/// The node's own clock, in milliseconds since 1970.
fn clock_of(node: &RedisServer) -> u128 {
    let (seconds, micros): (u128, u128) = node.query(&["TIME"]);
    seconds * 1_000 + micros / 1_000
}

fn text(key: &[u8]) -> &str {
    str::from_utf8(key).expect("text")
}

/// R16.
#[tokio::test]
async fn a_brand_new_cluster_waits_once() {
    let cluster = Cluster::start(3);
    let redlatch = guarded(&cluster, FOREVER);
    let error = redlatch.try_acquire("job", options(FOREVER)).await;
    let error = assert_quarantined(error, FOREVER);
    let AcquireError::Quarantined { remaining, votes } = &error else { panic!("{error:?}") };
    assert!(*remaining > Duration::ZERO);
    let told = votes.iter().filter(
        |(_, vote)| matches!(vote, Vote::Quarantined { remaining } if *remaining > Duration::ZERO),
    );
    assert!(told.count() >= 2, "{votes}");
    let message = error.to_string();
    assert!(message.starts_with("too few nodes vote; try again in "), "{message}");
    let named = cluster
        .iter()
        .filter(|node| message.contains(&format!("{}: restarted, votes again in ", node.addr())));
    assert!(named.count() >= 2, "{message}");
    assert_eq!(cluster.owner_of("job"), vec![Owner::Nobody; 3]);

    // As if the time had passed.
    for node in &cluster {
        node.command(&["DEL", text(QUARANTINE)]);
    }
    let guard = redlatch.try_acquire("job", options(FOREVER)).await.expect("the nodes vote");
    guard.release().await.expect("a release");
}

/// R16.
#[tokio::test]
async fn a_cluster_that_is_declared_fresh_votes_at_once() {
    let cluster = Cluster::start(3);
    let redlatch = guarded(&cluster, FOREVER);
    let mut names: Vec<_> =
        redlatch.declare_fresh().await.iter().map(ToString::to_string).collect();
    names.sort();
    let mut expected: Vec<_> = cluster.iter().map(|node| node.addr().to_string()).collect();
    expected.sort();
    assert_eq!(names, expected);
    assert!(redlatch.declare_fresh().await.is_empty(), "they were seen before");
    let guard = redlatch.try_acquire("job", options(FOREVER)).await.expect("the nodes vote");
    guard.release().await.expect("a release");
}

#[tokio::test]
async fn a_node_that_waits_already_does_not_believe_that_it_is_fresh() {
    let cluster = Cluster::start(1);
    let redlatch = guarded(&cluster, FOREVER);
    assert_quarantined(redlatch.try_acquire("job", options(FOREVER)).await, FOREVER);
    assert!(redlatch.declare_fresh().await.is_empty());
    assert_quarantined(redlatch.try_acquire("job", options(FOREVER)).await, FOREVER);
}

/// The hazard is real: this is what the guard is for.
#[tokio::test]
async fn without_the_guard_a_restarted_majority_lets_a_second_holder_in() {
    let cluster = Cluster::start(3);
    let redlatch = builder(&cluster).build().expect("a client");
    let first = redlatch.acquire("job", options(FOREVER)).await.expect("a free lock");
    for node in cluster.iter().take(2) {
        node.kill();
        node.restart();
    }
    let second = redlatch.acquire("job", options(FOREVER)).await.expect("a majority forgot");
    assert!(first.is_valid() && second.is_valid());
    // R15: the fence tells them apart all the same.
    assert!(second.fence() > first.fence());
}

/// R16.
#[tokio::test]
async fn with_the_guard_a_restarted_majority_lets_nobody_in_until_the_longest_ttl_has_passed() {
    let cluster = Cluster::start(3);
    let redlatch = fresh(&cluster, TTL_MAX).await;
    let first = redlatch.acquire("job", options(TTL_MAX)).await.expect("a free lock");
    for node in cluster.iter().take(2) {
        node.kill();
        node.restart();
    }
    let restarted: Vec<_> = cluster.iter().take(2).map(clock_of).collect();
    let mut refusals = 0;
    let second = loop {
        match guarded(&cluster, TTL_MAX).try_acquire("job", options(TTL_MAX)).await {
            Ok(second) => break second,
            Err(_) => refusals += 1,
        }
    };
    assert!(!first.is_valid(), "two holders");
    assert!(refusals > 0);
    // A majority of the second lock has at least one of the two, which waited by its own clock.
    let waited = cluster
        .iter()
        .zip(&restarted)
        .filter(|(node, since)| clock_of(node) - **since >= TTL_MAX.as_millis());
    assert!(waited.count() >= 1);
    give_back(second).await;
}

/// R13, R16: whoever waits is let in when the nodes vote again.
#[tokio::test]
async fn an_acquire_waits_for_the_end_of_the_quarantine() {
    let cluster = Cluster::start(3);
    let redlatch = guarded(&cluster, TTL_MAX);
    let guard = redlatch.acquire("job", options(TTL_MAX)).await.expect("the nodes vote again");
    let waiting = cluster.iter().filter(|node| node.owner_of(text(QUARANTINE)) != Owner::Nobody);
    assert!(waiting.count() <= 1);
    give_back(guard).await;
    let guard = redlatch.try_acquire("job", options(TTL_MAX)).await.expect("once is enough");
    give_back(guard).await;
}

fn is_on_every_node(cluster: &Cluster) -> bool {
    cluster.owner_of("job").iter().all(|owner| *owner != Owner::Nobody)
}

/// Waits until the client has reached every node for the lock that it was granted. One that it still
/// connects to when it is killed may be left alone by the client for a while.
async fn on_every_node(cluster: &Cluster) {
    eventually("all nodes have the token", async || is_on_every_node(cluster)).await;
}

/// That nobody gets a lock, neither the one that was held nor another.
async fn assert_nobody_gets_in(redlatch: &Redlatch) {
    // Of this one the third node still has the key, so it is refused rather than quarantined.
    let error = redlatch.try_acquire("job", options(FOREVER)).await.expect_err("no vote");
    let mut votes = error.votes().expect("votes").iter();
    assert!(votes.any(|(_, vote)| matches!(vote, Vote::Quarantined { .. })), "{error}");
    assert_quarantined(redlatch.try_acquire("other", options(FOREVER)).await, FOREVER);
    assert!(redlatch.declare_fresh().await.is_empty(), "they wait already");
}

/// R16: the key is there again, but whether others were lost nobody knows.
#[tokio::test]
async fn a_node_that_restarts_with_its_data_is_quarantined_as_well() {
    // Otherwise Redis may put a write off while it syncs an earlier one, and lose it here.
    let always = ["--appendfsync", "always"];
    let cluster = Cluster::start_with(3, |_, builder| builder.append_only().args(&always));
    let redlatch = fresh(&cluster, FOREVER).await;
    let guard = redlatch.acquire("job", options(FOREVER)).await.expect("a free lock");
    on_every_node(&cluster).await;
    for node in cluster.iter().take(2) {
        node.kill();
        node.restart();
    }
    assert!(is_on_every_node(&cluster));
    assert_nobody_gets_in(&redlatch).await;
    // The holder's own key is there, so it may hold on.
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
}

/// R16: the marker is gone with all the rest.
#[tokio::test]
async fn a_node_that_was_flushed_is_quarantined() {
    let cluster = Cluster::start(3);
    let redlatch = fresh(&cluster, FOREVER).await;
    let guard = redlatch.acquire("job", options(FOREVER)).await.expect("a free lock");
    for node in cluster.iter().take(2) {
        node.command(&["FLUSHALL"]);
    }
    assert_nobody_gets_in(&redlatch).await;
    assert!(guard.is_valid());
}

/// R16: a snapshot from before the lock has the marker of a process that has ended.
#[tokio::test]
async fn a_node_that_was_restored_from_an_old_snapshot_is_quarantined() {
    // The fixture switches snapshots off at the start, not their loading.
    let cluster = Cluster::start(3);
    let redlatch = fresh(&cluster, FOREVER).await;
    for node in &cluster {
        node.command(&["SAVE"]);
        fs::copy(node.directory().join("dump.rdb"), node.directory().join("old.rdb"))
            .expect("a snapshot");
    }
    drop(redlatch);
    let restore = |node: &RedisServer| {
        node.kill();
        fs::rename(node.directory().join("old.rdb"), node.directory().join("dump.rdb"))
            .expect("a snapshot");
        node.restart();
        assert_ne!(node.owner_of(text(MARKER)), Owner::Nobody, "the snapshot has a marker");
    };
    let redlatch = guarded(&cluster, FOREVER);
    let first = redlatch.acquire("job", options(FOREVER)).await.expect("the nodes vote");
    on_every_node(&cluster).await;
    cluster.iter().take(2).for_each(restore);
    assert_eq!(cluster[0].owner_of("job"), Owner::Nobody, "the snapshot has no lock");
    assert_nobody_gets_in(&redlatch).await;
    assert!(first.is_valid());
}

/// R16: no holder may rely on a key for longer than others keep away.
#[tokio::test]
async fn a_ttl_above_the_longest_is_refused() {
    let cluster = Cluster::start(3);
    let redlatch = fresh(&cluster, TTL_MAX).await;
    let longer = options(TTL_MAX + Duration::from_millis(1));
    let error = redlatch.try_acquire("job", longer).await.expect_err("it is too long");
    let message = error.to_string();
    assert!(message.contains("the ttl is longer than the restart guard"), "{message}");
    assert_eq!(cluster.owner_of("job"), vec![Owner::Nobody; 3]);
    let longest = options(TTL_MAX);
    let guard = redlatch.try_acquire("job", longest).await.expect("as long as the longest");
    give_back(guard).await;
}

/// R16: and its votes come back without anybody's doing.
#[tokio::test]
async fn a_minority_in_quarantine_hurts_nobody_and_votes_again_after() {
    let cluster = Cluster::start(3);
    let redlatch = fresh(&cluster, TTL_MAX).await;
    give_back(redlatch.try_acquire("job", options(TTL_MAX)).await.expect("it")).await;
    cluster[0].kill();
    cluster[0].restart();
    let guard = redlatch.try_acquire("job", options(TTL_MAX)).await.expect("two are enough");
    assert_eq!(cluster[0].owner_of("job"), Owner::Nobody);
    give_back(guard).await;

    // Without the second node there is no majority but with the first.
    cluster[1].kill();
    let guard = redlatch.acquire("job", options(TTL_MAX)).await.expect("it votes again");
    assert_ne!(cluster[0].owner_of("job"), Owner::Nobody);
    give_back(guard).await;
}

/// R16: it takes two of five to be without a majority of the rest.
#[tokio::test]
async fn nodes_in_quarantine_and_nodes_that_are_down_add_up() {
    let cluster = Cluster::start(5);
    let redlatch = fresh(&cluster, FOREVER).await;
    cluster[0].kill();
    cluster[1].restart();
    let guard = redlatch.acquire("job", options(FOREVER)).await.expect("three are enough");
    guard.release().await.expect("a release");
    cluster[2].restart();
    assert_quarantined(redlatch.try_acquire("job", options(FOREVER)).await, FOREVER);
    cluster[3].kill();
    let error = redlatch.try_acquire("job", options(FOREVER)).await.expect_err("one votes");
    assert!(
        matches!(error, AcquireError::Quarantined { .. } | AcquireError::NoQuorum { .. }),
        "{error:?}"
    );
}
