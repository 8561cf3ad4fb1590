//! `doctor`, on a server for each thing that may be wrong.

use redlatch_tests::{Cluster, RedisServer};

use crate::support::{Ended, eventually, run};

/// What makes a server one with which nothing is wrong.
const SAFE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

fn safe() -> RedisServer {
    RedisServer::builder().args(SAFE).start()
}

fn examine(nodes: &[String], args: &[&str]) -> Ended {
    run(nodes, ["doctor", "--json"].iter().chain(args))
}

/// `kind`, and `node` where it is about one, of every finding.
fn findings(ended: &Ended) -> Vec<(String, Option<String>)> {
    let json = ended.json();
    let findings = json["findings"].as_array().expect("findings").iter();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    findings
        .map(|finding| {
            // Whatever is found, there is something to be done about it.
            assert!(text(&finding["finding"]).is_some_and(|text| !text.is_empty()), "{json}");
            assert!(text(&finding["remedy"]).is_some_and(|text| !text.is_empty()), "{json}");
            (text(&finding["kind"]).expect("a kind"), text(&finding["node"]))
        })
        .collect()
}

/// The kinds of what is found of one node.
fn kinds(ended: &Ended, node: &str) -> Vec<String> {
    let of_node = findings(ended).into_iter().filter(|(_, of)| of.as_deref() == Some(node));
    of_node.map(|(kind, _)| kind).collect()
}

/// That nothing else is found of the only node than this.
#[track_caller]
fn assert_found(server: &RedisServer, url: &str, args: &[&str], expected: &[&str]) -> Ended {
    let ended = examine(&[url.to_owned()], args);
    assert_eq!(kinds(&ended, &server.addr().to_string()), expected, "{ended:?}");
    ended.with_code(if expected.is_empty() { 0 } else { 1 })
}

#[test]
fn three_good_nodes_are_well() {
    let cluster = Cluster::start_with(3, |_, builder| builder.args(SAFE));
    let ended = run(&cluster.urls(), ["doctor"]).with_code(0);
    assert_eq!(ended.stderr, "");
    let mut lines = ended.stdout.lines();
    assert!(lines.next().is_some_and(|head| head.starts_with("NODE")), "{ended:?}");
    for (node, line) in cluster.iter().zip(lines.by_ref()) {
        let words: Vec<_> = line.split_whitespace().take(3).collect();
        assert_eq!(words, [&*node.addr().to_string(), "well", "Redis"], "{ended:?}");
    }
    assert_eq!(lines.next(), None, "{ended:?}");
}

#[test]
fn its_json_has_the_documented_fields() {
    let cluster = Cluster::start_with(3, |_, builder| builder.args(SAFE));
    cluster[2].kill();
    let ended = examine(&cluster.urls(), &[]).with_code(1);
    let json = ended.json();
    assert_eq!(json["version"], 1);
    let (node, dead) = (&json["nodes"][0], &json["nodes"][2]);
    assert_eq!(node["node"], cluster[0].addr().to_string());
    assert!(node["server"].as_str().is_some_and(|server| server.starts_with("Redis ")), "{json}");
    for field in ["latency_us", "clock_uncertainty_us"] {
        assert!(node[field].as_u64().is_some(), "{json}");
    }
    assert!(node["clock_ahead_us"].as_i64().is_some(), "{json}");
    assert_eq!(dead["node"], cluster[2].addr().to_string());
    for field in ["server", "latency_us", "clock_ahead_us", "clock_uncertainty_us"] {
        assert!(dead[field].is_null(), "{json}");
    }
    let finding = &json["findings"][0];
    assert_eq!(finding["node"], dead["node"]);
    assert_eq!((&finding["kind"], &finding["weight"]), (&"unreachable".into(), &"mend".into()));
}

#[test]
fn each_finding_is_a_row_with_what_to_do() {
    let server = RedisServer::builder().args(&["--maxmemory", "100mb"]).start();
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let ended = run(&[server.url()], ["doctor"]).with_code(1);
    let rows = |state: &str| {
        let is_row = |line: &&str| line.split_whitespace().nth(1) == Some(state);
        ended.stdout.lines().filter(is_row).count()
    };
    assert_eq!((rows("mend"), rows("advice"), rows("well")), (2, 1, 0), "{ended:?}");
    assert_eq!(ended.stdout.matches("→ ").count(), 3, "{ended:?}");
    for text in ["allkeys-lru", "maxmemory-policy noeviction", "restart guard", "(all)"] {
        assert!(ended.stdout.contains(text), "no {text}: {ended:?}");
    }
    for line in ended.stdout.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

// Forgetting.

#[test]
fn a_node_that_forgets_when_it_is_restarted_is_found_unless_there_is_a_restart_guard() {
    let server = RedisServer::start();
    assert_found(&server, &server.url(), &[], &["not_persistent"]);
    assert_found(&server, &server.url(), &["--restart-guard", "1m"], &[]);
    // Snapshots are older than the latest locks.
    server.command(&["CONFIG", "SET", "save", "1 1"]);
    assert_found(&server, &server.url(), &[], &["not_persistent"]);
    assert_found(&server, &server.url(), &["--plain"], &["not_persistent"]);
}

#[test]
fn a_node_that_syncs_after_it_answers_is_found_unless_there_is_a_restart_guard() {
    let server = RedisServer::builder().append_only().start();
    for policy in ["everysec", "no"] {
        server.command(&["CONFIG", "SET", "appendfsync", policy]);
        let ended = assert_found(&server, &server.url(), &[], &["syncs_later"]);
        assert!(ended.stdout.contains(&format!("appendfsync {policy}")), "{ended:?}");
        assert_found(&server, &server.url(), &["--restart-guard", "1m"], &[]);
    }
    server.command(&["CONFIG", "SET", "appendfsync", "always"]);
    assert_found(&server, &server.url(), &[], &[]);
}

#[test]
fn a_node_that_may_evict_our_keys_is_found() {
    let server = safe();
    let policies = [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ];
    for policy in policies {
        server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
        server.command(&["CONFIG", "SET", "maxmemory-policy", policy]);
        let ended = assert_found(&server, &server.url(), &[], &["evicts"]);
        assert!(ended.stdout.contains(policy), "{ended:?}");
        // The policy only matters where there is a limit.
        server.command(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_found(&server, &server.url(), &[], &[]);
    }
    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert_found(&server, &server.url(), &[], &[]);
}

// Servers.

/// R16: a replica that takes over may have forgotten locks.
#[test]
fn a_node_with_a_replica_is_found_and_so_is_a_replica() {
    let (node, replica) = (safe(), safe());
    replica.command(&["REPLICAOF", "127.0.0.1", &node.port().to_string()]);
    eventually("it is replicated", || {
        let info: String = node.query(&["INFO", "replication"]);
        info.contains("connected_slaves:1")
    });
    let ended = assert_found(&node, &node.url(), &[], &["has_replicas"]);
    assert!(ended.stdout.contains("has 1 replica;"), "{ended:?}");
    assert_found(&replica, &replica.url(), &[], &["is_replica"]);
}

#[test]
fn a_server_with_two_addresses_is_found() {
    let (server, other) = (safe(), safe());
    let ended = examine(&[server.url(), server.unix_url(), other.url()], &[]).with_code(1);
    let found = findings(&ended);
    let [(kind, Some(node))] = found.as_slice() else { panic!("{ended:?}") };
    assert_eq!(kind, "same_server");
    let json = ended.json();
    let text = json["findings"][0]["finding"].as_str().expect("a text");
    let (tcp, unix) = (server.addr().to_string(), server.unix_url());
    let unix = unix.rsplit("://").next().expect("a path");
    // Whichever connected later.
    let expected = if *node == tcp { unix } else { tcp.as_str() };
    assert_eq!(text, format!("is the same server as {expected}"));
}

#[test]
fn nodes_that_are_down_or_hang_are_found_in_bounded_time() {
    let cluster = Cluster::start_with(3, |_, builder| builder.args(SAFE));
    cluster[0].kill();
    cluster[1].pause();
    let ended = examine(&cluster.urls(), &[]).with_code(1);
    for node in cluster.iter().take(2) {
        assert_eq!(kinds(&ended, &node.addr().to_string()), ["unreachable"], "{ended:?}");
    }
    assert_eq!(findings(&ended).len(), 2, "{ended:?}");
    assert!(ended.stdout.contains("not connected within 1000 ms"), "{ended:?}");
}

#[test]
fn a_node_that_takes_too_long_to_answer_is_found() {
    let server = safe();
    // No answer comes within half of that.
    let ended = assert_found(&server, &server.url(), &["--node-timeout", "1ns"], &["slow"]);
    assert!(ended.json()["nodes"][0]["latency_us"].as_u64().is_some(), "{ended:?}");
}

#[test]
fn an_even_number_of_nodes_is_advised_against_and_nothing_more() {
    for (count, kind) in [(1, Some("one_node")), (2, Some("even_count")), (3, None)] {
        let cluster = Cluster::start_with(count, |_, builder| builder.args(SAFE));
        let ended = examine(&cluster.urls(), &[]).with_code(0);
        let expected: Vec<_> = kind.map(|kind| (kind.to_owned(), None)).into_iter().collect();
        assert_eq!(findings(&ended), expected, "{ended:?}");
    }
}

// Users.

#[test]
fn a_node_that_does_not_let_us_in_is_found_and_no_password_is_shown() {
    let server = RedisServer::builder().args(SAFE).password("opensesame").start();
    let nobody = format!("redis://{}", server.addr());
    let wrong = server.url().replace("opensesame", "barley");
    let unknown = format!("redis://alibaba:barley@{}", server.addr());
    for url in [nobody, wrong, unknown] {
        for args in [&[][..], &["-v"]] {
            let ended = assert_found(&server, &url, args, &["denied"]);
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(!said.contains("barley") && !said.contains("opensesame"), "{ended:?}");
        }
    }
    let ended = assert_found(&server, &server.url(), &[], &[]);
    assert!(!ended.stdout.contains("opensesame"), "{ended:?}");
}

#[test]
fn what_a_user_may_not_ask_is_told_to_be_unknown() {
    let all_but = |denied: &[&'static str]| [&["~*", "+@all"][..], denied].concat();
    let cases = [
        ("info", all_but(&["-info"]), "INFO"),
        ("config", all_but(&["-config"]), "CONFIG GET"),
        ("time", all_but(&["-time"]), "TIME"),
    ];
    for (name, rules, command) in cases {
        let server = RedisServer::builder().args(SAFE).user("locker", "s3same", &rules).start();
        let url = server.url_as("locker");
        let ended = assert_found(&server, &url, &[], &["untold"]);
        let json = ended.json();
        let finding = &json["findings"][0];
        assert_eq!(finding["weight"], "unknown", "{ended:?}");
        let text = finding["finding"].as_str().expect("a text");
        assert!(text.starts_with(&format!("does not answer {command} (NOPERM")), "{text}");
        let remedy = finding["remedy"].as_str().expect("a remedy");
        assert!(remedy.contains(&format!("+{name}")), "{remedy}");
        assert!(!ended.stdout.contains("s3same"), "{ended:?}");
    }
    // How it syncs matters only without a restart guard, and only if there is a file to sync.
    let rules = all_but(&["-config"]);
    let server = RedisServer::builder().user("locker", "s3same", &rules).start();
    let url = server.url_as("locker");
    assert_found(&server, &url, &[], &["not_persistent"]);
    assert_found(&server, &url, &["--restart-guard", "1m"], &[]);
}

#[test]
fn scripts_that_are_forbidden_are_found() {
    for denied in ["-eval", "-evalsha"] {
        let rules = ["~*", "+@all", denied];
        let server = RedisServer::builder().args(SAFE).user("locker", "s3same", &rules).start();
        let ended = assert_found(&server, &server.url_as("locker"), &[], &["scripts_forbidden"]);
        assert!(ended.stdout.contains("NOPERM"), "{ended:?}");
    }
    let renamed = [SAFE, &["--rename-command", "EVALSHA", ""]].concat();
    let server = RedisServer::builder().args(&renamed).start();
    assert_found(&server, &server.url(), &[], &["scripts_forbidden"]);
}
