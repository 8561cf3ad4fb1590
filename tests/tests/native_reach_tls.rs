//! TLS to nodes that are more than one server: sentinels and the master that they name, a Redis Cluster.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use redlatch::{AcquireError, Builder, LockState, Options, Redlatch};
use redlatch_tests::{
    Certificates, ClientAuth, Cluster, PATIENCE, RedisServer, RedisServerBuilder, Sentinels,
    redis_cluster,
};
use tempfile::TempDir;

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);
const PASSWORD: &str = "correct-horse-battery-staple";
const SENTINEL_PASSWORD: &str = "guard-dog";
/// Tells a test that it runs in the child, and what node it is about.
const CHILD: &str = "REDLATCH_TEST_CHILD";

fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

fn builder() -> Builder {
    Redlatch::builder().connect_timeout(PATIENCE)
}

/// All that is done to a lock.
async fn round_trip(redlatch: &Redlatch, resource: &str) {
    let guard = redlatch.try_acquire(resource, options()).await.expect("a free lock");
    let error = redlatch.try_acquire(resource, options()).await.expect_err("it is taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
    let inspection = redlatch.inspect(resource).await.expect("a name");
    assert!(matches!(inspection.state, LockState::Held { .. }), "{inspection:?}");
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
}

/// The system's certificates are read from a variable, so a process of its own reads them. Whether this is that
/// process; it does `work` with the node.
fn in_child(work: impl AsyncFnOnce(Redlatch)) -> bool {
    let Ok(url) = env::var(CHILD) else { return false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let redlatch = builder().node(url).build().expect("a client");
    runtime.expect("a runtime").block_on(work(redlatch));
    true
}

fn run_in_child(name: &str, url: &str, authority: &Path) {
    let this = env::current_exe().expect("the path of this program");
    let mut child = Command::new(this);
    child.args([name, "--exact", "--nocapture"]).env(CHILD, url);
    child.env("SSL_CERT_FILE", AsRef::<OsStr>::as_ref(authority));
    let output = child.output().expect("this program runs again");
    let (out, err) = (output.stdout.escape_ascii(), output.stderr.escape_ascii());
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.to_string().contains("1 passed"), "{out}");
}

/// It says why, and nothing that is secret.
async fn assert_not_trusted(url: &str) {
    let redlatch = builder().node(url).build().expect("a client");
    let error = redlatch.try_acquire("job", options()).await.expect_err("an unknown issuer");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("certificate"), "{text}");
    for secret in [PASSWORD, SENTINEL_PASSWORD] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn sentinels_and_the_master_that_they_name_are_reached_by_tls() {
    const NAME: &str = "sentinels_and_the_master_that_they_name_are_reached_by_tls";
    if in_child(async |redlatch| round_trip(&redlatch, "job").await) {
        return;
    }
    // Without a port that does not speak TLS nobody can have come by one.
    let master = RedisServer::builder().unix_only().password(PASSWORD).tls(ClientAuth::Optional);
    let master = master.start();
    let sentinels = Sentinels::start_tls(3, SENTINEL_PASSWORD, &master, PASSWORD);
    let login = format!("sentinel_username=default&sentinel_password={SENTINEL_PASSWORD}");
    let (hosts, name) = (sentinels.hosts(), Sentinels::MASTER);
    let url = format!("rediss+sentinel://:{PASSWORD}@{hosts}/{name}?{login}");
    run_in_child(NAME, &url, &master.certificates().ca());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(assert_not_trusted(&url));
}

/// Three masters with a third of the slots each, of one authority, that speak nothing but TLS.
async fn tls_cluster(authority: &Certificates) -> Cluster {
    let files = [
        ("--tls-ca-cert-file", authority.ca()),
        ("--tls-cert-file", authority.server()),
        ("--tls-key-file", authority.server_key()),
        ("--tls-client-cert-file", authority.client()),
        ("--tls-client-key-file", authority.client_key()),
    ];
    let configure = |builder: RedisServerBuilder| {
        let builder = builder.unix_only().password(PASSWORD).tls(ClientAuth::Optional);
        let builder = builder.args(&["--tls-cluster", "yes", "--tls-replication", "yes"]);
        files.iter().fold(builder, |builder, (option, file)| {
            builder.args(&[option, &file.to_string_lossy()])
        })
    };
    redis_cluster(configure, RedisServer::tls_port).await
}

#[test]
fn all_servers_of_a_redis_cluster_are_reached_by_tls() {
    const NAME: &str = "all_servers_of_a_redis_cluster_are_reached_by_tls";
    let everywhere = async |redlatch: Redlatch| {
        // Names in slots of all three.
        for name in ["a", "b", "c", "d", "e", "f"] {
            round_trip(&redlatch, name).await;
        }
    };
    if in_child(everywhere) {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let authority = Certificates::generate(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let servers = runtime.block_on(tls_cluster(&authority));
    let hosts: Vec<_> =
        servers.iter().map(|server| format!("127.0.0.1:{}", server.tls_port())).collect();
    // One is asked for the others, which have to be reached by TLS as well.
    let url = format!("rediss+cluster://:{PASSWORD}@{}", hosts[0]);
    run_in_child(NAME, &url, &authority.ca());
    let used = |server: &RedisServer| server.query::<i64>(&["DBSIZE"]) > 0;
    assert!(servers.iter().all(used), "every server has fences");
    runtime.block_on(assert_not_trusted(&url));
}
