//! The edge driver for Rust on real servers, over a transport that a program would bring itself.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use redis::aio::MultiplexedConnection;
use redlatch_core::wire::{Compare, Dialect};
use redlatch_tests::{Cluster, Owner, PATIENCE, RedisServer, eventually, unique_resource};
use redlatch_wasm::{
    AcquireError, Failure, Guard, Instant, Loss, Options, Redlatch, Transport, Value, Vote,
};
use tokio::task::LocalSet;

const TTL: Duration = Duration::from_secs(60);
/// Patience with nodes that are known to be silent; nothing that has to succeed depends on it.
const IMPATIENT: Duration = Duration::from_millis(200);

/// One multiplexed connection per node, on tokio's clock.
struct Sockets {
    connections: Vec<MultiplexedConnection>,
    started: tokio::time::Instant,
}

impl Sockets {
    async fn to(servers: &Cluster) -> Self {
        let mut connections = Vec::new();
        // Every timeout is the driver's.
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        for server in servers.iter() {
            let client = redis::Client::open(server.url()).expect("an address");
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            connections.push(connection.expect("a connection"));
        }
        Self { connections, started: tokio::time::Instant::now() }
    }
}

impl Transport for Sockets {
    fn send(
        &self,
        node: usize,
        args: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<Value, Failure>> + 'static {
        let mut connection = self.connections[node].clone();
        async move {
            let mut command = redis::Cmd::new();
            for arg in &args {
                command.arg(arg);
            }
            let value = command.query_async(&mut connection).await;
            value.map(value_of).map_err(|error| Failure::new(error.to_string()))
        }
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn now(&self) -> Instant {
        Instant::ZERO.saturating_add(self.started.elapsed())
    }

    fn unix_time(&self) -> Duration {
        SystemTime::UNIX_EPOCH.elapsed().expect("a clock that is set")
    }

    fn random(&self) -> Result<[u8; 16], Failure> {
        Ok(*uuid::Uuid::new_v4().as_bytes())
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "redis-rs may add kinds, none an answer to us")]
fn value_of(value: redis::Value) -> Value {
    match value {
        redis::Value::Nil => Value::Nil,
        redis::Value::Int(int) => Value::Int(int),
        redis::Value::Okay => Value::Text("OK".to_owned()),
        redis::Value::SimpleString(text) => Value::Text(text),
        redis::Value::BulkString(bytes) => {
            Value::Text(String::from_utf8(bytes).expect("ours are ASCII"))
        }
        redis::Value::Array(items) => Value::Array(items.into_iter().map(value_of).collect()),
        other => panic!("no answer to a command of the driver: {other:?}"),
    }
}

/// Runs `test` on one thread, as everything on the edge does, with a client of three real servers.
async fn on_three<F: Future<Output = ()>>(
    test: impl FnOnce(Rc<Cluster>, Rc<Redlatch<Sockets>>) -> F,
) {
    let servers = Rc::new(Cluster::start(3));
    let tasks = LocalSet::new();
    let redlatch = Redlatch::new(Sockets::to(&servers).await, 3).expect("three nodes");
    tasks.run_until(test(servers, Rc::new(redlatch))).await;
}

fn once() -> Options {
    Options::new(TTL).attempts_max(NonZeroU32::MIN)
}

async fn is_free(servers: &Cluster, resource: &str) {
    eventually("the lock is free on every node", async || {
        servers.owner_of(resource).iter().all(|owner| *owner == Owner::Nobody)
    })
    .await;
}

#[tokio::test]
async fn a_lock_is_taken_extended_and_released() {
    on_three(async |servers, redlatch| {
        let resource = unique_resource("edge");
        let guard = redlatch.acquire(&[&resource], TTL).await.expect("a free lock");
        assert!(guard.is_valid() && guard.fence().is_some());
        let owners = servers.owner_of(&resource);
        let holding = owners.iter().filter(|owner| matches!(owner, Owner::Token(_))).count();
        assert!(holding >= 2, "{owners:?}");
        guard.extend().await.expect("a majority");
        guard.release().await.expect("a majority");
        is_free(&servers, &resource).await;
    })
    .await;
}

#[tokio::test]
async fn a_second_holder_is_refused_and_told_who_said_what() {
    on_three(async |_servers, redlatch| {
        let resource = unique_resource("edge");
        let first = redlatch.acquire(&[&resource], TTL).await.expect("a free lock");
        let error = redlatch.acquire(&[&resource], once()).await.expect_err("it is taken");
        let AcquireError::Contended { retry_after, votes } = error else { panic!("{error}") };
        assert!(retry_after.is_some_and(|after| after <= TTL));
        let refused = votes.iter().filter(|vote| matches!(vote, Vote::Refused { .. })).count();
        assert!(refused >= 2, "{votes}");
        let fence = first.fence();
        first.release().await.expect("a majority");
        let second = redlatch.acquire(&[&resource], TTL).await.expect("it is free again");
        assert!(second.fence() > fence);
    })
    .await;
}

/// On the same nodes, with the same scripts and tokens.
#[tokio::test]
async fn the_edge_driver_and_the_native_one_exclude_each_other() {
    on_three(async |servers, edge| {
        let native = redlatch::Redlatch::new(servers.urls()).expect("a client");
        let resource = unique_resource("edge");
        let guard = edge.acquire(&[&resource], TTL).await.expect("a free lock");
        let refused = native.try_acquire(&resource, TTL).await;
        assert!(matches!(refused, Err(redlatch::AcquireError::Contended { .. })), "{refused:?}");
        guard.release().await.expect("a majority");
        let guard = native.acquire(&resource, TTL).await.expect("it is free again");
        let refused = edge.acquire(&[&resource], once()).await;
        assert!(matches!(refused, Err(AcquireError::Contended { .. })), "{refused:?}");
        guard.release().await.expect("a majority");
    })
    .await;
}

/// R18: on the edge nobody is called, but its releases hand over. Who waits asks once an hour.
#[tokio::test]
async fn the_edge_driver_calls_the_native_one_that_waits() {
    const HOUR: Duration = Duration::from_secs(3600);
    on_three(async |servers, edge| {
        let native = redlatch::Redlatch::new(servers.urls()).expect("a client");
        let resource = unique_resource("edge");
        let guard = edge.acquire(&[&resource], TTL).await.expect("a free lock");
        let waiting = tokio::spawn({
            let options = redlatch::Options::new(TTL).node_timeout(PATIENCE).wait(10 * HOUR);
            let options = options.retry_delay(Duration::from_millis(1), HOUR);
            let (native, resource) = (native.clone(), resource.clone());
            async move { native.acquire(&resource, options).await }
        });
        let queue = format!("redlatch:queue:{{{resource}}}");
        let queued = |node: &&RedisServer| node.query::<u32>(&["ZCARD", &queue]) == 1;
        eventually("a majority has it in the queue", async || {
            servers.iter().filter(queued).count() >= 2
        })
        .await;
        guard.release().await.expect("a majority");
        let called = tokio::time::timeout(PATIENCE, waiting).await.expect("it is called");
        called.expect("no panic").expect("the lock").release().await.expect("a majority");
    })
    .await;
}

/// R8, R9: one node hangs for ever.
#[tokio::test]
async fn a_hung_node_delays_nothing_and_is_freed_when_it_comes_back() {
    on_three(async |servers, redlatch| {
        let hung: Vec<&RedisServer> = servers.iter().skip(2).collect();
        hung[0].pause();
        let resource = unique_resource("edge");
        let guard = redlatch.acquire(&[&resource], TTL).await.expect("a majority");
        guard.extend().await.expect("a majority");
        guard.release().await.expect("a majority");
        hung[0].resume();
        is_free(&servers, &resource).await;
    })
    .await;
}

#[tokio::test]
async fn a_majority_that_is_silent_is_no_quorum() {
    on_three(async |servers, redlatch| {
        servers.iter().take(2).for_each(RedisServer::pause);
        let resource = unique_resource("edge");
        let options = once().node_timeout(IMPATIENT);
        let error = redlatch.acquire(&[&resource], options).await.expect_err("no majority");
        let AcquireError::NoQuorum { votes } = &error else { panic!("{error}") };
        assert_eq!(votes.iter().filter(|vote| **vote == Vote::Silent).count(), 2, "{votes}");
        servers.iter().take(2).for_each(RedisServer::resume);
        is_free(&servers, &resource).await;
    })
    .await;
}

#[tokio::test]
async fn a_guard_that_is_dropped_is_released() {
    on_three(async |servers, redlatch| {
        let resource = unique_resource("edge");
        drop(redlatch.acquire(&[&resource], TTL).await.expect("a free lock"));
        is_free(&servers, &resource).await;
    })
    .await;
}

/// R4: every way out of acquiring passes by a release.
#[tokio::test]
async fn an_acquire_that_is_dropped_leaves_nothing() {
    on_three(async |servers, redlatch| {
        let resource = unique_resource("edge");
        let options = Options::new(TTL);
        {
            let names = [resource.as_str()];
            let mut acquire = std::pin::pin!(redlatch.acquire(&names, options));
            // Begun, and given up at its first wait.
            assert!(futures_util::poll!(acquire.as_mut()).is_pending());
        }
        tokio::task::yield_now().await;
        is_free(&servers, &resource).await;
        drop(redlatch.acquire(&[&resource], once()).await.expect("a free lock"));
    })
    .await;
}

/// R11, R14: renewed for as long as is allowed, and then lost, which is told.
#[tokio::test]
async fn a_lock_is_renewed_until_its_longest_hold() {
    on_three(async |servers, redlatch| {
        let resource = unique_resource("edge");
        let ttl = Duration::from_millis(300);
        let options = Options::new(ttl).renew_up_to(ttl * 3);
        let guard = redlatch.acquire(&[&resource], options).await.expect("a free lock");
        assert_eq!(guard.lost().await, Loss::HoldMax);
        assert!(!guard.is_valid());
        assert!(guard.extend().await.is_err());
        is_free(&servers, &resource).await;
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_nobody_extends_is_lost() {
    on_three(async |_servers, redlatch| {
        let resource = unique_resource("edge");
        let guard = redlatch.acquire(&[&resource], Duration::from_millis(300)).await;
        let guard: Guard<_> = guard.expect("a free lock");
        assert_eq!(guard.lost().await, Loss::Expired);
        assert!(!guard.is_valid() && guard.remaining().is_zero());
        assert!(guard.release().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn the_plain_dialect_and_several_resources_work_as_well() {
    let servers = Cluster::start(3);
    let tasks = LocalSet::new();
    let plain = Redlatch::new(Sockets::to(&servers).await, 3).expect("three nodes");
    let plain = plain.dialect(Dialect::Plain { compare: Compare::Script });
    let scripts = Redlatch::new(Sockets::to(&servers).await, 3).expect("three nodes");
    let run = async {
        let tag = unique_resource("edge");
        let (one, two) = (format!("{{{tag}}}:1"), format!("{{{tag}}}:2"));
        let both = scripts.acquire(&[&one, &two], TTL).await.expect("a free lock");
        let refused = plain.acquire(&[&two], once()).await;
        assert!(matches!(refused, Err(AcquireError::Contended { .. })), "{refused:?}");
        both.release().await.expect("a majority");
        let guard = plain.acquire(&[&two], TTL).await.expect("it is free again");
        assert_eq!(guard.fence(), None);
        guard.release().await.expect("a majority");
    };
    tasks.run_until(run).await;
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_in_words() {
    on_three(async |servers, redlatch| {
        for names in [&[][..], &["a", "b"], &["redlatch:x"], &[""]] {
            let error = redlatch.acquire(names, TTL).await.expect_err("no such lock");
            assert!(matches!(error, AcquireError::Invalid(_)), "{error}");
        }
        let error = redlatch.acquire(&["a"], Duration::ZERO).await.expect_err("no such lock");
        assert!(error.to_string().contains("ttl"), "{error}");
        assert!(Redlatch::new(Sockets::to(&servers).await, 17).is_err());
    })
    .await;
}
