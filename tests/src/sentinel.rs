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
        let directory = TempDir::with_prefix("redlatch-").expect("a temporary directory");
        let port = Port::reserve().expect("a free port");
        let (name, quorum) = (Sentinels::MASTER, count / 2 + 1);
        let config = format!(
            "port {}\nbind 127.0.0.1\nrequirepass {password}\nsentinel sentinel-pass {password}\n\
             sentinel monitor {name} 127.0.0.1 {} {quorum}\n\
             sentinel auth-pass {name} {servers}\n\
             sentinel down-after-milliseconds {name} 60000\n",
            port.number(),
            master.port(),
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
