//! This project's native driver.

use std::time::Duration;

use redlatch::{Guard, Options, Redlatch};
use tokio::runtime::Handle;

use super::{Client, TTL, TTL_HELD};

/// The dialects.
pub(crate) const PLAIN: u8 = 0;
/// Scripts, without one.
pub(crate) const UNFENCED: u8 = 2;
/// Scripts, with a fence, renewed.
pub(crate) const RENEWED: u8 = 3;

/// The plain dialect, on the runtime of the caller.
pub(crate) const PLAIN_HERE: u8 = 4;
/// Scripts, with a fence, on the runtime of the caller.
pub(crate) const FENCED_HERE: u8 = 5;

/// The driver in one of the ways above.
#[derive(Clone)]
pub struct Ours<const WAY: u8> {
    redlatch: Redlatch,
    options: Options,
}

impl<const WAY: u8> Client for Ours<WAY> {
    type Lock = Guard;

    async fn connect(nodes: &[String]) -> Result<Self, String> {
        let builder = nodes.iter().fold(Redlatch::builder(), |builder, url| builder.node(url));
        let builder = if matches!(WAY, PLAIN | PLAIN_HERE) { builder.plain() } else { builder };
        let builder = match WAY {
            PLAIN_HERE | FENCED_HERE => builder.runtime(Handle::current()),
            _ => builder,
        };
        let patient = |ttl| Options::new(ttl).wait(Duration::from_secs(300));
        let options = match WAY {
            RENEWED => patient(TTL_HELD).renew_up_to(Options::HOLD_MAX),
            UNFENCED => patient(TTL).without_fence(),
            _ => patient(TTL),
        };
        Ok(Self { redlatch: builder.build().map_err(|error| error.to_string())?, options })
    }

    async fn acquire(&self, resource: &str) -> Result<Guard, String> {
        self.redlatch.acquire(resource, &self.options).await.map_err(|error| error.to_string())
    }

    async fn release(&self, guard: Guard) -> Result<(), String> {
        guard.release().await.map_err(|error| error.to_string())
    }

    fn is_held(&self, guard: &Guard) -> bool {
        guard.is_valid()
    }

    async fn drain(self) {
        self.redlatch.shutdown().await;
    }
}
