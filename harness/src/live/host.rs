//! A thread with a runtime, so that what is on it works on while a test or its runtime stands still.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
#[cfg(feature = "containers")]
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::PATIENCE;

/// One thread with one runtime. `Drop` ends all its tasks and closes all their sockets.
#[derive(Debug)]
pub(crate) struct Host {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    ended: std::sync::Mutex<Receiver<()>>,
}

impl Host {
    pub(crate) fn start(name: &str) -> io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, is_stopped) = oneshot::channel::<()>();
        let (end, ended) = mpsc::channel::<()>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The sender is dropped to say so, which is an error here.
            let _ = runtime.block_on(is_stopped);
            // Its tasks, and with them all their sockets.
            drop(runtime);
            drop(end);
        })?;
        Ok(Arc::new(Self { handle, stop: Some(stop), ended: ended.into() }))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Its end is that of the thread.
        drop(self.handle.spawn(task));
    }

    /// Does something there and waits for it, from any thread.
    #[cfg(feature = "containers")]
    pub(crate) fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        job: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = mpsc::sync_channel(1);
        let task = self.handle.spawn(async move {
            let _ = done.send(job.await);
        });
        result.recv_timeout(patience).map_err(|_| {
            task.abort();
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}"))
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that does not end (a predicate may wait for ever) is not waited for.
        if let Ok(ended) = self.ended.lock() {
            let _ = ended.recv_timeout(PATIENCE);
        }
    }
}
