//! Other libraries in Rust, as their documentation uses them.

use std::sync::Arc;
use std::time::Duration;

use redlock::RedLock;
use rslock::LockManager;

use super::{Client, TTL};

/// As often as it takes: the delay between two attempts is the libraries' own, up to 200 ms.
const RETRIES: u32 = u32::MAX - 1;
const RETRY_DELAY_MS: u32 = 200;

/// `rslock`.
#[derive(Clone)]
pub struct Rslock(LockManager);

impl Client for Rslock {
    type Lock = rslock::Lock;

    async fn connect(nodes: &[String]) -> Result<Self, String> {
        let mut manager = LockManager::new(nodes.to_vec());
        manager.set_retry(RETRIES, Duration::from_millis(RETRY_DELAY_MS.into()));
        Ok(Self(manager))
    }

    async fn acquire(&self, resource: &str) -> Result<rslock::Lock, String> {
        self.0.lock(resource, TTL).await.map_err(|error| error.to_string())
    }

    async fn release(&self, lock: rslock::Lock) -> Result<(), String> {
        lock.release().await;
        Ok(())
    }

    fn is_held(&self, _: &rslock::Lock) -> bool {
        true
    }

    async fn drain(self) {}
}

/// `redlock`, which blocks: each call is on a thread for that.
#[derive(Clone)]
pub struct Redlock(Arc<RedLock>);

/// A lock without its borrow of the manager.
pub struct Held {
    resource: Vec<u8>,
    val: Vec<u8>,
}

impl Client for Redlock {
    type Lock = Held;

    async fn connect(nodes: &[String]) -> Result<Self, String> {
        let mut manager = RedLock::new(nodes.to_vec());
        manager.set_retry(RETRIES, RETRY_DELAY_MS);
        Ok(Self(Arc::new(manager)))
    }

    async fn acquire(&self, resource: &str) -> Result<Held, String> {
        let (manager, resource) = (self.0.clone(), resource.as_bytes().to_vec());
        let called = tokio::task::spawn_blocking(move || {
            let ttl_ms = TTL.as_millis() as usize;
            match manager.lock(&resource, ttl_ms) {
                Ok(Some(redlock::Lock { resource, val, .. })) => Ok(Held { resource, val }),
                Ok(None) => Err("not acquired".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        called.await.map_err(|error| error.to_string())?
    }

    async fn release(&self, Held { resource, val }: Held) -> Result<(), String> {
        let manager = self.0.clone();
        let called = tokio::task::spawn_blocking(move || {
            manager.unlock(&redlock::Lock {
                resource,
                val,
                validity_time: 0,
                lock_manager: &manager,
            });
        });
        called.await.map_err(|error| error.to_string())
    }

    fn is_held(&self, _: &Held) -> bool {
        true
    }

    async fn drain(self) {}
}
