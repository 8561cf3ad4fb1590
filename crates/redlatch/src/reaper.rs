//! The thread that carries all locks of a client, and the bound on what it does after their owners
//! have gone.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock;
use crate::drive::Request;
use crate::error::BuildError;

/// How many locks may wait for late replies, and ask silent nodes again, when their owners have gone.
/// Beyond that, what silent nodes still have expires by itself.
const LINGERING_MAX: usize = 4_096;
/// How long the thread goes on releasing after the last owner has gone.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// A thread with a runtime of its own. Locks are carried there, so that neither dropping a future, nor
/// a guard, nor the application's runtime keeps a lock from being released, and a busy executor
/// cannot delay the news that a lock is lost. Or a runtime of the application's, if it wants that.
pub(crate) struct Engine {
    handle: Handle,
    jobs: mpsc::UnboundedSender<Job>,
    ledger: Arc<Ledger>,
    woken: watch::Receiver<Duration>,
    /// The thread ends, when what is engaged has been drained, after this is dropped. A runtime of the
    /// application's is the application's to end.
    _alive: Option<oneshot::Sender<()>>,
}

/// What applications want of the thread. All of it goes one way, so that the thread is woken once for
/// whatever has gathered, and not for each piece.
enum Job {
    Carry(BoxFuture<'static, ()>),
    Ask { requests: mpsc::UnboundedSender<Request>, request: Request },
}

/// How many errands there are.
#[derive(Default)]
struct Ledger {
    engaged: AtomicUsize,
    /// Told when none is engaged any more.
    idle: Notify,
    lingering: AtomicUsize,
}

impl Ledger {
    /// Waits until no errand is engaged, for at most `within`.
    async fn drained(&self, within: Duration) {
        let none = async {
            loop {
                let mut idle = std::pin::pin!(self.idle.notified());
                // Whoever looks first would miss what happens in between.
                idle.as_mut().enable();
                if self.engaged.load(Ordering::SeqCst) == 0 {
                    return;
                }
                idle.await;
            }
        };
        // Whether all are done or the time is up, there is nothing more to wait for.
        drop(tokio::time::timeout(within, none).await);
    }
}

impl Engine {
    /// On a thread of its own.
    pub(crate) fn start() -> Result<Arc<Self>, BuildError> {
        let error = |error: std::io::Error| BuildError::Thread(error.to_string());
        // Locks before connections: what all locks have to say then goes out in one piece.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .global_queue_interval(1)
            .build()
            .map_err(error)?;
        let (alive, orphaned) = oneshot::channel();
        let engine = Self::new(runtime.handle().clone(), Some(alive));
        let engaged = engine.ledger.clone();
        std::thread::Builder::new()
            .name("redlatch".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    // Nothing is ever sent: it ends with the last owner.
                    drop(orphaned.await);
                    engaged.drained(DRAIN_MAX).await;
                });
                // Connections and lookups that hang do not keep the thread.
                runtime.shutdown_background();
            })
            .map_err(error)?;
        Ok(Arc::new(engine))
    }

    /// On a runtime of the application's.
    pub(crate) fn on(handle: Handle) -> Arc<Self> {
        Arc::new(Self::new(handle, None))
    }

    fn new(handle: Handle, alive: Option<oneshot::Sender<()>>) -> Self {
        let (waker, woken) = watch::channel(Duration::ZERO);
        let (jobs, todo) = mpsc::unbounded_channel();
        handle.spawn(clock::watch_for_suspend(waker));
        handle.spawn(work_off(todo));
        Self { handle, jobs, ledger: Arc::default(), woken, _alive: alive }
    }

    /// Carries the task out on the thread; drops it if the thread has ended.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let _ended = self.jobs.send(Job::Carry(Box::pin(task)));
    }

    /// Hands a request to the lock behind `requests`; drops it if the lock, or the thread, has gone.
    pub(crate) fn ask(&self, requests: &mpsc::UnboundedSender<Request>, request: Request) {
        let _ended = self.jobs.send(Job::Ask { requests: requests.clone(), request });
    }

    /// Runs `task` on the thread; `None` if the thread has ended.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.handle.spawn(task).await.ok()
    }

    pub(crate) fn woken(&self) -> watch::Receiver<Duration> {
        self.woken.clone()
    }

    pub(crate) fn errand(&self) -> Errand {
        self.ledger.engaged.fetch_add(1, Ordering::SeqCst);
        Errand { ledger: self.ledger.clone(), phase: Phase::Engaged }
    }

    /// Waits until every errand has heard from all nodes that answer in time, or for `within`.
    pub(crate) async fn drain(&self, within: Duration) {
        let ledger = self.ledger.clone();
        self.run(async move { ledger.drained(within).await }).await;
    }
}

/// Hands out what applications want, until the last of them has gone.
async fn work_off(mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Carry(task) => drop(tokio::spawn(task)),
            Job::Ask { requests, request } => {
                let _gone = requests.send(request);
            }
        }
    }
}

/// One lock that the thread carries. First it is engaged: somebody waits for it, or nodes may still
/// answer in time. Then it may linger.
pub(crate) struct Errand {
    ledger: Arc<Ledger>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Engaged,
    Lingering,
    Over,
}

impl Errand {
    /// Whether the errand may linger; `false` if too many do.
    pub(crate) fn linger(&mut self) -> bool {
        if self.phase == Phase::Engaged {
            self.disengage();
            let before = self.ledger.lingering.fetch_add(1, Ordering::Relaxed);
            self.phase = Phase::Lingering;
            if before >= LINGERING_MAX {
                self.ledger.lingering.fetch_sub(1, Ordering::Relaxed);
                self.phase = Phase::Over;
            }
        }
        self.phase == Phase::Lingering
    }

    /// Whether so many are engaged.
    pub(crate) fn is_one_of(&self, count: usize) -> bool {
        self.ledger.engaged.load(Ordering::Relaxed) >= count
    }

    fn disengage(&self) {
        if self.ledger.engaged.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.ledger.idle.notify_waiters();
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        match self.phase {
            Phase::Engaged => self.disengage(),
            Phase::Lingering => {
                self.ledger.lingering.fetch_sub(1, Ordering::Relaxed);
            }
            Phase::Over => {}
        }
    }
}
