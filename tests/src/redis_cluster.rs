//! A Redis Cluster of three masters.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;

use crate::{Cluster, RedisServer, RedisServerBuilder, eventually};

/// A port that nobody listens on any more. A server's bus has one of its own, because the server's plus 10,000
/// need not be a port. It is below those that systems give to connections, so that none of these takes it before the
/// server does.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn free_port() -> String {
    const TRIES_MAX: usize = 100;
    let draw = || 20_000 + (RandomState::new().build_hasher().finish() % 12_000) as u16;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = (0..TRIES_MAX).map(|_| draw()).find(free).expect("a port that nobody uses");
    port.to_string()
}

/// Starts three masters with a third of the slots each, configured alike, that meet at the `port` of each.
///
/// # Panics
///
/// If they do not start, or do not become a cluster.
pub async fn redis_cluster(
    mut configure: impl FnMut(RedisServerBuilder) -> RedisServerBuilder,
    port: impl Fn(&RedisServer) -> u16,
) -> Cluster {
    const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
    let buses = [(); 3].map(|()| free_port());
    let servers = Cluster::start_with(3, |index, builder| {
        configure(builder).args(&["--cluster-enabled", "yes", "--cluster-port", &buses[index]])
    });
    for ((server, (first, last)), epoch) in servers.iter().zip(SLOTS).zip(["1", "2", "3"]) {
        server.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        // Else they settle it later, and a failover meanwhile is denied its votes.
        server.command(&["CLUSTER", "SET-CONFIG-EPOCH", epoch]);
    }
    for (server, bus) in servers.iter().zip(&buses).skip(1) {
        servers[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port(server).to_string(), bus]);
    }
    let joined = |server: &RedisServer| {
        let info: String = server.query(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok") && info.contains("cluster_slots_assigned:16384")
    };
    eventually("the cluster is one", async || servers.iter().all(joined)).await;
    servers
}
