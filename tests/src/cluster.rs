//! A set of independent servers, as a quorum needs them.

use std::ops::Index;
use std::panic;
use std::slice;
use std::thread;

use crate::builder::RedisServerBuilder;
use crate::server::{Owner, RedisServer};

/// Independent [`RedisServer`]s; nothing to do with Redis Cluster.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<RedisServer>,
}

impl Cluster {
    /// Starts `count` plain servers at the same time.
    ///
    /// # Panics
    ///
    /// If one of them does not start.
    #[must_use]
    pub fn start(count: usize) -> Self {
        Self::start_with(count, |_, builder| builder)
    }

    /// Starts `count` servers at the same time, each configured by its index.
    ///
    /// # Panics
    ///
    /// If one of them does not start.
    #[must_use]
    pub fn start_with(
        count: usize,
        mut configure: impl FnMut(usize, RedisServerBuilder) -> RedisServerBuilder,
    ) -> Self {
        let builders: Vec<_> = (0..count).map(|i| configure(i, RedisServer::builder())).collect();
        let servers = thread::scope(|scope| {
            let starting: Vec<_> =
                builders.into_iter().map(|builder| scope.spawn(|| builder.start())).collect();
            starting
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause)))
                .collect()
        });
        Self { servers }
    }

    /// The `redis://` URL of each server.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.iter().map(RedisServer::url).collect()
    }

    /// The servers in order.
    pub fn iter(&self) -> slice::Iter<'_, RedisServer> {
        self.servers.iter()
    }

    /// How many servers there are, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether there is no server at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Who holds `resource`, by each node's word.
    #[must_use]
    pub fn owner_of(&self, resource: &str) -> Vec<Owner> {
        self.iter().map(|server| server.owner_of(resource)).collect()
    }

    /// On how many nodes `token` holds `resource`.
    #[must_use]
    pub fn holds(&self, resource: &str, token: &str) -> usize {
        let holder = Owner::Token(token.to_owned());
        self.owner_of(resource).into_iter().filter(|owner| *owner == holder).count()
    }

    /// The time left to `resource` on each node, as [`RedisServer::pttl_ms`].
    #[must_use]
    pub fn pttl_ms(&self, resource: &str) -> Vec<Option<i64>> {
        self.iter().map(|server| server.pttl_ms(resource)).collect()
    }
}

impl Index<usize> for Cluster {
    type Output = RedisServer;

    fn index(&self, index: usize) -> &RedisServer {
        &self.servers[index]
    }
}

impl<'a> IntoIterator for &'a Cluster {
    type Item = &'a RedisServer;
    type IntoIter = slice::Iter<'a, RedisServer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
