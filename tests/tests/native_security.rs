//! Passwords, users with few rights, TLS and unix sockets.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use redis::{ClientTlsConfig, TlsCertificates};
use redlatch::{AcquireError, BuildError, Builder, LockState, Options, Redlatch};
use redlatch_tests::{Certificates, ClientAuth, Cluster, Owner, PATIENCE, RedisServer, eventually};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);
const PASSWORD: &str = "correct-horse-battery-staple";

fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

fn builder() -> Builder {
    Redlatch::builder().connect_timeout(PATIENCE)
}

fn client<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Redlatch {
    urls.into_iter().fold(builder(), |builder, url| builder.node(url)).build().expect("a client")
}

/// Everything that needs a right of its own.
async fn round_trip(redlatch: &Redlatch, resource: &str) -> Result<(), String> {
    let guard = redlatch.try_acquire(resource, options()).await.map_err(|e| e.to_string())?;
    match redlatch.try_acquire(resource, options()).await {
        Err(AcquireError::Contended { .. }) => {}
        other => return Err(format!("a second holder: {other:?}")),
    }
    let inspection = redlatch.inspect(resource).await.map_err(|e| e.to_string())?;
    if !matches!(inspection.state, LockState::Held { .. }) {
        return Err(format!("{inspection:?}"));
    }
    // A key that still has the whole ttl need not be extended.
    let whole = guard.remaining();
    let later = || guard.remaining() + Duration::from_millis(2) < whole;
    eventually("some of the ttl has passed", async || later()).await;
    guard.extend().await.map_err(|e| e.to_string())?;
    guard.release().await.map_err(|e| e.to_string())
}

// Passwords.

#[tokio::test]
async fn a_password_in_the_url_lets_us_in() {
    let cluster = Cluster::start_with(3, |_, builder| builder.password(PASSWORD));
    let redlatch = client(cluster.urls());
    round_trip(&redlatch, "job").await.expect("a round trip");
    // Also by the user's name that Redis gives to whoever has none.
    let named = cluster.iter().map(|node| format!("redis://default:{PASSWORD}@{}", node.addr()));
    round_trip(&client(named), "job").await.expect("a round trip");
}

#[tokio::test]
async fn a_password_may_have_any_characters() {
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "o'neill", "on", ">p@ss:w/rd%?#", "~*", "+@all"]);
    let url = format!("redis://o%27neill:p%40ss%3Aw%2Frd%25%3F%23@{}", server.addr());
    round_trip(&client([url]), "job").await.expect("a round trip");
}

// Rights.

/// The rights that a user needs, for resources whose names begin with `job:`. This is the table of
/// the guide: each line is needed, and no other is.
const SCRIPTS: &[&str] = &[
    "~job:*",                  // the lock keys
    "~redlatch:fence:{job:*}", // their fence numbers
    "~redlatch:queue:{job:*}", // who waits for them
    "+evalsha",
    "+eval",
    "+get",
    "+set",
    "+pttl",
    "+pexpire",
    "+del",
    "+zrem",
    "+zpopmin",
];
/// In addition, to be called when a lock is released instead of asking from time to time.
const CALLS: &[&str] = &["&redlatch:call:*", "+subscribe", "+publish", "+zadd"];
/// In addition, with a restart guard.
const GUARD: &[&str] = &["~redlatch:run_id", "~redlatch:quarantine", "+info"];
/// Without fences.
const UNFENCED_KEYS: &[&str] = &["~job:*", "~redlatch:queue:{job:*}"];
/// The plain dialect on servers before Redis 8.4 and Valkey 9.0.
const PLAIN: &[&str] = &[
    "~job:*",
    "~redlatch:queue:{job:*}",
    "+set",
    "+evalsha",
    "+eval",
    "+get",
    "+pttl",
    "+pexpire",
    "+del",
    "+zrem",
    "+zpopmin",
];

/// Gives the user `locker` these rights and no others.
fn grant(server: &RedisServer, rights: &[&str]) {
    let password = format!(">{PASSWORD}");
    let user = ["ACL", "SETUSER", "locker", "reset", "on", &password];
    server.command(&[&user, rights].concat());
}

fn as_locker(server: &RedisServer) -> Builder {
    builder().node(format!("redis://locker:{PASSWORD}@{}", server.addr()))
}

/// That a round trip needs each of `rights` and nothing else.
async fn assert_minimal(rights: &[&str], configure: impl Fn(Builder) -> Builder) {
    let server = RedisServer::start();
    let attempt = async |rights: &[&str]| {
        server.command(&["FLUSHALL"]);
        server.command(&["SCRIPT", "FLUSH"]);
        grant(&server, rights);
        let redlatch = configure(as_locker(&server)).build().expect("a client");
        redlatch.declare_fresh().await;
        round_trip(&redlatch, "job:1").await
    };
    attempt(rights).await.expect("these rights are enough");
    for left_out in rights {
        let others: Vec<_> = rights.iter().copied().filter(|right| right != left_out).collect();
        let error = attempt(&others).await.expect_err(&format!("{left_out} is needed"));
        assert!(!error.contains(PASSWORD), "{error}");
    }
}

#[tokio::test]
async fn a_user_needs_these_rights() {
    assert_minimal(SCRIPTS, |builder| builder).await;
}

#[tokio::test]
async fn a_restart_guard_needs_these_rights_in_addition() {
    let rights = [SCRIPTS, GUARD].concat();
    assert_minimal(&rights, |builder| builder.restart_guard(FOREVER)).await;
}

/// R18. It waits for an hour, unless it is called.
#[tokio::test]
async fn with_these_rights_in_addition_waiters_are_called() {
    const HOUR: Duration = Duration::from_secs(3600);
    let server = RedisServer::start();
    grant(&server, &[SCRIPTS, CALLS].concat());
    let redlatch = as_locker(&server).build().expect("a client");
    let guard = redlatch.try_acquire("job:1", options()).await.expect("a free lock");
    let waiting = tokio::spawn({
        let options = options().wait(10 * HOUR).retry_delay(Duration::from_millis(1), HOUR);
        let redlatch = redlatch.clone();
        async move { redlatch.acquire("job:1", options).await }
    });
    let queued = || server.query::<u32>(&["ZCARD", "redlatch:queue:{job:1}"]) == 1;
    eventually("it waits in the queue", async || queued()).await;
    guard.release().await.expect("a release");
    let ended = tokio::time::timeout(PATIENCE, waiting).await.expect("it is called");
    ended.expect("no panic").expect("the lock").release().await.expect("a release");
}

/// Whoever may not be called does not try to queue, and waits all the same.
#[tokio::test]
async fn whatever_right_to_be_called_is_missing_who_waits_gets_the_lock() {
    for left_out in &CALLS[..3] {
        let server = RedisServer::start();
        let others = CALLS.iter().copied().filter(|right| right != left_out);
        let rights: Vec<_> = SCRIPTS.iter().copied().chain(others).collect();
        grant(&server, &rights);
        let redlatch = as_locker(&server).build().expect("a client");
        let guard = redlatch.try_acquire("job:1", options()).await.expect("a free lock");
        let waiting = tokio::spawn({
            let redlatch = redlatch.clone();
            async move { redlatch.acquire("job:1", options()).await }
        });
        let asked = || server.query::<String>(&["INFO", "commandstats"]);
        let refused = |info: &str| info.contains("cmdstat_pttl");
        eventually("it is refused", async || refused(&asked())).await;
        guard.release().await.expect(left_out);
        let guard = waiting.await.expect("no panic").expect(left_out);
        guard.release().await.expect(left_out);
    }
}

#[tokio::test]
async fn the_plain_dialect_needs_these_rights() {
    assert_minimal(PLAIN, Builder::plain).await;
}

#[tokio::test]
async fn without_a_fence_no_right_to_its_key_is_needed() {
    let server = RedisServer::start();
    let commands = SCRIPTS.iter().copied().filter(|right| right.starts_with('+'));
    let rights: Vec<_> = UNFENCED_KEYS.iter().copied().chain(commands).collect();
    grant(&server, &rights);
    let redlatch = as_locker(&server).build().expect("a client");
    let unfenced = options().without_fence();
    let guard = redlatch.try_acquire("job:1", unfenced).await.expect("a free lock");
    guard.extend().await.expect("an extension");
    guard.release().await.expect("a release");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let server = RedisServer::start();
    let redlatch = as_locker(&server).build().expect("a client");
    grant(&server, &["~job:*", "+get"]);
    let error = redlatch.try_acquire("job:1", options()).await.expect_err("no rights");
    let text = error.to_string();
    assert!(text.contains(&format!("{}: failed (NOPERM", server.addr())), "{text}");
    assert!(text.contains("'evalsha'"), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");

    // A key outside of what the user may touch.
    grant(&server, SCRIPTS);
    let error = redlatch.try_acquire("task:1", options()).await.expect_err("no rights");
    let text = error.to_string();
    assert!(text.contains("NOPERM") && text.contains("key"), "{text}");
    assert_eq!(server.owner_of("task:1"), Owner::Nobody);
}

// TLS.

fn tls_cluster(client_auth: ClientAuth) -> Cluster {
    Cluster::start_with(3, |_, builder| builder.password(PASSWORD).tls(client_auth))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file of the fixture")
}

/// What a client has to show and to trust.
fn tls(ca: &Certificates, own: Option<&Certificates>) -> TlsCertificates {
    let client_tls = own.map(|own| ClientTlsConfig {
        client_cert: read(&own.client()),
        client_key: read(&own.client_key()),
    });
    TlsCertificates { client_tls, root_cert: Some(read(&ca.ca())) }
}

fn tls_client(
    cluster: &Cluster,
    certificates: impl Fn(&RedisServer) -> TlsCertificates,
) -> Redlatch {
    let client = |node: &RedisServer| {
        redis::Client::build_with_tls(node.tls_url(), certificates(node)).expect("a client")
    };
    let builder = cluster.iter().fold(builder(), |builder, node| builder.client(client(node)));
    builder.build().expect("a client")
}

#[tokio::test]
async fn a_certificate_of_our_own_authority_is_trusted() {
    let cluster = tls_cluster(ClientAuth::Optional);
    let redlatch = tls_client(&cluster, |node| tls(node.certificates(), None));
    round_trip(&redlatch, "job").await.expect("a round trip");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let cluster = tls_cluster(ClientAuth::Required);
    let ours = |node: &RedisServer| tls(node.certificates(), Some(node.certificates()));
    round_trip(&tls_client(&cluster, ours), "job").await.expect("a round trip");

    let none = tls_client(&cluster, |node| tls(node.certificates(), None));
    let stranger = &cluster[0];
    let wrong = tls_client(&cluster, |node| {
        let own = if node.port() == cluster[1].port() { stranger } else { &cluster[1] };
        tls(node.certificates(), Some(own.certificates()))
    });
    for redlatch in [none, wrong] {
        let error = redlatch.try_acquire("job", options()).await.expect_err("no certificate");
        assert_no_quorum(&error, &cluster);
    }
}

/// That no node was reached, and the error names a majority of them and no password.
#[track_caller]
fn assert_no_quorum(error: &AcquireError, cluster: &Cluster) {
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
    let text = error.to_string();
    let failed = cluster.iter().filter(|node| {
        let url = node.tls_url();
        let addr = url.rsplit('@').next().expect("an address");
        text.contains(&format!("{addr}: failed ("))
    });
    assert!(failed.count() >= 2, "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn a_certificate_of_somebody_elses_authority_is_not_trusted() {
    let cluster = tls_cluster(ClientAuth::Optional);
    let other = RedisServer::builder().tls(ClientAuth::Optional).start();
    let redlatch = tls_client(&cluster, |_| tls(other.certificates(), None));
    let error = redlatch.try_acquire("job", options()).await.expect_err("an unknown issuer");
    assert_no_quorum(&error, &cluster);
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// The provider of rustls is chosen by us: no panic, whatever other crates switch on.
#[tokio::test]
async fn a_url_with_tls_does_not_trust_just_anybody() {
    let cluster = tls_cluster(ClientAuth::Optional);
    let redlatch = client(cluster.iter().map(RedisServer::tls_url));
    let error = redlatch.try_acquire("job", options()).await.expect_err("an unknown issuer");
    assert_no_quorum(&error, &cluster);
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// The system's certificates are read from a variable, so a process of its own reads them.
#[test]
fn a_url_with_tls_trusts_the_systems_certificates() {
    const NAME: &str = "a_url_with_tls_trusts_the_systems_certificates";
    if let Ok(url) = env::var(CHILD) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let round_trip = async { round_trip(&client([url]), "job").await };
        return runtime.expect("a runtime").block_on(round_trip).expect("a round trip");
    }
    let server = RedisServer::builder().password(PASSWORD).tls(ClientAuth::Optional).start();
    let ca = server.certificates().ca();
    run_in_child(NAME, &server.tls_url(), &[("SSL_CERT_FILE", ca.as_os_str())]);
}

/// What one crate of a process chooses holds for all of it, so a process of its own looks.
#[test]
fn whoever_gives_a_client_with_tls_need_not_choose_a_crypto_provider() {
    const NAME: &str = "whoever_gives_a_client_with_tls_need_not_choose_a_crypto_provider";
    if let Ok(url) = env::var(CHILD) {
        let certificates = TlsCertificates { client_tls: None, root_cert: None };
        let given = redis::Client::build_with_tls(url, certificates).expect("a client");
        let redlatch = builder().client(given).build().expect("a client");
        assert!(rustls::crypto::CryptoProvider::get_default().is_some(), "{redlatch:?}");
        return;
    }
    run_in_child(NAME, "rediss://nobody.invalid", &[]);
}

/// Tells a test that it runs in the child, and what it is about.
const CHILD: &str = "REDLATCH_TEST_CHILD";

fn run_in_child(name: &str, about: &str, variables: &[(&str, &std::ffi::OsStr)]) {
    let this = env::current_exe().expect("the path of this program");
    let mut child = Command::new(this);
    child.args([name, "--exact", "--nocapture"]).env(CHILD, about);
    child.envs(variables.iter().copied());
    let output = child.output().expect("this program runs again");
    let (out, err) = (output.stdout.escape_ascii(), output.stderr.escape_ascii());
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.to_string().contains("1 passed"), "{out}");
}

/// Neither side would ever speak: the time for connecting bounds it.
#[tokio::test]
async fn tls_to_a_port_without_it_and_the_reverse_are_errors_in_time() {
    let server = RedisServer::builder().tls(ClientAuth::Optional).start();
    let tls_port = server.tls_url().replace("rediss", "redis");
    for url in [format!("rediss://{}", server.addr()), tls_port] {
        let brief = Redlatch::builder().connect_timeout(Duration::from_millis(300)).node(url);
        let redlatch = brief.build().expect("a client");
        let acquire = redlatch.try_acquire("job", options());
        let error = tokio::time::timeout(2 * PATIENCE, acquire).await.expect("an end");
        let error = error.expect_err("no common language");
        assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error:?}");
        assert!(error.to_string().contains(": failed ("), "{error}");
    }
}

// Unix sockets.

#[tokio::test]
async fn nodes_are_reached_by_unix_sockets() {
    let cluster = Cluster::start_with(3, |_, builder| builder.unix_only().password(PASSWORD));
    let redlatch = client(cluster.iter().map(RedisServer::unix_url));
    round_trip(&redlatch, "job").await.expect("a round trip");
    for node in &cluster {
        node.kill();
    }
    let error = redlatch.try_acquire("job", options()).await.expect_err("all are down");
    let text = error.to_string();
    let socket = cluster[0].directory().join("redis.sock");
    assert!(text.contains(&socket.display().to_string()), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
}

// Addresses that do not work.

#[test]
fn an_address_that_does_not_work_is_told_without_its_password() {
    let table = [
        "http://user:s3cret@host",
        "redis:/user:s3cret@host",
        "user:s3cret@host:6379",
        "redis://user:s3cret@",
        "redis://:s3cret@:6379",
        "redis://user:s3cret@host:99999",
        "redis://user:s3cret@host:port",
        "redis://user:s3cret@host/database",
        "redis://user:s3cret@host/0?protocol=s3cret",
        "redis://user:s3cret@ho st",
        "redis://user:s3cret@[::1",
        "redis://user:s3cret@0.0.0.0",
        "rediss://user:s3cret@host/#s3cret",
        "redis+unix://user:s3cret@/run/redis.sock",
        "redis+unix://?pass=s3cret",
        "s3cret",
        "",
    ];
    for url in table {
        let build = Redlatch::builder().node("redis://fine").node(url).build();
        let error = build.expect_err(url);
        assert!(matches!(&error, BuildError::Address { index: 1, .. }), "{url}: {error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains("the address of node 2 does not work: "), "{url}: {text}");
        assert!(text.contains("write redis://HOST:PORT"), "{url}: {text}");
        assert!(!text.contains("s3cret"), "{url}: {text}");
    }
}
