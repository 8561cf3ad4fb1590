//! Sentinels, which know where the master is.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use redis::{Client, FromRedisValue, RedisResult};
use redlatch_harness::live::{PATIENCE, process};
use redlatch_harness::port::Port;
use tempfile::TempDir;

use crate::server::RedisServer;

/// Real sentinels (`redis-server --sentinel`) that watch one master; gone when this is dropped.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    child: Child,
    port: Port,
    // Last: the process is gone before its directory.
    _directory: TempDir,
}

impl Sentinels {
    /// The name of the master.
    pub const MASTER: &str = "mymaster";

    /// Starts `count` sentinels that ask for `password`. The servers may ask for one of their own.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`.
    #[must_use]
    pub fn start(count: usize, password: &str, master: &RedisServer, servers: &str) -> Self {
        let start = |_| Sentinel::start(count, password, master, servers);
        Self { sentinels: (0..count).map(start).collect() }
    }

    /// As [`start`](Self::start), with TLS everywhere: sentinels listen with the master's certificate and
    /// on nothing else, and reach the servers, one another and their replicas by TLS.
    ///
    /// # Panics
    ///
    /// If there is no `redis-server`, or the master was started without TLS.
    #[must_use]
    pub fn start_tls(count: usize, password: &str, master: &RedisServer, servers: &str) -> Self {
        let start = |_| Sentinel::start_tls(count, password, master, servers);
        Self { sentinels: (0..count).map(start).collect() }
    }

    /// Host and port of each, separated by commas.
    #[must_use]
    pub fn hosts(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|it| it.port.addr().to_string()).collect();
        hosts.join(",")
    }

    /// Runs one command on the first sentinel.
    ///
    /// # Errors
    ///
    /// Whatever the sentinel answered, or why it did not.
    pub fn try_query<T: FromRedisValue>(&self, password: &str, args: &[&str]) -> RedisResult<T> {
        let client =
            Client::open(format!("redis://:{password}@{}", self.sentinels[0].port.addr()))?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        redis::cmd("SENTINEL").arg(args).query(&mut connection)
    }
}

impl Sentinel {
    fn start(count: usize, password: &str, master: &RedisServer, servers: &str) -> Self {
        let port = Port::reserve().expect("a free port");
        let listen = format!("port {}\n", port.number());
        Self::launch(port, &listen, count, password, (master.port(), servers))
    }

    fn start_tls(count: usize, password: &str, master: &RedisServer, servers: &str) -> Self {
        let port = Port::reserve().expect("a free port");
        let files = master.certificates();
        let listen = format!(
            "port 0\ntls-port {}\ntls-auth-clients optional\ntls-replication yes\n\
             tls-ca-cert-file {}\ntls-cert-file {}\ntls-key-file {}\n\
             tls-client-cert-file {}\ntls-client-key-file {}\n",
            port.number(),
            files.ca().display(),
            files.server().display(),
            files.server_key().display(),
            files.client().display(),
            files.client_key().display(),
        );
        Self::launch(port, &listen, count, password, (master.tls_port(), servers))
    }

    fn launch(
        port: Port,
        listen: &str,
        count: usize,
        password: &str,
        (master, servers): (u16, &str),
    ) -> Self {
        let directory = TempDir::with_prefix("redlatch-").expect("a temporary directory");
        let (name, quorum) = (Sentinels::MASTER, count / 2 + 1);
        let config = format!(
            "{listen}bind 127.0.0.1\nrequirepass {password}\nsentinel sentinel-pass {password}\n\
             sentinel monitor {name} 127.0.0.1 {master} {quorum}\n\
             sentinel auth-pass {name} {servers}\n\
             sentinel down-after-milliseconds {name} 60000\n",
        );
        let path = directory.path().join("sentinel.conf");
        fs::write(&path, config).expect("the sentinel's configuration");
        let output = File::create(directory.path().join("output")).expect("an output file");
        let mut command = Command::new("redis-server");
        command.arg(path).arg("--sentinel").current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
        let child = process::spawn(command).unwrap_or_else(|error| {
            panic!("cannot run redis-server ({error}); `just setup` installs it")
        });
        Self { child, port, _directory: directory }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
