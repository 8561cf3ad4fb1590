//! The same for programs without async: every call blocks its thread until it has an answer.
//!
//! Every wait is bounded: by the time to answer of the nodes, and by the wait that was asked for. Do
//! not call it from async code; it would block the executor's thread.
//!
//! ```no_run
//! use redlatch::blocking::Redlatch;
//! use std::time::Duration;
//!
//! let redlatch = Redlatch::new(["redis://10.0.0.1", "redis://10.0.0.2", "redis://10.0.0.3"])?;
//! let guard = redlatch.acquire("report", Duration::from_secs(30))?;
//! println!("fence {:?}, good for {:?}", guard.fence(), guard.remaining());
//! guard.release()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{
    AcquireError, AdoptError, BuildError, Examination, ExtendError, Inspection, InvalidRequest,
    LeaseParts, LeaseView, Loss, Options, ReleaseError, Resources, UsingError,
};

/// A client of a set of independent Redis nodes, as [`crate::Redlatch`].
#[derive(Clone, Debug)]
pub struct Redlatch(crate::Redlatch);

impl Redlatch {
    /// A client of the nodes at these URLs, with everything else as usual.
    ///
    /// # Errors
    /// [`BuildError`], as of [`crate::Builder::build`].
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, BuildError> {
        crate::Redlatch::new(urls).map(Self)
    }

    /// Acquires the lock on `resources`, waiting for it if it is taken.
    ///
    /// # Errors
    /// [`AcquireError`]; nothing is held then.
    pub fn acquire(
        &self,
        resources: impl Into<Resources>,
        options: impl Into<Options>,
    ) -> Result<Guard, AcquireError> {
        pollster::block_on(self.0.acquire(resources, options)).map(Guard)
    }

    /// Acquires the lock on `resources` if it is free: one attempt.
    ///
    /// # Errors
    /// [`AcquireError`]; nothing is held then.
    pub fn try_acquire(
        &self,
        resources: impl Into<Resources>,
        options: impl Into<Options>,
    ) -> Result<Guard, AcquireError> {
        pollster::block_on(self.0.try_acquire(resources, options)).map(Guard)
    }

    /// Acquires the lock on `resources`, waiting for it until `deadline`.
    ///
    /// # Errors
    /// [`AcquireError`]; nothing is held then.
    pub fn acquire_by(
        &self,
        deadline: Instant,
        resources: impl Into<Resources>,
        options: impl Into<Options>,
    ) -> Result<Guard, AcquireError> {
        pollster::block_on(self.0.acquire_by(deadline, resources, options)).map(Guard)
    }

    /// Does `work` under the lock on `resources`, on this thread. The lock is renewed meanwhile, as by
    /// [`crate::Redlatch::using`], and always released.
    ///
    /// Nothing can stop a thread: long work looks at its lease between its steps, and returns when that
    /// is over.
    ///
    /// # Errors
    /// [`UsingError::Acquire`] if the lock was not got, and the work not begun. [`UsingError::Lost`] if
    /// the lock was lost before the work was done; what it returned is dropped.
    pub fn using<T>(
        &self,
        resources: impl Into<Resources>,
        options: impl Into<Options>,
        work: impl FnOnce(LeaseView) -> T,
    ) -> Result<T, UsingError> {
        pollster::block_on(self.0.using(resources, options, async move |lease| work(lease)))
    }

    /// Takes over a lease, as [`crate::Redlatch::adopt`].
    ///
    /// # Errors
    /// [`AdoptError`].
    pub fn adopt(&self, parts: &LeaseParts, options: &Options) -> Result<Guard, AdoptError> {
        self.0.adopt(parts, options).map(Guard)
    }

    /// Releases a lease that was handed over, as [`crate::Redlatch::release`].
    ///
    /// # Errors
    /// [`AdoptError`].
    pub fn release(&self, parts: &LeaseParts) -> Result<(), AdoptError> {
        pollster::block_on(self.0.release(parts))
    }

    /// Asks all nodes who holds the lock on `resources`.
    ///
    /// # Errors
    /// [`InvalidRequest`] if the names cannot be locked.
    pub fn inspect(&self, resources: impl Into<Resources>) -> Result<Inspection, InvalidRequest> {
        pollster::block_on(self.0.inspect(resources))
    }

    /// Examines the nodes, as [`crate::Redlatch::examine`].
    ///
    /// # Errors
    /// [`InvalidRequest`] if the options contradict each other.
    pub fn examine(&self, options: impl Into<Options>) -> Result<Examination, InvalidRequest> {
        pollster::block_on(self.0.examine(options))
    }

    /// Tells new nodes that they are new, as [`crate::Redlatch::declare_fresh`].
    #[must_use = "it names the nodes that are fresh now"]
    pub fn declare_fresh(&self) -> Vec<Arc<str>> {
        pollster::block_on(self.0.declare_fresh())
    }

    /// Takes no new locks and waits for releases, as [`crate::Redlatch::shutdown`].
    pub fn shutdown(&self) {
        pollster::block_on(self.0.shutdown());
    }

    /// [`shutdown`](Self::shutdown), for at most `within`.
    pub fn shutdown_within(&self, within: Duration) {
        pollster::block_on(self.0.shutdown_within(within));
    }
}

/// What [`crate::Redlatch::builder`] puts together, for programs without async.
impl From<crate::Redlatch> for Redlatch {
    fn from(redlatch: crate::Redlatch) -> Self {
        Self(redlatch)
    }
}

/// A lock that is held, as [`crate::Guard`]. Dropping it releases it in the background.
#[derive(Debug)]
#[must_use = "a guard that is dropped releases its lock"]
pub struct Guard(crate::Guard);

impl Guard {
    /// What is locked, without the client's key prefix.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        self.0.resources()
    }

    /// The fencing token.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.0.fence()
    }

    /// Whether the lock is held at this moment.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    /// How long the lock is still held if it is not extended.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.remaining()
    }

    /// Until when the lock is held if it is not extended.
    #[must_use]
    pub fn valid_until(&self) -> Instant {
        self.0.valid_until()
    }

    /// Whether the last extension missed its majority, as [`crate::Guard::is_at_risk`].
    #[must_use]
    pub fn is_at_risk(&self) -> bool {
        self.0.is_at_risk()
    }

    /// Something to look at the lease with from other threads.
    #[must_use]
    pub fn view(&self) -> LeaseView {
        self.0.view()
    }

    /// Blocks until the lock is lost.
    #[must_use]
    pub fn wait_until_lost(&self) -> Loss {
        pollster::block_on(self.0.lost())
    }

    /// Extends the lock, as [`crate::Guard::extend`].
    ///
    /// # Errors
    /// [`ExtendError`].
    pub fn extend(&self) -> Result<(), ExtendError> {
        pollster::block_on(self.0.extend())
    }

    /// Releases the lock, as [`crate::Guard::release`].
    ///
    /// # Errors
    /// [`ReleaseError`].
    pub fn release(self) -> Result<(), ReleaseError> {
        pollster::block_on(self.0.release())
    }

    /// Takes the lease out of the guard, as [`crate::Guard::into_parts`].
    ///
    /// # Errors
    /// [`Loss`], if the lock is not held any more.
    pub fn into_parts(self) -> Result<LeaseParts, Loss> {
        pollster::block_on(self.0.into_parts())
    }
}
