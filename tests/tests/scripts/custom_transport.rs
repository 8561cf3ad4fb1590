//! The core's example, a transport of one's own in eighty lines, on real servers.

use super::*;
use std::sync::Mutex;

use redlatch_tests::Cluster;

#[expect(dead_code, reason = "it has a `main`, for people")]
#[path = "../../../crates/redlatch-core/examples/custom_transport.rs"]
mod example;

const RESOURCE: &str = "report";

#[test]
fn a_transport_by_hand_takes_and_releases_a_lock() {
    let cluster = Cluster::start(3);
    let nodes: Vec<_> = cluster.iter().map(RedisServer::addr).collect();
    let tokens = Mutex::new(Vec::new());
    for _ in 0..2 {
        example::lock(&nodes, |lease| {
            assert!(cluster.holds(RESOURCE, &hex(lease.token)) >= 2);
            tokens.lock().expect("no panic").push(hex(lease.token));
            // Nobody else gets it meanwhile.
            let second = example::lock(&nodes, |_| panic!("two holders"));
            assert!(second.expect_err("it is taken").to_string().contains("Contended"));
        })
        .expect("a free lock");
        // It returns when a majority is free; the third node follows.
        assert!(cluster.owner_of(RESOURCE).iter().filter(|o| **o == Owner::Nobody).count() >= 2);
    }
    let tokens = tokens.into_inner().expect("no panic");
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);
}

#[test]
fn a_transport_by_hand_needs_a_majority_only() {
    let cluster = Cluster::start(3);
    let nodes: Vec<_> = cluster.iter().map(RedisServer::addr).collect();
    cluster[1].kill();
    let token = Mutex::new(None);
    example::lock(&nodes, |lease| *token.lock().expect("no panic") = Some(lease.token))
        .expect("two are enough");
    assert!(token.into_inner().expect("no panic").is_some());
    cluster[2].kill();
    let error = example::lock(&nodes, |_| panic!("no majority")).expect_err("one is not enough");
    assert!(error.to_string().contains("NoQuorum"), "{error}");
}
