//! Other Redlock clients on the same servers: theirs and ours exclude each other, in both directions
//! and both dialects, so that a fleet can migrate one client at a time.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redlatch::{AcquireError, LockState, Options, Redlatch};
use redlatch_tests::{Cluster, Owner, PATIENCE, eventually, unique_resource};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);

/// Ours, in both dialects.
fn ours(cluster: &Cluster) -> [Redlatch; 2] {
    let builder = || {
        let builder = Redlatch::builder().connect_timeout(PATIENCE);
        cluster.urls().iter().fold(builder, |builder, url| builder.node(url))
    };
    [builder(), builder().plain()].map(|builder| builder.build().expect("a client"))
}

fn options() -> Options {
    Options::new(FOREVER).node_timeout(PATIENCE).wait(6 * PATIENCE)
}

/// Theirs, of every kind.
fn theirs(cluster: &Cluster) -> [Peer; 2] {
    [
        Peer::Rslock(rslock::LockManager::new(cluster.urls())),
        Peer::RedlockPy(Python::start(cluster)),
    ]
}

/// A client of another library.
enum Peer {
    Rslock(rslock::LockManager),
    RedlockPy(Python),
}

/// A lock that it holds.
enum PeerLock {
    Rslock(Box<rslock::Lock>),
    RedlockPy { resource: String, token: String },
}

impl Peer {
    /// One try; `None` if the lock is taken.
    async fn try_lock(&mut self, resource: &str, ttl: Duration) -> Option<PeerLock> {
        match self {
            Self::Rslock(manager) => {
                manager.set_retry(1, Duration::from_millis(1));
                let lock = manager.lock(resource, ttl).await;
                lock.ok().map(|lock| PeerLock::Rslock(Box::new(lock)))
            }
            Self::RedlockPy(python) => {
                let answer = python.ask(&format!("lock {resource} {}", ttl.as_millis()));
                let token = answer.strip_prefix("LOCKED ").map(str::to_owned)?;
                Some(PeerLock::RedlockPy { resource: resource.to_owned(), token })
            }
        }
    }

    /// Tries for as long as a loaded machine may need: neither peer waits for a slow node.
    async fn lock(&mut self, resource: &str) -> PeerLock {
        let deadline = Instant::now() + 6 * PATIENCE;
        loop {
            if let Some(lock) = self.try_lock(resource, FOREVER).await {
                return lock;
            }
            assert!(Instant::now() < deadline, "the peer never got the lock");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Releases, again and again if it must: both peers give up on a node that is slow.
    async fn unlock(&mut self, cluster: &Cluster, lock: &PeerLock) {
        let (resource, token) = (lock.resource(), lock.token());
        let gone = async || {
            self.unlock_once(lock).await;
            cluster.holds(&resource, &token) == 0
        };
        eventually("the peer releases", gone).await;
    }

    async fn unlock_once(&mut self, lock: &PeerLock) {
        match (self, lock) {
            (Self::Rslock(manager), PeerLock::Rslock(lock)) => manager.unlock(lock).await,
            (Self::RedlockPy(python), PeerLock::RedlockPy { resource, token }) => {
                assert_eq!(python.ask(&format!("unlock {resource} {token}")), "RELEASED");
            }
            (Self::Rslock(_) | Self::RedlockPy(_), _) => panic!("another peer's lock"),
        }
    }
}

impl PeerLock {
    fn resource(&self) -> String {
        match self {
            Self::Rslock(lock) => String::from_utf8(lock.resource.clone()).expect("text"),
            Self::RedlockPy { resource, .. } => resource.clone(),
        }
    }

    /// As the fixture shows it: escaped, where it is no text.
    fn token(&self) -> String {
        match self {
            Self::Rslock(lock) => match str::from_utf8(&lock.val) {
                Ok(text) => text.to_owned(),
                Err(_) => lock.val.escape_ascii().to_string(),
            },
            Self::RedlockPy { token, .. } => token.clone(),
        }
    }
}

/// A Python process with redlock-py in it, which is asked line by line.
struct Python {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

const PROGRAM: &str = r"
import sys
from redlock import Lock, Redlock
manager = Redlock(sys.argv[1:], retry_count=1, retry_delay=0.001)
for line in sys.stdin:
    what, resource, argument = line.split()
    if what == 'lock':
        lock = manager.lock(resource, int(argument))
        print('LOCKED ' + lock.key.decode() if lock else 'BUSY', flush=True)
    else:
        manager.unlock(Lock(0, resource, argument.encode()))
        print('RELEASED', flush=True)
";

impl Python {
    fn start(cluster: &Cluster) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let python = root.join("target/tools/python/bin/python");
        let mut command = Command::new(&python);
        command.arg("-c").arg(PROGRAM).args(cluster.urls());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {} ({error}); run `just setup`", python.display())
        });
        let questions = process.stdin.take().expect("its input");
        let answers = BufReader::new(process.stdout.take().expect("its output"));
        Self { process, questions, answers }
    }

    fn ask(&mut self, question: &str) -> String {
        let sent = writeln!(self.questions, "{question}");
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer);
        let here = sent.is_ok() && read.is_ok() && !answer.is_empty();
        assert!(here, "redlock-py has ended (see its output above); run `just setup`");
        answer.trim_end().to_owned()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test]
async fn a_lock_of_theirs_keeps_us_out_until_they_release_it() {
    let cluster = Cluster::start(3);
    for redlatch in ours(&cluster) {
        for mut peer in theirs(&cluster) {
            let resource = unique_resource("theirs");
            let lock = peer.lock(&resource).await;
            let error = redlatch.try_acquire(&resource, options()).await.expect_err("theirs");
            assert!(matches!(error, AcquireError::Contended { .. }), "{error:?}");
            let inspection = redlatch.inspect(&resource).await.expect("a name");
            assert!(matches!(inspection.state, LockState::Held { .. } | LockState::Undecided));
            assert!(cluster.holds(&resource, &lock.token()) >= 2, "it is still theirs");
            peer.unlock(&cluster, &lock).await;
            let guard = redlatch.try_acquire(&resource, options()).await.expect("it is free");
            guard.release().await.expect("a release");
        }
    }
}

/// R13: their key tells how long it lives, like ours.
#[tokio::test]
async fn a_refusal_by_their_lock_tells_when_it_ends() {
    let cluster = Cluster::start(3);
    let [scripts, _] = ours(&cluster);
    for mut peer in theirs(&cluster) {
        let resource = unique_resource("theirs");
        let lock = peer.lock(&resource).await;
        let error = scripts.try_acquire(&resource, options()).await.expect_err("theirs");
        let AcquireError::Contended { retry_after: Some(after), .. } = error else {
            panic!("{error:?}")
        };
        assert!(after > Duration::ZERO && after <= FOREVER, "{after:?}");
        peer.unlock(&cluster, &lock).await;
    }
}

#[tokio::test]
async fn a_lock_of_ours_keeps_them_out_until_we_release_it() {
    let cluster = Cluster::start(3);
    for redlatch in ours(&cluster) {
        for mut peer in theirs(&cluster) {
            let resource = unique_resource("ours");
            let guard = redlatch.acquire(&resource, options()).await.expect("a free lock");
            let token = cluster.owner_of(&resource).into_iter().find(|o| *o != Owner::Nobody);
            let token = token.expect("a holder");
            let Owner::Token(token) = token else { panic!("{token:?}") };
            eventually("all have it", async || cluster.holds(&resource, &token) == 3).await;
            for _ in 0..3 {
                assert!(peer.try_lock(&resource, FOREVER).await.is_none());
            }
            assert_eq!(cluster.holds(&resource, &token), 3, "their try changed nothing");
            guard.extend().await.expect("an extension");
            guard.release().await.expect("a release");
            let lock = peer.lock(&resource).await;
            peer.unlock(&cluster, &lock).await;
        }
    }
}

/// R10, R12: whoever comes too late does nothing to the next holder.
#[tokio::test]
async fn our_late_release_and_extension_leave_their_lock_alone() {
    let cluster = Cluster::start(3);
    for redlatch in ours(&cluster) {
        for mut peer in theirs(&cluster) {
            let resource = unique_resource("late");
            let guard = redlatch.acquire(&resource, options()).await.expect("a free lock");
            let held = || cluster.owner_of(&resource).iter().all(|o| *o != Owner::Nobody);
            eventually("all nodes have our key", async || held()).await;
            // As if our keys had expired early.
            for node in &cluster {
                node.command(&["DEL", &resource]);
            }
            let brief = Duration::from_secs(60);
            let locked = async || peer.try_lock(&resource, brief).await.is_some();
            eventually("the peer gets the lock", locked).await;
            let before = cluster.owner_of(&resource);
            assert!(guard.extend().await.is_err(), "the key is theirs");
            let lived = cluster.pttl_ms(&resource);
            assert!(lived.iter().all(|left| *left <= Some(60_000)), "{lived:?}");
            // Nothing of ours is there, which is what a release is for.
            guard.release().await.expect("a release");
            assert_eq!(cluster.owner_of(&resource), before);
        }
    }
}

#[tokio::test]
async fn their_late_release_leaves_our_lock_alone() {
    let cluster = Cluster::start(3);
    for redlatch in ours(&cluster) {
        for mut peer in theirs(&cluster) {
            let resource = unique_resource("late");
            let lock = peer.lock(&resource).await;
            for node in &cluster {
                node.command(&["DEL", &resource]);
            }
            let guard = redlatch.acquire(&resource, options()).await.expect("it expired");
            let held = || cluster.owner_of(&resource).iter().all(|o| *o != Owner::Nobody);
            eventually("all nodes have our key", async || held()).await;
            let before = cluster.owner_of(&resource);
            peer.unlock_once(&lock).await;
            assert_eq!(cluster.owner_of(&resource), before);
            assert!(guard.is_valid());
            guard.extend().await.expect("an extension");
            guard.release().await.expect("a release");
        }
    }
}

#[tokio::test]
async fn a_lock_of_a_peer_that_is_gone_is_ours_when_it_expires() {
    let cluster = Cluster::start(3);
    for redlatch in ours(&cluster) {
        for mut peer in theirs(&cluster) {
            let resource = unique_resource("gone");
            let brief = Duration::from_millis(500);
            let locked = async || peer.try_lock(&resource, brief).await.is_some();
            eventually("the peer gets the lock", locked).await;
            drop(peer);
            let guard = redlatch.acquire(&resource, options()).await.expect("it expires");
            guard.release().await.expect("a release");
        }
    }
}

/// R15: a lock of theirs in between has no number, and takes none away.
#[tokio::test]
async fn our_fences_rise_across_their_locks() {
    let cluster = Cluster::start(3);
    let [scripts, _] = ours(&cluster);
    let mut last = None;
    for mut peer in theirs(&cluster) {
        for _ in 0..2 {
            let guard = scripts.acquire("job", options()).await.expect("a free lock");
            assert!(guard.fence() > last);
            last = guard.fence();
            guard.release().await.expect("a release");
            let lock = peer.lock("job").await;
            peer.unlock(&cluster, &lock).await;
        }
    }
}

/// Both dialects of ours, and both peers.
#[test]
fn a_mixed_fleet_never_meets() {
    const TURNS: usize = 5;
    let cluster = Cluster::start(3);
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for redlatch in ours(&cluster) {
            let inside = &inside;
            let turns = async move || {
                for _ in 0..TURNS {
                    let guard = redlatch.acquire("job", eager()).await.expect("a turn");
                    work(inside);
                    guard.release().await.expect("a release");
                }
            };
            scope.spawn(move || block_on(turns()));
        }
        for mut peer in theirs(&cluster) {
            let (inside, cluster) = (&inside, &cluster);
            let mut turns = async move || {
                for _ in 0..TURNS {
                    let lock = peer.lock("job").await;
                    work(inside);
                    peer.unlock(cluster, &lock).await;
                }
            };
            scope.spawn(move || block_on(turns()));
        }
    });
}

fn eager() -> Options {
    options().retry_delay(Duration::from_millis(1), Duration::from_millis(20))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn work(inside: &AtomicUsize) {
    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody is inside");
    thread::yield_now();
    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
}
