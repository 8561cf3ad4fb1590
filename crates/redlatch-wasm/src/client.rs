//! The client: acquire.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use futures_channel::{mpsc, oneshot};
use redlatch_core::wire::Dialect;
use redlatch_core::{Lock, Quorum};

use crate::clock;
use crate::drive::{self, Driver, Shared, Status, Subject};
use crate::error::{AcquireError, InvalidRequest};
use crate::guard::Guard;
use crate::node::Transport;
use crate::options::Options;

/// A client of a set of independent Redis nodes, which takes locks on a majority of them.
pub struct Redlatch<T> {
    transport: Rc<T>,
    quorum: Quorum,
    dialect: Dialect,
}

impl<T: Transport> Redlatch<T> {
    /// A client of the `nodes` nodes, 1 to 16, that `transport` reaches.
    ///
    /// # Errors
    /// [`InvalidRequest`] for any other number.
    pub fn new(transport: T, nodes: usize) -> Result<Self, InvalidRequest> {
        let quorum = Quorum::of(nodes)?;
        Ok(Self { transport: Rc::new(transport), quorum, dialect: Dialect::SCRIPTS })
    }

    /// The same in another dialect; every client of the nodes must use the same.
    #[must_use]
    pub fn dialect(self, dialect: Dialect) -> Self {
        Self { dialect, ..self }
    }

    /// Acquires the lock on `resources`, waiting for it if it is taken. To drop the future gives up, and
    /// whatever nodes have granted is released.
    ///
    /// # Errors
    /// [`AcquireError`]; nothing is held then.
    pub async fn acquire(
        &self,
        resources: &[&str],
        options: impl Into<Options>,
    ) -> Result<Guard<T>, AcquireError> {
        let options = options.into();
        let config = options.config(self.quorum)?;
        let names: Vec<_> = resources.iter().map(|name| name.as_bytes().to_vec()).collect();
        let subject = Rc::new(Subject { names, dialect: self.dialect });
        subject.wire()?;
        let proposal = match (options.fenced, self.dialect) {
            (true, Dialect::Scripts { .. }) => {
                subject.keys()?.check_fence_keys()?;
                Some(clock::proposal(&*self.transport)?)
            }
            (true, Dialect::Plain { .. }) | (false, _) => None,
        };
        let nonce = self.transport.random()?;
        let mut lock = Lock::new(config);
        if lock.acquire(self.transport.now(), nonce, proposal).is_err() {
            return Err(AcquireError::Cancelled);
        }
        let (acquirer, granted) = oneshot::channel();
        let (sender, requests) = mpsc::unbounded();
        let shared = Rc::new(Shared {
            status: Cell::new(Status::Asked),
            seen_over: Cell::new(false),
            waiting: RefCell::default(),
        });
        // The guard is in this future from the first: dropping it is dropping the guard.
        let guard = Guard::new(self.transport.clone(), shared.clone(), sender);
        self.transport.spawn(drive::run(Driver {
            transport: self.transport.clone(),
            subject,
            lock,
            requests: Some(requests),
            acquirer: Some(acquirer),
            shared,
        }));
        granted.await.unwrap_or(Err(AcquireError::Cancelled))?;
        Ok(guard)
    }
}
