//! The native driver on every server that is here: those that the tests need, and whatever `just compat` has
//! put beside them. It prints a table.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redlatch::{AcquireError, Builder, LockState, Options, Redlatch};
use redlatch_tests::{Cluster, Owner, PATIENCE, RedisServer, eventually};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);

fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

/// The programs below `target/servers`, and the one of this machine.
fn programs() -> Vec<PathBuf> {
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers");
    let mut folders = vec![servers.clone()];
    let entries = fs::read_dir(&servers).expect("target/servers; run `just setup`, which makes it");
    folders.extend(entries.map(|entry| entry.expect("an entry").path()));
    let mut programs = vec![PathBuf::from("redis-server")];
    for folder in folders {
        for name in ["redis", "valkey"] {
            let program = folder.join(name).join(format!("{name}-server"));
            programs.extend(program.exists().then_some(program));
        }
    }
    programs
}

struct Servers {
    cluster: Cluster,
}

impl Servers {
    fn start(program: &Path) -> Self {
        Self { cluster: Cluster::start_with(3, |_, builder| builder.program(program)) }
    }

    fn client(&self, configure: impl Fn(Builder) -> Builder) -> Redlatch {
        let builder = Redlatch::builder().connect_timeout(PATIENCE);
        let urls = self.cluster.urls();
        let builder = urls.iter().fold(builder, |builder, url| builder.node(url));
        configure(builder).build().expect("a client")
    }

    fn info(&self, section: &str) -> String {
        self.cluster[0].query(&["INFO", section])
    }

    fn name(&self) -> String {
        let info = self.info("server");
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        match (field("valkey_version:"), field("redis_version:")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, Some(version)) => format!("Redis {version}"),
            (None, None) => panic!("a server without a version: {info}"),
        }
    }

    /// A lock that is got, refused to another, extended and released.
    async fn round_trip(&self, redlatch: &Redlatch) -> Result<(), String> {
        let guard = redlatch.try_acquire("job", options()).await.map_err(|e| e.to_string())?;
        let refused = redlatch.try_acquire("job", options()).await;
        if !matches!(refused, Err(AcquireError::Contended { .. })) {
            return Err(format!("a second holder: {refused:?}"));
        }
        for node in &self.cluster {
            node.command(&["PEXPIRE", "job", "60000"]);
        }
        guard.extend().await.map_err(|e| e.to_string())?;
        guard.release().await.map_err(|e| e.to_string())?;
        let free = |node: &RedisServer| node.owner_of("job") == Owner::Nobody;
        eventually("every node is free", async || self.cluster.iter().all(free)).await;
        Ok(())
    }

    async fn fenced(&self) -> Result<String, String> {
        let redlatch = self.client(|builder| builder);
        self.round_trip(&redlatch).await?;
        let mut last = None;
        for resources in [["{a}1", "{a}2"], ["{a}2", "{a}1"]] {
            let guard = redlatch.try_acquire(resources, options()).await;
            let guard = guard.map_err(|error| error.to_string())?;
            if guard.fence() <= last {
                return Err("a fence did not rise".to_owned());
            }
            last = guard.fence();
            guard.release().await.map_err(|error| error.to_string())?;
        }
        Ok("yes".to_owned())
    }

    async fn plain(&self) -> Result<String, String> {
        self.round_trip(&self.client(Builder::plain)).await?;
        Ok("yes".to_owned())
    }

    /// What the plain dialect has just compared with.
    async fn compares_by(&self) -> Result<String, String> {
        for node in &self.cluster {
            node.command(&["CONFIG", "RESETSTAT"]);
        }
        self.round_trip(&self.client(Builder::plain)).await?;
        let stats = self.info("commandstats");
        let ways = ["delex", "delifeq", "evalsha"];
        let used = ways.into_iter().find(|way| stats.contains(&format!("cmdstat_{way}:")));
        let used = used.ok_or("nothing has compared")?;
        Ok(if used == "evalsha" { "scripts".to_owned() } else { used.to_uppercase() })
    }

    /// R16.
    async fn guard(&self) -> Result<String, String> {
        let redlatch = self.client(|builder| builder.restart_guard(FOREVER));
        if redlatch.declare_fresh().await.len() != 3 {
            return Err("new nodes are not fresh".to_owned());
        }
        self.round_trip(&redlatch).await?;
        for node in self.cluster.iter().take(2) {
            node.restart();
        }
        match redlatch.try_acquire("other", options()).await {
            Err(AcquireError::Quarantined { .. }) => Ok("yes".to_owned()),
            other => Err(format!("restarted nodes vote: {other:?}")),
        }
    }

    /// R18: who waits asks once an hour, unless it is called.
    async fn called(&self) -> Result<String, String> {
        const HOUR: Duration = Duration::from_secs(3600);
        let redlatch = self.client(|builder| builder);
        let guard = redlatch.try_acquire("awaited", options()).await.map_err(|e| e.to_string())?;
        let waiting = tokio::spawn({
            let options = options().wait(10 * HOUR).retry_delay(Duration::from_millis(1), HOUR);
            let redlatch = redlatch.clone();
            async move { redlatch.acquire("awaited", options).await }
        });
        let queue = "redlatch:queue:{awaited}";
        let queued = |node: &&RedisServer| node.query::<u32>(&["ZCARD", queue]) == 1;
        eventually("it waits in the queues", async || {
            self.cluster.iter().filter(queued).count() >= 2
        })
        .await;
        guard.release().await.map_err(|error| error.to_string())?;
        let called = tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| "nobody calls")?;
        let guard = called.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        guard.release().await.map_err(|error| error.to_string())?;
        Ok("yes".to_owned())
    }

    async fn inspect(&self) -> Result<String, String> {
        let redlatch = self.client(|builder| builder);
        let guard = redlatch.try_acquire("seen", options()).await.map_err(|e| e.to_string())?;
        let held = redlatch.inspect("seen").await.map_err(|error| error.to_string())?;
        guard.release().await.map_err(|error| error.to_string())?;
        if !matches!(held.state, LockState::Held { .. }) {
            return Err(format!("{held:?}"));
        }
        Ok("yes".to_owned())
    }
}

#[tokio::test]
async fn everything_works_on_every_server_that_is_here() {
    let mut rows = BTreeSet::new();
    let mut failures = Vec::new();
    for program in programs() {
        let servers = Servers::start(&program);
        let name = servers.name();
        // The last one restarts nodes.
        let cells = [
            servers.fenced().await,
            servers.plain().await,
            servers.compares_by().await,
            servers.inspect().await,
            servers.called().await,
            servers.guard().await,
        ];
        let cells = cells.map(|cell| {
            cell.unwrap_or_else(|error| {
                failures.push(format!("{name}: {error}"));
                "NO".to_owned()
            })
        });
        rows.insert(format!("| {name} | {} |", cells.join(" | ")));
    }
    println!(
        "| server | fenced | plain | plain compares by | inspect | waiters are called | restart guard |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for row in &rows {
        println!("{row}");
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(rows.len() >= 2, "no server but one: run `just setup`");
}
