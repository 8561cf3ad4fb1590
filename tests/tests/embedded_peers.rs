//! Embedded nodes are Redis to other clients: rslock, redlock-py, and redis-cli as a person uses it.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use redlatch::{AcquireError, Redlatch};
use redlatch_harness::embedded::Cluster;

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);

fn cluster(count: usize) -> Cluster {
    Cluster::embedded(count).expect("embedded nodes")
}

fn lines(output: &Output) -> Vec<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn rslock_and_ours_exclude_each_other() {
    let cluster = cluster(3);
    let redlatch = Redlatch::new(cluster.urls()).expect("a client");
    let mut theirs = rslock::LockManager::new(cluster.urls());
    theirs.set_retry(1, Duration::from_millis(1));

    let lock = theirs.lock("report", FOREVER).await.expect("a free lock");
    let refused = redlatch.try_acquire("report", FOREVER).await.expect_err("a taken lock");
    assert!(matches!(refused, AcquireError::Contended { .. }), "{refused}");
    theirs.unlock(&lock).await;

    let guard = redlatch.acquire("report", FOREVER).await.expect("a free lock");
    assert!(theirs.lock("report", FOREVER).await.is_err());
    guard.release().await.expect("a majority that answers");
    theirs.lock("report", FOREVER).await.expect("a free lock");
}

const PYTHON: &str = "
import sys, redlock
locks = redlock.Redlock(sys.argv[1:], retry_count=1)
lock = locks.lock('report', 600000)
print(bool(lock), locks.lock('report', 600000))
locks.unlock(lock)
print(bool(locks.lock('report', 600000)))
";

#[test]
fn redlock_py_locks_and_unlocks() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/bin/python");
    assert!(program.exists(), "target/tools/python is missing; run `just setup`");
    let cluster = cluster(3);
    let output = Command::new(program).args(["-c", PYTHON]).args(cluster.urls()).output();
    assert_eq!(lines(&output.expect("python")), ["True False", "True"]);
    assert!(cluster.iter().all(|node| node.value("report").is_some()));
}

#[test]
fn redis_cli_is_at_home() {
    let cluster = cluster(1);
    let port = cluster[0].address().port().to_string();
    let run = |words: &[&str]| {
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output();
        lines(&output.expect("redis-cli is missing; run `just setup`"))
    };
    assert_eq!(run(&["PING"]), ["PONG"]);
    assert_eq!(run(&["SET", "a", "1", "NX", "PX", "60000"]), ["OK"]);
    assert_eq!(run(&["-3", "CONFIG", "GET", "maxmemory-policy"]), ["maxmemory-policy noeviction"]);
    assert_eq!(run(&["EVAL", "return {KEYS[1], 1, false}", "1", "x"]), ["x", "1", ""]);
    assert_eq!(run(&["--scan"]), ["a"]);
    assert!(run(&["INFO", "server"]).contains(&format!("tcp_port:{port}")));
    let session = "MULTI\nINCR a\nEXEC\n";
    let typed = Command::new("sh")
        .args(["-c", &format!("printf '{session}' | redis-cli -p {port}")])
        .output();
    assert_eq!(lines(&typed.expect("a shell")), ["OK", "QUEUED", "2"]);
}
