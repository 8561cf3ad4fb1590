//! A look at a lock from outside.

use super::*;

use redlatch::{LockState, NodeState};

#[tokio::test]
async fn a_look_tells_a_free_lock_from_a_held_one() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert_eq!(inspection.state, LockState::Free);
    let names: Vec<_> = inspection.nodes.iter().map(|node| node.node.to_string()).collect();
    assert_eq!(names, cluster.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>());
    assert!(
        inspection.nodes.iter().all(|node| node.sighting == Ok(NodeState::Free { fence: None }))
    );

    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let inspection = redlatch.inspect("job").await.expect("a name");
    let LockState::Held { remaining: Some(remaining) } = inspection.state else {
        panic!("{inspection:?}")
    };
    assert!(remaining > Duration::ZERO && remaining <= FOREVER, "{remaining:?}");
    let fence = guard.fence();
    let taken = inspection.nodes.iter().filter(|node| {
        matches!(&node.sighting, Ok(NodeState::Taken { remaining: Some(_), fence: told })
            if *told == fence)
    });
    assert!(taken.count() >= 2, "{inspection:?}");
    // It changed nothing.
    assert!(guard.is_valid());
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
    eventually_free(&cluster, "job").await;
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert_eq!(inspection.state, LockState::Free);
}

/// To rslock a node that is down is one without a key.
#[tokio::test]
async fn a_look_names_the_node_that_is_down() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let _guard = redlatch.acquire("job", options()).await.expect("a free lock");
    cluster[1].kill();
    let inspection = redlatch.inspect("job").await.expect("a name");
    let down = inspection.nodes.iter().filter(|node| node.sighting.is_err());
    let down: Vec<_> = down.map(|node| node.node.to_string()).collect();
    assert_eq!(down, [cluster[1].addr().to_string()], "{inspection:?}");
    cluster[0].kill();
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert_eq!(inspection.state, LockState::Undecided, "{inspection:?}");
}

/// Servers close connections that were idle, and nobody looks all the time.
#[tokio::test]
async fn a_look_is_not_spoiled_by_connections_that_were_closed_meanwhile() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    for _ in 0..2 {
        let inspection = redlatch.inspect("job").await.expect("a name");
        assert_eq!(inspection.state, LockState::Free);
        assert!(inspection.nodes.iter().all(|node| node.sighting.is_ok()), "{inspection:?}");
        for node in &cluster {
            node.command(&["CLIENT", "KILL", "USER", "default"]);
        }
    }
    assert_eq!(redlatch.declare_fresh().await.len(), 3);
}

#[tokio::test]
async fn a_look_at_silent_nodes_ends() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    redlatch.inspect("job").await.expect("a name");
    for node in &cluster {
        node.pause();
    }
    let look = tokio::time::timeout(PATIENCE, redlatch.inspect("job"));
    let inspection = look.await.expect("an end").expect("a name");
    assert_eq!(inspection.state, LockState::Undecided);
    assert!(inspection.nodes.iter().all(|node| node.sighting.is_err()), "{inspection:?}");
}

/// R5: neither free nor held.
#[tokio::test]
async fn a_split_is_undecided() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    cluster[0].command(&["SET", "job", "one", "PX", "60000"]);
    cluster[1].command(&["SET", "job", "other", "PX", "60000"]);
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert_eq!(inspection.state, LockState::Undecided, "{inspection:?}");
    cluster[1].command(&["SET", "job", "one"]);
    let inspection = redlatch.inspect("job").await.expect("a name");
    let LockState::Held { remaining: Some(remaining) } = inspection.state else {
        panic!("{inspection:?}")
    };
    assert!(remaining <= Duration::from_secs(60), "until the majority is gone: {remaining:?}");
    cluster[2].command(&["SET", "job", "one"]);
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert_eq!(inspection.state, LockState::Held { remaining: None });
    assert_eq!(inspection.nodes[2].sighting, Ok(NodeState::Taken { remaining: None, fence: None }));
}

/// pottery tells the longest of three answers of five, and aioredlock tells nothing unless all agree.
#[tokio::test]
async fn a_lock_is_held_for_as_long_as_a_majority_of_all_nodes_has_it() {
    let cluster = Cluster::start(5);
    let redlatch = client(&cluster);
    for (node, ttl) in cluster.iter().zip(["500000", "300000", "400000", "200000", "100000"]) {
        node.command(&["SET", "job", "one", "PX", ttl]);
    }
    let remaining = async || {
        let inspection = redlatch.inspect("job").await.expect("a name");
        let LockState::Held { remaining: Some(remaining) } = inspection.state else {
            panic!("{inspection:?}")
        };
        remaining.as_secs()
    };
    assert!((201..=300).contains(&remaining().await));
    cluster[0].kill();
    assert!((101..=200).contains(&remaining().await));
    cluster[1].kill();
    assert!((1..=100).contains(&remaining().await));
    cluster[2].kill();
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert_eq!(inspection.state, LockState::Undecided, "{inspection:?}");
}

#[tokio::test]
async fn a_look_at_several_resources_sees_one_that_is_taken() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let _guard = redlatch.acquire("{a}2", options()).await.expect("a free lock");
    let inspection = redlatch.inspect(["{a}1", "{a}2"]).await.expect("names");
    assert!(matches!(inspection.state, LockState::Held { .. }), "{inspection:?}");
    assert!(redlatch.inspect(["one", "two"]).await.is_err());
    assert!(redlatch.inspect("").await.is_err());
}

#[tokio::test]
async fn a_lock_without_a_fence_can_be_looked_at_whatever_its_name() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let unfenced = options().without_fence();
    let _guard = redlatch.acquire("open}brace", unfenced).await.expect("a free lock");
    let inspection = redlatch.inspect("open}brace").await.expect("a name that was locked");
    assert!(matches!(inspection.state, LockState::Held { .. }), "{inspection:?}");
}

#[tokio::test]
async fn the_plain_dialect_can_look_as_well() {
    let cluster = Cluster::start(3);
    let redlatch = builder(&cluster).plain().build().expect("a client");
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert_eq!(inspection.state, LockState::Free);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let inspection = redlatch.inspect("job").await.expect("a name");
    assert!(matches!(inspection.state, LockState::Held { remaining: Some(_) }), "{inspection:?}");
    drop(guard);
}
