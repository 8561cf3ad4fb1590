//! A lease that is handed to another process.

use super::*;
use std::task::Poll;
use std::time::SystemTime;

use redlatch::{AdoptError, LeaseParts, Loss};

/// The lease of a lock that every node has.
async fn parts_of(cluster: &Cluster, redlatch: &Redlatch, resource: &str) -> LeaseParts {
    let guard = redlatch.acquire(resource, options()).await.expect("a free lock");
    eventually_taken(cluster, resource).await;
    guard.into_parts().await.expect("a lease")
}

#[tokio::test]
async fn a_lease_is_handed_over_and_held_on() {
    let cluster = Cluster::start(3);
    let (giver, taker) = (client(&cluster), client(&cluster));
    let guard = giver.acquire("job", options()).await.expect("a free lock");
    eventually_taken(&cluster, "job").await;
    let token = holder(&cluster, "job").expect("a majority");
    let (fence, view) = (guard.fence(), guard.view());
    let parts = guard.into_parts().await.expect("a lease");
    assert_eq!(hex(parts.token), token);
    assert_eq!((parts.fence, parts.ttl), (fence, FOREVER));
    assert_eq!(parts.resources.to_string(), "job");
    assert!(parts.valid_until > SystemTime::now());
    eventually("it is somebody else's now", async || !view.is_valid()).await;

    // Nobody releases it on the way, not even the giver's shutdown.
    drop(view);
    giver.shutdown().await;
    drop(giver);
    assert_eq!(holder(&cluster, "job"), Some(token.clone()));

    // What travels is text.
    let sent = LeaseParts {
        token: Token::from_hex(token.as_bytes()).expect("a token"),
        resources: "job".into(),
        ..parts.clone()
    };
    assert_eq!(sent, parts);

    let adopted = taker.adopt(&sent, &options()).expect("it is still held");
    assert!(adopted.is_valid());
    assert_eq!(adopted.fence(), fence);
    let left = parts.valid_until.duration_since(SystemTime::now()).expect("it is later");
    assert!(adopted.remaining() <= left, "adopting adds no time");
    for node in &cluster {
        node.command(&["PEXPIRE", "job", "60000"]);
    }
    adopted.extend().await.expect("an extension");
    let extended = || cluster.pttl_ms("job").iter().all(|left| *left > Some(60_000));
    eventually("every node is extended", async || extended()).await;
    assert_eq!(holder(&cluster, "job"), Some(token));
    adopted.release().await.expect("a release");
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn an_adopted_lease_is_a_guard_like_any_other() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let parts = parts_of(&cluster, &redlatch, "job").await;
    let error = redlatch.try_acquire("job", options()).await.expect_err("it is held");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let again = redlatch.adopt(&parts, &options()).expect("a lease").into_parts().await;
    let again = again.expect("a lease");
    assert_eq!((again.token, again.fence), (parts.token, parts.fence));
    drop(redlatch.adopt(&again, &options()).expect("a lease"));
    eventually_free(&cluster, "job").await;
    // R15.
    let next = redlatch.acquire("job", options()).await.expect("a free lock");
    assert!(next.fence() > parts.fence);
}

/// R14.
#[tokio::test]
async fn an_adopted_lease_renews_itself_if_asked() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let parts = parts_of(&cluster, &redlatch, "job").await;
    let brief = options().renew_up_to(Duration::from_millis(300));
    let guard = redlatch.adopt(&parts, &brief).expect("a lease");
    let lost = tokio::time::timeout(PATIENCE, guard.lost()).await.expect("news in time");
    assert_eq!(lost, Loss::HoldMax);
}

/// R11: somebody else may have held the lock since.
#[tokio::test]
async fn a_lease_that_has_ended_cannot_be_adopted() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let parts = parts_of(&cluster, &redlatch, "job").await;
    let token = holder(&cluster, "job");
    let ended = LeaseParts { valid_until: SystemTime::now(), ..parts.clone() };
    let long_ago = LeaseParts { valid_until: SystemTime::UNIX_EPOCH, ..parts.clone() };
    for lapsed in [&ended, &long_ago] {
        let error = redlatch.adopt(lapsed, &options()).expect_err("it has ended");
        assert_eq!(error, AdoptError::Lost(Loss::Expired));
        assert!(error.to_string().contains("the lock was lost"), "{error}");
    }
    assert_eq!(holder(&cluster, "job"), token, "a look changes nothing");
    redlatch.release(&parts).await.expect("a release");
}

/// The giver's wall clock cannot give the taker more than a lease can have.
#[tokio::test]
async fn a_lease_from_the_future_is_good_for_its_ttl_at_most() {
    let cluster = Cluster::start(1);
    let redlatch = client(&cluster);
    let parts = parts_of(&cluster, &redlatch, "job").await;
    let future = LeaseParts { valid_until: SystemTime::now() + 10 * FOREVER, ..parts };
    let guard = redlatch.adopt(&future, &options()).expect("a lease");
    assert!(guard.remaining() < FOREVER);
}

#[tokio::test]
async fn parts_are_released_without_adopting_them() {
    let cluster = Cluster::start(3);
    let (giver, taker) = (client(&cluster), client(&cluster));
    let parts = parts_of(&cluster, &giver, "job").await;
    taker.release(&parts).await.expect("a release");
    eventually_free(&cluster, "job").await;
    // Somebody else's lock is not touched by a second one.
    let other = giver.acquire("job", options()).await.expect("a free lock");
    let token = holder(&cluster, "job");
    taker.release(&parts).await.expect("there is nothing to release");
    assert_eq!(holder(&cluster, "job"), token);
    assert!(other.is_valid());
}

/// R12.
#[tokio::test]
async fn parts_of_a_lease_that_has_ended_are_released_as_well() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let parts = parts_of(&cluster, &redlatch, "job").await;
    let ended = LeaseParts { valid_until: SystemTime::now(), ..parts };
    let error = redlatch.release(&ended).await.expect_err("it has ended");
    assert_eq!(error, AdoptError::Lost(Loss::Expired));
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn parts_that_no_lock_can_have_are_refused() {
    let cluster = Cluster::start(1);
    let redlatch = client(&cluster);
    let parts = parts_of(&cluster, &redlatch, "job").await;
    for wrong in [
        LeaseParts { ttl: Duration::ZERO, ..parts.clone() },
        LeaseParts { resources: "".into(), ..parts.clone() },
        LeaseParts { resources: ["one", "two"].into(), ..parts.clone() },
    ] {
        let error = redlatch.adopt(&wrong, &options()).expect_err("no lock");
        assert!(matches!(error, AdoptError::Invalid(_)), "{error:?}");
        let error = redlatch.release(&wrong).await.expect_err("no lock");
        assert!(matches!(error, AdoptError::Invalid(_)), "{error:?}");
    }
    redlatch.release(&parts).await.expect("a release");
}

#[tokio::test]
async fn a_lost_lease_has_no_parts() {
    let cluster = Cluster::start(1);
    let redlatch = client(&cluster);
    let brief = options().ttl(Duration::from_millis(300));
    let guard = redlatch.acquire("job", brief).await.expect("a free lock");
    tokio::time::timeout(PATIENCE, guard.lost()).await.expect("news in time");
    assert_eq!(guard.into_parts().await, Err(Loss::Expired));
}

#[tokio::test]
async fn several_resources_and_a_lock_without_a_fence_are_handed_over() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let unfenced = options().without_fence();
    let guard = redlatch.acquire(["{a}1", "{a}2"], unfenced.clone()).await.expect("free locks");
    eventually_taken(&cluster, "{a}2").await;
    let parts = guard.into_parts().await.expect("a lease");
    assert_eq!(parts.fence, None);
    let guard = redlatch.adopt(&parts, &unfenced).expect("a lease");
    assert_eq!(guard.fence(), None);
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
    eventually_free(&cluster, "{a}1").await;
    eventually_free(&cluster, "{a}2").await;
}

/// As every future: dropped at any point, it leaves nothing held.
#[tokio::test]
async fn a_handover_that_is_dropped_releases_the_lock() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let (view, handover) = loop {
        let guard = redlatch.acquire("job", options()).await.expect("a free lock");
        let view = guard.view();
        let mut handover = Box::pin(guard.into_parts());
        match futures_util::poll!(&mut handover) {
            Poll::Pending => break (view, handover),
            // On a busy machine the driver may have answered before it was looked at.
            Poll::Ready(parts) => {
                redlatch.release(&parts.expect("a lease")).await.expect("a release");
            }
        }
    };
    // The answer is there, and nobody takes it.
    eventually("the driver has answered", async || !view.is_valid()).await;
    drop(handover);
    eventually_free(&cluster, "job").await;
}
