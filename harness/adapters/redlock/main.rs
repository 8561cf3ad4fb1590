//! The crate `redlock`, as its README uses it. It has no extension.

use std::time::Duration;

use redlatch_adapters::{Client, Events, Failure, Granted, Options, serve};
use redlock::{Lock, RedLock};

/// The library's own delay between two attempts, at most, in milliseconds.
const RETRY_DELAY: u32 = 200;

struct Redlock(RedLock);

/// A lock without its borrow of the manager.
struct Held {
    resource: Vec<u8>,
    val: Vec<u8>,
}

impl Client for Redlock {
    type Lock = Held;
    const NAME: &'static str = "redlock 2.0.0 (Rust)";
    const CAPS: &'static [&'static str] = &[];

    fn start(nodes: Vec<String>, _options: &Options) -> Result<Self, Failure> {
        Ok(Self(RedLock::new(nodes)))
    }

    async fn acquire(
        &mut self,
        resource: &str,
        ttl: Duration,
        wait: Duration,
        _events: Events,
    ) -> Result<Granted<Held>, Failure> {
        // Its delays are random below the limit, so half of it on average.
        let retries = 2 * wait.as_millis() / u128::from(RETRY_DELAY);
        self.0.set_retry(1 + u32::try_from(retries).unwrap_or(u32::MAX - 1), RETRY_DELAY);
        let ttl_ms = usize::try_from(ttl.as_millis()).unwrap_or(usize::MAX);
        match self.0.lock(resource.as_bytes(), ttl_ms) {
            Ok(Some(Lock { resource, val, validity_time, .. })) => {
                let valid = Duration::from_millis(u64::try_from(validity_time).unwrap_or(u64::MAX));
                Ok(Granted { lock: Held { resource, val }, valid, fence: None })
            }
            Ok(None) => Err(Failure::unsure("contended", "the lock could not be acquired")),
            Err(error) => Err(Failure::unsure("unavailable", error)),
        }
    }

    async fn release(&mut self, Held { resource, val }: Held) -> Result<(), Failure> {
        self.0.unlock(&Lock { resource, val, validity_time: 0, lock_manager: &self.0 });
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    serve::<Redlock>().await;
}
