//! What is found of nodes: warnings while they are used, and the closer look of `examine`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisFuture, Value};
use redlatch::{Aspect, Builder, Examination, Finding, Options, Problem, Redlatch, Weight};
use redlatch_tests::{Cluster, PATIENCE, RedisServer, eventually};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);

fn builder() -> Builder {
    Redlatch::builder().connect_timeout(PATIENCE)
}

/// What a server has with which nothing is wrong.
const SAFE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

fn safe_cluster(count: usize) -> Cluster {
    Cluster::start_with(count, |_, builder| builder.args(SAFE))
}

fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE)
}

async fn examine(redlatch: &Redlatch) -> Examination {
    redlatch.examine(options()).await.expect("options that fit")
}

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.problem.kind()).collect()
}

/// Everything that a client's listener was told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Finding>>>);

impl Heard {
    fn listen(&self, builder: Builder) -> Builder {
        let heard = self.0.clone();
        builder.on_finding(move |finding| heard.lock().expect("a list").push(finding.clone()))
    }

    fn count(&self, kind: &str) -> usize {
        let heard = self.0.lock().expect("a list");
        heard.iter().filter(|finding| finding.problem.kind() == kind).count()
    }

    async fn wait_for(&self, kind: &str) {
        eventually(kind, async || self.count(kind) > 0).await;
    }
}

// Warnings.

#[tokio::test]
async fn a_listener_hears_once_of_each_problem_of_a_node() {
    let server = RedisServer::start();
    let heard = Heard::default();
    let redlatch = heard.listen(builder().named_node("attic", server.url()));
    let redlatch = redlatch.build().expect("a client");
    let round_trip = async || {
        let guard = redlatch.acquire("job", options()).await.expect("a free lock");
        guard.release().await.expect("a release");
    };
    round_trip().await;
    heard.wait_for("not_persistent").await;
    // It connects anew, and finds what it knows and something new.
    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    round_trip().await;
    heard.wait_for("evicts").await;
    assert_eq!((heard.count("not_persistent"), heard.count("evicts")), (1, 1));
    let heard = heard.0.lock().expect("a list");
    for finding in heard.iter() {
        assert_eq!(finding.node.as_deref(), Some("attic"));
        assert_eq!(finding.problem.weight(), Weight::Mend);
        assert!(finding.to_string().starts_with("the node attic "), "{finding}");
    }
    assert_eq!(heard.len(), 2, "{heard:?}");
}

#[tokio::test]
async fn a_listener_hears_nothing_of_nodes_with_which_nothing_is_wrong() {
    let guarded = Cluster::start(3);
    let heard = Heard::default();
    let client = |cluster: &Cluster, builder: Builder| {
        let builder = cluster.urls().into_iter().fold(builder, |builder, url| builder.node(url));
        heard.listen(builder).build().expect("a client")
    };
    let safe = safe_cluster(3);
    for redlatch in [client(&safe, builder()), client(&guarded, builder().restart_guard(FOREVER))] {
        redlatch.declare_fresh().await;
        let guard = redlatch.acquire("job", options()).await.expect("a free lock");
        guard.release().await.expect("a release");
        redlatch.shutdown().await;
    }
    // By now all are connected and judged; the last to be heard is of a client that knows better.
    let unsafe_server = RedisServer::start();
    let redlatch = heard.listen(builder().node(unsafe_server.url())).build().expect("a client");
    redlatch.inspect("job").await.expect("a name");
    heard.wait_for("not_persistent").await;
    assert_eq!(kinds(&heard.0.lock().expect("a list")), ["not_persistent"]);
}

/// R16: a replica that takes over may have forgotten locks.
#[tokio::test]
async fn a_listener_hears_of_replicas_and_of_servers_that_are_listed_twice() {
    let (node, replica) = (RedisServer::start(), RedisServer::start());
    replica.command(&["REPLICAOF", "127.0.0.1", &node.port().to_string()]);
    eventually("it is replicated", async || {
        node.query::<String>(&["INFO", "replication"]).contains("connected_slaves:1")
    })
    .await;
    let heard = Heard::default();
    let redlatch = heard.listen(builder().node(node.url()).node(node.unix_url()));
    let redlatch = redlatch.build().expect("a client");
    redlatch.inspect("job").await.expect("a name");
    heard.wait_for("has_replicas").await;
    heard.wait_for("same_server").await;
}

#[tokio::test]
async fn a_listener_that_blocks_or_panics_hurts_no_lock() {
    let server = RedisServer::start();
    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let builder = builder().node(server.url()).on_finding(move |finding| {
        if finding.problem.kind() == "evicts" {
            // Until the test has ended.
            let ended = blocked.lock().expect("nobody else waits").recv();
            assert!(ended.is_err(), "nothing is sent");
        }
        panic!("on purpose");
    });
    let redlatch = builder.build().expect("a client");
    for _ in 0..2 {
        let guard = redlatch.acquire("job", options()).await.expect("a free lock");
        guard.extend().await.expect("an extension");
        guard.release().await.expect("a release");
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    drop(release);
}

// Examinations.

#[tokio::test]
async fn an_examination_finds_what_has_changed_since_the_connection_was_made() {
    let cluster = safe_cluster(3);
    let redlatch = cluster.urls().into_iter().fold(builder(), |builder, url| builder.node(url));
    let redlatch = redlatch.build().expect("a client");
    assert_eq!(examine(&redlatch).await.findings, []);
    cluster[0].command(&["CONFIG", "SET", "appendonly", "no"]);
    cluster[1].pause();
    let examination = examine(&redlatch).await;
    let [first, second] = examination.findings.as_slice() else { panic!("{examination:?}") };
    assert_eq!(first.node.as_deref(), Some(&*cluster[0].addr().to_string()));
    assert_eq!(first.problem, Problem::NotPersistent);
    assert_eq!(second.node.as_deref(), Some(&*cluster[1].addr().to_string()));
    // It had connected, so it is the answer that does not come.
    assert_eq!(second.problem, Problem::Unreachable { error: "no answer within 1 s".to_owned() });
    cluster[0].command(&["CONFIG", "SET", "appendonly", "yes"]);
    cluster[1].resume();
    assert_eq!(examine(&redlatch).await.findings, []);
    // A connection that broke meanwhile is no finding.
    cluster[2].command(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(examine(&redlatch).await.findings, []);
    assert_eq!(examine(&redlatch).await.nodes.len(), 3);
}

#[tokio::test]
async fn an_examination_changes_nothing() {
    let cluster = safe_cluster(3);
    let redlatch = cluster.urls().into_iter().fold(builder(), |builder, url| builder.node(url));
    let redlatch = redlatch.restart_guard(FOREVER).build().expect("a client");
    assert_eq!(examine(&redlatch).await.findings, []);
    for server in &cluster {
        assert_eq!(server.query::<u64>(&["DBSIZE"]), 0);
    }
}

#[test]
fn programs_without_async_can_examine() {
    let server = RedisServer::start();
    let redlatch = builder().node(server.url()).build().expect("a client");
    let examination = redlatch::blocking::Redlatch::from(redlatch).examine(options());
    let examination = examination.expect("options that fit");
    assert_eq!(kinds(&examination.findings), ["not_persistent", "one_node"]);
}

/// A connection to a real server that changes what it says of itself.
#[derive(Clone)]
struct Disguised {
    connection: MultiplexedConnection,
    disguise: fn(&str, Value) -> Value,
}

impl ConnectionLike for Disguised {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let name = cmd.args_iter().next().map(|arg| match arg {
                redis::Arg::Simple(name) => String::from_utf8_lossy(name).into_owned(),
                redis::Arg::Cursor | _ => String::new(),
            });
            let value = self.connection.req_packed_command(cmd).await?;
            Ok((self.disguise)(&name.unwrap_or_default(), value))
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

async fn disguised(server: &RedisServer, disguise: fn(&str, Value) -> Value) -> Disguised {
    let client = redis::Client::open(server.url()).expect("an address");
    let connection = client.get_multiplexed_async_connection().await.expect("a connection");
    Disguised { connection, disguise }
}

fn undisguised(_: &str, value: Value) -> Value {
    value
}

/// What `INFO` answers, with other words in it.
fn replaced(value: Value, from: &str, to: &str) -> Value {
    let text: String = redis::from_redis_value(value).expect("a text");
    Value::BulkString(text.replace(from, to).into_bytes())
}

/// What `TIME` answers, that many seconds later.
fn shifted(value: Value, by: i64) -> Value {
    let (seconds, micros): (i64, i64) = redis::from_redis_value(value).expect("a time");
    let text = |number: i64| Value::BulkString(number.to_string().into_bytes());
    Value::Array(vec![text(seconds + by), text(micros)])
}

async fn client_of(servers: &Cluster, disguises: &[fn(&str, Value) -> Value]) -> Redlatch {
    let mut builder = builder();
    for (index, (server, disguise)) in servers.iter().zip(disguises).enumerate() {
        builder = builder.connection(format!("node {index}"), disguised(server, *disguise).await);
    }
    builder.build().expect("a client")
}

#[tokio::test]
async fn a_clock_that_differs_by_more_than_the_allowance_for_drift_is_found() {
    let cluster = safe_cluster(3);
    let ahead = |name: &str, value| if name == "TIME" { shifted(value, 7) } else { value };
    let behind = |name: &str, value| if name == "TIME" { shifted(value, -3600) } else { value };
    let redlatch = client_of(&cluster, &[ahead, undisguised, behind]).await;
    // Of 10 s, 102 ms.
    let examination = redlatch.examine(Duration::from_secs(10)).await.expect("a ttl");
    let findings = &examination.findings;
    let [one, other] = findings.as_slice() else { panic!("{examination:?}") };
    for (finding, node, apart) in [(one, "node 2", 3600), (other, "node 0", 7)] {
        assert_eq!(finding.node.as_deref(), Some(node));
        let Problem::ClockDiffers { by, from, allowance } = &finding.problem else {
            panic!("{examination:?}")
        };
        assert_eq!((&**from, *allowance), ("node 1", Duration::from_millis(102)));
        // Less what the questions took.
        let apart = Duration::from_secs(apart);
        assert!(*by <= apart + Duration::from_millis(1) && *by + PATIENCE >= apart, "{finding}");
    }
    let readings: Vec<_> = examination.nodes.iter().flat_map(|node| node.clock).collect();
    assert!(readings[0].ahead_us > readings[1].ahead_us, "{readings:?}");
    assert!(readings[2].ahead_us < readings[1].ahead_us, "{readings:?}");
    // Of 800 s, 8.002 s: the one that is 7 s ahead may be.
    let longer = redlatch.examine(Duration::from_secs(800)).await.expect("a ttl");
    assert_eq!(kinds(&longer.findings), ["clock_differs"], "{longer:?}");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_found() {
    let cluster = safe_cluster(3);
    fn old(name: &str, value: Value) -> Value {
        let is_info = name == "INFO";
        if is_info {
            replaced(value, "redis_version:", "redis_version:6.0.16\r\nwas:")
        } else {
            value
        }
    }
    fn new(name: &str, value: Value) -> Value {
        let is_info = name == "INFO";
        if is_info {
            replaced(value, "redis_version:", "redis_version:10.1\r\nwas:")
        } else {
            value
        }
    }
    let redlatch = client_of(&cluster, &[old, new, undisguised]).await;
    let examination = examine(&redlatch).await;
    let expected = Problem::OldServer { version: "6.0.16".to_owned() };
    let finding = Finding { node: Some("node 0".into()), problem: expected };
    assert_eq!(examination.findings, [finding]);
}

/// Some services leave fields out, and some servers answer otherwise than Redis.
#[tokio::test]
async fn what_a_node_leaves_out_is_told_to_be_unknown() {
    let cluster = safe_cluster(3);
    fn silent(name: &str, value: Value) -> Value {
        if name == "INFO" { Value::BulkString(Vec::new()) } else { value }
    }
    fn strange(name: &str, value: Value) -> Value {
        match name {
            "INFO" => replaced(value, "maxmemory_policy:", "policy:"),
            "TIME" => Value::Okay,
            _ => value,
        }
    }
    cluster[1].command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let redlatch = client_of(&cluster, &[silent, strange, undisguised]).await;
    let examination = examine(&redlatch).await;
    let untold: Vec<_> = examination
        .findings
        .iter()
        .map(|finding| {
            let Problem::Untold { aspects, command, .. } = &finding.problem else {
                panic!("{finding:?}")
            };
            (aspects.clone(), *command)
        })
        .collect();
    let all = vec![
        Aspect::Identity,
        Aspect::Version,
        Aspect::Replication,
        Aspect::Eviction,
        Aspect::Persistence,
    ];
    let expected = [(all, "INFO"), (vec![Aspect::Eviction], "INFO"), (vec![Aspect::Clock], "TIME")];
    assert_eq!(untold, expected);
}
