//! A client for the unit tests of applications: nodes in memory, which do what the test says.
//!
//! [`Redlatch::fake`] gives a client like any other and a [`Fake`] to command its nodes with. All but
//! the nodes is real: votes, fences, renewal, losses, and what happens when a future is dropped. No
//! server is needed, nothing is shared between two fakes, and nothing waits that need not.
//!
//! ```
//! use redlatch::fake::Cause;
//! use redlatch::{AcquireError, Redlatch, UsingError};
//! use std::time::Duration;
//!
//! /// What is to be tested.
//! async fn migrate(redlatch: &Redlatch, mut step: impl AsyncFnMut(u32)) -> Result<(), UsingError> {
//!     redlatch
//!         .using("migration", Duration::from_secs(30), async |_| {
//!             for number in 1..=3 {
//!                 step(number).await;
//!             }
//!         })
//!         .await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (redlatch, fake) = Redlatch::fake()?;
//!
//! // It is granted.
//! let mut steps = Vec::new();
//! migrate(&redlatch, async |step| steps.push(step)).await?;
//! assert_eq!(steps, [1, 2, 3]);
//!
//! // Somebody else has it. The wait, which would be 10 s, is over at once.
//! fake.contend("migration");
//! let result = migrate(&redlatch, async |_| panic!("not under the lock")).await;
//! assert!(matches!(result, Err(UsingError::Acquire(AcquireError::Contended { .. }))));
//! fake.free("migration");
//!
//! // It is lost in the middle: the work is stopped at its next await.
//! let mut steps = Vec::new();
//! let result = migrate(&redlatch, async |step| {
//!     steps.push(step);
//!     if step == 2 {
//!         fake.lose("migration");
//!     }
//!     tokio::task::yield_now().await; // Stands for whatever the step waits for.
//! });
//! assert!(matches!(result.await, Err(UsingError::Lost(_))));
//! assert_eq!(steps, [1, 2]);
//!
//! // No node answers.
//! fake.fail(Cause::NoQuorum);
//! let result = migrate(&redlatch, async |_| panic!("not under the lock")).await;
//! assert!(matches!(result, Err(UsingError::Acquire(AcquireError::NoQuorum { .. }))));
//! # Ok(())
//! # }
//! ```

mod node;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::calls::Calls;
use crate::client::Redlatch;
use crate::drive::Status;
use crate::error::BuildError;
use crate::node::lock;
use crate::options::{Options, Resources};
use node::{FakeNode, Keys};

/// How many nodes there are: the least of which a majority is not all.
const NODES: usize = 3;

/// Commands the nodes of a client that [`Redlatch::fake`] has made. Cheap to clone.
///
/// Commands hold for what comes after them. What the fake decides is told after one attempt: whoever
/// is refused on command does not wait for as long as its options say. To have somebody really wait,
/// take the lock by the same client in the test, and release it.
#[derive(Clone)]
pub struct Fake {
    world: Arc<World>,
}

/// What [`Fake::fail`] makes all acquires fail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// [`AcquireError::Contended`](crate::AcquireError::Contended): all nodes say no.
    Contended,
    /// [`AcquireError::NoQuorum`](crate::AcquireError::NoQuorum): all nodes answer an error, also to
    /// extensions and releases. Locks that are held are at risk, and lost at their end.
    NoQuorum,
    /// [`AcquireError::Quarantined`](crate::AcquireError::Quarantined): all nodes were restarted, and
    /// vote again after a minute.
    Quarantined,
}

impl Fake {
    /// From now on somebody else has the lock on `resource`. Whoever holds it already goes on to.
    pub fn contend(&self, resource: impl AsRef<[u8]>) {
        lock(&self.world.orders).taken.insert(resource.as_ref().into());
    }

    /// Takes [`contend`](Self::contend) back.
    pub fn free(&self, resource: impl AsRef<[u8]>) {
        lock(&self.world.orders).taken.remove(resource.as_ref());
    }

    /// Has the lock on `resource` be lost by whoever holds it, as if its process had been suspended
    /// beyond the lock's validity: the keys are gone and the holder wakes up too late. When this
    /// returns, the holder has been told. `false` if nobody held it.
    pub fn lose(&self, resource: impl AsRef<[u8]>) -> bool {
        self.world.lose(resource.as_ref())
    }

    /// From now on every acquire fails with `cause`.
    pub fn fail(&self, cause: Cause) {
        lock(&self.world.orders).mode = Mode::Fail(cause);
    }

    /// From now on every lock is granted, extended and released, also if somebody else has it: for tests
    /// in which locks are in the way.
    pub fn bypass(&self) {
        lock(&self.world.orders).mode = Mode::Bypass;
    }

    /// Takes all commands back: the nodes do what Redis would do. Locks that are held stay held.
    pub fn reset(&self) {
        *lock(&self.world.orders) = Orders::default();
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").field("orders", &*lock(&self.world.orders)).finish_non_exhaustive()
    }
}

/// A client and who commands its nodes.
pub(crate) fn start() -> Result<(Redlatch, Fake), BuildError> {
    let nodes: Vec<Keys> = (0..NODES).map(|_| Keys::default()).collect();
    let (orders, locks) = (Mutex::default(), Mutex::default());
    let calls = Calls::in_memory(NODES);
    let world = Arc::new(World { nodes, orders, locks, calls });
    let mut builder = Redlatch::builder();
    for index in 0..NODES {
        let node = FakeNode { world: world.clone(), index };
        builder = builder.connection(format!("fake node {}", index + 1), node);
    }
    Ok((builder.build_fake(world.clone())?, Fake { world }))
}

/// The nodes of one fake, what they are told, and who has locks on them.
pub(crate) struct World {
    nodes: Vec<Keys>,
    orders: Mutex<Orders>,
    locks: Mutex<Vec<Enrolled>>,
    /// Whom the nodes call.
    pub(crate) calls: Arc<Calls>,
}

/// What the nodes are told to do.
#[derive(Debug, Default)]
struct Orders {
    mode: Mode,
    /// Resources that somebody else has.
    taken: HashSet<Box<[u8]>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Faithful,
    Bypass,
    Fail(Cause),
}

impl Orders {
    /// Whether an acquire of these keys is refused on command.
    fn refuse<'a>(&self, mut names: impl Iterator<Item = &'a [u8]>) -> bool {
        match self.mode {
            Mode::Faithful => names.any(|name| self.taken.contains(name)),
            Mode::Bypass => false,
            Mode::Fail(_) => true,
        }
    }
}

/// A lock and its driver.
struct Enrolled {
    resources: Resources,
    ttl: Duration,
    status: watch::Receiver<Status>,
    /// How far the driver's clock is to leap.
    leap: watch::Sender<Duration>,
}

impl World {
    /// What becomes of the options of a lock on `resources`: what is refused on command is refused at
    /// once.
    pub(crate) fn hurry(&self, resources: &Resources, options: Options) -> Options {
        let is_refused = lock(&self.orders).refuse(resources.names());
        if is_refused { options.once() } else { options }
    }

    /// Notes a lock; what tells its driver that its clock leaps.
    pub(crate) fn enrol(
        &self,
        resources: &Resources,
        ttl: Duration,
        status: &watch::Receiver<Status>,
    ) -> watch::Receiver<Duration> {
        let (leap, woken) = watch::channel(Duration::ZERO);
        let (resources, status) = (resources.clone(), status.clone());
        let mut locks = lock(&self.locks);
        // Those whose driver has gone are over.
        locks.retain(|enrolled| !enrolled.leap.is_closed());
        locks.push(Enrolled { resources, ttl, status, leap });
        woken
    }

    fn lose(&self, resource: &[u8]) -> bool {
        let mut told = Vec::new();
        for enrolled in &*lock(&self.locks) {
            let is_held = matches!(*enrolled.status.borrow(), Status::Held { .. });
            if is_held && enrolled.resources.names().any(|name| name == resource) {
                for node in &self.nodes {
                    node.forget(enrolled.resources.names());
                }
                // No lease lasts longer than a ttl from now.
                enrolled.leap.send_replace(enrolled.ttl);
                told.push(enrolled.status.clone());
            }
        }
        for status in &mut told {
            let is_over = |status: &Status| !matches!(status, Status::Held { .. });
            // Its driver runs on a thread of its own, so this ends whatever the caller's executor does.
            drop(pollster::block_on(status.wait_for(is_over)));
        }
        !told.is_empty()
    }
}
