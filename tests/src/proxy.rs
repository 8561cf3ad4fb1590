//! The harness's link as a fixture: what breaks within it panics.

use std::net::SocketAddr;

use redlatch_harness::live::proxy::{Command, Connections, Fate, Fault, Link, Match};

use crate::server::RedisServer;

/// A [`Link`] in front of one server; it works on a thread of its own.
#[derive(Debug)]
pub struct FaultProxy {
    link: Link,
}

impl FaultProxy {
    /// Starts a proxy in front of `server`'s plain TCP port; it stays valid over restarts.
    ///
    /// # Panics
    ///
    /// If the server has only a unix socket.
    #[must_use]
    pub fn start(server: &RedisServer) -> Self {
        let link = Link::alone(&server.url(), server.addr()).expect("a proxy");
        Self { link }
    }

    /// `redis://` URL of the server's default user, by way of this proxy.
    #[must_use]
    pub fn url(&self) -> String {
        self.link.url()
    }

    /// The address that the proxy listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.link.addr()
    }

    /// As [`Link::inject`].
    pub fn inject(&self, matcher: Match, fault: Fault) -> Rule {
        Rule(self.link.inject(matcher, fault))
    }

    /// As [`Link::connections`].
    ///
    /// # Panics
    ///
    /// If the proxy's thread is no more.
    pub fn connections(&self, mode: Connections) {
        self.link.connections(mode).expect("the proxy obeys");
    }

    /// As [`Link::reset_all`].
    ///
    /// # Panics
    ///
    /// If the proxy's thread is no more.
    pub fn reset_all(&self) {
        self.link.reset_all().expect("the proxy obeys");
    }

    /// As [`Link::heal`].
    ///
    /// # Panics
    ///
    /// If the proxy's thread is no more.
    pub fn heal(&self) {
        self.link.heal().expect("the proxy obeys");
    }

    /// All commands seen, in the order in which they came from the clients.
    ///
    /// Each counts once, whether it was duplicated, held or dropped later. The handshakes of
    /// clients (`CLIENT SETINFO`, `AUTH`, `HELLO`) are commands too.
    ///
    /// # Panics
    ///
    /// If there were too many since the last [`clear_log`](Self::clear_log).
    #[must_use]
    pub fn log(&self) -> Vec<Command> {
        let log = self.link.log();
        // A log with a hole proves nothing, so there is none to be had.
        assert_eq!(log.missed, 0, "too many commands: call clear_log in between");
        let from_client = log.told.into_iter().filter(|told| told.fate != Fate::Copied);
        from_client.map(|told| told.command).collect()
    }

    /// How many commands of this name were seen, by the [`log`](Self::log).
    ///
    /// # Panics
    ///
    /// As [`log`](Self::log).
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.log().iter().filter(|command| command.is(name)).count()
    }

    /// Forgets the commands seen so far.
    pub fn clear_log(&self) {
        self.link.clear_log();
    }
}

/// An injected fault, as [`redlatch_harness::live::proxy::Rule`].
#[derive(Clone, Debug)]
pub struct Rule(redlatch_harness::live::proxy::Rule);

impl Rule {
    /// How many commands it struck; a held one counts from the moment it is held.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.0.struck()
    }

    /// How many of those the server has answered, whether or not the client was told.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.0.answered()
    }

    /// Waits until it struck `n` commands in all.
    ///
    /// # Panics
    ///
    /// If that takes longer than [`PATIENCE`](crate::PATIENCE).
    pub async fn wait_struck(&self, n: usize) {
        self.0.wait_struck(n).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the server has answered `n` of the commands that it struck, and so has surely
    /// handled them; both copies of a duplicated one.
    ///
    /// # Panics
    ///
    /// If that takes longer than [`PATIENCE`](crate::PATIENCE).
    pub async fn wait_answered(&self, n: usize) {
        self.0.wait_answered(n).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Ends the rule: it strikes no more, and what it held goes on its way.
    pub fn release(&self) {
        self.0.release();
    }
}
