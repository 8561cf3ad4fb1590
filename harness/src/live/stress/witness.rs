//! Looks on the nodes for locks that clients rely on: of whoever believes, a majority of nodes has the key, and
//! nobody else can lock them.
//!
//! The lease's token is what a node has that is registered for its fence: if the key had become somebody else's, the
//! number would be larger. (Other nodes that have the token count as well, whatever their number: nobody else can
//! lock them.) Each node is asked twice. One that has not the token in either answer had it at no time in between,
//! because a token that has gone from a node does not come back: so all of those had it not at the same moment.

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

/// The key, the fence number, and whether the node gives no lock to anybody: its marker is not that of this life, or it
/// is in quarantine.
const LOOK: &str = "
    local marker = redis.call('GET', KEYS[3])
    local is_known = marker and string.find(redis.call('INFO', 'server'), 'run_id:' .. marker, 1, true)
    local is_withheld = not is_known or redis.call('EXISTS', KEYS[4]) == 1
    return {redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[2]) or '0', is_withheld and 1 or 0}";

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing, or that nobody can lock it.
    Withheld,
    /// There is no key.
    Nothing,
    /// A token, and the fence number.
    Token(String, u64),
}

/// How many nodes surely do not back the lease with this fence, by two looks at each.
fn bare(fence: u64, first: &[Seen], second: &[Seen]) -> usize {
    let token = first.iter().chain(second).find_map(|seen| match seen {
        Seen::Token(token, number) => (*number == fence).then_some(token),
        Seen::Withheld | Seen::Nothing => None,
    });
    let is_bare = |seen: &Seen| match (seen, token) {
        (Seen::Withheld, _) => false,
        (Seen::Nothing, _) => true,
        (Seen::Token(it, _), Some(token)) => it != token,
        // Nobody knows whose it is.
        (Seen::Token(..), None) => false,
    };
    first.iter().zip(second).filter(|(one, two)| is_bare(one) && is_bare(two)).count()
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
        let first = join_all(eyes.iter_mut().map(|eye| eye.look(name))).await;
        let second = join_all(eyes.iter_mut().map(|eye| eye.look(name))).await;
        if !judge.still_believes(&believer) {
            continue;
        }
        looks.fetch_add(1, Ordering::Relaxed);
        let bare = bare(believer.fence, &first, &second);
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

/// A connection to a node, by no proxy.
struct Eye {
    url: String,
    connection: Option<MultiplexedConnection>,
}

impl Eye {
    const fn new(url: String) -> Self {
        Self { url, connection: None }
    }

    async fn look(&mut self, name: &str) -> Seen {
        match timeout(ANSWER_MAX, self.ask(name)).await {
            Ok(Ok((_, _, 1))) => Seen::Withheld,
            Ok(Ok((token, ..))) if token.is_empty() => Seen::Nothing,
            Ok(Ok((token, number, _))) => Seen::Token(token, number),
            Ok(Err(_)) | Err(_) => {
                self.connection = None;
                Seen::Withheld
            }
        }
    }

    async fn ask(&mut self, name: &str) -> redis::RedisResult<(String, u64, u64)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn token(token: &str, number: u64) -> Seen {
        Seen::Token(token.to_owned(), number)
    }

    #[test]
    fn only_a_node_that_surely_has_not_the_token_is_bare() {
        let twice = |seen: &[Seen]| bare(7, seen, seen);
        let nothing = || Seen::Nothing;
        assert_eq!(twice(&[token("a", 7), token("a", 7), nothing(), nothing(), Seen::Withheld]), 2);
        // Whatever its number, it has the token.
        assert_eq!(twice(&[token("a", 7), token("a", 9), token("a", 3)]), 0);
        assert_eq!(twice(&[token("a", 7), token("b", 8), token("b", 8)]), 2);
        assert_eq!(twice(&[nothing(), nothing(), nothing()]), 3);
        // No node is registered for it: nobody knows whose the keys are.
        assert_eq!(twice(&[token("b", 8), token("b", 8), nothing()]), 1);
        // What came meanwhile may have been on its way.
        assert_eq!(bare(7, &[nothing(), token("a", 7)], &[token("a", 7), nothing()]), 0);
    }
}
