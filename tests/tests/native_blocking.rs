//! The blocking client, in a program without any runtime.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redlatch::blocking::Redlatch;
use redlatch::{
    AcquireError, AdoptError, ExtendError, LockState, Loss, Options, ReleaseError, UsingError,
};
use redlatch_tests::{Cluster, Owner, PATIENCE, eventually};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);

fn client(cluster: &Cluster) -> Redlatch {
    let builder = redlatch::Redlatch::builder().connect_timeout(PATIENCE);
    let builder = cluster.urls().iter().fold(builder, |builder, url| builder.node(url));
    builder.build().expect("a client").into()
}

fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

fn brief() -> Options {
    options().ttl(Duration::from_millis(300))
}

fn is_free(cluster: &Cluster, resource: &str) -> bool {
    cluster.owner_of(resource).iter().all(|owner| *owner == Owner::Nobody)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime for the test's own wait");
    runtime.block_on(eventually(what, async || condition()));
}

fn wait_until_free(cluster: &Cluster, resource: &str) {
    wait_until("every node is free", || is_free(cluster, resource));
}

/// A grant needs a majority only, and what the others were sent may still be on its way.
fn wait_until_taken(cluster: &Cluster, resource: &str) {
    let is_taken = || cluster.owner_of(resource).iter().all(|owner| *owner != Owner::Nobody);
    wait_until("every node is taken", is_taken);
}

#[test]
fn a_lock_is_taken_extended_and_released() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options()).expect("a free lock");
    assert!(guard.is_valid());
    assert!(guard.fence().is_some());
    assert!(guard.remaining() > Duration::ZERO && guard.remaining() < FOREVER);
    assert!(guard.valid_until() > Instant::now());
    assert_eq!(guard.view().fence(), guard.fence());
    assert_eq!(guard.resources().to_string(), "job");
    assert!(!guard.is_at_risk());
    for node in &cluster {
        node.command(&["PEXPIRE", "job", "60000"]);
    }
    guard.extend().expect("an extension");
    let extended = cluster.pttl_ms("job").iter().filter(|left| **left > Some(60_000)).count();
    assert!(extended >= 2);

    let error = redlatch.try_acquire("job", options()).expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let inspection = redlatch.inspect("job").expect("a name");
    assert!(matches!(inspection.state, LockState::Held { .. }), "{inspection:?}");

    guard.release().expect("a release");
    wait_until_free(&cluster, "job");
    assert_eq!(redlatch.inspect("job").expect("a name").state, LockState::Free);
    redlatch.try_acquire("job", options()).expect("a free lock").release().expect("a release");
}

#[test]
fn work_is_done_under_a_lock_that_is_renewed_and_released() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let renewed = options().ttl(Duration::from_secs(9));
    let output = redlatch.using("job", renewed, |lease| {
        assert!(lease.fence().is_some());
        let error = redlatch.try_acquire("job", options()).expect_err("it is taken");
        assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
        let granted_until = Instant::now() + lease.remaining();
        while Instant::now() + lease.remaining() <= granted_until {
            thread::yield_now();
        }
        lease.is_valid()
    });
    assert_eq!(output, Ok(true));
    wait_until_free(&cluster, "job");

    let panics = || redlatch.using("job", options(), |_| panic!("this panic is part of the test"));
    let panicked: Result<Result<(), _>, _> =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
    assert!(panicked.is_err());
    wait_until_free(&cluster, "job");
}

/// R11: a thread cannot be stopped, but what it did is not said to be done under the lock.
#[test]
fn work_that_outlasts_its_lock_is_told_so() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let bounded = options().renew_up_to(Duration::from_millis(300));
    let output = redlatch.using("job", bounded, |lease| {
        while lease.is_valid() {
            thread::yield_now();
        }
    });
    assert_eq!(output, Err(UsingError::Lost(Loss::HoldMax)));
    let text = output.expect_err("it was lost").to_string();
    assert!(text.contains("the work was not finished under it"), "{text}");
    redlatch.shutdown();
    assert!(is_free(&cluster, "job"), "shutdown waits for releases");
}

#[test]
fn a_client_is_made_from_urls_alone() {
    let cluster = Cluster::start(1);
    let redlatch = Redlatch::new(cluster.urls()).expect("a client");
    let guard = redlatch.acquire(["{a}1", "{a}2"], FOREVER).expect("free locks");
    drop(guard);
    redlatch.shutdown_within(PATIENCE);
    assert!(is_free(&cluster, "{a}1"));
    assert_eq!(redlatch.acquire("job", FOREVER).map(drop), Err(AcquireError::Cancelled));
    let nobody: [&str; 0] = [];
    assert!(Redlatch::new(nobody).is_err());
}

/// R13.
#[test]
fn a_deadline_is_kept() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let error = redlatch.acquire_by(Instant::now(), "job", options()).expect_err("it is late");
    assert_eq!(error, AcquireError::DeadlineExceeded { votes: None });
    let later = Instant::now() + FOREVER;
    let guard = redlatch.acquire_by(later, "job", options()).expect("a free lock");
    let soon = Instant::now() + Duration::from_millis(200);
    assert!(redlatch.acquire_by(soon, "job", options()).is_err());
    assert!(guard.is_valid());
}

/// R11.
#[test]
fn a_thread_waits_for_the_loss() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", brief()).expect("a free lock");
    assert_eq!(guard.wait_until_lost(), Loss::Expired);
    assert!(!guard.is_valid());
    assert_eq!(guard.extend(), Err(ExtendError::Lost(Loss::Expired)));
    assert_eq!(guard.release(), Err(ReleaseError::Lost(Loss::Expired)));
    let guard = redlatch.acquire("job", brief()).expect("a free lock");
    assert_eq!(guard.wait_until_lost(), Loss::Expired);
    assert_eq!(guard.into_parts(), Err(Loss::Expired));
}

#[test]
fn a_lease_is_handed_over() {
    let cluster = Cluster::start(3);
    let (giver, taker) = (client(&cluster), client(&cluster));
    let guard = giver.acquire("job", options()).expect("a free lock");
    let fence = guard.fence();
    wait_until_taken(&cluster, "job");
    let parts = guard.into_parts().expect("a lease");
    drop(giver);
    let guard = taker.adopt(&parts, &options()).expect("a lease");
    assert_eq!(guard.fence(), fence);
    guard.extend().expect("an extension");
    let parts = guard.into_parts().expect("a lease");
    taker.release(&parts).expect("a release");
    wait_until_free(&cluster, "job");
    let ended = redlatch::LeaseParts { valid_until: std::time::SystemTime::now(), ..parts };
    let error = taker.adopt(&ended, &options()).expect_err("it has ended");
    assert_eq!(error, AdoptError::Lost(Loss::Expired));
    assert_eq!(taker.release(&ended), Err(AdoptError::Lost(Loss::Expired)));
}

/// R16.
#[test]
fn nodes_are_declared_fresh() {
    let cluster = Cluster::start(3);
    let builder = redlatch::Redlatch::builder().connect_timeout(PATIENCE).restart_guard(FOREVER);
    let builder = cluster.urls().iter().fold(builder, |builder, url| builder.node(url));
    let redlatch: Redlatch = builder.build().expect("a client").into();
    assert_eq!(redlatch.declare_fresh().len(), 3);
    assert!(redlatch.declare_fresh().is_empty());
    redlatch.try_acquire("job", options()).expect("a free lock").release().expect("a release");
}

/// Clones of one client, and clients of their own.
#[test]
fn threads_exclude_each_other() {
    let cluster = Cluster::start(3);
    let eager = options().retry_delay(Duration::from_millis(1), Duration::from_millis(20));
    let (inside, shared) = (AtomicUsize::new(0), client(&cluster));
    thread::scope(|scope| {
        for worker in 0..6 {
            let redlatch = if worker < 3 { shared.clone() } else { client(&cluster) };
            let (inside, eager) = (&inside, eager.clone());
            scope.spawn(move || {
                for _ in 0..5 {
                    let guard = redlatch.acquire("job", &eager).expect("a turn");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody is inside");
                    thread::yield_now();
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    guard.release().expect("a release");
                }
            });
        }
    });
    wait_until_free(&cluster, "job");
}

#[test]
fn a_guard_moves_between_threads_and_is_released_where_it_is_dropped() {
    let cluster = Cluster::start(3);
    let redlatch = client(&cluster);
    let guard = redlatch.acquire("job", options()).expect("a free lock");
    let view = guard.view();
    drop(redlatch);
    let told = thread::spawn(move || guard.is_valid()).join().expect("no panic");
    assert!(told);
    wait_until_free(&cluster, "job");
    assert!(!view.is_valid());
}
