//! A lock that is held.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use redlatch_core::{Fence, Lease, Loss, Token};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock;
use crate::drive::{Request, Risk, Status};
use crate::error::{ExtendError, ReleaseError};
use crate::options::Resources;
use crate::reaper::Engine;

/// A lock that is held, until it is released, dropped, or lost.
///
/// Dropping it releases it in the background; [`release`](Self::release) also tells how that went.
/// While it is not renewed ([`Options::renew_up_to`](crate::Options::renew_up_to)) it is lost when its
/// validity ends: check [`is_valid`](Self::is_valid), wait for [`lost`](Self::lost), and hand the
/// [`fence`](Self::fence) to the resource, which is the only protection that does not depend on clocks.
#[must_use = "a guard that is dropped releases its lock"]
pub struct Guard {
    resources: Resources,
    ttl: Duration,
    requests: mpsc::UnboundedSender<Request>,
    view: LeaseView,
    /// Keeps the thread, and with it the connections, alive.
    engine: Arc<Engine>,
}

impl Guard {
    pub(crate) fn new(
        resources: Resources,
        ttl: Duration,
        requests: mpsc::UnboundedSender<Request>,
        view: LeaseView,
        engine: Arc<Engine>,
    ) -> Self {
        Self { resources, ttl, requests, view, engine }
    }

    pub(crate) fn granted(mut self, lease: &Lease) -> Self {
        self.view.fence = lease.fence;
        self
    }

    /// What is locked, without the client's key prefix.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// The fencing token: larger than that of every grant that was over before this one was asked for.
    /// `None` if no fence was asked for, or the dialect has none. It stays what it is when the lock is
    /// lost, so that what is written late is refused.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.view.fence()
    }

    /// Whether the lock is held at this moment. Compares the clock; no timer needs to have fired. Once
    /// it has said no, it never says yes again.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.view.is_valid()
    }

    /// How long the lock is still held if it is not extended; zero if it is not held.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.view.remaining()
    }

    /// Until when the lock is held if it is not extended; now or earlier if it is not held.
    ///
    /// On the clock of `std`, which on Linux stands still while the machine is suspended: after a
    /// suspend, [`is_valid`](Self::is_valid) is right and this is too late.
    #[must_use]
    pub fn valid_until(&self) -> std::time::Instant {
        std::time::Instant::now() + self.remaining()
    }

    /// Whether the last extension missed its majority, so that the lock will be lost unless a later one
    /// succeeds.
    #[must_use]
    pub fn is_at_risk(&self) -> bool {
        matches!(*self.view.status.borrow(), Status::Held { risk: Risk::Missed, .. })
    }

    /// Something to look at the lease with while the guard is elsewhere.
    #[must_use]
    pub fn view(&self) -> LeaseView {
        self.view.clone()
    }

    /// Completes when the lock is lost, at the latest when its validity ends (up to the granularity of
    /// timers, 2 ms, which the validity allows for). Pends for ever once the lock was released.
    pub fn lost(&self) -> impl Future<Output = Loss> + Send + 'static {
        self.view().into_lost()
    }

    /// Extends the lock: from now on it is held for its time to live again. An extension never
    /// shortens, revives, or destroys a lock.
    ///
    /// # Errors
    /// [`ExtendError::AtRisk`] if too few nodes extended it; it is still held and the extension is
    /// tried again. [`ExtendError::Lost`] if it is not held any more.
    pub async fn extend(&self) -> Result<(), ExtendError> {
        match self.ask(Request::Extend).await {
            Some(result) => result.map(drop),
            None => Err(ExtendError::Lost(self.loss())),
        }
    }

    /// Releases the lock. Returns when a majority has freed it, or cannot be reached; the nodes that
    /// are still silent are asked again in the background.
    ///
    /// # Errors
    /// [`ReleaseError::Unconfirmed`] if too few nodes answered. [`ReleaseError::Lost`] if the lease
    /// was over before. In neither case is the lock held any more.
    pub async fn release(self) -> Result<(), ReleaseError> {
        match self.ask(Request::Release).await {
            Some(result) => result,
            None => Err(ReleaseError::Lost(self.loss())),
        }
    }

    /// Takes the lease out of the guard, to be handed to another process and
    /// [adopted](crate::Redlatch::adopt) there. Nobody renews or releases it until then.
    ///
    /// # Errors
    /// [`Loss`], if the lock is not held any more.
    pub async fn into_parts(self) -> Result<LeaseParts, Loss> {
        let handover = self.ask(Request::Detach).await.unwrap_or(Err(self.loss()))?;
        // From here on nothing is awaited: either the parts are returned, or the lock is released.
        handover.taken.send(()).map_err(|()| self.loss())?;
        let Lease { token, fence, valid_until } = handover.lease;
        let valid_until = SystemTime::now() + clock::until(valid_until);
        let Self { resources, ttl, .. } = self;
        Ok(LeaseParts { resources, token, fence: fence.map(Fence::get), ttl, valid_until })
    }

    /// Asks the driver; `None` if it has gone.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.engine.ask(&self.requests, request(reply));
        answer.await.ok()
    }

    fn loss(&self) -> Loss {
        match *self.view.status.borrow() {
            Status::Lost(loss) => loss,
            Status::Asked | Status::Held { .. } | Status::Ended => Loss::Expired,
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("resources", &self.resources.to_string())
            .field("fence", &self.fence())
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

/// A look at a lease: what the work under a lock needs to know, without the power to release it.
#[derive(Clone)]
pub struct LeaseView {
    fence: Option<Fence>,
    status: watch::Receiver<Status>,
    /// Set once anybody has been told that the lease is over, so that nobody is told otherwise later.
    seen_over: Arc<AtomicBool>,
}

impl LeaseView {
    pub(crate) const fn new(status: watch::Receiver<Status>, seen_over: Arc<AtomicBool>) -> Self {
        Self { fence: None, status, seen_over }
    }

    /// The fencing token, if one was asked for. It stays what it is when the lock is lost.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.fence.map(Fence::get)
    }

    /// Whether the lock is held at this moment.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.remaining() > Duration::ZERO
    }

    /// How long the lock is still held if it is not extended; zero if it is not held.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        // Until this has been noted, the driver shows no longer lease.
        let status = self.status.borrow();
        let Status::Held { lease, .. } = *status else { return Duration::ZERO };
        let remaining = clock::until(lease.valid_until);
        if remaining.is_zero() {
            self.seen_over.store(true, Ordering::SeqCst);
        }
        if self.seen_over.load(Ordering::SeqCst) { Duration::ZERO } else { remaining }
    }

    /// Completes when the lock is lost; pends for ever once it was released.
    pub async fn into_lost(mut self) -> Loss {
        loop {
            if let Status::Lost(loss) = *self.status.borrow_and_update() {
                return loss;
            }
            if self.status.changed().await.is_err() {
                // The driver has gone. It tells of a loss before it goes, so this was a release, or
                // the thread died, and with it whoever could renew.
                let status = *self.status.borrow();
                return match status {
                    Status::Lost(loss) => loss,
                    Status::Held { .. } => Loss::Expired,
                    Status::Asked | Status::Ended => std::future::pending().await,
                };
            }
        }
    }
}

impl fmt::Debug for LeaseView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseView")
            .field("fence", &self.fence())
            .field("remaining", &self.remaining())
            .finish()
    }
}

/// A lease outside a guard, on its way to another process. Whoever has it can release the lock: keep
/// it secret. `Debug` does not show the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseParts {
    /// What is locked, without the client's key prefix.
    pub resources: Resources,
    /// What the nodes store; [`Token::to_hex`] and [`Token::from_hex`] write and read it.
    pub token: Token,
    /// The fencing token, if one was asked for.
    pub fence: Option<u64>,
    /// The time to live that it was acquired with; the adopter extends by the same.
    pub ttl: Duration,
    /// Until when the lock is held, by the wall clock of the machine that it was acquired on.
    pub valid_until: SystemTime,
}
