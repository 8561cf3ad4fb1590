//! The driver of this project as an adapter: `redlatch-harness adapter native`.

use std::time::Duration;

use redlatch::{AcquireError, ExtendError, Guard, Redlatch, ReleaseError};

use super::serve::{Client, Events, Failure, Granted, Options, serve};

/// Answers the harness until it says quit, or goes away.
pub async fn native() {
    serve::<Native>().await;
}

struct Native {
    redlatch: Redlatch,
    node_timeout: Option<Duration>,
}

impl Client for Native {
    type Lock = Guard;
    const NAME: &'static str = concat!("redlatch ", env!("CARGO_PKG_VERSION"));
    const CAPS: &'static [&'static str] = &["extend", "check", "fence", "lost_event", "guard"];

    fn start(nodes: Vec<String>, options: &Options) -> Result<Self, Failure> {
        let builder = nodes.into_iter().fold(Redlatch::builder(), redlatch::Builder::node);
        let builder = match options.restart_guard {
            true => builder.restart_guard(Duration::from_millis(options.ttl_max_ms)),
            false => builder,
        };
        let redlatch = builder.build().map_err(|error| Failure::definite("other", error))?;
        let node_timeout = options.node_timeout_ms.map(Duration::from_millis);
        Ok(Self { redlatch, node_timeout })
    }

    async fn acquire(
        &mut self,
        resource: &str,
        ttl: Duration,
        wait: Duration,
        events: Events,
    ) -> Result<Granted<Guard>, Failure> {
        let options = redlatch::Options::new(ttl).wait(wait);
        let options = self.node_timeout.iter().fold(options, |it, limit| it.node_timeout(*limit));
        let guard =
            self.redlatch.acquire(resource, options).await.map_err(|error| match &error {
                AcquireError::Contended { .. } => Failure::unsure("contended", &error),
                AcquireError::NoQuorum { .. } | AcquireError::Quarantined { .. } => {
                    Failure::unsure("unavailable", &error)
                }
                AcquireError::TooLate { .. } | AcquireError::DeadlineExceeded { .. } => {
                    Failure::unsure("timeout", &error)
                }
                AcquireError::Invalid(_) => Failure::definite("other", &error),
                AcquireError::Cancelled | _ => Failure::unsure("other", &error),
            })?;
        let lost = guard.lost();
        tokio::spawn(async move {
            lost.await;
            events.lost();
        });
        Ok(Granted { valid: guard.remaining(), fence: guard.fence(), lock: guard })
    }

    /// For the ttl that the lock was acquired with: the driver knows no other.
    async fn extend(&mut self, guard: &mut Guard, _ttl: Duration) -> Result<Duration, Failure> {
        match guard.extend().await {
            Ok(()) => Ok(guard.remaining()),
            Err(error @ ExtendError::AtRisk { .. }) => Err(Failure::unsure("unavailable", error)),
            Err(error) => Err(Failure::unsure("lost", error)),
        }
    }

    async fn check(&mut self, guard: &mut Guard) -> Result<Duration, Failure> {
        match guard.remaining() {
            Duration::ZERO => Err(Failure::definite("lost", "the lock is not held any more")),
            remaining => Ok(remaining),
        }
    }

    async fn release(&mut self, guard: Guard) -> Result<(), Failure> {
        guard.release().await.map_err(|error| match &error {
            ReleaseError::Unconfirmed { .. } => Failure::unsure("unavailable", &error),
            ReleaseError::Lost(_) | _ => Failure::unsure("lost", &error),
        })
    }

    async fn quit(self) {
        self.redlatch.shutdown_within(Duration::from_secs(1)).await;
    }
}
