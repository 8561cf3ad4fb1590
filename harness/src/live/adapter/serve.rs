//! The adapter's side of the protocol, for lock clients in Rust: implement [`Client`], call [`serve`].
//!
//! The adapters in `harness/adapters` compile this very file, so that they need not build the harness.

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, Write};
use std::process;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A lock library, as the protocol uses it.
pub trait Client: Sized {
    /// A lock that is held.
    type Lock;

    /// Library and version.
    const NAME: &'static str;
    /// What it can do beyond acquire and release: the words of `caps`.
    const CAPS: &'static [&'static str];
    /// Where the lock is on each node.
    const KEY: &'static str = "{resource}";

    /// A client of these nodes.
    ///
    /// # Errors
    /// If it cannot work with these nodes or options.
    fn start(nodes: Vec<String>, options: &Options) -> Result<Self, Failure>;

    /// Asks for a lock. `events` tells of its loss, later.
    fn acquire(
        &mut self,
        resource: &str,
        ttl: Duration,
        wait: Duration,
        events: Events,
    ) -> impl Future<Output = Result<Granted<Self::Lock>, Failure>>;

    /// Holds a lock for `ttl` from now. Says for how long it is good.
    fn extend(
        &mut self,
        _lock: &mut Self::Lock,
        _ttl: Duration,
    ) -> impl Future<Output = Result<Duration, Failure>> {
        async { Err(Failure::unknown()) }
    }

    /// Says for how long a lock is still good.
    fn check(&mut self, _lock: &mut Self::Lock) -> impl Future<Output = Result<Duration, Failure>> {
        async { Err(Failure::unknown()) }
    }

    /// Gives a lock back.
    fn release(&mut self, lock: Self::Lock) -> impl Future<Output = Result<(), Failure>>;

    /// What there is to do before the process ends.
    fn quit(self) -> impl Future<Output = ()> {
        async {}
    }
}

/// A lock as it was granted.
#[derive(Debug)]
pub struct Granted<L> {
    /// The lock.
    pub lock: L,
    /// For how long it is good.
    pub valid: Duration,
    /// Its fencing token.
    pub fence: Option<u64>,
}

/// Why something was not done.
#[derive(Debug, Serialize)]
pub struct Failure {
    error: String,
    kind: &'static str,
    definite: bool,
}

impl Failure {
    /// Certain to have left nothing behind.
    pub fn definite(kind: &'static str, error: impl ToString) -> Self {
        Self { error: error.to_string(), kind, definite: true }
    }

    /// May have left something behind.
    pub fn unsure(kind: &'static str, error: impl ToString) -> Self {
        Self { error: error.to_string(), kind, definite: false }
    }

    fn unknown() -> Self {
        Self::definite("other", "this adapter does not know that op")
    }
}

/// How the locks of a run are meant to be.
#[derive(Debug, Deserialize)]
pub struct Options {
    /// No lock is asked for longer than this.
    pub ttl_max_ms: u64,
    /// Whether a node that came back without its keys should grant nothing for the longest ttl.
    pub restart_guard: bool,
    /// How long one node may take.
    pub node_timeout_ms: Option<u64>,
}

/// Tells the harness of one lock's loss.
#[derive(Debug)]
pub struct Events(String);

impl Events {
    /// The lock is lost.
    pub fn lost(self) {
        write(&json!({ "event": "lost", "handle": self.0 }));
    }
}

/// One line of the harness. What it may have beyond this is ignored.
#[derive(Debug, Deserialize)]
struct Request {
    id: u64,
    #[serde(flatten)]
    op: Op,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Op {
    Init {
        nodes: Vec<String>,
        options: Options,
    },
    Acquire {
        resource: String,
        ttl_ms: u64,
        wait_ms: u64,
    },
    Extend {
        handle: String,
        ttl_ms: u64,
    },
    Check {
        handle: String,
    },
    Release {
        handle: String,
    },
    Quit,
    #[serde(other)]
    Unknown,
}

/// Answers the harness until it says quit, or goes away: then the process ends.
pub async fn serve<C: Client>() {
    let mut lines = read();
    let mut locks: HashMap<String, C::Lock> = HashMap::new();
    let mut client: Option<C> = None;
    let mut count = 0;
    while let Some(line) = lines.recv().await {
        let request: Request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(error) => {
                eprintln!("a line that is no request: {error}");
                process::exit(2);
            }
        };
        let outcome = match (request.op, &mut client) {
            (Op::Init { nodes, options }, _) => C::start(nodes, &options).map(|started| {
                client = Some(started);
                json!({ "name": C::NAME, "caps": C::CAPS, "key": C::KEY })
            }),
            (Op::Quit, _) => {
                if let Some(client) = client.take() {
                    client.quit().await;
                }
                write(&json!({ "id": request.id, "ok": true }));
                return;
            }
            (Op::Acquire { resource, ttl_ms, wait_ms }, Some(client)) => {
                count += 1;
                let handle = format!("h{count}");
                let events = Events(handle.clone());
                client.acquire(&resource, ms(ttl_ms), ms(wait_ms), events).await.map(|granted| {
                    let Granted { lock, valid, fence } = granted;
                    locks.insert(handle.clone(), lock);
                    match fence {
                        Some(fence) => {
                            json!({ "handle": handle, "valid_ms": to_ms(valid), "fence": fence })
                        }
                        None => json!({ "handle": handle, "valid_ms": to_ms(valid) }),
                    }
                })
            }
            (Op::Extend { handle, ttl_ms }, Some(client)) => match locks.get_mut(&handle) {
                Some(lock) => client.extend(lock, ms(ttl_ms)).await.map(valid),
                None => Err(no_lock()),
            },
            (Op::Check { handle }, Some(client)) => match locks.get_mut(&handle) {
                Some(lock) => client.check(lock).await.map(valid),
                None => Err(no_lock()),
            },
            (Op::Release { handle }, Some(client)) => match locks.remove(&handle) {
                Some(lock) => client.release(lock).await.map(|()| json!({})),
                None => Err(no_lock()),
            },
            (Op::Unknown, _) => Err(Failure::unknown()),
            (_, None) => Err(Failure::definite("other", "init comes first")),
        };
        let (ok, mut reply) = match outcome {
            Ok(reply) => (true, reply),
            Err(failure) => (false, json!(failure)),
        };
        reply["id"] = json!(request.id);
        reply["ok"] = json!(ok);
        write(&reply);
    }
}

fn no_lock() -> Failure {
    Failure::definite("lost", "no lock is held under this handle")
}

fn valid(valid: Duration) -> Value {
    json!({ "valid_ms": to_ms(valid) })
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn to_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn write(line: &Value) {
    let mut out = io::stdout().lock();
    // A harness that has gone does not read; the end of stdin tells so.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Reads from a thread, so that the client's tasks go on meanwhile, and the end of stdin ends all of it.
fn read() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, lines) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
        process::exit(0);
    });
    lines
}
