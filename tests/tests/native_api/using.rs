//! Work under a lock.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use redlatch::{LeaseView, Loss, UsingError};

#[tokio::test]
async fn the_work_is_done_under_the_lock_and_its_output_returned() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let output = redlatch
        .using("job", options(), async |lease| {
            assert!(lease.is_valid());
            assert!(lease.fence().is_some());
            assert!(holder(&cluster, "job").is_some());
            let error = redlatch.try_acquire("job", options()).await.expect_err("it is taken");
            assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
            "done".to_owned()
        })
        .await;
    assert_eq!(output, Ok("done".to_owned()));
    // Released before it returned: a majority at least.
    assert_eq!(holder(&cluster, "job"), None);
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn work_that_fails_releases_the_lock_and_keeps_its_own_error() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let output: Result<Result<(), String>, UsingError> =
        redlatch.using("job", options(), async |_| Err("no paper".to_owned())).await;
    assert_eq!(output, Ok(Err("no paper".to_owned())));
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn work_that_panics_releases_the_lock() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let worker = {
        let redlatch = redlatch.clone();
        async move {
            let work = async |_: LeaseView| panic!("this panic is part of the test");
            let output: Result<(), _> = redlatch.using("job", options(), work).await;
            output
        }
    };
    assert!(tokio::spawn(worker).await.expect_err("it panics").is_panic());
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn work_whose_lock_is_taken_is_not_begun() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let _guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let impatient = options().wait(Duration::ZERO);
    let output: Result<(), _> =
        redlatch.using("job", impatient, async |_| panic!("not begun")).await;
    let error = output.expect_err("it is taken");
    assert!(matches!(&error, UsingError::Acquire(AcquireError::Contended { .. })), "{error:?}");
    assert!(error.to_string().starts_with("the lock is taken"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

/// R11, R14: the nodes forget the key, so no renewal succeeds, and the lease ends by the clock.
#[tokio::test]
async fn work_whose_lock_is_lost_is_stopped() {
    /// Tells when the work's future was dropped.
    struct Stopped(Arc<AtomicBool>);
    impl Drop for Stopped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let stopped = Arc::new(AtomicBool::new(false));
    let brief = options().ttl(Duration::from_secs(2));
    let work = redlatch.using("job", brief, async |lease| {
        let _stopped = Stopped(Arc::clone(&stopped));
        for node in &cluster {
            node.command(&["DEL", "job"]);
        }
        lease.into_lost().await;
        std::future::pending::<()>().await;
    });
    let output = tokio::time::timeout(PATIENCE, work).await.expect("an end");
    let error = output.expect_err("it is lost");
    assert_eq!(error, UsingError::Lost(Loss::Expired));
    assert!(error.to_string().contains("the work was not finished under it"), "{error}");
    assert!(stopped.load(Ordering::Relaxed));
}

/// R14.
#[tokio::test]
async fn work_that_takes_longer_than_the_ttl_keeps_its_lock() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let renewed = options().ttl(Duration::from_secs(9));
    let held_on = redlatch.using("job", renewed, async |lease| {
        let token = holder(&cluster, "job").expect("a majority");
        // Too late rather than too early, and below the other way round.
        let granted_until = lease.remaining();
        let granted_until = Instant::now() + granted_until;
        let renewed = || Instant::now() + lease.remaining() > granted_until;
        eventually("a renewal", async || renewed()).await;
        holder(&cluster, "job") == Some(token)
    });
    assert_eq!(held_on.await, Ok(true));
}

#[tokio::test]
async fn work_is_bounded_by_the_longest_hold() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let bounded = options().renew_up_to(Duration::from_millis(300));
    let work = redlatch.using("job", bounded, async |_| std::future::pending::<()>().await);
    let output = tokio::time::timeout(PATIENCE, work).await.expect("an end");
    assert_eq!(output, Err(UsingError::Lost(Loss::HoldMax)));
    eventually_free(&cluster, "job").await;
}

#[tokio::test]
async fn work_whose_future_is_dropped_releases_the_lock() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let begun = tokio::sync::Notify::new();
    let work = redlatch.using("job", options(), async |_| {
        begun.notify_one();
        std::future::pending::<()>().await;
    });
    tokio::select! {
        _ = work => panic!("it never ends"),
        () = begun.notified() => {}
    }
    eventually_free(&cluster, "job").await;
}

/// It compiles.
#[tokio::test]
async fn the_future_of_work_moves_between_threads() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let sum = tokio::spawn(async move {
        let mut sum = 40;
        let output = redlatch.using(["{a}1", "{a}2"], options(), async |lease: LeaseView| {
            tokio::task::yield_now().await;
            sum += 1;
            lease.is_valid()
        });
        assert_eq!(output.await, Ok(true));
        sum + 1
    });
    assert_eq!(sum.await.expect("no panic"), 42);
}
