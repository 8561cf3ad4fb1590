//! The native client's whole interface, on real servers.

mod executors;
mod fences;
mod handover;
mod holding;
mod inspect;
mod nodes;
mod resources;
mod secrets;
mod using;
mod waiting;

use std::time::Duration;

use redlatch::{AcquireError, Builder, InvalidRequest, Options, Redlatch};
use redlatch_core::Token;
use redlatch_tests::{Cluster, Owner, PATIENCE, RedisServer, eventually};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);

/// A client of all nodes of `cluster`.
fn client(cluster: &Cluster) -> Redlatch {
    builder(cluster).build().expect("a client")
}

/// A builder with all nodes of `cluster`, and with a patience that no loaded machine exhausts.
fn builder(cluster: &Cluster) -> Builder {
    let builder = Redlatch::builder().connect_timeout(PATIENCE);
    cluster.urls().iter().fold(builder, |builder, url| builder.node(url))
}

/// A lock that outlives the test, and nodes that may take as long as they like.
fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

/// The token that a majority of the nodes has.
fn holder(cluster: &Cluster, resource: &str) -> Option<String> {
    let owners = cluster.owner_of(resource);
    let tokens = owners.iter().filter_map(|owner| match owner {
        Owner::Token(token) => Some(token),
        Owner::Nobody | Owner::Unknown => None,
    });
    let held = tokens.max_by_key(|token| cluster.holds(resource, token))?.clone();
    (cluster.holds(resource, &held) * 2 > cluster.len()).then_some(held)
}

/// Waits until every node has a key for `resource`: a grant needs a majority only, and what the others
/// were sent may still be on its way.
async fn eventually_taken(cluster: &Cluster, resource: &str) {
    let is_taken = || cluster.owner_of(resource).iter().all(|owner| *owner != Owner::Nobody);
    eventually("every node is taken", async || is_taken()).await;
}

fn is_free(cluster: &Cluster, resource: &str) -> bool {
    cluster.owner_of(resource).iter().all(|owner| *owner == Owner::Nobody)
}

/// A release is confirmed by a majority; the other nodes follow.
async fn eventually_free(cluster: &Cluster, resource: &str) {
    eventually("every node is free", async || is_free(cluster, resource)).await;
}

fn hex(token: Token) -> String {
    String::from_utf8(token.to_hex().to_vec()).expect("digits")
}

#[track_caller]
fn invalid<T: std::fmt::Debug>(result: Result<T, AcquireError>) -> InvalidRequest {
    match result {
        Err(AcquireError::Invalid(reason)) => reason,
        other => panic!("expected an invalid request, got {other:?}"),
    }
}

/// How many connections the server has ever accepted, without the one that asks.
fn connections_of(server: &RedisServer) -> u64 {
    stat(server, "stats", "total_connections_received") - 1
}

/// A number of `INFO`.
fn stat(server: &RedisServer, section: &str, name: &str) -> u64 {
    let info: String = server.query(&["INFO", section]);
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.expect("a field").trim().parse().expect("a number")
}
