//! Any executor will do, and any number of workers.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redlatch::{Guard, LeaseParts, LeaseView};

/// One round trip of everything that awaits.
async fn round_trip(redlatch: &Redlatch, resource: &str) {
    let guard = redlatch.acquire(resource, options()).await.expect("a free lock");
    assert!(redlatch.try_acquire(resource, options()).await.is_err());
    guard.extend().await.expect("an extension");
    redlatch.inspect(resource).await.expect("a name");
    let parts = guard.into_parts().await.expect("a lease");
    redlatch.adopt(&parts, &options()).expect("a lease").release().await.expect("a release");
    let output = redlatch.using(resource, options(), async |lease| lease.is_valid()).await;
    assert_eq!(output, Ok(true));
    drop(redlatch.acquire(resource, options()).await.expect("a free lock"));
    let brief = options().ttl(Duration::from_millis(300));
    let guard = redlatch.acquire(format!("{resource}:brief"), brief).await.expect("a free lock");
    guard.lost().await;
}

#[test]
fn no_executor_is_needed() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    pollster::block_on(async {
        round_trip(&redlatch, "job").await;
        redlatch.shutdown().await;
    });
    assert!(is_free(&cluster, "job"));
}

#[test]
fn an_executor_that_is_not_tokio_will_do() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    smol::block_on(async {
        let tasks: Vec<_> = (0..4)
            .map(|i| {
                let redlatch = redlatch.clone();
                smol::spawn(async move { round_trip(&redlatch, &format!("job:{i}")).await })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        redlatch.shutdown().await;
    });
}

#[test]
fn a_guard_outlives_the_runtime_that_it_was_acquired_on() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    let first = runtime();
    let guard = first.block_on(redlatch.acquire("job", options())).expect("a free lock");
    drop(first);
    assert!(guard.is_valid());
    runtime().block_on(async {
        guard.extend().await.expect("an extension");
        assert!(redlatch.try_acquire("job", options()).await.is_err());
    });
    drop(guard);
    runtime().block_on(eventually_free(&cluster, "job"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_workers_have_a_resource_each() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let workers: Vec<_> = (0..64)
        .map(|worker| {
            let redlatch = redlatch.clone();
            tokio::spawn(async move {
                let resource = format!("job:{worker}");
                for _ in 0..5 {
                    // Nobody else wants it, so one attempt must do.
                    let guard = redlatch.try_acquire(&resource, options()).await.expect("it");
                    guard.extend().await.expect("an extension");
                    guard.release().await.expect("a release");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
    redlatch.shutdown().await;
    for node in &cluster {
        let locks: Vec<String> = node.query(&["KEYS", "job:*"]);
        assert_eq!(locks, Vec::<String>::new());
        // One connection for all of them, beside those of this test and of the fixture.
        let ours: String = node.query(&["CLIENT", "LIST"]);
        let ours = ours.lines().filter(|line| line.contains("cmd=evalsha")).count();
        assert!(ours <= 1, "{ours} connections");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_workers_on_one_resource_never_meet() {
    let cluster = Cluster::start(3);
    let inside = Arc::new(AtomicUsize::new(0));
    let eager = options().retry_delay(Duration::from_millis(1), Duration::from_millis(20));
    // Half of them share a client, the others have one each.
    let shared = client(&cluster);
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let redlatch = if worker < 4 { shared.clone() } else { client(&cluster) };
            let (inside, eager) = (Arc::clone(&inside), eager.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let guard = redlatch.acquire("job", &eager).await.expect("a turn");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody is inside");
                    tokio::task::yield_now().await;
                    assert!(guard.is_valid());
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    guard.release().await.expect("a release");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
}

#[test]
fn clients_and_guards_are_shared_between_threads() {
    fn assert_send_sync<T: Send + Sync + 'static>() {}
    fn assert_send<T: Send>(_: T) {}
    assert_send_sync::<Redlatch>();
    assert_send_sync::<redlatch::blocking::Redlatch>();
    assert_send_sync::<redlatch::blocking::Guard>();
    assert_send_sync::<Guard>();
    assert_send_sync::<LeaseView>();
    assert_send_sync::<LeaseParts>();
    assert_send_sync::<AcquireError>();
    assert_send_sync::<redlatch::UsingError>();
    assert_send_sync::<redlatch::BuildError>();
    let redlatch = Redlatch::new(["redis://nobody.invalid"]).expect("a client");
    assert_send(redlatch.acquire("job", options()));
    assert_send(redlatch.try_acquire("job", options()));
    assert_send(redlatch.inspect("job"));
    assert_send(redlatch.shutdown());
}
