//! Whatever way a lock ends, the native client leaves nothing behind: no key on a node that can be
//! reached, no connection, no thread. On real servers.
//!
//! What other Redlock clients get wrong here was found by experiment; the comments name them.

mod native;

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::process;
use std::task::Poll;
use std::time::Duration;

use redlatch::{AcquireError, Options, Redlatch, ReleaseError};
use redlatch_core::wire::{ACQUIRE, EXTEND, RELEASE};
use redlatch_tests::{
    Cluster, Connections, Fault, FaultProxy, Match, Owner, RedisServer, Rule, Then, eventually,
    unique_resource,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use native::{
    FOREVER, Nodes, STRANGER, connected, count, endless, ends, is_run, load_scripts, runs, settled,
    take,
};

/// Patience with nodes that are known to be silent, and the first interval after which they are asked
/// again: tests wait for it, so it is short; nodes that are well must answer within it, so it is not
/// shorter.
const IMPATIENT: Duration = Duration::from_millis(800);

/// A lock whose nodes are asked again soon.
fn impatient() -> Options {
    Options::new(FOREVER).node_timeout(IMPATIENT)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The lock keys on a server whose names begin like `resource`; fence numbers are none.
fn keys(server: &RedisServer, resource: &str) -> Vec<String> {
    server.query(&["KEYS", &format!("{resource}*")])
}

/// How many connections of clients a server has, the fixture's aside.
fn connections(server: &RedisServer) -> usize {
    let list: String = server.query(&["CLIENT", "LIST"]);
    list.lines().filter(|line| line.contains("user=default")).count()
}

/// Polls `future` once; what it is waiting for goes on.
async fn begin<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

// Commands that arrive late, and replies that never do.

/// Holds the acquire of the last node, and loses the release that follows it on its connection, so
/// that nothing but R6 frees the node.
struct Held {
    acquire: Rule,
    release: Rule,
}

impl Held {
    fn on(proxy: &FaultProxy) -> Self {
        let acquire = proxy.inject(runs(ACQUIRE).nth(1), Fault::HoldRequest);
        let release = proxy.inject(runs(RELEASE).nth(1), Fault::DropRequest(Then::Hang));
        Self { acquire, release }
    }

    /// Waits until the node was asked to release by another connection.
    async fn overtaken(&self, proxy: &FaultProxy) {
        self.acquire.wait_struck(1).await;
        self.release.wait_struck(1).await;
        eventually("a release overtakes the acquire", async || {
            let log = proxy.log();
            let acquire = log.iter().find(|command| is_run(command, ACQUIRE));
            let held = acquire.expect("it was struck").connection();
            log.iter().any(|command| is_run(command, RELEASE) && command.connection() != held)
        })
        .await;
    }

    /// Delivers the acquire.
    async fn deliver(&self) {
        self.acquire.release();
        self.acquire.wait_answered(1).await;
    }
}

/// R6. With redlock-rb and pottery such keys live for their full ttl (experiments B2, P4).
#[tokio::test]
async fn an_acquire_that_arrives_after_its_release_is_released_again() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("late");
    let (proxy, server) = (&nodes.proxies[2], &nodes.servers[2]);
    let held = Held::on(proxy);
    let guard = ends(redlatch.try_acquire(&resource, impatient())).await.expect("two nodes");
    ends(guard.release()).await.expect("two nodes");
    held.overtaken(proxy).await;
    assert_eq!(server.owner_of(&resource), Owner::Nobody);
    held.deliver().await;
    nodes.freed(&resource).await;
}

/// R4, R6: the same after an attempt that got nothing.
#[tokio::test]
async fn a_late_acquire_of_a_failed_attempt_is_released() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("late");
    let (proxy, server) = (&nodes.proxies[2], &nodes.servers[2]);
    let held = Held::on(proxy);
    take(&nodes.servers[0], &resource);
    take(&nodes.servers[1], &resource);
    let error = ends(redlatch.try_acquire(&resource, impatient())).await.expect_err("taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error}");
    held.overtaken(proxy).await;
    assert_eq!(server.owner_of(&resource), Owner::Nobody);
    held.deliver().await;
    eventually("the node is free", async || server.owner_of(&resource) == Owner::Nobody).await;
    assert_eq!(nodes.servers.holds(&resource, STRANGER), 2);
}

/// R3, R6: a late acquire of an earlier attempt is neither a vote of the present one nor left.
#[tokio::test]
async fn a_late_acquire_of_an_earlier_attempt_is_released() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("late");
    let proxy = &nodes.proxies[2];
    let held = Held::on(proxy);
    take(&nodes.servers[0], &resource);
    take(&nodes.servers[1], &resource);
    let waiting = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        // A short patience may cost attempts, and there are enough of them.
        let options = impatient().node_timeout(ms(100)).wait(FOREVER);
        async move { redlatch.acquire(&resource, options).await }
    });
    held.overtaken(proxy).await;
    held.deliver().await;
    eventually("it tries on", async || count(&nodes.proxies[0], ACQUIRE) > 4).await;
    for server in nodes.servers.iter().take(2) {
        server.command(&["DEL", &resource]);
    }
    drop(ends(waiting).await.expect("no panic").expect("a free lock"));
    nodes.freed(&resource).await;
}

/// R3. redsync, RedLock.net and others use one token for all attempts: there the release of the first,
/// still on its way, deletes the key that the second was granted with.
#[tokio::test]
async fn a_late_release_of_an_earlier_attempt_removes_no_vote() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("late");
    take(&nodes.servers[0], &resource);
    take(&nodes.servers[1], &resource);
    let (proxy, server) = (&nodes.proxies[2], &nodes.servers[2]);
    // What comes behind it waits as well, so the next attempts reach the node by another connection.
    let held = proxy.inject(runs(RELEASE).nth(1), Fault::HoldRequest);
    let waiting = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        let options = impatient().wait(FOREVER);
        async move { redlatch.acquire(&resource, options).await }
    });
    held.wait_struck(1).await;
    eventually("the release of a later attempt frees the node", async || {
        server.owner_of(&resource) == Owner::Nobody
    })
    .await;
    for server in nodes.servers.iter().take(2) {
        server.command(&["DEL", &resource]);
    }
    let guard = ends(waiting).await.expect("no panic").expect("a free lock");
    let has_voted = async || {
        let owners = nodes.servers.owner_of(&resource);
        is_token(&owners[2]) && owners[..2].contains(&owners[2])
    };
    eventually("the node has the token of the grant", has_voted).await;
    let granted = server.owner_of(&resource);
    held.release();
    held.wait_answered(1).await;
    assert_eq!(server.owner_of(&resource), granted);
    ends(guard.extend()).await.expect("two nodes");
    ends(guard.release()).await.expect("two nodes");
    nodes.freed(&resource).await;
}

/// A client that is cut off cannot undo what arrives later: that node has the key until its ttl, the
/// others give the lock.
#[tokio::test]
async fn what_arrives_after_the_connection_was_cut_ends_with_its_ttl() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("cut");
    let (proxy, server) = (&nodes.proxies[2], &nodes.servers[2]);
    let held = Held::on(proxy);
    let options = Options::new(ms(5_000)).node_timeout(IMPATIENT);
    let guard = ends(redlatch.try_acquire(&resource, &options)).await.expect("two nodes");
    ends(guard.release()).await.expect("two nodes");
    held.overtaken(proxy).await;
    settled(&redlatch).await;
    drop(redlatch);
    proxy.reset_all();
    held.deliver().await;
    assert!(matches!(server.owner_of(&resource), Owner::Token(_)));

    let other = nodes.bystander();
    let guard = ends(other.try_acquire(&resource, endless())).await.expect("two nodes");
    ends(guard.release()).await.expect("two nodes");
    nodes.freed(&resource).await;
}

/// R4, R5: a node that applied and could not say so is unknown, and is released all the same.
/// upstash/lock and Redisson leave it.
#[tokio::test]
async fn a_key_whose_reply_was_lost_is_released() {
    for is_plain in [false, true] {
        let nodes = Nodes::start(3);
        let urls: Vec<_> = nodes.proxies.iter().map(FaultProxy::url).collect();
        let builder = urls.iter().fold(Redlatch::builder(), |builder, url| builder.node(url));
        let builder = if is_plain { builder.plain() } else { builder };
        let redlatch = builder.build().expect("a client");
        connected(&redlatch).await;
        let acquires = || if is_plain { Match::command("SET") } else { runs(ACQUIRE) };
        let lose = |proxy: &FaultProxy| {
            // The command is repeated once; both replies are lost.
            [1, 2].map(|_| proxy.inject(acquires().nth(1), Fault::DropReply(Then::Reset)))
        };

        // A minority: the lock is had, and freed everywhere.
        let lost = lose(&nodes.proxies[2]);
        let resource = unique_resource("lost-reply");
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("two nodes");
        for rule in &lost {
            rule.wait_answered(1).await;
        }
        assert!(matches!(nodes.servers[2].owner_of(&resource), Owner::Token(_)));
        ends(guard.release()).await.expect("two nodes");
        nodes.freed(&resource).await;

        // A majority: no quorum, although two nodes have the token.
        let lost = [lose(&nodes.proxies[1]), lose(&nodes.proxies[2])];
        let resource = unique_resource("lost-replies");
        let error = ends(redlatch.try_acquire(&resource, endless())).await.expect_err("unknown");
        assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
        assert!(lost.iter().flatten().all(|rule| rule.struck() == 1));
        settled(&redlatch).await;
        assert!(nodes.are_free(&resource));
    }
}

/// R4. With pottery 8 of 20 such rounds left a key on the slow node (experiments P2 to P4).
#[tokio::test]
async fn a_slow_minority_keeps_nothing() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    nodes.proxies[2].inject(runs(ACQUIRE), Fault::DelayRequest(ms(20)));
    nodes.proxies[2].inject(runs(RELEASE), Fault::DelayReply(ms(20)));
    let resource = unique_resource("slow");
    for round in 0..20 {
        let resource = format!("{resource}:{round}");
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("two nodes");
        ends(guard.release()).await.expect("two nodes");
    }
    settled(&redlatch).await;
    for server in &nodes.servers {
        assert_eq!(keys(server, &resource), Vec::<String>::new());
    }
}

// Attempts that fail.

/// R4, also for nodes that said no or nothing at all.
#[tokio::test]
async fn a_failed_acquire_leaves_no_key() {
    for taken in 1..=3 {
        for count in [3, 4, 5] {
            let nodes = Nodes::start(count);
            let redlatch = nodes.connect().await;
            let resource = unique_resource("failed");
            let blocking = (count / 2).max(taken.min(count)).max(count - count / 2);
            nodes.servers.iter().take(blocking).for_each(|server| take(server, &resource));
            let error = ends(redlatch.try_acquire(&resource, endless())).await;
            let error = error.expect_err("taken");
            assert!(matches!(error, AcquireError::Contended { .. }), "{error}");
            settled(&redlatch).await;
            assert_eq!(nodes.servers.holds(&resource, STRANGER), blocking);
            let others = nodes.servers.owner_of(&resource).split_off(blocking);
            assert!(others.iter().all(|owner| *owner == Owner::Nobody), "{others:?}");
        }
    }
}

/// R4, R6, R12. With redlock-rb the keys of two stalled nodes live for a minute, and keep everybody
/// out (experiment B2).
#[tokio::test]
async fn stalled_nodes_keep_nothing_when_they_go_on() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.bystander();
    connected(&redlatch).await;
    let resource = unique_resource("stalled");
    nodes.servers[1].pause();
    nodes.servers[2].pause();
    let error = ends(redlatch.try_acquire(&resource, impatient())).await.expect_err("one node");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
    nodes.servers[1].resume();
    nodes.servers[2].resume();
    let other = nodes.bystander();
    let guard = ends(other.acquire(&resource, endless().wait(FOREVER))).await.expect("free");
    ends(guard.release()).await.expect("three nodes");
    settled(&redlatch).await;
    settled(&other).await;
    assert!(nodes.are_free(&resource));
}

// Futures that are dropped.

/// An acquire that is dropped leaves no key, whenever that happens. rslock, pottery and redsync leave
/// them until the ttl.
#[tokio::test]
async fn an_acquire_dropped_at_any_moment_leaves_no_key() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    // Nodes that are not equally fast make more moments.
    nodes.proxies[1].inject(runs(ACQUIRE), Fault::DelayRequest(ms(2)));
    nodes.proxies[2].inject(runs(ACQUIRE), Fault::DelayReply(ms(3)));
    let resource = unique_resource("dropped");
    let mut round = 0;
    let mut granted = 0;
    for yields in [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096] {
        for _ in 0..40 {
            round += 1;
            let resource = format!("{resource}:{round}");
            let mut acquire = pin!(redlatch.acquire(&resource, endless().wait(FOREVER)));
            if begin(acquire.as_mut()).await.is_pending() {
                let moment = async {
                    for _ in 0..yields {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    guard = acquire => {
                        granted += 1;
                        drop(guard.expect("a free lock"));
                    }
                    () = moment => {}
                }
            }
        }
    }
    settled(&redlatch).await;
    for server in &nodes.servers {
        assert_eq!(keys(server, &resource), Vec::<String>::new());
    }
    println!("{granted} of {round} were granted before they were dropped");
}

/// The stages by name: not polled, asked, applied but not known, waiting, granted but not taken.
#[tokio::test]
async fn an_acquire_dropped_at_every_stage_leaves_no_key() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let options = endless().wait(FOREVER);

    let unpolled = unique_resource("unpolled");
    drop(redlatch.acquire(&unpolled, &options));

    let asked = unique_resource("asked");
    let rules = nodes.inject(|| runs(ACQUIRE), Fault::HoldRequest);
    drop_when(redlatch.acquire(&asked, &options), async {
        for rule in &rules {
            rule.wait_struck(1).await;
        }
    })
    .await;
    nodes.heal();

    let applied = unique_resource("applied");
    let rules = nodes.inject(|| runs(ACQUIRE), Fault::HoldReply);
    drop_when(redlatch.acquire(&applied, &options), async {
        for rule in &rules {
            rule.wait_answered(1).await;
        }
    })
    .await;
    assert_eq!(nodes.servers.owner_of(&applied).len(), 3);
    nodes.heal();

    let waiting = unique_resource("waiting");
    take(&nodes.servers[0], &waiting);
    take(&nodes.servers[1], &waiting);
    nodes.proxies.iter().for_each(FaultProxy::clear_log);
    drop_when(redlatch.acquire(&waiting, &options), async {
        eventually("it waits", async || count(&nodes.proxies[2], RELEASE) > 1).await;
    })
    .await;

    // A granted guard inside the future, which nobody polls any more.
    let granted = unique_resource("granted");
    {
        let rules = nodes.inject(|| runs(ACQUIRE), Fault::HoldRequest);
        let mut acquire = pin!(redlatch.acquire(&granted, &options));
        assert!(begin(acquire.as_mut()).await.is_pending());
        rules.iter().for_each(Rule::release);
        nodes.taken(&granted).await;
    }

    settled(&redlatch).await;
    for resource in [unpolled, asked, applied, granted] {
        assert!(nodes.are_free(&resource), "{resource}");
    }
    assert_eq!(nodes.servers[2].owner_of(&waiting), Owner::Nobody);
    assert_eq!(nodes.servers.holds(&waiting, STRANGER), 2);
}

fn is_token(owner: &Owner) -> bool {
    matches!(owner, Owner::Token(_))
}

/// Drops `future` when `moment` has come, which must be before `future` ends.
async fn drop_when<T>(future: impl Future<Output = T>, moment: impl Future<Output = ()>) {
    ends(async {
        tokio::select! {
            biased;
            _ = future => panic!("it ended before it was dropped"),
            () = moment => {}
        }
    })
    .await;
}

/// The places in the queue of `resource` on a server.
fn places(server: &RedisServer, resource: &str) -> usize {
    server.query(&["ZCARD", &format!("redlatch:queue:{{{resource}}}")])
}

/// Waits for `resource`, which is taken, until each of these has been asked to queue that; then gives up.
async fn wait_in_vain(redlatch: &Redlatch, servers: &Cluster, resource: &str) {
    let options = endless().retry_delay(ms(1), ms(20)).wait(FOREVER);
    let queued = eventually("it is queued", async || {
        servers.iter().all(|server| places(server, resource) == 1)
    });
    drop_when(redlatch.acquire(resource, options), queued).await;
    eventually("it left", async || servers.iter().all(|it| places(it, resource) == 0)).await;
}

/// R18: in whatever order the releases come that waited for a connection.
#[tokio::test]
async fn a_release_that_is_repeated_after_the_last_one_leaves_no_place() {
    let nodes = Nodes::start(3);
    let urls = nodes.proxies.iter().map(FaultProxy::url);
    let builder = urls.fold(Redlatch::builder(), |builder, url| builder.node(url));
    let redlatch = builder.connect_timeout(FOREVER).build().expect("a client");
    connected(&redlatch).await;
    let (warm, resource) = (unique_resource("warm"), unique_resource("place"));
    nodes.servers.iter().for_each(|server| take(server, &warm));
    wait_in_vain(&redlatch, &nodes.servers, &warm).await;
    nodes.proxies.iter().for_each(FaultProxy::clear_log);
    take(&nodes.servers[1], &resource);
    take(&nodes.servers[2], &resource);
    // The first release to the second node breaks its connection, and the next one takes its time.
    let broken = nodes.proxies[1].inject(runs(RELEASE).nth(1), Fault::DropRequest(Then::Reset));
    nodes.proxies[1].connections(Connections::Hang);
    // The first node owes answers until all have been asked to forget the waiter.
    let owed = nodes.proxies[0].inject(runs(ACQUIRE).nth(1), Fault::HoldReply);
    let releases = async |node: usize, times| {
        let asked = async || count(&nodes.proxies[node], RELEASE) == times;
        eventually("so many releases", asked).await;
    };
    let options = endless().retry_delay(FOREVER, FOREVER).wait(10 * FOREVER);
    let refused = async {
        broken.wait_struck(1).await;
        releases(2, 1).await;
    };
    drop_when(redlatch.acquire(&resource, options), refused).await;
    releases(2, 2).await;
    owed.release();
    // Its yes came late, so it is asked once more.
    releases(0, 3).await;
    nodes.proxies[1].connections(Connections::Pass);
    settled(&redlatch).await;
    assert_eq!(nodes.servers.iter().map(|it| places(it, &resource)).sum::<usize>(), 0);
}

/// R18: as well where it is repeated because the node did not have the script.
#[tokio::test]
async fn a_release_whose_script_is_sent_after_the_last_one_leaves_no_place() {
    let nodes = Nodes::start(1);
    let redlatch = nodes.connect().await;
    let (proxy, server) = (&nodes.proxies[0], &nodes.servers[0]);
    let (warm, resource) = (unique_resource("warm"), unique_resource("place"));
    take(server, &warm);
    wait_in_vain(&redlatch, &nodes.servers, &warm).await;
    take(server, &resource);
    server.command(&["SCRIPT", "FLUSH"]);
    let missing = proxy.inject(runs(RELEASE).nth(1), Fault::HoldReply);
    let last = proxy.inject(runs(RELEASE).nth(1), Fault::HoldReply);
    let options = endless().retry_delay(FOREVER, FOREVER).wait(10 * FOREVER);
    let refused = async {
        missing.wait_answered(1).await;
        load_scripts(server);
    };
    drop_when(redlatch.acquire(&resource, options), refused).await;
    last.wait_answered(1).await;
    missing.release();
    last.release();
    settled(&redlatch).await;
    assert_eq!(places(server, &resource), 0);
}

/// A lease that only a bare majority had would not outlive one node more.
#[tokio::test]
async fn a_node_that_is_slow_at_a_handover_gets_the_lock_all_the_same() {
    let nodes = Nodes::start(3);
    nodes.proxies[2].connections(Connections::Hang);
    let redlatch = Redlatch::new(nodes.proxies.iter().map(FaultProxy::url)).expect("a client");
    let resource = unique_resource("handover");
    let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("two nodes");
    let parts = ends(guard.into_parts()).await.expect("it is held");
    assert_eq!(nodes.servers[2].owner_of(&resource), Owner::Nobody);
    nodes.heal();
    nodes.taken(&resource).await;
    nodes.servers[0].kill();
    let adopted = redlatch.adopt(&parts, &endless()).expect("it is held");
    ends(adopted.extend()).await.expect("two nodes");
    ends(adopted.release()).await.expect("two nodes");
}

#[tokio::test]
async fn a_dropped_guard_releases() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("guard");
    let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes");
    drop(guard);
    settled(&redlatch).await;
    assert!(nodes.are_free(&resource));
}

/// R12: what was begun goes on, whoever waits for it.
#[tokio::test]
async fn a_dropped_release_or_extension_is_finished_by_the_client() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    for polls in [0, 1] {
        let resource = unique_resource("unfinished");
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes");
        {
            let mut extend = pin!(guard.extend());
            for _ in 0..polls {
                drop(begin(extend.as_mut()).await);
            }
        }
        {
            let mut release = pin!(guard.release());
            for _ in 0..polls {
                drop(begin(release.as_mut()).await);
            }
        }
        nodes.freed(&resource).await;
    }
    settled(&redlatch).await;
}

#[tokio::test]
async fn a_dropped_using_releases() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("using");
    let (working, is_working) = oneshot::channel();
    let work = redlatch.using(&resource, endless(), async |lease| {
        assert!(lease.is_valid());
        working.send(()).expect("the test waits");
        pending::<()>().await;
    });
    drop_when(work, async { is_working.await.expect("it works") }).await;
    settled(&redlatch).await;
    assert!(nodes.are_free(&resource));
}

#[tokio::test]
async fn work_that_panics_releases() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("panic");
    let work = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        async move { redlatch.using(&resource, endless(), async |_| panic!("on purpose")).await }
    });
    assert!(ends(work).await.is_err_and(|error| error.is_panic()));
    settled(&redlatch).await;
    assert!(nodes.are_free(&resource));
}

/// The client has a thread of its own, so that locks do not depend on the application's runtime.
#[test]
fn an_application_runtime_that_ends_releases_its_locks() {
    let watching = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let watching = watching.expect("a runtime");
    for keeps_client in [false, true] {
        let application = tokio::runtime::Runtime::new().expect("a runtime");
        let nodes = Nodes::start(3);
        let redlatch = application.block_on(nodes.connect());
        let (held, asked) = (unique_resource("held"), unique_resource("asked"));
        let guard = application.block_on(redlatch.try_acquire(&held, endless()));
        let guard = guard.expect("three nodes");
        application.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        let rules: Vec<_> = (nodes.proxies.iter().skip(1))
            .map(|proxy| proxy.inject(runs(ACQUIRE), Fault::HoldRequest))
            .collect();
        application.spawn({
            let (redlatch, asked) = (redlatch.clone(), asked.clone());
            async move { redlatch.acquire(&asked, endless()).await }
        });
        watching.block_on(async {
            for rule in &rules {
                rule.wait_struck(1).await;
            }
        });
        let kept = keeps_client.then_some(redlatch);
        drop(application);
        rules.iter().for_each(Rule::release);
        watching.block_on(async {
            nodes.freed(&held).await;
            nodes.freed(&asked).await;
        });
        drop(kept);
    }
}

#[test]
fn a_guard_outlives_the_runtime_that_it_was_acquired_on() {
    let watching = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let watching = watching.expect("a runtime");
    let nodes = Nodes::start(3);
    let resource = unique_resource("outlives");
    let guard = {
        let application = tokio::runtime::Runtime::new().expect("a runtime");
        let redlatch = application.block_on(nodes.connect());
        let options = Options::new(Duration::from_secs(6)).renew_up_to(FOREVER);
        application.block_on(redlatch.try_acquire(&resource, options)).expect("three nodes")
    };
    // It is renewed, and can be extended and released, without that runtime and without the client.
    watching.block_on(async {
        eventually("it is renewed", async || count(&nodes.proxies[0], EXTEND) >= 2).await;
    });
    assert!(guard.is_valid());
    watching.block_on(guard.extend()).expect("three nodes");
    watching.block_on(guard.release()).expect("three nodes");
    watching.block_on(nodes.freed(&resource));
}

// Nodes that cannot be reached when the lock is released.

/// R12: not held from the call on, whatever the nodes answer, and whether they do.
#[tokio::test]
async fn a_lock_is_not_held_while_it_is_released() {
    for is_dropped in [false, true] {
        let nodes = Nodes::start(3);
        let redlatch = nodes.connect().await;
        let resource = unique_resource("releasing");
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes");
        let view = guard.view();
        // All nodes free the lock, and nobody hears of it.
        let rules = nodes.inject(|| runs(RELEASE), Fault::HoldReply);
        let release = tokio::spawn(async move {
            match is_dropped {
                true => drop(guard),
                false => drop(guard.release().await),
            }
        });
        for rule in &rules {
            rule.wait_answered(1).await;
        }
        let rival = ends(nodes.bystander().try_acquire(&resource, endless())).await;
        let rival = rival.expect("a free lock");
        assert!(!view.is_valid(), "two clients believe that they hold the lock");
        assert_eq!(view.remaining(), Duration::ZERO);
        nodes.heal();
        ends(release).await.expect("no panic");
        assert!(rival.is_valid());
    }
}

/// R9, R12.
#[tokio::test]
async fn a_node_that_hangs_at_the_release_is_freed_when_it_goes_on() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    for options in [endless(), impatient()] {
        let resource = unique_resource("hangs");
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes");
        nodes.taken(&resource).await;
        ends(guard.release()).await.expect("three nodes");
        nodes.freed(&resource).await;

        let guard = ends(redlatch.try_acquire(&resource, options)).await.expect("three nodes");
        nodes.taken(&resource).await;
        nodes.servers[2].pause();
        ends(guard.release()).await.expect("two nodes");
        nodes.servers[2].resume();
        nodes.freed(&resource).await;
    }
    settled(&redlatch).await;
}

/// R5, R12.
#[tokio::test]
async fn a_node_that_is_unreachable_at_the_release_is_asked_again() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("unreachable");
    let guard = ends(redlatch.try_acquire(&resource, impatient())).await.expect("three nodes");
    nodes.taken(&resource).await;
    nodes.proxies[2].connections(Connections::Refuse);
    nodes.proxies[2].reset_all();
    ends(guard.release()).await.expect("two nodes");
    assert!(is_token(&nodes.servers[2].owner_of(&resource)));
    nodes.proxies[2].connections(Connections::Pass);
    nodes.freed(&resource).await;
}

/// R5: a release that too few nodes answered is not called one; the rest is done when they are back.
#[tokio::test]
async fn an_unconfirmed_release_is_told_and_finished() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("unconfirmed");
    let guard = ends(redlatch.try_acquire(&resource, impatient())).await.expect("three nodes");
    let view = guard.view();
    for proxy in nodes.proxies.iter().take(2) {
        proxy.connections(Connections::Refuse);
        proxy.reset_all();
    }
    let error = ends(guard.release()).await.expect_err("one node");
    assert!(matches!(error, ReleaseError::Unconfirmed { .. }), "{error}");
    assert!(!view.is_valid());
    nodes.heal();
    nodes.freed(&resource).await;
}

/// R13, R12: the release of a lease that is over asks nobody in vain. node-redlock tries eleven
/// times, for two seconds, and then throws (experiment E8).
#[tokio::test]
async fn a_release_after_the_end_is_told_at_once_and_sends_nothing() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("expired");
    let options = Options::new(ms(1_000)).node_timeout(FOREVER);
    let guard = ends(redlatch.try_acquire(&resource, options)).await.expect("three nodes");
    ends(guard.lost()).await;
    nodes.freed(&resource).await;
    eventually("clean-up is over", async || count(&nodes.proxies[0], RELEASE) == 1).await;
    let error = ends(guard.release()).await.expect_err("over");
    assert!(matches!(error, ReleaseError::Lost(_)), "{error}");
    settled(&redlatch).await;
    assert_eq!(count(&nodes.proxies[0], RELEASE), 1);
}

// The end of a client.

#[tokio::test]
async fn a_shutdown_waits_for_releases() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("shutdown");
    let mut guards = Vec::new();
    for index in 0..100 {
        let resource = format!("{resource}:{index}");
        guards.push(ends(redlatch.try_acquire(&resource, endless())).await.expect("free"));
    }
    nodes.proxies[1].inject(runs(RELEASE), Fault::DelayRequest(ms(5)));
    drop(guards);
    settled(&redlatch).await;
    for server in &nodes.servers {
        assert_eq!(keys(server, &resource), Vec::<String>::new());
    }
    let error = ends(redlatch.acquire(&resource, endless())).await.expect_err("shut down");
    assert!(matches!(error, AcquireError::Cancelled), "{error}");
}

#[tokio::test]
async fn a_shutdown_ends_whatever_the_nodes_do() {
    // Hung nodes.
    let nodes = Nodes::start(3);
    let redlatch = nodes.bystander();
    connected(&redlatch).await;
    let resource = unique_resource("hung");
    drop(ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes"));
    nodes.freed(&resource).await;
    let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes");
    nodes.servers.iter().for_each(RedisServer::pause);
    drop(guard);
    ends(redlatch.shutdown()).await;

    // Black holes, and a guard that is alive and stays good.
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes");
    nodes.black_hole();
    ends(redlatch.shutdown_within(ms(100))).await;
    assert!(guard.is_valid());

    // Nodes that never were there.
    let nodes = Nodes::start(3);
    let redlatch = nodes.bystander();
    nodes.servers.iter().for_each(RedisServer::kill);
    ends(redlatch.try_acquire(&resource, endless())).await.expect_err("nobody");
    ends(redlatch.shutdown()).await;
}

#[tokio::test]
async fn no_connection_outlives_its_client() {
    let nodes = Nodes::start(3);
    let none = async || nodes.servers.iter().all(|server| connections(server) == 0);
    for _ in 0..3 {
        let redlatch = nodes.bystander();
        let resource = unique_resource("connection");
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes");
        connected(&redlatch).await;
        assert!(nodes.servers.iter().all(|server| connections(server) == 1));
        let clone = redlatch.clone();
        drop(redlatch);
        ends(guard.extend()).await.expect("three nodes");
        drop(clone);
        ends(guard.extend()).await.expect("three nodes");
        drop(guard);
        eventually("all connections are closed", none).await;
        assert!(nodes.are_free(&resource));
    }
    // Nor if a node hangs, or the client is dropped in the middle.
    let redlatch = nodes.bystander();
    connected(&redlatch).await;
    nodes.servers[0].pause();
    let resource = unique_resource("connection");
    let guard = ends(redlatch.try_acquire(&resource, impatient())).await.expect("two nodes");
    let mut acquire = pin!(redlatch.acquire(&resource, impatient()));
    assert!(begin(acquire.as_mut()).await.is_pending());
    acquire.set(redlatch.acquire(&resource, impatient()));
    drop((guard, redlatch.clone()));
    nodes.servers[0].resume();
    nodes.freed(&resource).await;
}

/// Thousands of locks, half of them given up half-way, go over one connection per node.
#[tokio::test]
async fn two_thousand_locks_use_one_connection_per_node() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("cycle");
    let workers: Vec<_> = (0..20)
        .map(|worker| {
            let (redlatch, resource) = (redlatch.clone(), resource.clone());
            tokio::spawn(async move {
                for cycle in 0..100 {
                    let resource = format!("{resource}:{worker}:{cycle}");
                    let mut acquire = Box::pin(redlatch.try_acquire(&resource, endless()));
                    if cycle % 2 == 1 && begin(acquire.as_mut()).await.is_pending() {
                        continue;
                    }
                    let guard = acquire.await.expect("a free lock");
                    if cycle % 4 == 0 {
                        guard.release().await.expect("a majority");
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        ends(worker).await.expect("no panic");
    }
    settled(&redlatch).await;
    for (server, proxy) in nodes.servers.iter().zip(&nodes.proxies) {
        assert_eq!(keys(server, &resource), Vec::<String>::new());
        assert_eq!(connections(server), 1);
        assert!(proxy.log().iter().all(|command| command.connection() == 1));
    }
}

/// Says that a test is to run, and not to start itself again.
const ALONE: &str = "REDLATCH_TEST_ALONE";

/// Whether this process runs the test `name` and no other. If it does not, a process that does is
/// started, and must succeed: threads of a process can be counted only if nobody else has any.
fn is_alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let mut command = process::Command::new(program);
    let output = command.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output();
    let output = output.expect("this program runs again");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

/// The ids of the clients' threads.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the threads of this process");
    let ids = tasks.filter_map(|task| task.expect("a thread").file_name().into_string().ok());
    let name = |id: &String| std::fs::read_to_string(format!("/proc/self/task/{id}/comm"));
    ids.filter(|id| name(id).is_ok_and(|name| name.trim_end() == "redlatch")).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn no_thread_outlives_its_client() {
    if !is_alone("no_thread_outlives_its_client") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let nodes = Nodes::start(3);
        let gone = async || threads().is_empty();
        let resource = unique_resource("thread");
        // Without a lock, with one, with clones, and with a lock that is given up.
        drop(nodes.bystander());
        eventually("the thread ends", gone).await;
        let redlatch = nodes.connect().await;
        assert_eq!(threads().len(), 1);
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("free");
        let view = guard.view();
        drop((redlatch.clone(), redlatch));
        assert_eq!(threads().len(), 1, "the guard needs it");
        drop(guard);
        eventually("the thread ends", gone).await;
        drop(view);
        // With nodes that hang.
        let redlatch = nodes.bystander();
        connected(&redlatch).await;
        let guard = ends(redlatch.try_acquire(&resource, impatient())).await.expect("free");
        nodes.servers.iter().for_each(RedisServer::pause);
        drop((guard, redlatch));
        eventually("the thread ends", gone).await;
        let redlatch = nodes.bystander();
        ends(redlatch.try_acquire(&resource, impatient())).await.expect_err("nobody");
        drop(redlatch);
        eventually("the thread ends", gone).await;
    });
    drop(runtime);
}

/// A driver that waits for a silent node sleeps. It looks at its deadlines, and not at the clock all
/// the time.
#[cfg(target_os = "linux")]
#[test]
fn waiting_for_a_silent_node_costs_nothing() {
    if !is_alone("waiting_for_a_silent_node_costs_nothing") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let nodes = Nodes::start(3);
        let redlatch = nodes.connect().await;
        let resource = unique_resource("asleep");
        // The lock is released, and its driver lingers for as long as an acquire might come late.
        // Just before the end of that it does come, and the node is silent again.
        let options = Options::new(ms(4_000)).node_timeout(ms(400));
        let late = nodes.proxies[2].inject(runs(ACQUIRE), Fault::HoldReply);
        nodes.proxies[2].inject(runs(RELEASE).nth(1), Fault::DropRequest(Then::Hang));
        let guard = ends(redlatch.try_acquire(&resource, options)).await.expect("two nodes");
        late.wait_answered(1).await;
        ends(guard.release()).await.expect("two nodes");
        let gone = async || nodes.are_free(&resource);
        eventually("it is freed by another connection", gone).await;
        tokio::time::sleep(ms(3_500)).await;
        nodes.servers[2].pause();
        late.release();
        let before = wake_ups();
        tokio::time::sleep(ms(3_000)).await;
        let woken = wake_ups() - before;
        // Some dozens for timers; about two thousand if it looks every millisecond.
        assert!(woken < 300, "woken {woken} times in three seconds of silence");
    });
}

/// How often the only client's thread has gone to sleep.
fn wake_ups() -> u64 {
    let [thread] = &threads()[..] else { panic!("one client") };
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status"));
    let status = status.expect("the thread lives");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("a count").trim().parse().expect("a number")
}

/// A connection that is being made goes with the client, even if that may take for ever.
#[tokio::test]
async fn a_client_that_goes_while_it_connects_leaves_no_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", silent.local_addr().expect("an address"));
    let builder = Redlatch::builder().node(url).connect_timeout(FOREVER);
    let redlatch = builder.build().expect("a client");
    let options = Options::new(ms(500)).node_timeout(ms(50));
    let error = ends(redlatch.try_acquire(unique_resource("connecting"), options)).await;
    assert!(matches!(error, Err(AcquireError::NoQuorum { .. })), "{error:?}");
    let (mut connection, _) = ends(silent.accept()).await.expect("it has begun to connect");
    drop(redlatch);
    let mut handshake = Vec::new();
    // It ends, in whatever way.
    let _ = ends(connection.read_to_end(&mut handshake)).await;
}
