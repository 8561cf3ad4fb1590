//! The client: acquire, adopt, inspect.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use redlatch_core::wire::{Compare, WireError};
use redlatch_core::{Config, Fence, Lease, Lock, Loss, Place, Proposal, Quorum};
use tokio::sync::{mpsc, oneshot, watch};

use crate::builder::Builder;
use crate::calls::Calls;
use crate::clock;
use crate::drive::{self, Driver, NodeDialect, Risk, Status, Subject};
use crate::error::{
    AcquireError, AdoptError, BuildError, InvalidRequest, ReleaseError, UsingError,
};
use crate::examine::{self, Examination};
use crate::fake::{self, Fake, World};
use crate::guard::{Guard, LeaseParts, LeaseView};
use crate::inspect::{self, Inspection};
use crate::measure::{Meter, Meters};
use crate::node::Node;
use crate::options::{Fencing, Options, Resources};
use crate::reaper::Engine;

/// A client of a set of independent Redis nodes, which takes locks on a majority of them.
///
/// Cheap to clone; all clones, and all locks, share one connection per node, and while any of them waits
/// for a lock that is taken one more, on which nodes call it. A thread of the client's own drives them.
/// The futures work on any executor, and dropping them, or a guard, at any point releases whatever may
/// be held.
#[derive(Clone)]
pub struct Redlatch {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Arc<Engine>,
    pub(crate) nodes: Arc<[Arc<Node>]>,
    pub(crate) quorum: Quorum,
    pub(crate) dialect: NodeDialect,
    pub(crate) key_prefix: Vec<u8>,
    pub(crate) closing: AtomicBool,
    pub(crate) meters: Meters,
    /// Where nodes call those who wait.
    pub(crate) calls: Arc<Calls>,
    /// What commands the nodes, if they are those of a fake.
    pub(crate) fake: Option<Arc<World>>,
}

impl Redlatch {
    /// How long [`shutdown`](Self::shutdown) waits at most.
    pub const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

    /// A client of the nodes at these URLs, with everything else as usual.
    ///
    /// # Errors
    /// [`BuildError`], as of [`Builder::build`].
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, BuildError> {
        urls.into_iter().fold(Self::builder(), |builder, url| builder.node(url.as_ref())).build()
    }

    /// Starts to put a client together.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A client for the unit tests of an application, with nodes in memory, and what to command them
    /// with: see the module [`fake`](mod@fake).
    ///
    /// # Errors
    /// [`BuildError::Thread`] if no thread can be started.
    pub fn fake() -> Result<(Self, Fake), BuildError> {
        fake::start()
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Acquires the lock on `resources`, waiting for it if it is taken.
    ///
    /// # Errors
    /// [`AcquireError`]; nothing is held then.
    pub async fn acquire(
        &self,
        resources: impl Into<Resources>,
        options: impl Into<Options>,
    ) -> Result<Guard, AcquireError> {
        self.start(resources.into(), options.into())?.await
    }

    /// Acquires the lock on `resources` if it is free: one attempt.
    ///
    /// # Errors
    /// [`AcquireError`]; nothing is held then.
    pub async fn try_acquire(
        &self,
        resources: impl Into<Resources>,
        options: impl Into<Options>,
    ) -> Result<Guard, AcquireError> {
        self.start(resources.into(), options.into().once())?.await
    }

    /// Acquires the lock on `resources`, waiting for it until `deadline`. No node is asked if that has
    /// passed.
    ///
    /// # Errors
    /// [`AcquireError`]; nothing is held then.
    pub async fn acquire_by(
        &self,
        deadline: std::time::Instant,
        resources: impl Into<Resources>,
        options: impl Into<Options>,
    ) -> Result<Guard, AcquireError> {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Err(AcquireError::DeadlineExceeded { votes: None });
        }
        self.start(resources.into(), options.into().within(left))?.await
    }

    /// Does `work` under the lock on `resources`. The lock is renewed while the work goes on, for up to
    /// [`Options::HOLD_MAX`] unless told otherwise, and always released. If it is lost, the work's
    /// future is dropped at its next await.
    ///
    /// # Errors
    /// [`UsingError::Acquire`] if the lock was not got, [`UsingError::Lost`] if it was lost before the
    /// work was done.
    pub async fn using<T, W>(
        &self,
        resources: impl Into<Resources>,
        options: impl Into<Options>,
        work: W,
    ) -> Result<T, UsingError>
    where
        W: AsyncFnOnce(LeaseView) -> T,
    {
        let guard = self.acquire(resources, options.into().renewed()).await;
        let guard = guard.map_err(UsingError::Acquire)?;
        let lost = guard.lost();
        // Whoever wakes the work may come before the news of the loss.
        let over = std::future::poll_fn(|_| match guard.is_valid() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        tokio::select! {
            biased;
            loss = lost => Err(UsingError::Lost(loss)),
            () = over => Err(UsingError::Lost(guard.lost().await)),
            output = work(guard.view()) => {
                // It may have kept its thread, or looked at its lease and given up.
                if !guard.is_valid() {
                    return Err(UsingError::Lost(guard.lost().await));
                }
                // The work is done; whether a majority confirms the release changes nothing of that.
                drop(guard.release().await);
                Ok(output)
            }
        }
    }

    /// Takes over a lease that was handed over by [`Guard::into_parts`], here or in another process.
    /// Where that is on another machine, the wall clocks of both must agree to within the allowance for
    /// drift.
    ///
    /// A lease that has ended cannot be adopted: somebody else may have held the lock since.
    ///
    /// How long it may be held ([`Options::renew_up_to`]) is counted from now on: what it was held for
    /// before does not travel with it. Those who hand a lease on and on bound that themselves.
    ///
    /// # Errors
    /// [`AdoptError::Invalid`] if the parts are no lease of these nodes, or the options contradict each
    /// other; [`AdoptError::Lost`] if the lease has ended.
    pub fn adopt(&self, parts: &LeaseParts, options: &Options) -> Result<Guard, AdoptError> {
        let options = options.clone().ttl(parts.ttl);
        let (driver, guard) = self.adopted(parts, &options)?;
        if driver.lock.lease().is_none() {
            return Err(AdoptError::Lost(Loss::Expired));
        }
        self.inner.engine.spawn(drive::run(driver));
        Ok(guard)
    }

    /// Releases a lease that was handed over, whether or not it has ended.
    ///
    /// # Errors
    /// [`AdoptError::Invalid`] if the parts are no lease of these nodes; [`AdoptError::Lost`] if the
    /// lease had ended: its keys are released all the same, in the background; [`AdoptError::Release`] as
    /// of [`Guard::release`].
    pub async fn release(&self, parts: &LeaseParts) -> Result<(), AdoptError> {
        let (driver, guard) = self.adopted(parts, &Options::new(parts.ttl))?;
        let held = driver.lock.lease().is_some();
        // A lease that has ended is released by its driver at once.
        self.inner.engine.spawn(drive::run(driver));
        let result = guard.release().await;
        match result {
            Err(ReleaseError::Lost(loss)) if !held => Err(AdoptError::Lost(loss)),
            Err(error) => Err(AdoptError::Release(error)),
            Ok(()) => Ok(()),
        }
    }

    /// Asks all nodes who holds the lock on `resources`. A look, for people: by the time it returns it
    /// may be otherwise.
    ///
    /// # Errors
    /// [`InvalidRequest`] if the names cannot be locked.
    pub async fn inspect(
        &self,
        resources: impl Into<Resources>,
    ) -> Result<Inspection, InvalidRequest> {
        let resources = resources.into().prefixed(&self.inner.key_prefix);
        resources.keys()?;
        let subject = self.subject(resources);
        let quorum = self.inner.quorum;
        let inspection = self.inner.engine.run(inspect::inspect(subject.clone(), quorum)).await;
        Ok(inspection.unwrap_or_else(|| Inspection::unknown(&subject.nodes)))
    }

    /// Examines the nodes: whether they can be reached and run scripts, are separate servers without
    /// replicas, keep what they store, agree on the time, and answer well within the time that locks by
    /// these options give them. It changes nothing, and ends within 10 s.
    ///
    /// # Errors
    /// [`InvalidRequest`] if the options contradict each other.
    pub async fn examine(
        &self,
        options: impl Into<Options>,
    ) -> Result<Examination, InvalidRequest> {
        let config = options.into().config(self.inner.quorum)?;
        let (nodes, dialect) = (self.inner.nodes.clone(), self.inner.dialect);
        let examination = examine::examine(nodes, dialect, config);
        let ended = || Examination { nodes: Vec::new(), findings: Vec::new() };
        Ok(self.inner.engine.run(examination).await.unwrap_or_else(ended))
    }

    /// Tells every node that was never seen before that it is new, so that the restart guard does not
    /// keep it from voting for `ttl_max`. Returns the names of the nodes that are fresh now.
    ///
    /// Only for a cluster that is being set up: a node that has lost its keys looks like a new one.
    pub async fn declare_fresh(&self) -> Vec<Arc<str>> {
        let nodes = self.inner.nodes.clone();
        self.inner.engine.run(inspect::declare_fresh(nodes)).await.unwrap_or_default()
    }

    /// Takes no new locks, and waits until every lock whose guard has gone is released on all nodes that
    /// answer in time, for at most [`SHUTDOWN_MAX`](Self::SHUTDOWN_MAX). Guards that are alive stay
    /// good, and keep it waiting.
    pub async fn shutdown(&self) {
        self.shutdown_within(Self::SHUTDOWN_MAX).await;
    }

    /// [`shutdown`](Self::shutdown), for at most `within`.
    pub async fn shutdown_within(&self, within: Duration) {
        self.inner.closing.store(true, Ordering::Relaxed);
        self.inner.engine.drain(within).await;
        self.inner.calls.close();
    }

    /// Begins to acquire. Nothing is awaited before the driver has taken over, so that there is no
    /// moment in which a dropped future would leave something behind.
    pub(crate) fn start(
        &self,
        resources: Resources,
        options: Options,
    ) -> Result<impl Future<Output = Result<Guard, AcquireError>> + use<>, AcquireError> {
        if self.inner.closing.load(Ordering::Relaxed) {
            return Err(AcquireError::Cancelled);
        }
        let options = match &self.inner.fake {
            Some(world) => world.hurry(&resources, options),
            None => options,
        };
        let config = options.config(self.inner.quorum)?;
        let subject = self.subject(resources.prefixed(&self.inner.key_prefix));
        let proposal = self.proposal(&subject, &options)?;
        let mut lock = Lock::new(config);
        let nonce = self.inner.calls.nonce()?;
        let place = self.place(&subject, &options);
        lock.set_place(place);
        if lock.acquire(clock::now(), nonce, proposal).is_err() {
            return Err(AcquireError::Cancelled);
        }
        let (acquirer, granted) = oneshot::channel();
        let (driver, guard) = self.driver(resources, options.ttl, subject, lock, Status::Asked);
        let waiter = place.map(|_| self.inner.calls.waiter(nonce));
        self.inner.engine.spawn(drive::run(Driver { acquirer: Some(acquirer), waiter, ..driver }));
        Ok(async move {
            // The guard is in this future from the first: dropping it is dropping the guard.
            let lease = granted.await.unwrap_or(Err(AcquireError::Cancelled))?;
            Ok(guard.granted(&lease))
        })
    }

    /// The place to take in the queues of the nodes, where there are any.
    fn place(&self, subject: &Subject, options: &Options) -> Option<Place> {
        let wire = subject.resources.wire(self.inner.dialect.of(Compare::Script)).ok()?;
        (wire.can_queue() && options.can_wait()).then(clock::place)
    }

    /// The fence to propose, if one is wanted and there can be one.
    fn proposal(
        &self,
        subject: &Subject,
        options: &Options,
    ) -> Result<Option<Proposal>, InvalidRequest> {
        self.check_names(subject)?;
        match (options.fencing(), self.inner.dialect) {
            (Fencing::WherePossible, NodeDialect::Scripts(_)) => {
                self.check_fence(subject)?;
                Ok(Some(clock::proposal()?))
            }
            (Fencing::Off, _) | (Fencing::WherePossible, NodeDialect::Plain) => Ok(None),
        }
    }

    /// Whether these resources can be locked together on these nodes.
    fn check_names(&self, subject: &Subject) -> Result<(), InvalidRequest> {
        subject.resources.wire(self.inner.dialect.of(Compare::Script))?;
        Ok(())
    }

    /// Whether these resources can have a fence on these nodes.
    fn check_fence(&self, subject: &Subject) -> Result<(), InvalidRequest> {
        match self.inner.dialect {
            NodeDialect::Scripts(_) => Ok(subject.resources.keys()?.check_fence_keys()?),
            NodeDialect::Plain => Err(WireError::PlainFence.into()),
        }
    }

    fn adopted(
        &self,
        parts: &LeaseParts,
        options: &Options,
    ) -> Result<(Driver, Guard), InvalidRequest> {
        let config: Config = options.config(self.inner.quorum)?;
        let subject = self.subject(parts.resources.prefixed(&self.inner.key_prefix));
        self.check_names(&subject)?;
        if parts.fence.is_some() {
            self.check_fence(&subject)?;
        }
        let left = parts.valid_until.duration_since(SystemTime::now()).unwrap_or_default();
        // Two readings of two wall clocks: the allowance for drift is taken off once more.
        let left = left.min(config.validity()).saturating_sub(config.drift().margin(config.ttl()));
        let now = clock::now();
        let lease = Lease {
            token: parts.token,
            fence: parts.fence.and_then(Fence::new),
            valid_until: now.saturating_add(left),
        };
        let lock = Lock::adopt(config, now, &lease);
        let status = Status::Held { lease, risk: Risk::None };
        let (driver, guard) =
            self.driver(parts.resources.clone(), parts.ttl, subject, lock, status);
        Ok((driver, guard.granted(&lease)))
    }

    fn driver(
        &self,
        resources: Resources,
        ttl: Duration,
        subject: Arc<Subject>,
        lock: Lock,
        status: Status,
    ) -> (Driver, Guard) {
        let engine = &self.inner.engine;
        let (requests, received) = mpsc::unbounded_channel();
        let meter = match status {
            Status::Held { .. } => Meter::adopted(&self.inner.meters, &subject.nodes, clock::now()),
            Status::Asked | Status::Lost(_) | Status::Ended => {
                Meter::asked(&self.inner.meters, &subject.nodes, clock::now())
            }
        };
        let (status, seen) = watch::channel(status);
        let woken = match &self.inner.fake {
            Some(world) => world.enrol(&resources, ttl, &seen),
            None => engine.woken(),
        };
        let seen_over = Arc::new(AtomicBool::new(false));
        let view = LeaseView::new(seen, seen_over.clone());
        let driver = Driver {
            subject,
            lock,
            requests: Some(received),
            acquirer: None,
            waiter: None,
            status,
            seen_over,
            woken,
            errand: engine.errand(),
            meter,
        };
        (driver, Guard::new(resources, ttl, requests, view, engine.clone()))
    }

    fn subject(&self, resources: Resources) -> Arc<Subject> {
        Arc::new(Subject::new(self.inner.nodes.clone(), resources, self.inner.dialect))
    }
}

impl std::fmt::Debug for Redlatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.inner.nodes.iter().map(|node| node.name()).collect();
        f.debug_struct("Redlatch").field("nodes", &names).finish_non_exhaustive()
    }
}
