//! Both dialects on every kind of server: Redis 7.0 and whatever `redis-server` is here, a Redis that
//! has `DELEX`, and a Valkey that has `DELIFEQ`.

use std::path::Path;
use std::time::Duration;

use redlatch::{
    AcquireError, AdoptError, Builder, ExtendError, InvalidRequest, LockState, Options, Redlatch,
    Vote,
};
use redlatch_tests::{Cluster, Owner, PATIENCE, RedisServer, RedisServerBuilder, eventually};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);
const PASSWORD: &str = "correct-horse-battery-staple";

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `redis-server` of this machine; Debian's is 7.0.
    Usual,
    Redis,
    Valkey,
}

const ALL: [Kind; 3] = [Kind::Usual, Kind::Redis, Kind::Valkey];

impl Kind {
    fn configure(self, builder: RedisServerBuilder) -> RedisServerBuilder {
        let name = match self {
            Self::Usual => return builder,
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        };
        let path = format!("target/servers/{name}/{name}-server");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&path);
        assert!(
            program.exists(),
            "{path} is missing; run `just setup`, which makes it or says how"
        );
        builder.program(program)
    }

    fn cluster(self) -> Cluster {
        Cluster::start_with(3, |_, builder| self.configure(builder))
    }

    fn server(self) -> RedisServer {
        self.configure(RedisServer::builder()).start()
    }

    /// What only this kind deletes with.
    fn delete(self) -> Option<&'static str> {
        match self {
            Self::Usual => None,
            Self::Redis => Some("delex"),
            Self::Valkey => Some("delifeq"),
        }
    }
}

/// Those that compare without a script.
fn newer() -> impl Iterator<Item = (Kind, &'static str)> {
    ALL.into_iter().filter_map(|kind| Some((kind, kind.delete()?)))
}

fn builder(cluster: &Cluster) -> Builder {
    let builder = Redlatch::builder().connect_timeout(PATIENCE);
    cluster.urls().iter().fold(builder, |builder, url| builder.node(url))
}

fn plain(cluster: &Cluster) -> Redlatch {
    builder(cluster).plain().build().expect("a client")
}

fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

/// How often a command was called, by clients and by scripts.
fn calls(node: &RedisServer, command: &str) -> u64 {
    let info: String = node.query(&["INFO", "commandstats"]);
    let prefix = format!("cmdstat_{command}:calls=");
    let rest = info.lines().find_map(|line| line.strip_prefix(&prefix));
    rest.map_or(0, |rest| rest.split(',').next().expect("a value").parse().expect("a number"))
}

fn scripts_run(cluster: &Cluster) -> u64 {
    cluster.iter().map(|node| calls(node, "eval") + calls(node, "evalsha")).sum()
}

fn all_hold(cluster: &Cluster, resource: &str) -> bool {
    cluster.owner_of(resource).iter().all(|owner| *owner != Owner::Nobody)
}

fn is_free(cluster: &Cluster, resource: &str) -> bool {
    cluster.owner_of(resource).iter().all(|owner| *owner == Owner::Nobody)
}

/// What any dialect does on any server.
async fn exercise(cluster: &Cluster, redlatch: &Redlatch, rival: &Redlatch) {
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    eventually("all nodes have the token", async || all_hold(cluster, "job")).await;
    let owners = cluster.owner_of("job");
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
    let error = rival.try_acquire("job", options()).await.expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let inspection = rival.inspect("job").await.expect("a name");
    assert_eq!(inspection.nodes.len(), 3);
    assert!(inspection.nodes.iter().all(|node| node.sighting.is_ok()), "{inspection:?}");

    // R10: an extension lengthens, and only what is ours.
    for node in cluster {
        node.command(&["PEXPIRE", "job", "60000"]);
    }
    guard.extend().await.expect("an extension");
    let extended = || cluster.pttl_ms("job").iter().all(|left| *left > Some(60_000));
    eventually("every node is extended", async || extended()).await;
    assert_eq!(cluster.owner_of("job"), owners);
    cluster[0].command(&["DEL", "job"]);
    cluster[1].command(&["SET", "job", "somebody", "PX", "60000"]);
    let error = guard.extend().await.expect_err("a majority has it no more");
    let ExtendError::AtRisk { votes, .. } = &error else { panic!("{error:?}") };
    assert!(votes.iter().any(|(_, vote)| matches!(vote, Vote::Refused { .. })), "{votes}");
    assert_eq!(cluster[0].owner_of("job"), Owner::Nobody);
    assert_eq!(cluster[1].owner_of("job"), Owner::Token("somebody".to_owned()));
    assert!(cluster[1].pttl_ms("job") <= Some(60_000));

    // R12: a release deletes, and only what is ours.
    guard.release().await.expect("a release");
    let gone = || cluster[2].owner_of("job") == Owner::Nobody;
    eventually("the last key of ours is gone", async || gone()).await;
    assert_eq!(cluster[1].owner_of("job"), Owner::Token("somebody".to_owned()));
    cluster[1].command(&["DEL", "job"]);

    // A lease that is handed over, and work under a lock.
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    let parts = guard.into_parts().await.expect("a lease");
    let guard = redlatch.adopt(&parts, &options()).expect("a lease");
    guard.extend().await.expect("an extension");
    drop(guard);
    let output = redlatch.using("job", options(), async |lease| lease.is_valid()).await;
    assert_eq!(output, Ok(true));
    eventually("every node is free", async || is_free(cluster, "job")).await;
    assert_eq!(redlatch.inspect("job").await.expect("a name").state, LockState::Free);
}

// Scripts.

#[tokio::test]
async fn the_scripts_work_on_every_kind_of_server() {
    for kind in ALL {
        let cluster = kind.cluster();
        let [redlatch, rival] = [(); 2].map(|()| builder(&cluster).build().expect("a client"));
        exercise(&cluster, &redlatch, &rival).await;

        // R15, and several resources.
        let mut last = None;
        for resources in [vec!["{a}1", "{a}2"], vec!["{a}2"], vec!["{a}2", "{a}1"]] {
            let guard = redlatch.acquire(resources, options()).await.expect("free locks");
            assert!(guard.fence() > last, "{kind:?}");
            last = guard.fence();
            guard.release().await.expect("a release");
        }
    }
}

/// R16.
#[tokio::test]
async fn the_restart_guard_works_on_every_kind_of_server() {
    for kind in ALL {
        let cluster = kind.cluster();
        let redlatch = builder(&cluster).restart_guard(FOREVER).build().expect("a client");
        assert_eq!(redlatch.declare_fresh().await.len(), 3, "{kind:?}");
        let guard = redlatch.acquire("job", options()).await.expect("the nodes vote");
        for node in cluster.iter().take(2) {
            node.restart();
        }
        let error = redlatch.try_acquire("other", options()).await.expect_err("they forgot");
        assert!(matches!(error, AcquireError::Quarantined { .. }), "{kind:?} {error:?}");
        drop(guard);
    }
}

// Plain.

#[tokio::test]
async fn the_plain_dialect_works_on_every_kind_of_server() {
    for kind in ALL {
        let cluster = kind.cluster();
        exercise(&cluster, &plain(&cluster), &plain(&cluster)).await;
    }
}

/// For servers and proxies that forbid scripts.
#[tokio::test]
async fn on_newer_servers_the_plain_dialect_runs_no_script() {
    for (kind, delete) in newer() {
        let cluster = kind.cluster();
        exercise(&cluster, &plain(&cluster), &plain(&cluster)).await;
        assert_eq!(scripts_run(&cluster), 0, "{kind:?}");
        for node in &cluster {
            assert!(calls(node, delete) > 0, "{kind:?}");
            assert!(calls(node, "set") > 0, "{kind:?}");
        }
    }
}

/// Redis below 8.4 and Valkey below 9.0 have no other way to compare and act in one step.
#[tokio::test]
async fn on_the_usual_server_the_plain_dialect_compares_by_scripts() {
    let cluster = Kind::Usual.cluster();
    let version = cluster[0].query::<String>(&["INFO", "server"]);
    let redlatch = plain(&cluster);
    let guard = redlatch.acquire("job", options()).await.expect("a free lock");
    eventually("all nodes have the token", async || all_hold(&cluster, "job")).await;
    assert_eq!(scripts_run(&cluster), 0, "to acquire is one SET");
    assert!(cluster.iter().all(|node| calls(node, "set") == 1));
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
    if version.contains("redis_version:7.") {
        assert!(scripts_run(&cluster) > 0);
    }
}

/// The rights of a user on servers that compare without a script: the second table of the guide.
fn rights(delete: &'static str) -> [String; 5] {
    let rights = ["~job:*", "+set", &format!("+{delete}"), "+info", "+pttl"];
    rights.map(str::to_owned)
}

fn grant(server: &RedisServer, rights: &[String]) {
    let password = format!(">{PASSWORD}");
    let user = ["ACL", "SETUSER", "locker", "reset", "on", &password];
    let rights: Vec<_> = rights.iter().map(String::as_str).collect();
    server.command(&[&user, rights.as_slice()].concat());
}

/// A lock that is taken, refused, looked at, extended and released by the user `locker`.
async fn round_trip(server: &RedisServer) -> Result<(), String> {
    let url = format!("redis://locker:{PASSWORD}@{}", server.addr());
    let redlatch = Redlatch::builder().connect_timeout(PATIENCE).node(url).plain().build();
    let redlatch = redlatch.expect("a client");
    let guard = redlatch.try_acquire("job:1", options()).await.map_err(|e| e.to_string())?;
    let inspection = redlatch.inspect("job:1").await.map_err(|e| e.to_string())?;
    if !matches!(inspection.state, LockState::Held { .. }) {
        return Err(format!("{inspection:?}"));
    }
    guard.extend().await.map_err(|e| e.to_string())?;
    guard.release().await.map_err(|e| e.to_string())
}

#[tokio::test]
async fn on_newer_servers_a_user_needs_these_rights_and_none_to_run_scripts() {
    for (kind, delete) in newer() {
        let server = kind.server();
        let rights = rights(delete);
        grant(&server, &rights);
        round_trip(&server).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(server.owner_of("job:1"), Owner::Nobody);
        for left_out in &rights {
            server.command(&["FLUSHALL"]);
            let others: Vec<_> =
                rights.iter().filter(|right| *right != left_out).cloned().collect();
            grant(&server, &others);
            let result = round_trip(&server).await;
            assert!(result.is_err(), "{kind:?}: {left_out} is not needed");
        }
    }
}

/// Valkey may pretend to be a Redis that has none of these commands.
#[tokio::test]
async fn a_valkey_in_disguise_is_recognised() {
    let disguise = ["--extended-redis-compatibility", "yes"];
    let cluster =
        Cluster::start_with(3, |_, builder| Kind::Valkey.configure(builder).args(&disguise));
    exercise(&cluster, &plain(&cluster), &plain(&cluster)).await;
    assert_eq!(scripts_run(&cluster), 0);
}

/// Each node is spoken to as it understands.
#[tokio::test]
async fn one_lock_spans_servers_of_all_kinds() {
    let cluster = Cluster::start_with(3, |index, builder| ALL[index].configure(builder));
    exercise(&cluster, &plain(&cluster), &plain(&cluster)).await;
    for (node, kind) in cluster.iter().zip(ALL) {
        match kind.delete() {
            Some(delete) => {
                assert!(calls(node, delete) > 0, "{kind:?}");
                assert_eq!(calls(node, "evalsha") + calls(node, "eval"), 0, "{kind:?}");
            }
            None => assert!(calls(node, "set") > 0, "{kind:?}"),
        }
    }
    let scripts = builder(&cluster).build().expect("a client");
    exercise(&cluster, &scripts, &plain(&cluster)).await;
}

/// R3: what one dialect holds, the other does not take.
#[tokio::test]
async fn the_dialects_exclude_each_other() {
    let cluster = Kind::Usual.cluster();
    let scripts = builder(&cluster).build().expect("a client");
    exercise(&cluster, &scripts, &plain(&cluster)).await;
    exercise(&cluster, &plain(&cluster), &scripts).await;
}

#[tokio::test]
async fn the_plain_dialect_has_no_fence_and_locks_one_resource_at_a_time() {
    let cluster = Kind::Usual.cluster();
    let redlatch = plain(&cluster);
    let guard = redlatch.acquire("open}brace", options()).await.expect("it needs no fence key");
    assert_eq!(guard.fence(), None);
    for node in &cluster {
        assert_eq!(node.query::<Vec<String>>(&["KEYS", "redlatch:*"]), Vec::<String>::new());
    }
    guard.release().await.expect("a release");
    let error = redlatch.acquire(["{a}1", "{a}2"], options()).await.expect_err("two");
    assert!(matches!(&error, AcquireError::Invalid(InvalidRequest::Resources(_))), "{error:?}");
    assert!(error.to_string().contains("locks one resource at a time"), "{error}");
}

/// R13: it is not told how long the key lives, and waits all the same.
#[tokio::test]
async fn the_plain_dialect_waits_for_a_lock() {
    for kind in ALL {
        let cluster = kind.cluster();
        let redlatch = plain(&cluster);
        let guard = redlatch.acquire("job", options()).await.expect("a free lock");
        let error = redlatch.try_acquire("job", options()).await.expect_err("it is taken");
        let AcquireError::Contended { retry_after, .. } = error else { panic!("{error:?}") };
        assert_eq!(retry_after, None);
        let waiter = tokio::spawn({
            let redlatch = redlatch.clone();
            async move { redlatch.acquire("job", options()).await.map(drop) }
        });
        let asked: u64 = cluster.iter().map(|node| calls(node, "set")).sum();
        let asks = || cluster.iter().map(|node| calls(node, "set")).sum::<u64>() > asked;
        eventually("the waiter asks", async || asks()).await;
        guard.release().await.expect("a release");
        waiter.await.expect("no panic").expect("the lock");
    }
}

/// A lease that the client could never extend or release is refused, not taken over.
#[tokio::test]
async fn the_plain_dialect_adopts_no_lease_that_it_cannot_extend() {
    let cluster = Kind::Usual.cluster();
    let scripts = builder(&cluster).build().expect("a client");
    let fenced = scripts.acquire("job", options()).await.expect("a free lock");
    let fenced = fenced.into_parts().await.expect("a lease");
    let unfenced = options().without_fence();
    let two = scripts.acquire(["{a}1", "{a}2"], unfenced).await.expect("free locks");
    let two = two.into_parts().await.expect("a lease");
    for parts in [fenced, two] {
        let adopted = plain(&cluster).adopt(&parts, &options());
        assert!(matches!(adopted, Err(AdoptError::Invalid(_))), "{adopted:?}");
        scripts.release(&parts).await.expect("it is still there");
    }
}
