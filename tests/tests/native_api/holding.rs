//! What a guard tells and does.

use super::*;
use std::time::Instant;

use futures_util::FutureExt;
use redlatch::{Drift, ExtendError, Loss, ReleaseError};

/// A ttl that a test waits for.
const SHORT: Duration = Duration::from_millis(300);

/// R1: counted from before the first byte was sent, with the drift taken off.
#[tokio::test]
async fn a_guard_tells_how_long_it_is_good_for() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let before = Instant::now();
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let validity = FOREVER - FOREVER / 100 - Duration::from_millis(2);
    assert!(guard.remaining() <= validity);
    assert!(guard.remaining() > Duration::ZERO);
    assert!(guard.valid_until() <= Instant::now() + validity);
    assert!(guard.valid_until() > before);
    assert!(guard.is_valid());
    assert!(!guard.is_at_risk());
    assert_eq!(guard.resources().to_string(), "job");
    let view = guard.view();
    assert!(view.is_valid());
    assert!(view.remaining() <= validity);
    assert_eq!(view.fence(), guard.fence());

    let careful = options().drift(Drift::from_ppm(500_000).expect("half"));
    let guard = redlatch.acquire("other", careful).await.expect("a free lock");
    assert!(guard.remaining() < FOREVER / 2);
}

/// R10.
#[tokio::test]
async fn an_extension_makes_every_node_keep_the_key_for_the_ttl_again() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    eventually_taken(&cluster, "job").await;
    let token = holder(&cluster, "job").expect("a majority");
    let fence = guard.fence();
    for node in &cluster {
        // As if most of the time had passed.
        node.command(&["PEXPIRE", "job", "60000"]);
    }
    guard.extend().await.expect("an extension");
    let extended = || cluster.pttl_ms("job").iter().all(|left| *left > Some(60_000));
    eventually("every node is extended", async || extended()).await;
    assert_eq!(cluster.holds("job", &token), 3);
    assert_eq!(guard.fence(), fence);
    guard.release().await.expect("a release");
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn extensions_asked_for_at_once_are_all_answered() {
    let cluster = Cluster::start(3);
    let guard = client(&cluster).acquire("job", options()).await.expect("a free lock");
    let all = futures_util::future::join_all((0..20).map(|_| guard.extend())).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

/// R11: told by a deadline; no node needs to answer.
#[tokio::test]
async fn a_lock_that_is_not_extended_is_lost_for_good() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options().ttl(SHORT)).await.expect("a free lock");
    let (fence, view) = (guard.fence(), guard.view());
    for node in &cluster {
        node.pause();
    }
    let lost = tokio::time::timeout(PATIENCE, guard.lost()).await.expect("news in time");
    assert_eq!(lost, Loss::Expired);
    assert!(!guard.is_valid());
    assert!(!view.is_valid());
    assert_eq!(guard.remaining(), Duration::ZERO);
    assert!(guard.valid_until() <= Instant::now());
    for node in &cluster {
        node.resume();
    }
    assert_eq!(guard.extend().await, Err(ExtendError::Lost(Loss::Expired)));
    assert_eq!(guard.lost().await, Loss::Expired, "told to whoever asks, whenever");
    assert_eq!(view.into_lost().await, Loss::Expired);
    assert_eq!(
        (guard.fence(), guard.is_valid()),
        (fence, false),
        "what is written late is refused"
    );
    let error = guard.release().await.expect_err("it is lost");
    assert_eq!(error, ReleaseError::Lost(Loss::Expired));
    assert!(error.to_string().contains("was not extended in time"), "{error}");
}

/// R14.
#[tokio::test]
async fn a_lock_that_renews_itself_is_lost_when_it_was_held_for_as_long_as_allowed() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let renewed = options().renew_up_to(SHORT);
    let guard = redlatch.acquire("job", renewed).await.expect("a free lock");
    assert!(guard.remaining() <= SHORT);
    let lost = tokio::time::timeout(PATIENCE, guard.lost()).await.expect("news in time");
    assert_eq!(lost, Loss::HoldMax);
    eventually_free(&cluster, "job").await;
}

/// R14.
#[tokio::test]
async fn a_lock_that_renews_itself_outlives_its_ttl() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let renewed = options().ttl(Duration::from_secs(9)).renew_up_to(FOREVER);
    let guard = redlatch.acquire("job", renewed).await.expect("a free lock");
    let token = holder(&cluster, "job").expect("a majority");
    // Too late rather than too early, and below the other way round.
    let granted_until = guard.remaining();
    let granted_until = Instant::now() + granted_until;
    let renewed = || guard.valid_until() > granted_until;
    eventually("a renewal", async || renewed()).await;
    assert!(guard.is_valid());
    assert_eq!(holder(&cluster, "job"), Some(token));
}

/// R12.
#[tokio::test]
async fn a_guard_that_is_released_is_never_lost() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let (lost, view) = (guard.lost(), guard.view());
    guard.release().await.expect("a release");
    assert!(!view.is_valid());
    assert!(lost.now_or_never().is_none());
    assert!(view.into_lost().now_or_never().is_none());
}

/// R5: silence is no release.
#[tokio::test]
async fn a_release_that_a_majority_did_not_hear_says_which_nodes_were_silent() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let brief = options().node_timeout(Duration::from_secs(1));
    let guard = redlatch.acquire("job", brief).await.expect("a free lock");
    cluster[0].kill();
    cluster[2].kill();
    let error = guard.release().await.expect_err("two nodes are down");
    let ReleaseError::Unconfirmed { expires_in, votes } = &error else { panic!("{error:?}") };
    assert!(*expires_in > Duration::ZERO);
    assert_eq!(votes.iter().len(), 3);
    let text = error.to_string();
    assert!(text.contains(&cluster[0].addr().to_string()), "{text}");
    assert!(text.contains(&cluster[2].addr().to_string()), "{text}");
    // The one that is up is told all the same.
    let told = || cluster[1].owner_of("job") == Owner::Nobody;
    eventually("the third node is free", async || told()).await;
}

/// R10: a miss changes nothing.
#[tokio::test]
async fn an_extension_that_misses_its_majority_leaves_the_lock_held() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    eventually_taken(&cluster, "job").await;
    let token = holder(&cluster, "job").expect("a majority");
    cluster[0].kill();
    cluster[1].kill();
    let error = guard.extend().await.expect_err("two nodes are down");
    let ExtendError::AtRisk { remaining, votes } = &error else { panic!("{error:?}") };
    assert!(*remaining > Duration::ZERO);
    assert!(error.to_string().contains(&cluster[1].addr().to_string()), "{error}");
    assert_eq!(votes.iter().len(), 3);
    assert!(guard.is_valid());
    assert!(guard.is_at_risk());
    assert_eq!(cluster[2].owner_of("job"), Owner::Token(token));
}

#[tokio::test]
async fn a_guard_that_is_dropped_is_released() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    drop(redlatch.acquire("job", options()).await.expect("a free lock"));
    eventually_free(&cluster, "job").await;
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    // The guard outlives its client.
    drop(redlatch);
    assert!(guard.is_valid());
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
    eventually_free(&cluster, "job").await;
}

/// R12: the lease is dropped before the first node hears of it.
#[tokio::test]
async fn a_lock_that_is_being_released_is_not_held_any_more() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    for way in ["release", "drop"] {
        let guard = redlatch.acquire("job", options()).await.expect("a free lock");
        eventually_taken(&cluster, "job").await;
        let view = guard.view();
        // A majority that is silent keeps the release from ending.
        cluster[0].pause();
        cluster[1].pause();
        let release = tokio::spawn(async move {
            if way == "release" {
                return guard.release().await;
            }
            drop(guard);
            Ok(())
        });
        let told = || cluster[2].owner_of("job") == Owner::Nobody;
        eventually("a node was told", async || told()).await;
        let (is_valid, remaining) = (view.is_valid(), view.remaining());
        cluster[0].resume();
        cluster[1].resume();
        assert!(!is_valid && remaining.is_zero(), "{way}: {remaining:?}");
        release.await.expect("no panic").expect("a release");
        eventually_free(&cluster, "job").await;
    }
}
