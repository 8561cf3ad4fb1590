//! Time, as the transport tells it.

use core::time::Duration;

use redlatch_core::{Instant, Proposal, ProposalError};

use crate::node::Transport;

/// The fence that this client proposes: its wall clock.
pub(crate) fn proposal(transport: &impl Transport) -> Result<Proposal, ProposalError> {
    let micros = transport.unix_time().as_micros();
    Proposal::from_unix_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// How long it is until `at`.
pub(crate) fn until(transport: &impl Transport, at: Instant) -> Duration {
    at.saturating_duration_since(transport.now())
}

/// Sleeps until about `at`. Whoever wakes up compares the clock.
pub(crate) async fn sleep_until(transport: &impl Transport, at: Option<Instant>) {
    match at {
        Some(at) => transport.sleep(until(transport, at)).await,
        None => core::future::pending().await,
    }
}
