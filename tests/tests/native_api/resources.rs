//! Several resources at once, and names that cannot be locked.

use super::*;

use redlatch::{LockState, Resources};

const PAIR: [&str; 2] = ["{order:7}:stock", "{order:7}:invoice"];

#[tokio::test]
async fn several_resources_are_locked_and_released_together() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire(PAIR, options()).await.expect("free locks");
    let token = holder(&cluster, PAIR[0]).expect("a majority");
    assert_eq!(holder(&cluster, PAIR[1]), Some(token));
    assert!(guard.fence().is_some());
    assert_eq!(guard.resources(), &Resources::from(PAIR));
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
    for resource in PAIR {
        eventually_free(&cluster, resource).await;
    }
}

#[tokio::test]
async fn sets_that_share_a_resource_exclude_each_other() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let first = redlatch.acquire(["{a:b}1", "{a:b}2"], options()).await.expect("free locks");
    for overlap in [vec!["{a:b}2", "{a:b}3"], vec!["{a:b}0", "{a:b}1"], vec!["{a:b}2"]] {
        let error = redlatch.try_acquire(overlap, options()).await.expect_err("they overlap");
        assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    }
    eventually_free(&cluster, "{a:b}3").await;
    eventually_free(&cluster, "{a:b}0").await;
    let apart = redlatch.try_acquire(["{a:b}3", "{a:b}4"], options()).await.expect("free locks");
    let fence = first.fence();
    first.release().await.expect("a release");
    apart.release().await.expect("a release");
    // R15: they shared a key, so they are ordered by it.
    let next = redlatch.acquire(["{a:b}2", "{a:b}3"], options()).await.expect("free locks");
    assert!(next.fence() > fence);
}

#[tokio::test]
async fn a_node_takes_all_resources_or_none() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    cluster[0].command(&["SET", PAIR[1], "somebody"]);
    let guard = redlatch.acquire(PAIR, options()).await.expect("a majority is free");
    let token = holder(&cluster, PAIR[0]).expect("a majority");
    eventually("two nodes have it", async || cluster.holds(PAIR[1], &token) == 2).await;
    assert_eq!(cluster[0].owner_of(PAIR[0]), Owner::Nobody);
    assert_eq!(cluster[0].owner_of(PAIR[1]), Owner::Token("somebody".to_owned()));
    guard.release().await.expect("a release");

    // With two nodes taken in part, nothing is left anywhere.
    cluster[1].command(&["SET", PAIR[0], "somebody"]);
    let error = redlatch.try_acquire(PAIR, options()).await.expect_err("a majority is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let left = || {
        cluster[2].owner_of(PAIR[0]) == Owner::Nobody
            && cluster[2].owner_of(PAIR[1]) == Owner::Nobody
            && cluster[0].owner_of(PAIR[0]) == Owner::Nobody
            && cluster[1].owner_of(PAIR[1]) == Owner::Nobody
    };
    eventually("nothing is left", async || left()).await;
}

#[tokio::test]
async fn names_that_cannot_be_locked_are_refused_before_any_node_is_asked() {
    let cluster = Cluster::start(1);
    let redlatch = client(&cluster);
    let before = connections_of(&cluster[0]);
    let (longest, too_long) = ("x".repeat(1024), "x".repeat(1025));
    let nine: Vec<_> = (0..9).map(|i| format!("{{tag}}{i}")).collect();
    let none: Vec<&str> = Vec::new();
    let table: Vec<(Resources, &str)> = vec![
        (["stock", "invoice"].into(), "give their names one hash tag, as in {order:7}:stock"),
        ([PAIR[0], PAIR[1], PAIR[0]].into(), "resource 3 was named before"),
        ("".into(), "0 bytes; it must have 1 to 1024"),
        (["{t}1", ""].into(), "the name of resource 2 has 0 bytes"),
        (too_long.as_str().into(), "1025 bytes; it must have 1 to 1024"),
        (none.into(), "0 resources were named; a lock takes 1 to 8"),
        (nine.into(), "9 resources were named; a lock takes 1 to 8"),
        ("open}brace".into(), "has a closing brace but no hash tag"),
    ];
    for (resources, expected) in table {
        let error = invalid(redlatch.acquire(&resources, options()).await);
        assert!(matches!(error, InvalidRequest::Resources(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    redlatch.shutdown().await;
    assert_eq!(connections_of(&cluster[0]), before + 1);

    let redlatch = client(&cluster);
    let guard = redlatch.acquire(&longest, options()).await.expect("1024 bytes are allowed");
    assert_eq!(cluster.owner_of(&longest), [Owner::Token(holder(&cluster, &longest).expect("it"))]);
    guard.release().await.expect("a release");
}

#[tokio::test]
async fn a_name_is_bytes() {
    let cluster = Cluster::start(1);
    let redlatch = client(&cluster);
    let name: &[u8] = b"\x00\xff\r\n $3 {";
    let guard = redlatch.acquire(name, options()).await.expect("a free lock");
    let keys: Vec<Vec<u8>> = cluster[0].query(&["KEYS", "*"]);
    assert!(keys.iter().any(|key| key == name), "{keys:?}");
    assert!(redlatch.try_acquire(name, options()).await.is_err());
    guard.release().await.expect("a release");
}

#[tokio::test]
async fn a_prefix_is_put_before_every_key_and_shown_nowhere() {
    let cluster = Cluster::start(3);
    let prefixed = builder(&cluster).key_prefix("app:").build().expect("a client");
    let plain = client(&cluster);
    let guard = prefixed.acquire("job", options()).await.expect("a free lock");
    assert!(holder(&cluster, "app:job").is_some());
    assert!(is_free(&cluster, "job"));
    assert_eq!(guard.resources().to_string(), "job");
    let other = plain.acquire("job", options()).await.expect("another key");
    let error = plain.try_acquire("app:job", options()).await.expect_err("the same key");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let inspection = prefixed.inspect("job").await.expect("a name");
    assert!(matches!(inspection.state, LockState::Held { .. }), "{inspection:?}");
    guard.release().await.expect("a release");
    eventually_free(&cluster, "app:job").await;
    assert!(holder(&cluster, "job").is_some());
    drop(other);

    let long = "x".repeat(1022);
    let error = invalid(prefixed.acquire(long.as_str(), options()).await).to_string();
    assert!(error.contains("1026 bytes"), "the key is what counts: {error}");
}

#[tokio::test]
async fn a_prefix_may_give_all_names_one_hash_tag() {
    let cluster = Cluster::start(3);
    let redlatch = builder(&cluster).key_prefix("{app}:").build().expect("a client");
    let guard = redlatch.acquire(["stock", "invoice"], options()).await.expect("free locks");
    assert!(holder(&cluster, "{app}:invoice").is_some());
    eventually_taken(&cluster, "{app}:invoice").await;
    let parts = guard.into_parts().await.expect("a lease");
    assert_eq!(parts.resources.to_string(), "stock, invoice");
    redlatch.release(&parts).await.expect("a release");
    eventually_free(&cluster, "{app}:invoice").await;
}
