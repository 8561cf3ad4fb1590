//! What the tests of faults, losses and clean-up share.

use std::time::Duration;

use redlatch::{Options, Redlatch};
use redlatch_core::wire::{SCRIPTS, Script};
use redlatch_tests::{
    Cluster, Command, Connections, Fault, FaultProxy, Match, Owner, RedisServer, Rule, Then,
    eventually,
};

/// Longest time in which anything may end. No test measures time: this only tells an end from a
/// hang, on a machine however slow.
const LIMIT: Duration = Duration::from_secs(30);

/// Longer than any test runs. What takes a share of this does not end within a test at all, so a
/// test that passes has not waited for it.
pub(crate) const FOREVER: Duration = Duration::from_secs(600);

/// Who holds a resource that a test took by hand.
pub(crate) const STRANGER: &str = "somebody else";

/// Servers with a proxy before each, and their scripts loaded, so that an acquire is one command.
pub(crate) struct Nodes {
    pub(crate) servers: Cluster,
    pub(crate) proxies: Vec<FaultProxy>,
}

impl Nodes {
    pub(crate) fn start(count: usize) -> Self {
        let servers = Cluster::start(count);
        for server in &servers {
            load_scripts(server);
        }
        let proxies = servers.iter().map(FaultProxy::start).collect();
        Self { servers, proxies }
    }

    /// A client by way of the proxies, connected to all nodes.
    pub(crate) async fn connect(&self) -> Redlatch {
        let redlatch = Redlatch::new(self.proxies.iter().map(FaultProxy::url)).expect("a client");
        connected(&redlatch).await;
        redlatch
    }

    /// A client that no fault of the proxies touches, not connected yet.
    pub(crate) fn bystander(&self) -> Redlatch {
        Redlatch::new(self.servers.urls()).expect("a client")
    }

    /// Injects a fault on every proxy.
    pub(crate) fn inject(&self, matcher: impl Fn() -> Match, fault: Fault) -> Vec<Rule> {
        self.proxies.iter().map(|proxy| proxy.inject(matcher(), fault)).collect()
    }

    /// From now on, until `heal`, the proxies swallow every byte, on old and new connections.
    pub(crate) fn black_hole(&self) {
        for proxy in &self.proxies {
            proxy.connections(Connections::Hang);
        }
        self.inject(Match::any, Fault::DropRequest(Then::Hang));
    }

    pub(crate) fn heal(&self) {
        self.proxies.iter().for_each(FaultProxy::heal);
    }

    /// Whether no node that answers has a key for `resource`.
    pub(crate) fn are_free(&self, resource: &str) -> bool {
        let owners = self.servers.owner_of(resource);
        owners.iter().all(|owner| matches!(owner, Owner::Nobody | Owner::Unknown))
    }

    /// Waits until every node has a key for `resource`: a grant needs a majority only, and what the
    /// others were sent may still be on its way.
    pub(crate) async fn taken(&self, resource: &str) {
        let what = format!("all nodes have a key for {resource}");
        let is_token = |owner: &Owner| matches!(owner, Owner::Token(_));
        eventually(&what, async || self.servers.owner_of(resource).iter().all(is_token)).await;
    }

    /// Waits until no node that answers has a key for `resource`.
    pub(crate) async fn freed(&self, resource: &str) {
        let what = format!("the keys of {resource} are gone");
        eventually(&what, async || self.are_free(resource)).await;
    }
}

pub(crate) fn load_scripts(server: &RedisServer) {
    for script in SCRIPTS {
        server.command(&["SCRIPT", "LOAD", script.text]);
    }
}

/// Waits until `redlatch` has a connection to every node.
pub(crate) async fn connected(redlatch: &Redlatch) {
    eventually("every node is connected", async || {
        let inspection = redlatch.inspect("nobody locks this").await.expect("a good name");
        inspection.nodes.iter().all(|node| node.sighting.is_ok())
    })
    .await;
}

/// Takes `resource` on a node by hand.
pub(crate) fn take(server: &RedisServer, resource: &str) {
    server.command(&["SET", resource, STRANGER, "PX", "600000"]);
}

/// A lock of which nothing ends by itself within a test: neither its ttl nor the patience with
/// nodes.
pub(crate) fn endless() -> Options {
    Options::new(FOREVER).node_timeout(FOREVER)
}

/// The end of `future`, which must have one.
pub(crate) async fn ends<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it ends")
}

/// Waits until `redlatch` has had every answer that nodes owe it, and has seen to what it learnt from
/// them. It takes no new locks then. No guard may be alive, and no node silent.
pub(crate) async fn settled(redlatch: &Redlatch) {
    ends(redlatch.shutdown_within(FOREVER)).await;
}

/// Every command that runs `script`, by its hash or by its text.
pub(crate) fn runs(script: Script) -> Match {
    Match::any().when(move |command| is_run(command, script))
}

/// Whether a command runs `script`.
pub(crate) fn is_run(command: &Command, script: Script) -> bool {
    match &*command.name() {
        "EVALSHA" => command.arg(1) == script.sha1,
        "EVAL" => command.arg(1) == script.text,
        _ => false,
    }
}

/// How many commands that run `script` a proxy has seen.
pub(crate) fn count(proxy: &FaultProxy, script: Script) -> usize {
    proxy.log().iter().filter(|command| is_run(command, script)).count()
}
