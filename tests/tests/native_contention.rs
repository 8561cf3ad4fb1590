//! Waiters queue in the nodes and are called (R18).
//!
//! Nobody here is granted a lock because time has passed: who waits asks once an hour.

mod native;

use std::time::Duration;

use native::{FOREVER, ends};
use redlatch::{AcquireError, Builder, Guard, Options, Redlatch};
use redlatch_tests::{Cluster, PATIENCE, RedisServer, eventually};

/// Soon enough at first, while the connections on which nodes call are made; then once an hour.
const DELAYS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(3600));

fn hourly() -> Options {
    let options = Options::new(FOREVER).node_timeout(PATIENCE).wait(10 * DELAYS.1);
    options.retry_delay(DELAYS.0, DELAYS.1)
}

fn client(cluster: &Cluster) -> Redlatch {
    Redlatch::new(cluster.urls()).expect("a client")
}

type Waiting = tokio::task::JoinHandle<Result<Guard, AcquireError>>;

fn wait(redlatch: &Redlatch, resource: &str, options: Options) -> Waiting {
    let (redlatch, resource) = (redlatch.clone(), resource.to_owned());
    tokio::spawn(async move { redlatch.acquire(resource, options).await })
}

fn queue(node: &RedisServer, resource: &str) -> Vec<String> {
    node.query(&["ZRANGE", &format!("redlatch:queue:{{{resource}}}"), "0", "-1"])
}

/// Waits until so many are in the queue of each node.
async fn queued(cluster: &Cluster, resource: &str, waiters: usize) {
    let what = format!("{waiters} wait for {resource}");
    eventually(&what, async || cluster.iter().all(|node| queue(node, resource).len() == waiters))
        .await;
}

async fn granted(waiting: Waiting) -> Guard {
    ends(waiting).await.expect("no panic").expect("the lock")
}

#[tokio::test]
async fn who_waits_is_called_when_the_lock_is_released() {
    let cluster = Cluster::start(3);
    let (ours, theirs) = (client(&cluster), client(&cluster));
    let guard = ours.acquire("job", FOREVER).await.expect("a free lock");
    let waiting = wait(&theirs, "job", hourly());
    queued(&cluster, "job", 1).await;
    guard.release().await.expect("a release");
    let next = granted(waiting).await;
    assert!(next.is_valid());
    queued(&cluster, "job", 0).await;
}
