//! The crate `rslock`, as its README uses it.

use std::time::Duration;

use redlatch_adapters::{Client, Events, Failure, Granted, Options, serve};
use rslock::{Lock, LockError, LockManager};

/// The library's own delay between two attempts, at most.
const RETRY_DELAY: Duration = Duration::from_millis(200);

struct Rslock(LockManager);

impl Client for Rslock {
    type Lock = Lock;
    const NAME: &'static str = "rslock 0.10.0";
    const CAPS: &'static [&'static str] = &["extend"];

    fn start(nodes: Vec<String>, _options: &Options) -> Result<Self, Failure> {
        Ok(Self(LockManager::new(nodes)))
    }

    async fn acquire(
        &mut self,
        resource: &str,
        ttl: Duration,
        wait: Duration,
        _events: Events,
    ) -> Result<Granted<Lock>, Failure> {
        // Its delays are random below the limit, so half of it on average.
        let retries = 2 * wait.as_millis() / RETRY_DELAY.as_millis();
        self.0.set_retry(1 + u32::try_from(retries).unwrap_or(u32::MAX - 1), RETRY_DELAY);
        let lock = self.0.lock(resource, ttl).await.map_err(failure)?;
        Ok(Granted { valid: validity(&lock), lock, fence: None })
    }

    async fn extend(&mut self, lock: &mut Lock, ttl: Duration) -> Result<Duration, Failure> {
        *lock = self.0.extend(lock, ttl).await.map_err(failure)?;
        Ok(validity(lock))
    }

    async fn release(&mut self, lock: Lock) -> Result<(), Failure> {
        lock.release().await;
        Ok(())
    }
}

fn validity(lock: &Lock) -> Duration {
    Duration::from_millis(u64::try_from(lock.validity_time).unwrap_or(u64::MAX))
}

/// It says `Unavailable` whether the lock is taken or the nodes are silent.
fn failure(error: LockError) -> Failure {
    match error {
        LockError::Unavailable
        | LockError::RedisConnectionFailed
        | LockError::RedisFailedToEstablishConnection
        | LockError::Redis(_) => Failure::unsure("unavailable", error),
        LockError::TtlExceeded => Failure::unsure("timeout", error),
        LockError::TtlTooLarge => Failure::definite("other", error),
        LockError::Io(_)
        | LockError::RedisKeyMismatch
        | LockError::RedisKeyNotFound
        | LockError::MutexPoisoned => Failure::unsure("other", error),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    serve::<Rslock>().await;
}
