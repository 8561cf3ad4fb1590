//! Acquire, and how long it waits.

use super::*;
use std::time::Instant;

use redlatch::{Guard, Vote};
use redlatch_tests::unique_resource;

#[tokio::test]
async fn a_free_lock_is_acquired_on_every_node() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let resource = unique_resource("free");
    let guard = redlatch.acquire(&resource, options()).await.expect("a free lock");
    assert!(guard.is_valid());
    let token = holder(&cluster, &resource).expect("a majority");
    assert!(Token::from_hex(token.as_bytes()).is_ok(), "{token}");
    eventually("all nodes have the token", async || cluster.holds(&resource, &token) == 3).await;
    guard.release().await.expect("a release");
    eventually_free(&cluster, &resource).await;
}

#[tokio::test]
async fn a_duration_alone_is_enough_to_ask_for() {
    let cluster = Cluster::start(1);
    let redlatch = Redlatch::new(cluster.urls()).expect("a client");
    let guard: Guard = redlatch.acquire("job", FOREVER).await.expect("a free lock");
    assert!(redlatch.try_acquire("job", Duration::from_secs(30)).await.is_err());
    drop(guard);
}

#[tokio::test]
async fn a_taken_lock_is_refused_with_the_time_until_it_is_free() {
    let cluster = Cluster::start(3);
    let (ours, theirs) = (client(&cluster), client(&cluster));
    let resource = unique_resource("taken");
    let guard = ours.acquire(&resource, options()).await.expect("a free lock");
    let holder_before = holder(&cluster, &resource);
    let error = theirs.try_acquire(&resource, options()).await.expect_err("it is taken");
    let AcquireError::Contended { retry_after: Some(after), votes } = &error else {
        panic!("{error:?}")
    };
    assert!(*after > Duration::ZERO && *after <= FOREVER, "{after:?}");
    let refused = votes.iter().filter(|(_, vote)| matches!(vote, Vote::Refused { .. })).count();
    assert!(refused >= 2, "{votes}");
    assert!(error.to_string().contains("no (taken for "), "{error}");
    assert_eq!(holder(&cluster, &resource), holder_before);
    guard.release().await.expect("a release");
    eventually_free(&cluster, &resource).await;
    theirs
        .try_acquire(&resource, options())
        .await
        .expect("it is free")
        .release()
        .await
        .expect("it");
}

/// A client is one holder per grant, not one holder.
#[tokio::test]
async fn a_client_excludes_itself() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let _guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let error = redlatch.clone().try_acquire("job", options()).await.expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
}

/// R13.
#[tokio::test]
async fn an_acquire_waits_until_the_lock_is_released() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let resource = unique_resource("wait");
    let guard = redlatch.acquire(&resource, options()).await.expect("a free lock");
    let waiter = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        async move { redlatch.acquire(&resource, options()).await }
    });
    let asked = || cluster.iter().all(|node| stat_calls(node, "evalsha") >= 2);
    eventually("the waiter has asked", async || asked()).await;
    assert!(!waiter.is_finished());
    guard.release().await.expect("a release");
    let next = waiter.await.expect("no panic").expect("the lock");
    assert!(next.is_valid());
}

fn stat_calls(server: &RedisServer, command: &str) -> u64 {
    let info: String = server.query(&["INFO", "commandstats"]);
    let prefix = format!("cmdstat_{command}:calls=");
    let value = info.lines().find_map(|line| line.strip_prefix(&prefix));
    value.map_or(0, |rest| rest.split(',').next().expect("a value").parse().expect("a number"))
}

#[tokio::test]
async fn an_acquire_waits_until_the_holders_key_expires() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    for node in &cluster {
        node.command(&["SET", "job", "a holder that is gone", "PX", "200"]);
    }
    let guard = redlatch.acquire("job", options()).await.expect("the lock");
    // A minority of the keys may have a moment left.
    assert!(cluster.holds("job", "a holder that is gone") <= 1);
    assert!(guard.is_valid());
}

/// R13.
#[tokio::test]
async fn attempts_are_bounded_by_their_number() {
    let cluster = Cluster::start(1);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let asked = stat_calls(&cluster[0], "evalsha");
    let few = options()
        .attempts_max(3.try_into().expect("not zero"))
        .retry_delay(Duration::from_millis(1), Duration::from_millis(2));
    let error = redlatch.acquire("job", few).await.expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    // Three acquires, and a release after each (R4).
    eventually("the releases", async || stat_calls(&cluster[0], "evalsha") == asked + 6).await;
    drop(guard);
}

/// R13: no node is asked after the time that the caller gave.
#[tokio::test]
async fn a_deadline_that_has_passed_asks_no_node() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let before: Vec<_> = cluster.iter().map(connections_of).collect();
    for deadline in [Instant::now(), Instant::now().checked_sub(PATIENCE).expect("uptime")] {
        let error = redlatch.acquire_by(deadline, "job", options()).await.expect_err("too late");
        assert_eq!(error, AcquireError::DeadlineExceeded { votes: None });
        assert!(error.to_string().contains("before any node was asked"), "{error}");
    }
    redlatch.shutdown().await;
    for (node, before) in cluster.iter().zip(before) {
        // One more: that of the first count.
        assert_eq!(connections_of(node), before + 1);
    }
}

#[tokio::test]
async fn a_deadline_ends_the_wait_for_a_taken_lock() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let token = holder(&cluster, "job").expect("a majority");
    let deadline = Instant::now() + Duration::from_millis(300);
    let error = redlatch.acquire_by(deadline, "job", options().wait(FOREVER)).await;
    let error = error.expect_err("it is taken");
    assert!(
        matches!(error, AcquireError::Contended { .. } | AcquireError::DeadlineExceeded { .. }),
        "{error:?}"
    );
    assert_eq!(holder(&cluster, "job"), Some(token));
    assert!(guard.is_valid());
}

/// R9: not even a node timeout that was set longer outlasts the deadline.
#[tokio::test]
async fn a_deadline_ends_the_wait_for_silent_nodes() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    redlatch.acquire("warm", options()).await.expect("a lock").release().await.expect("a release");
    cluster[0].pause();
    cluster[1].pause();
    let deadline = Instant::now() + Duration::from_millis(300);
    let patient = options().node_timeout(FOREVER).wait(FOREVER);
    let acquire = redlatch.acquire_by(deadline, "job", patient);
    let error =
        tokio::time::timeout(PATIENCE, acquire).await.expect("an end").expect_err("silence");
    let votes = error.votes().expect("nodes were asked");
    assert!(
        matches!(error, AcquireError::DeadlineExceeded { .. } | AcquireError::NoQuorum { .. }),
        "{error:?}"
    );
    assert!(votes.iter().take(2).all(|(_, vote)| *vote == Vote::Silent), "{votes}");
    assert!(error.to_string().contains(&format!("{}: no answer yet", cluster[0].addr())));
    // R4, R12: what the third node gave is given back, and so is what the others give later.
    cluster[0].resume();
    cluster[1].resume();
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn a_deadline_that_is_far_away_changes_nothing() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let deadline = Instant::now() + FOREVER;
    let guard = redlatch.acquire_by(deadline, "job", options()).await.expect("a free lock");
    assert!(guard.is_valid());
}

/// R2.
#[tokio::test]
async fn a_ttl_that_cannot_work_is_refused_before_any_node_is_asked() {
    let cluster = Cluster::start(1);
    let redlatch = client(&cluster);
    let before = connections_of(&cluster[0]);
    for (asked, expected) in [
        (Options::new(Duration::ZERO), "1 ms to 24 h"),
        (Options::new(Duration::from_micros(1_500)), "whole milliseconds"),
        (Options::new(Duration::from_secs(86_401)), "1 ms to 24 h"),
        (Options::new(Duration::from_millis(2)), "leaves no validity"),
        (options().validity_min(FOREVER), "leaves no validity"),
        (options().node_timeout(Duration::ZERO), "node timeout is zero"),
    ] {
        let error = invalid(redlatch.acquire("job", asked.clone()).await).to_string();
        assert!(error.contains(expected), "{asked:?}: {error}");
    }
    redlatch.shutdown().await;
    assert_eq!(connections_of(&cluster[0]), before + 1);
}

#[tokio::test]
async fn a_client_that_is_shut_down_takes_no_locks() {
    let cluster = Cluster::start(1);
    let redlatch = client(&cluster);
    drop(redlatch.acquire("job", options()).await.expect("a free lock"));
    redlatch.shutdown().await;
    assert!(is_free(&cluster, "job"), "shutdown waits for releases");
    let error = redlatch.clone().acquire("job", options()).await.expect_err("it is shut down");
    assert_eq!(error, AcquireError::Cancelled);
}
