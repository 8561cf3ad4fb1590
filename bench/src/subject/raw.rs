//! The floor: what redis-rs alone needs for the same commands. It checks no validity, retries nothing,
//! and is no lock that anybody should use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::Value;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use super::{Client, TTL};
use crate::scenario::QUORUM;

const DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
/// How long a node may take. What is late is late in the background; a command that is given up before
/// it was sent is lost, and with it a release, so this is far longer than any node takes that is well.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Commands that may wait for a connection. With fewer than all workers have, redis-rs lets a command go
/// before one that was sent earlier: a lock stays that was released before it was taken.
const BUFFER: usize = 1_024;
/// The longest delay before the next attempt at a lock that is taken.
const RETRY: Duration = Duration::from_millis(200);

/// On the runtime of the caller.
#[derive(Clone)]
pub struct Raw {
    connections: Arc<[MultiplexedConnection]>,
    sha1: Arc<str>,
    /// Commands that finish in the background.
    behind: Arc<AtomicUsize>,
}

/// A lock.
pub struct Held {
    resource: String,
    token: String,
}

impl Client for Raw {
    type Lock = Held;

    async fn connect(nodes: &[String]) -> Result<Self, String> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_pipeline_buffer_size(BUFFER)
            .set_response_timeout(Some(TIMEOUT));
        let mut connections = Vec::new();
        let mut sha1 = String::new();
        for url in nodes {
            let client = redis::Client::open(url.as_str()).map_err(|error| error.to_string())?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            let mut connection = connection.map_err(|error| error.to_string())?;
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(DELETE);
            sha1 = load.query_async(&mut connection).await.map_err(|error| error.to_string())?;
            connections.push(connection);
        }
        Ok(Self { connections: connections.into(), sha1: sha1.into(), behind: Arc::default() })
    }

    async fn acquire(&self, resource: &str) -> Result<Held, String> {
        loop {
            let held = Held {
                resource: resource.to_owned(),
                token: format!("{:032x}", fastrand::u128(..)),
            };
            let mut set = redis::cmd("SET");
            set.arg(resource).arg(&held.token).arg("NX").arg("PX").arg(TTL.as_millis() as u64);
            if self.ask_all(set, |value| *value == Value::Okay).await {
                return Ok(held);
            }
            self.delete(&held).await;
            tokio::time::sleep(RETRY.mul_f64(fastrand::f64())).await;
        }
    }

    async fn release(&self, held: Held) -> Result<(), String> {
        let is_done = self.delete(&held).await;
        if is_done { Ok(()) } else { Err("too few nodes released it".to_owned()) }
    }

    fn is_held(&self, _: &Held) -> bool {
        true
    }

    async fn drain(self) {
        while self.behind.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Raw {
    async fn delete(&self, held: &Held) -> bool {
        let mut delete = redis::cmd("EVALSHA");
        delete.arg(&*self.sha1).arg(1).arg(&held.resource).arg(&held.token);
        self.ask_all(delete, |value| matches!(value, Value::Int(_))).await
    }

    /// Sends the command to all nodes; whether a majority said yes. What the others say is waited for in
    /// the background: redis-rs does not send a command that nobody waits for any more.
    async fn ask_all(&self, command: redis::Cmd, is_yes: impl Fn(&Value) -> bool) -> bool {
        let command = Arc::new(command);
        let mut asked: FuturesUnordered<_> = self
            .connections
            .iter()
            .map(|connection| {
                let (mut connection, command) = (connection.clone(), command.clone());
                async move { connection.req_packed_command(&command).await }
            })
            .collect();
        let (mut yes, mut no) = (0, 0);
        while let Some(answer) = asked.next().await {
            if answer.is_ok_and(|value| is_yes(&value)) {
                yes += 1
            } else {
                no += 1
            }
            if yes == QUORUM || no == QUORUM {
                break;
            }
        }
        if !asked.is_empty() {
            let behind = self.behind.clone();
            behind.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                while asked.next().await.is_some() {}
                behind.fetch_sub(1, Ordering::Relaxed);
            });
        }
        yes == QUORUM
    }
}

/// On a thread of its own, as the driver is: what is beyond the floor there is the way to that thread
/// and back.
#[derive(Clone)]
pub struct Apart {
    raw: Raw,
    handle: Handle,
    _alive: Arc<oneshot::Sender<()>>,
}

impl Client for Apart {
    type Lock = Held;

    async fn connect(nodes: &[String]) -> Result<Self, String> {
        let runtime =
            runtime::Builder::new_current_thread().enable_all().global_queue_interval(1).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let handle = runtime.handle().clone();
        let (alive, over) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            runtime.block_on(async { drop(over.await) });
            runtime.shutdown_background();
        });
        let nodes = nodes.to_vec();
        let connected = handle.spawn(async move { Raw::connect(&nodes).await }).await;
        let raw = connected.map_err(|error| error.to_string())??;
        Ok(Self { raw, handle, _alive: Arc::new(alive) })
    }

    async fn acquire(&self, resource: &str) -> Result<Held, String> {
        let (raw, resource) = (self.raw.clone(), resource.to_owned());
        let asked = self.handle.spawn(async move { raw.acquire(&resource).await });
        asked.await.map_err(|error| error.to_string())?
    }

    async fn release(&self, held: Held) -> Result<(), String> {
        let raw = self.raw.clone();
        let asked = self.handle.spawn(async move { raw.release(held).await });
        asked.await.map_err(|error| error.to_string())?
    }

    fn is_held(&self, held: &Held) -> bool {
        self.raw.is_held(held)
    }

    async fn drain(self) {
        self.raw.clone().drain().await;
    }
}
