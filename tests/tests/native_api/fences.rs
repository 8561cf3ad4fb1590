//! Fencing tokens (R15).

use super::*;
use std::sync::{Arc, Mutex};

use redlatch::{LockState, NodeState};

/// How many grants a run has, and how many contenders share them.
const GRANTS: usize = 200;
const CONTENDERS: usize = 4;

/// R15.
#[tokio::test]
async fn fences_rise_from_grant_to_grant_and_are_never_given_twice() {
    let cluster = Cluster::start(3);
    let fences = Arc::new(Mutex::new(Vec::new()));
    let eager = options().retry_delay(Duration::from_millis(1), Duration::from_millis(10));
    let contenders = (0..CONTENDERS).map(|_| {
        let (redlatch, fences, eager) = (client(&cluster), Arc::clone(&fences), eager.clone());
        tokio::spawn(async move {
            for _ in 0..GRANTS / CONTENDERS {
                let guard = redlatch.acquire("job", &eager).await.expect("a turn");
                fences.lock().expect("no panic").push(guard.fence().expect("a fence"));
                guard.release().await.expect("a release");
            }
        })
    });
    for contender in futures_util::future::join_all(contenders).await {
        contender.expect("no panic");
    }
    let fences = fences.lock().expect("no panic");
    assert_eq!(fences.len(), GRANTS);
    assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
}

/// R15: a lease is granted with a fence for which a majority is registered, exactly.
#[tokio::test]
async fn nodes_whose_numbers_differ_are_brought_to_one_fence() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let ahead = 1_u64 << 51;
    for (node, number) in cluster.iter().zip([ahead, ahead + 1_000, ahead + 77]) {
        node.command(&["SET", "redlatch:fence:{job}", &number.to_string()]);
    }
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let fence = guard.fence().expect("a fence");
    let numbers: Vec<u64> =
        cluster.iter().map(|node| node.query(&["GET", "redlatch:fence:{job}"])).collect();
    // A seal to a still larger number may have been on its way when the grant was decided.
    let registered = numbers.iter().filter(|number| **number >= fence).count();
    assert!(registered >= 2, "{fence} of {numbers:?}");
    assert!(fence > ahead + 77, "above what any majority has: {fence}");
    guard.release().await.expect("a release");

    // Whichever majority granted it, the next fence is larger.
    for down in 0..3 {
        cluster[down].pause();
        let next = redlatch.acquire("job", options()).await.expect("two nodes are enough");
        assert!(next.fence() > Some(fence));
        next.release().await.expect("a release");
        cluster[down].resume();
    }
}

#[tokio::test]
async fn a_fence_survives_the_loss_of_a_minority() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let fence = guard.fence();
    guard.release().await.expect("a release");
    eventually_free(&cluster, "job").await;
    cluster[1].command(&["FLUSHALL"]);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    assert!(guard.fence() > fence);
}

#[tokio::test]
async fn who_asks_for_no_fence_gets_none_and_leaves_none() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options().without_fence()).await.expect("a free lock");
    assert_eq!(guard.fence(), None);
    assert_eq!(guard.view().fence(), None);
    guard.extend().await.expect("an extension");
    for node in &cluster {
        let keys: Vec<String> = node.query(&["KEYS", "redlatch:*"]);
        assert_eq!(keys, Vec::<String>::new());
    }
    let error = redlatch.try_acquire("job", options()).await.expect_err("fences or not");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    guard.release().await.expect("a release");
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn a_name_that_can_have_no_fence_can_be_locked_without() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let error = invalid(redlatch.acquire("open}brace", options()).await);
    assert!(error.to_string().contains("lock it without a fence"), "{error}");
    let unfenced = options().without_fence();
    let guard = redlatch.acquire("open}brace", unfenced).await.expect("a free lock");
    assert!(holder(&cluster, "open}brace").is_some());
    guard.release().await.expect("a release");
}

/// R15: the number outlives the key by the retention that was asked for.
#[tokio::test]
async fn a_fence_number_is_kept_for_the_retention() {
    let cluster = Cluster::start(1);
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let redlatch = builder(&cluster).fence_retention(days(30)).build().expect("a client");
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let fence = guard.fence().expect("a fence");
    let left = cluster[0].pttl_ms("redlatch:fence:{job}").expect("a node that runs");
    assert!(left > 29 * 86_400_000 && left <= 30 * 86_400_000, "{left}");
    guard.release().await.expect("a release");
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert_eq!(inspection.state, LockState::Free);
    assert_eq!(inspection.nodes[0].sighting, Ok(NodeState::Free { fence: Some(fence) }));
}
