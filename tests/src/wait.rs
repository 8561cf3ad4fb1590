//! Waiting for what no call can wait for.

use std::time::{Duration, Instant};

use redlatch_harness::live::PATIENCE;

/// Time between two looks: short beside a test, long beside the look itself.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, looking again and again for at most [`PATIENCE`].
///
/// # Panics
///
/// If it does not hold in time; the message is `what`, so phrase it as the thing waited for.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
