//! Looks on the nodes for locks that clients rely on: of whoever believes, a majority of nodes has the key, and
//! nobody else can lock them.
//!
//! A node backs a lease with fence m as long as the key is there and the fence number is m: if the key had become
//! somebody else's, the number would be larger. Each node is asked twice. One that does not back the lease in either
//! answer did not in between, because a token that has gone from a node does not come back: so all of those did not
//! at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redlatch_core::wire::{MARKER, QUARANTINE};
use tokio::time::{sleep, timeout};

use super::judge::{Believer, Judge, Lease};

/// How long a node may take to answer; one that is silent says nothing.
const ANSWER_MAX: Duration = Duration::from_millis(100);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Whether the key is there, the fence number, and whether the node gives no lock to anybody: its marker is not that
/// of this life, or it is in quarantine.
const LOOK: &str = "
    local marker = redis.call('GET', KEYS[3])
    local is_known = marker and string.find(redis.call('INFO', 'server'), 'run_id:' .. marker, 1, true)
    local is_withheld = not is_known or redis.call('EXISTS', KEYS[4]) == 1
    return {redis.call('EXISTS', KEYS[1]), redis.call('GET', KEYS[2]) or '0', is_withheld and 1 or 0}";

/// What a node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Nobody but the believer can lock it, or nothing is known.
    Backs,
    /// Somebody else could, or has.
    Bare,
}

/// Looks until it is told to stop; how often it could look.
pub(super) async fn watch<L: Lease + Clone>(
    judge: Arc<Judge<L>>,
    nodes: Vec<String>,
    resources: Arc<Vec<String>>,
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
) {
    let mut eyes: Vec<Eye> = nodes.into_iter().map(Eye::new).collect();
    let mut resource = 0;
    while !stop.load(Ordering::Relaxed) {
        sleep(LOOK_EVERY).await;
        resource = (resource + 1) % resources.len();
        let Some(believer) = judge.believer(resource) else { continue };
        let name = &resources[resource];
        let first = look(&mut eyes, name, &believer).await;
        let second = look(&mut eyes, name, &believer).await;
        if !judge.still_believes(&believer) {
            continue;
        }
        looks.fetch_add(1, Ordering::Relaxed);
        let is_bare = |(one, two): (&Seen, &Seen)| *one == Seen::Bare && *two == Seen::Bare;
        let bare = first.iter().zip(&second).filter(|pair| is_bare(*pair)).count();
        let (majority, count) = (eyes.len() / 2 + 1, eyes.len());
        if bare > count - majority {
            let Believer { client, fence, .. } = believer;
            judge.found(
                "witness",
                format!(
                    "c{client} relies on r{resource} with fence {fence}, but {bare} of {count} nodes do not keep \
                     it; {majority} have to"
                ),
            );
        }
    }
}

async fn look<L>(eyes: &mut [Eye], name: &str, believer: &Believer<L>) -> Vec<Seen> {
    let looks = eyes.iter_mut().map(|eye| eye.look(name, believer.fence));
    join_all(looks).await
}

/// A connection to a node, by no proxy.
struct Eye {
    url: String,
    connection: Option<MultiplexedConnection>,
}

impl Eye {
    const fn new(url: String) -> Self {
        Self { url, connection: None }
    }

    async fn look(&mut self, name: &str, fence: u64) -> Seen {
        let answer = timeout(ANSWER_MAX, self.ask(name)).await;
        let Ok(Ok((key, number, withheld))) = answer else {
            self.connection = None;
            return Seen::Backs;
        };
        match key == 1 && number == fence || withheld == 1 {
            true => Seen::Backs,
            false => Seen::Bare,
        }
    }

    async fn ask(&mut self, name: &str) -> redis::RedisResult<(u64, u64, u64)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let client = redis::Client::open(&*self.url)?;
                client.get_multiplexed_async_connection().await?
            }
        };
        let fence = format!("redlatch:fence:{{{name}}}");
        let mut question = redis::cmd("EVAL");
        question.arg(LOOK).arg(4).arg(name).arg(fence).arg(MARKER).arg(QUARANTINE);
        let answer = question.query_async(&mut connection).await?;
        self.connection = Some(connection);
        Ok(answer)
    }
}
