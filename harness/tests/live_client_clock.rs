//! A holder whose own clock is wrong, on real servers.

use std::time::{Duration, Instant};

use redlatch::{Redlatch, clock_faults};
use redlatch_harness::live::rehearsal::Rehearsal;

const TTL: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

// One test, because a process has one clock.
#[tokio::test]
async fn a_slow_clock_makes_two_believe_with_fences_in_order_and_one_that_jumps_ends_a_lease() {
    let cluster = Rehearsal::start(5).expect("five servers");
    let keys = || {
        let holds =
            |args: &[&str]| cluster.nodes().iter().filter(|node| node.query(args) == Ok(1)).count();
        holds(&["EXISTS", "report"])
    };
    let redlatch = Redlatch::new(cluster.urls()).expect("a client");

    let slow = redlatch.acquire("report", TTL).await.expect("a free lock");
    clock_faults::run_at(-990_000);
    let begun = Instant::now();
    while keys() > 0 {
        assert!(
            begun.elapsed() < PATIENCE,
            "the keys of a lock that lives for {TTL:?} are still there"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(slow.is_valid(), "by its clock hardly any time has passed");
    let next = redlatch.acquire("report", TTL).await.expect("a lock whose keys are gone");
    assert!(
        slow.is_valid() && next.is_valid(),
        "exclusion needs clocks within the allowance for drift"
    );
    assert!(next.fence() > slow.fence(), "fences do not");

    clock_faults::jump(TTL);
    assert!(!next.is_valid() && !slow.is_valid());
    clock_faults::run_at(0);
    tokio::time::timeout(PATIENCE, next.lost()).await.expect("a loss that is told");
}
