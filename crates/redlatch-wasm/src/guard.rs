//! A lock that is held.

use alloc::rc::Rc;
use core::fmt;
use core::time::Duration;

use futures_channel::{mpsc, oneshot};
use redlatch_core::{Fence, Lease, Loss};

use crate::clock;
use crate::drive::{Request, Shared, Status};
use crate::error::{ExtendError, ReleaseError};
use crate::node::Transport;

/// A lock that is held, until it is released, dropped or lost. Check
/// [`is_valid`](Self::is_valid) before each step that must not be taken without it; where that is not
/// enough, hand the [`fence`](Self::fence) to the resource.
#[must_use = "the lock is released when the guard is dropped"]
pub struct Guard<T> {
    transport: Rc<T>,
    shared: Rc<Shared>,
    requests: mpsc::UnboundedSender<Request>,
}

impl<T: Transport> Guard<T> {
    pub(crate) fn new(
        transport: Rc<T>,
        shared: Rc<Shared>,
        requests: mpsc::UnboundedSender<Request>,
    ) -> Self {
        Self { transport, shared, requests }
    }

    /// The fencing token: larger than that of every grant that was over before this one was asked for.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.lease().and_then(|lease| lease.fence).map(Fence::get)
    }

    /// How long the lock is still held, by this machine's clock; zero when it is not.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let Some(lease) = self.lease() else { return Duration::ZERO };
        let remaining = clock::until(&*self.transport, lease.valid_until);
        if remaining.is_zero() {
            // R11: what was seen to be over stays over.
            self.shared.seen_over.set(true);
        }
        remaining
    }

    /// Whether the lock is held. Computed from the clock: it is right even if no timer fired.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.shared.seen_over.get() && !self.remaining().is_zero()
    }

    /// Completes when the lock is lost, and says why; never if it is released before.
    pub async fn lost(&self) -> Loss {
        if let Status::Lost(loss) = self.shared.status.get() {
            return loss;
        }
        let (waiter, loss) = oneshot::channel();
        self.shared.waiting.borrow_mut().push(waiter);
        match loss.await {
            Ok(loss) => loss,
            Err(_) => core::future::pending().await,
        }
    }

    /// Extends the lease by the ttl.
    ///
    /// # Errors
    /// [`ExtendError`]. While it is [`AtRisk`](ExtendError::AtRisk) the lock is still held.
    pub async fn extend(&self) -> Result<(), ExtendError> {
        let (reply, result) = oneshot::channel();
        self.ask(Request::Extend(reply));
        result.await.unwrap_or_else(|_| Err(ExtendError::Lost(self.loss())))
    }

    /// Releases the lock. It is not held from this call on, whatever the nodes answer.
    ///
    /// # Errors
    /// [`ReleaseError`].
    pub async fn release(self) -> Result<(), ReleaseError> {
        let (reply, result) = oneshot::channel();
        self.ask(Request::Release(reply));
        result.await.unwrap_or_else(|_| Err(ReleaseError::Lost(self.loss())))
    }

    fn ask(&self, request: Request) {
        // A driver that has gone drops the request, and with it the promise of an answer.
        let _gone = self.requests.unbounded_send(request);
    }

    fn loss(&self) -> Loss {
        match self.shared.status.get() {
            Status::Lost(loss) => loss,
            Status::Asked | Status::Held(_) | Status::Released => Loss::Expired,
        }
    }

    fn lease(&self) -> Option<Lease> {
        match self.shared.status.get() {
            Status::Held(lease) => Some(lease),
            Status::Asked | Status::Lost(_) | Status::Released => None,
        }
    }
}

impl<T> fmt::Debug for Guard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("status", &self.shared.status.get()).finish_non_exhaustive()
    }
}
