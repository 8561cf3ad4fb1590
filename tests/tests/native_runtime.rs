//! A native client that carries its locks on a runtime of the application's. On real servers.

use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use redlatch::{AcquireError, Options, Redlatch};
use redlatch_tests::{Cluster, Owner, eventually, unique_resource};
use tokio::runtime::{Handle, Runtime};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);

/// A runtime whose tasks run on one thread, beside that of the test.
fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
}

fn client_on(handle: &Handle, cluster: &Cluster) -> Redlatch {
    let nodes = cluster.urls().into_iter().fold(Redlatch::builder(), redlatch::Builder::node);
    nodes.runtime(handle.clone()).build().expect("a client")
}

fn is_free(cluster: &Cluster, resource: &str) -> bool {
    cluster.owner_of(resource).iter().all(|owner| *owner == Owner::Nobody)
}

#[tokio::test]
async fn locks_are_carried_on_the_runtime_that_was_given() {
    let cluster = Cluster::start(3);
    let seen: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let mut builder = Redlatch::builder().runtime(Handle::current());
    for (index, url) in cluster.urls().into_iter().enumerate() {
        let (client, seen) = (redlatch_client(&url), seen.clone());
        builder = builder.connector(format!("n{index}"), move || {
            seen.lock().expect("no panic").push(thread::current().id());
            let client = client.clone();
            async move { client.get_multiplexed_async_connection().await }
        });
    }
    let redlatch = builder.build().expect("a client");
    let resource = unique_resource("here");
    let guard = redlatch.acquire(&resource, FOREVER).await.expect("a lock");
    assert!(guard.is_valid());
    guard.release().await.expect("a release");
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!(seen, vec![thread::current().id(); 3], "connected on this thread");
}

fn redlatch_client(url: &str) -> redis::Client {
    redis::Client::open(url).expect("a URL")
}

#[tokio::test]
async fn a_guard_that_is_dropped_is_released_by_the_runtime() {
    let (cluster, runtime) = (Cluster::start(3), runtime());
    let redlatch = client_on(runtime.handle(), &cluster);
    let resource = unique_resource("dropped");
    let guard = redlatch.acquire(&resource, FOREVER).await.expect("a lock");
    assert!(!is_free(&cluster, &resource));
    drop(guard);
    eventually("all nodes are free", async || is_free(&cluster, &resource)).await;
    runtime.shutdown_background();
}

#[test]
fn shutdown_waits_for_what_the_runtime_has_to_release() {
    let (cluster, runtime) = (Cluster::start(3), runtime());
    let redlatch = client_on(runtime.handle(), &cluster);
    let resource = unique_resource("shutdown");
    // The caller is on no runtime at all.
    drop(pollster::block_on(redlatch.acquire(&resource, FOREVER)).expect("a lock"));
    pollster::block_on(redlatch.shutdown());
    assert!(is_free(&cluster, &resource));
}

#[test]
fn no_lock_is_got_and_none_is_kept_after_the_runtime_has_ended() {
    let (cluster, runtime) = (Cluster::start(3), runtime());
    let redlatch = client_on(runtime.handle(), &cluster);
    let options = Options::new(Duration::from_secs(30)).renew_up_to(FOREVER);
    let resource = unique_resource("ended");
    let guard = pollster::block_on(redlatch.acquire(&resource, options)).expect("a lock");
    drop(runtime);
    // Nobody renews it. It is told to be lost, rather than believed in for ever.
    pollster::block_on(guard.lost());
    let other = unique_resource("after");
    let late = pollster::block_on(redlatch.acquire(&other, FOREVER));
    assert!(matches!(late, Err(AcquireError::Cancelled)), "{late:?}");
    assert!(is_free(&cluster, &other));
    pollster::block_on(redlatch.shutdown());
}
