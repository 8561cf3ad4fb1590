//! The client for unit tests: what its nodes do by themselves, and what they do on command.

use std::time::Duration;

use redlatch::fake::Cause;
use redlatch::{
    AcquireError, ExtendError, Guard, LockState, Loss, Options, Redlatch, ReleaseError, UsingError,
    Vote,
};

/// Longer than any test runs: what takes a share of this does not end within a test at all.
const FOREVER: Duration = Duration::from_secs(600);

fn endless() -> Options {
    Options::new(FOREVER).wait(FOREVER)
}

async fn acquire(redlatch: &Redlatch, resource: &str) -> Guard {
    redlatch.acquire(resource, endless()).await.expect("a free lock")
}

async fn state(redlatch: &Redlatch, resource: &str) -> LockState {
    redlatch.inspect(resource).await.expect("a name").state
}

#[track_caller]
fn assert_contended<T: std::fmt::Debug>(result: Result<T, AcquireError>) {
    assert!(matches!(result, Err(AcquireError::Contended { .. })), "{result:?}");
}

// Without commands.

#[tokio::test]
async fn a_lock_is_granted_extended_released_and_granted_again_with_a_larger_fence() {
    let (redlatch, _fake) = Redlatch::fake().expect("a fake");
    let first = acquire(&redlatch, "job").await;
    assert!(first.is_valid() && first.remaining() > FOREVER / 2);
    let fence = first.fence().expect("a fence");
    first.extend().await.expect("an extension");
    assert!(matches!(state(&redlatch, "job").await, LockState::Held { remaining: Some(_) }));
    first.release().await.expect("a release");
    assert_eq!(state(&redlatch, "job").await, LockState::Free);
    let second = acquire(&redlatch, "job").await;
    assert!(second.fence().expect("a fence") > fence);
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_refused_and_others_are_not() {
    let (redlatch, _fake) = Redlatch::fake().expect("a fake");
    let guard = acquire(&redlatch, "job").await;
    let error = redlatch.try_acquire("job", endless()).await.expect_err("it is held");
    let AcquireError::Contended { retry_after: Some(after), votes } = error else {
        panic!("{error:?}")
    };
    assert!(after > FOREVER / 2);
    let refusals = votes.iter().filter(|(_, vote)| matches!(vote, Vote::Refused { .. })).count();
    assert!(refusals >= 2, "{votes}");
    let other = acquire(&redlatch, "other").await;
    assert!(guard.is_valid() && other.is_valid());
    // Another fake is another world.
    let (stranger, _fake) = Redlatch::fake().expect("a fake");
    drop(acquire(&stranger, "job").await);
}

#[tokio::test]
async fn whoever_waits_for_a_holder_of_the_same_fake_gets_the_lock_when_it_is_free() {
    let (redlatch, _fake) = Redlatch::fake().expect("a fake");
    let guard = acquire(&redlatch, "job").await;
    let waiter = tokio::spawn({
        let redlatch = redlatch.clone();
        async move { acquire(&redlatch, "job").await.fence() }
    });
    let fence = guard.fence();
    guard.release().await.expect("a release");
    assert!(waiter.await.expect("the waiter ends") > fence);
}

#[tokio::test]
async fn a_guard_that_is_dropped_releases() {
    let (redlatch, _fake) = Redlatch::fake().expect("a fake");
    drop(acquire(&redlatch, "job").await);
    redlatch.shutdown().await;
    assert_eq!(state(&redlatch, "job").await, LockState::Free);
}

#[tokio::test]
async fn several_resources_are_locked_together() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    let both = ["{order}:stock", "{order}:invoice"];
    let guard = redlatch.acquire(both, endless()).await.expect("two free locks");
    for one in both {
        assert_contended(redlatch.try_acquire(one, endless()).await);
    }
    guard.extend().await.expect("an extension");
    let fence = guard.fence();
    guard.release().await.expect("a release");
    let one = acquire(&redlatch, both[1]).await;
    assert!(one.fence() > fence);
    assert_contended(redlatch.try_acquire(both, endless()).await);
    one.release().await.expect("a release");
    fake.contend(both[0]);
    assert_contended(redlatch.acquire(both, endless()).await);
}

/// R11: by the deadline, not by a command.
#[tokio::test]
async fn a_lock_that_is_not_renewed_is_lost_at_its_end_and_then_free() {
    let (redlatch, _fake) = Redlatch::fake().expect("a fake");
    let guard = redlatch.acquire("job", Duration::from_millis(100)).await.expect("a free lock");
    assert_eq!(guard.lost().await, Loss::Expired);
    assert!(!guard.is_valid());
    drop(acquire(&redlatch, "job").await);
}

/// R14: it would expire long before the hold is over.
#[tokio::test]
async fn a_lock_is_renewed_for_as_long_as_it_may_be_held() {
    let (redlatch, _fake) = Redlatch::fake().expect("a fake");
    let (ttl, hold_max) = (Duration::from_secs(1), Duration::from_secs(2));
    let guard = redlatch.acquire("job", Options::new(ttl).renew_up_to(hold_max)).await;
    assert_eq!(guard.expect("a free lock").lost().await, Loss::HoldMax);
}

#[tokio::test]
async fn a_lease_can_be_handed_over_and_is_lost_on_command_there() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    let parts = acquire(&redlatch, "job").await.into_parts().await.expect("a lease");
    let guard = redlatch.adopt(&parts, &endless()).expect("it is held");
    guard.extend().await.expect("an extension");
    assert!(fake.lose("job"));
    assert!(!guard.is_valid());
}

#[test]
fn programs_without_async_have_it_too() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    let redlatch = redlatch::blocking::Redlatch::from(redlatch);
    let guard = redlatch.acquire("job", endless()).expect("a free lock");
    assert!(fake.lose("job"));
    assert_eq!(guard.wait_until_lost(), Loss::Expired);
    assert!(!guard.is_valid());
}

// On command.

#[tokio::test]
async fn contention_on_command_is_told_without_the_wait() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    fake.contend("job");
    assert_contended(redlatch.acquire("job", endless()).await);
    assert_contended(redlatch.try_acquire("job", endless()).await);
    let by = std::time::Instant::now() + FOREVER;
    assert_contended(redlatch.acquire_by(by, "job", endless()).await);
    assert_eq!(state(&redlatch, "job").await, LockState::Held { remaining: None });
    drop(acquire(&redlatch, "other").await);
    fake.free("job");
    assert_eq!(state(&redlatch, "job").await, LockState::Free);
    drop(acquire(&redlatch, "job").await);
}

#[tokio::test]
async fn contention_on_command_leaves_the_holder_alone() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    let guard = acquire(&redlatch, "job").await;
    fake.contend("job");
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
    assert_contended(redlatch.acquire("job", endless()).await);
}

#[tokio::test]
async fn a_loss_on_command_has_been_told_when_the_command_returns() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    assert!(!fake.lose("job"), "nobody holds it");
    let guard = acquire(&redlatch, "job").await;
    let other = acquire(&redlatch, "other").await;
    assert!(fake.lose("job"));
    assert!(!guard.is_valid() && guard.remaining().is_zero());
    assert_eq!(guard.lost().await, Loss::Expired);
    assert_eq!(guard.extend().await, Err(ExtendError::Lost(Loss::Expired)));
    assert!(other.is_valid());
    assert!(!fake.lose("job"), "it is lost already");
    // The fence of the holder that lost it is refused by whatever saw the next one.
    let next = acquire(&redlatch, "job").await;
    assert!(next.fence() > guard.fence());
    assert_eq!(guard.release().await, Err(ReleaseError::Lost(Loss::Expired)));
    assert!(next.is_valid());
    next.release().await.expect("it is still the next one's");
}

#[tokio::test]
async fn work_under_a_lock_that_is_lost_is_stopped_at_its_next_await() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    let mut steps = Vec::new();
    let work = redlatch.using("job", FOREVER, async |lease| {
        steps.push(lease.is_valid());
        assert!(fake.lose("job"));
        steps.push(lease.is_valid());
        std::future::pending::<()>().await;
    });
    assert_eq!(work.await, Err(UsingError::Lost(Loss::Expired)));
    assert_eq!(steps, [true, false]);
}

#[tokio::test]
async fn acquires_fail_with_the_cause_that_was_asked_for() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    fake.fail(Cause::Contended);
    assert_contended(redlatch.acquire("job", endless()).await);
    fake.fail(Cause::NoQuorum);
    let error = redlatch.acquire("job", endless()).await.expect_err("no node answers");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
    assert!(error.to_string().contains("the test wants it to fail"), "{error}");
    fake.fail(Cause::Quarantined);
    let error = redlatch.acquire("job", endless()).await.expect_err("no node votes");
    assert!(matches!(error, AcquireError::Quarantined { .. }), "{error:?}");
    fake.reset();
    drop(acquire(&redlatch, "job").await);
}

#[tokio::test]
async fn a_lock_is_at_risk_while_no_node_answers() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    let guard = acquire(&redlatch, "job").await;
    fake.fail(Cause::NoQuorum);
    let error = guard.extend().await.expect_err("no node answers");
    assert!(matches!(error, ExtendError::AtRisk { .. }), "{error:?}");
    assert!(guard.is_at_risk() && guard.is_valid());
    fake.reset();
    guard.extend().await.expect("an extension");
    assert!(!guard.is_at_risk());
    fake.fail(Cause::NoQuorum);
    let error = guard.release().await.expect_err("no node answers");
    assert!(matches!(error, ReleaseError::Unconfirmed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_bypass_grants_everything_to_everybody() {
    let (redlatch, fake) = Redlatch::fake().expect("a fake");
    let before = acquire(&redlatch, "job").await;
    fake.contend("job");
    fake.bypass();
    let one = acquire(&redlatch, "job").await;
    let other = acquire(&redlatch, "job").await;
    for guard in [&before, &one, &other] {
        assert!(guard.is_valid());
        guard.extend().await.expect("an extension");
    }
    // Fences go on to grow.
    assert!(before.fence() < one.fence() && one.fence() < other.fence());
    for guard in [before, one, other] {
        guard.release().await.expect("a release");
    }
    fake.reset();
    drop(acquire(&redlatch, "job").await);
}
