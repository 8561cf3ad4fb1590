//! How the native client extends, renews and loses locks, on real servers.
//!
//! What other Redlock clients get wrong here was found by experiment; the comments name them.

mod native;

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use redlatch::{
    Drift, ExtendError, Guard, LeaseView, Loss, Options, ReleaseError, UsingError, Vote,
};
use redlatch_core::wire::{EXTEND, RELEASE};
use redlatch_tests::{
    Connections, Fault, FaultProxy, Owner, RedisServer, Rule, Then, eventually, unique_resource,
};

use native::{FOREVER, Nodes, STRANGER, count, endless, ends, is_run, runs, settled, take};

/// Patience with nodes that are known to be silent: a test waits for all of it, so it is short, and
/// nothing that has to succeed depends on it.
const IMPATIENT: Duration = Duration::from_millis(200);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits until somebody has extended by way of `proxy` for `n` times since the log was cleared.
async fn renewed(proxy: &FaultProxy, n: usize) {
    eventually("it is renewed", async || count(proxy, EXTEND) >= n).await;
}

/// Notes when work was dropped.
struct Stopped(Arc<AtomicBool>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// Extensions.

/// R10.
#[tokio::test]
async fn an_extension_holds_for_the_ttl_again() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("extend");
    let options = Options::new(Duration::from_secs(60)).node_timeout(FOREVER);
    let guard = ends(redlatch.try_acquire(&resource, options)).await.expect("three nodes");
    nodes.taken(&resource).await;
    for server in &nodes.servers {
        // As if most of it were gone.
        server.command(&["PEXPIRE", &resource, "5000"]);
    }
    let before = guard.valid_until();
    ends(guard.extend()).await.expect("three nodes");
    assert!(guard.valid_until() > before);
    let extended = || nodes.servers.pttl_ms(&resource).iter().all(|left| *left > Some(5_000));
    eventually("every node is extended", async || extended()).await;
    ends(guard.release()).await.expect("three nodes");
}

/// R10: neither does it cut short what somebody else has made longer.
#[tokio::test]
async fn an_extension_never_shortens_a_key() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("longer");
    let options = Options::new(Duration::from_secs(60)).node_timeout(FOREVER);
    let guard = ends(redlatch.try_acquire(&resource, options)).await.expect("three nodes");
    nodes.taken(&resource).await;
    nodes.servers[0].command(&["PEXPIRE", &resource, "3600000"]);
    nodes.servers[1].command(&["PERSIST", &resource]);
    ends(guard.extend()).await.expect("three nodes");
    // All nodes have extended when all have answered.
    let extended = async || nodes.proxies.iter().all(|proxy| count(proxy, EXTEND) == 1);
    eventually("all nodes are asked", extended).await;
    assert!(nodes.servers[0].pttl_ms(&resource).is_some_and(|left| left > 3_500_000));
    assert_eq!(nodes.servers[1].pttl_ms(&resource), Some(-1));
    ends(guard.release()).await.expect("three nodes");
}

/// R10. redlock-rb, rslock and aioredlock delete the lock that they could not extend (experiments R4,
/// B1); DistributedLock calls it lost.
#[tokio::test]
async fn a_failed_extension_leaves_the_lock_as_it_was() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("at-risk");
    let options = Options::new(FOREVER).node_timeout(IMPATIENT);
    let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
    nodes.taken(&resource).await;
    let Owner::Token(token) = nodes.servers[0].owner_of(&resource) else { panic!("not there") };
    // Nodes that are down for a while, without forgetting.
    for proxy in nodes.proxies.iter().skip(1) {
        proxy.connections(Connections::Refuse);
        proxy.reset_all();
    }
    for _ in 0..3 {
        let error = ends(guard.extend()).await.expect_err("one node");
        let ExtendError::AtRisk { remaining, .. } = error else { panic!("{error}") };
        assert!(remaining > Duration::ZERO);
        assert!(guard.is_valid() && guard.is_at_risk());
        assert_eq!(nodes.servers.holds(&resource, &token), 3);
    }
    assert_eq!(count(&nodes.proxies[0], RELEASE), 0);
    nodes.heal();
    eventually("it can be extended again", async || ends(guard.extend()).await.is_ok()).await;
    assert!(guard.is_valid() && !guard.is_at_risk());
    drop(guard);
    nodes.freed(&resource).await;
}

/// R10: what was missed is tried again by the client itself, until the end.
#[tokio::test]
async fn a_missed_extension_is_made_up_for_when_nodes_are_back() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("made-up-for");
    let ttl = Duration::from_secs(16);
    let options = Options::new(ttl).node_timeout(ms(500));
    let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
    let end = guard.valid_until();
    let refusals = nodes.inject(|| runs(EXTEND).nth(1), Fault::DropRequest(Then::Reset));
    let again = nodes.inject(|| runs(EXTEND).nth(1), Fault::DropRequest(Then::Reset));
    let error = ends(guard.extend()).await.expect_err("nobody");
    assert!(matches!(error, ExtendError::AtRisk { .. }), "{error}");
    assert!(guard.is_at_risk() && guard.is_valid());
    for rule in refusals.iter().chain(&again) {
        rule.wait_struck(1).await;
    }
    // Nobody asks for it any more.
    eventually("it is extended", async || !guard.is_at_risk()).await;
    assert!(guard.is_valid());
    assert!(guard.valid_until() > end);
    drop(guard);
    nodes.freed(&resource).await;
}

/// A vote is what a node said to this question, not to one before it.
#[tokio::test]
async fn an_error_tells_the_votes_of_its_own_round() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("votes");
    let options = Options::new(FOREVER).node_timeout(IMPATIENT);
    let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
    eventually("it is extended", async || ends(guard.extend()).await.is_ok()).await;
    eventually("all are asked", async || nodes.proxies.iter().all(|p| count(p, EXTEND) > 0)).await;
    nodes.servers[1].pause();
    nodes.servers[2].pause();
    let error = ends(guard.extend()).await.expect_err("one node");
    let ExtendError::AtRisk { votes, .. } = &error else { panic!("{error}") };
    for (name, vote) in votes.iter().skip(1) {
        assert_eq!(*vote, Vote::Silent, "{name} was asleep, but: {error}");
    }
}

/// R11. RedLock.net revives such locks, even when somebody else held them meanwhile; pottery,
/// node-redlock and redlock-universal do not look at the time.
#[tokio::test]
async fn an_extension_that_comes_too_late_revives_nothing() {
    for fault in [Fault::HoldReply, Fault::HoldRequest] {
        let nodes = Nodes::start(3);
        let redlatch = nodes.connect().await;
        let resource = unique_resource("revive");
        let options = Options::new(ms(600)).node_timeout(FOREVER);
        let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
        let extensions = nodes.inject(|| runs(EXTEND), fault);
        let error = ends(guard.extend()).await.expect_err("too late");
        assert_eq!(error, ExtendError::Lost(Loss::Expired));
        assert_eq!(ends(guard.lost()).await, Loss::Expired);
        assert!(!guard.is_valid());

        // Somebody else has it meanwhile.
        let rival = nodes.bystander();
        let theirs = ends(rival.acquire(&resource, endless().wait(FOREVER))).await;
        let theirs = theirs.expect("a lock that is over");
        nodes.heal();
        for extension in &extensions {
            extension.wait_answered(1).await;
        }
        assert!(!guard.is_valid());
        assert!(theirs.is_valid());
        ends(theirs.release()).await.expect("three nodes");

        // And afterwards nobody has it.
        assert_eq!(ends(guard.extend()).await, Err(ExtendError::Lost(Loss::Expired)));
        assert!(!guard.is_valid() && guard.remaining() == Duration::ZERO);
        let asked = count(&nodes.proxies[0], EXTEND);
        assert_eq!(asked, 1, "a lock that is lost is not extended");
        drop(guard);
        settled(&redlatch).await;
        settled(&rival).await;
        assert!(nodes.are_free(&resource));
    }
}

/// R11: `is_valid` and `lost` tell one story. Once a guard has said that it is not held, it never says
/// that it is.
#[tokio::test]
async fn a_guard_that_was_over_is_not_valid_again() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("again");
    let options = Options::new(Duration::from_secs(4)).node_timeout(ms(300));
    let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
    // Late in its life the lock is extended. The nodes do so, but their answers come after the round
    // was given up; and what is asked then hangs.
    let late = nodes.inject(|| runs(EXTEND).nth(1), Fault::HoldReply);
    let next = nodes.inject(|| runs(EXTEND), Fault::HoldRequest);
    eventually("its life is nearly over", async || guard.remaining() < ms(450)).await;
    let missed = ends(guard.extend()).await.expect_err("nobody answered");
    if matches!(missed, ExtendError::Lost(_)) {
        return; // The machine was too slow to make the story happen.
    }
    late.iter().for_each(Rule::release);
    let mut lost = Box::pin(guard.lost());
    while guard.is_valid() && next.iter().any(|rule| rule.struck() < 2) {
        tokio::task::yield_now().await;
    }
    if !guard.is_valid() {
        next.iter().for_each(Rule::release);
        let is_lost = ends(async {
            loop {
                assert!(!guard.is_valid(), "it was over, and is held again");
                if lost.as_mut().now_or_never().is_some() {
                    break true;
                }
                tokio::task::yield_now().await;
            }
        });
        assert!(is_lost.await);
    }
}

// Renewal.

/// The longest time for which this machine let nothing of ours run, from now on.
///
/// A lock of a tenth of a second cannot be held by a process that does not run for so long: its loss
/// is right then, and proves nothing.
struct Hiccups {
    worst: Arc<Mutex<Duration>>,
    stop: Arc<AtomicBool>,
}

impl Hiccups {
    fn watch(nodes: &Nodes) -> Self {
        let worst = Arc::new(Mutex::new(Duration::ZERO));
        let stop = Arc::new(AtomicBool::new(false));
        let sockets: Vec<_> = nodes.servers.iter().map(RedisServer::unix_url).collect();
        for socket in sockets {
            let (worst, stop) = (worst.clone(), stop.clone());
            std::thread::spawn(move || {
                let client = redis::Client::open(socket).expect("a client");
                let mut connection = client.get_connection().expect("a connection");
                let mut last = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(ms(2));
                    if redis::cmd("PING").query::<()>(&mut connection).is_err() {
                        return;
                    }
                    let now = Instant::now();
                    let mut worst = worst.lock().expect("no panic");
                    *worst = (*worst).max(now - last);
                    last = now;
                }
            });
        }
        Self { worst, stop }
    }

    fn worst(&self) -> Duration {
        *self.worst.lock().expect("no panic")
    }
}

impl Drop for Hiccups {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// R14. rslock never renews below half a second, and says that all was well (experiment R5).
#[tokio::test]
async fn short_locks_are_renewed_for_as_long_as_the_work_takes() {
    for ttl in [ms(100), ms(200), ms(400), ms(1_000)] {
        let mut proven = false;
        for _ in 0..20 {
            let nodes = Nodes::start(3);
            let redlatch = nodes.connect().await;
            let resource = unique_resource("short");
            let hiccups = Hiccups::watch(&nodes);
            // Nine renewals, a third of the ttl apart, are three ttls.
            let result = ends(redlatch.using(&resource, Options::new(ttl), async |lease| {
                renewed(&nodes.proxies[0], 9).await;
                lease.is_valid()
            }));
            match result.await {
                Ok(is_valid) => {
                    assert!(is_valid);
                    proven = true;
                }
                Err(error) => {
                    let worst = hiccups.worst();
                    assert!(worst > ttl / 5, "{ttl:?}: {error}, but no hiccup beyond {worst:?}");
                }
            }
            settled(&redlatch).await;
            assert!(nodes.are_free(&resource));
            if proven {
                break;
            }
        }
        assert!(proven, "this machine stands still for {ttl:?} again and again");
    }
}

/// R14: neither before nor after it was asked for. Redisson renews locks that were released (#7272).
#[tokio::test]
async fn a_lock_is_renewed_from_its_grant_to_its_release_and_only_if_asked() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("renewal");
    let options = Options::new(Duration::from_secs(2)).node_timeout(FOREVER).wait(FOREVER);
    let guard = ends(redlatch.acquire(&resource, options.clone())).await.expect("three nodes");
    ends(guard.lost()).await;
    assert_eq!(count(&nodes.proxies[0], EXTEND), 0);
    drop(guard);

    let options = options.renew_up_to(FOREVER);
    let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
    renewed(&nodes.proxies[0], 2).await;
    assert!(guard.is_valid());
    ends(guard.release()).await.expect("three nodes");
    settled(&redlatch).await;
    for proxy in &nodes.proxies {
        let log = proxy.log();
        let last = |script| log.iter().rposition(|command| is_run(command, script));
        assert!(last(EXTEND) < last(RELEASE), "{log:?}");
    }
    assert!(nodes.are_free(&resource));
}

/// R14.
#[tokio::test]
async fn the_longest_hold_ends_a_lock_whatever_its_ttl() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("hold-max");
    let options = endless().renew_up_to(ms(300));
    let guard = ends(redlatch.acquire(&resource, &options)).await.expect("three nodes");
    assert!(guard.remaining() <= ms(300));
    assert_eq!(ends(guard.lost()).await, Loss::HoldMax);
    assert!(!guard.is_valid());
    nodes.freed(&resource).await;
    assert_eq!(ends(guard.release()).await, Err(ReleaseError::Lost(Loss::HoldMax)));

    let renewed = Options::new(ms(2_000)).node_timeout(ms(500)).renew_up_to(ms(3_000));
    for options in [options, renewed] {
        let stopped = Arc::new(AtomicBool::new(false));
        let using = redlatch.using(&resource, options, async |_| {
            let _stopped = Stopped(stopped.clone());
            pending::<()>().await;
        });
        assert_eq!(ends(using).await, Err(UsingError::Lost(Loss::HoldMax)));
        assert!(stopped.load(Ordering::SeqCst));
        nodes.freed(&resource).await;
    }
}

/// Whoever sees the end before he is told hears the same reason as whoever waits for it.
#[tokio::test]
async fn the_reason_of_a_loss_does_not_depend_on_who_asks_first() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let options = endless().renew_up_to(ms(50));
    let over = |lease: &LeaseView| {
        while lease.is_valid() {
            std::hint::spin_loop();
        }
    };
    for _ in 0..20 {
        let resource = unique_resource("reason");
        let guard = ends(redlatch.acquire(&resource, &options)).await.expect("three nodes");
        over(&guard.view());
        let extended = ends(guard.extend()).await;
        assert_eq!(extended, Err(ExtendError::Lost(Loss::HoldMax)));

        let resource = unique_resource("reason");
        let guard = ends(redlatch.acquire(&resource, &options)).await.expect("three nodes");
        over(&guard.view());
        let released = ends(guard.release()).await;
        assert_eq!(released, Err(ReleaseError::Lost(Loss::HoldMax)));

        let resource = unique_resource("reason");
        let using = redlatch.using(&resource, &options, async |lease| over(&lease));
        assert_eq!(ends(using).await, Err(UsingError::Lost(Loss::HoldMax)));
    }
}

/// The work goes on while the lock is extended, and hears nothing of a node that is slow.
#[tokio::test]
async fn work_goes_on_while_an_extension_is_under_way() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("meanwhile");
    let options = Options::new(Duration::from_secs(3)).node_timeout(FOREVER);
    let result = ends(redlatch.using(&resource, options, async |lease| {
        let extensions = nodes.inject(|| runs(EXTEND), Fault::HoldRequest);
        for extension in &extensions {
            extension.wait_struck(1).await;
        }
        // Here rslock's routine would stand still.
        tokio::task::yield_now().await;
        assert!(lease.is_valid());
        nodes.heal();
        for extension in &extensions {
            extension.wait_answered(1).await;
        }
        "done"
    }));
    assert_eq!(result.await, Ok("done"));
}

/// What the work says is what the caller gets. node-redlock and pottery put the trouble of their
/// release in its place.
#[tokio::test]
async fn a_release_that_fails_does_not_mask_what_the_work_says() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.bystander();
    let resource = unique_resource("mask");
    let options = Options::new(FOREVER).node_timeout(IMPATIENT);
    let result = ends(redlatch.using(&resource, options.clone(), async |_| {
        nodes.servers.iter().for_each(RedisServer::pause);
        Err::<(), _>("the work failed")
    }));
    assert_eq!(result.await, Ok(Err("the work failed")));
    nodes.servers.iter().for_each(RedisServer::resume);
    nodes.freed(&resource).await;

    let result = ends(redlatch.using(&resource, options, async |_| {
        nodes.servers.iter().for_each(RedisServer::kill);
        7
    }));
    assert_eq!(result.await, Ok(7));
}

// Loss.

/// What breaks a majority while a lock is held.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Killed,
    Hung,
    BlackHoles,
    Refused,
    Flushed,
}

impl Trouble {
    const ALL: [Self; 5] =
        [Self::Killed, Self::Hung, Self::BlackHoles, Self::Refused, Self::Flushed];

    fn begin(self, nodes: &Nodes) {
        let majority = || nodes.servers.iter().take(2);
        match self {
            Self::Killed => majority().for_each(RedisServer::kill),
            Self::Hung => majority().for_each(RedisServer::pause),
            Self::BlackHoles => nodes.black_hole(),
            Self::Refused => nodes.proxies.iter().take(2).for_each(|proxy| {
                proxy.connections(Connections::Refuse);
                proxy.reset_all();
            }),
            Self::Flushed => majority().for_each(|server| drop(server.command(&["FLUSHALL"]))),
        }
    }
}

/// R11: work is stopped when its lock is lost, whatever it is that happened. node-redlock tells it a
/// lifetime too late, or never, and does not come back (experiments E6, E7).
#[tokio::test]
async fn work_is_stopped_when_a_majority_is_lost() {
    for trouble in Trouble::ALL {
        let nodes = Nodes::start(3);
        let redlatch = nodes.connect().await;
        let resource = unique_resource("stopped");
        let stopped = Arc::new(AtomicBool::new(false));
        let seen: Mutex<Option<LeaseView>> = Mutex::default();
        let result = ends(redlatch.using(&resource, ms(1_000), async |lease| {
            let _stopped = Stopped(stopped.clone());
            *seen.lock().expect("no panic") = Some(lease);
            // An acquire that is still on its way would not be flushed.
            nodes.taken(&resource).await;
            trouble.begin(&nodes);
            pending::<()>().await;
        }));
        assert_eq!(result.await, Err(UsingError::Lost(Loss::Expired)), "{trouble:?}");
        assert!(stopped.load(Ordering::SeqCst), "{trouble:?}");
        let lease = seen.into_inner().expect("no panic").expect("the work began");
        assert!(!lease.is_valid(), "{trouble:?}");
        assert!(lease.fence().is_some(), "the fence stays, so that late writes are refused");
        ends(redlatch.shutdown()).await;
    }
}

/// The error says that the lock was lost before the work was done: also if the work looked at its
/// lease, saw that it is over, and returned; or did not look, and kept its thread.
#[tokio::test]
async fn work_that_ends_after_its_lock_is_not_done_under_it() {
    for blocks in [false, true] {
        let nodes = Nodes::start(3);
        let redlatch = nodes.connect().await;
        let resource = unique_resource("after");
        let result = ends(redlatch.using(&resource, ms(500), async |lease| {
            Trouble::Killed.begin(&nodes);
            while lease.is_valid() {
                match blocks {
                    true => std::thread::sleep(ms(5)),
                    false => tokio::task::yield_now().await,
                }
            }
        }));
        assert_eq!(result.await, Err(UsingError::Lost(Loss::Expired)), "blocks: {blocks}");
    }
}

/// R1, R11: the holder is told before anybody else can have the lock.
#[tokio::test]
async fn nobody_else_holds_the_lock_before_its_loss_is_told() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("handover");
    // Half of the ttl is given to the clocks, so that an order which must be cannot be mistaken for
    // one that happened to be, or a slow thread for a lock that was told too late.
    let drift = Drift::from_ppm(500_000).expect("a half");
    let options = Options::new(ms(3_000)).drift(drift).renew_up_to(FOREVER);
    let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
    let holder = tokio::spawn({
        let (lost, view) = (guard.lost(), guard.view());
        async move {
            let loss = lost.await;
            assert!(!view.is_valid());
            (loss, Instant::now())
        }
    });
    let rival = tokio::spawn({
        let (rival, resource, view) = (nodes.bystander(), resource.clone(), guard.view());
        async move {
            let theirs = rival.acquire(&resource, endless().wait(FOREVER)).await;
            let at = Instant::now();
            assert!(!view.is_valid(), "two holders");
            (theirs.expect("a lock that is over"), at)
        }
    });
    renewed(&nodes.proxies[0], 1).await;
    // Only the holder is cut off.
    nodes.black_hole();
    let (loss, told) = ends(holder).await.expect("no panic");
    let (theirs, acquired) = ends(rival).await.expect("no panic");
    assert_eq!(loss, Loss::Expired);
    assert!(told < acquired);
    assert!(theirs.is_valid() && !guard.is_valid());
}

/// R12: what is left of a lost lock is released, and only that.
#[tokio::test]
async fn a_release_after_the_loss_touches_no_rival() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("rival");
    let releases: Vec<_> = nodes.inject(|| runs(RELEASE), Fault::HoldRequest);
    let guard = ends(redlatch.acquire(&resource, ms(500))).await.expect("three nodes");
    assert_eq!(ends(guard.lost()).await, Loss::Expired);
    let rival = nodes.bystander();
    let theirs = ends(rival.acquire(&resource, endless().wait(FOREVER))).await.expect("its turn");
    // The clean-up of the first holder arrives when the second has the lock.
    releases[0].wait_struck(1).await;
    nodes.heal();
    assert_eq!(ends(guard.release()).await, Err(ReleaseError::Lost(Loss::Expired)));
    settled(&redlatch).await;
    let owners = nodes.servers.owner_of(&resource);
    assert!(owners.iter().filter(|owner| matches!(owner, Owner::Token(_))).count() >= 2);
    ends(theirs.extend()).await.expect("it still has the lock");
    ends(theirs.release()).await.expect("three nodes");
}

/// R11: a node that lost the lock to somebody by force does not get it back, nor is it touched.
#[tokio::test]
async fn a_stolen_lock_is_at_risk_and_then_lost() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("stolen");
    let options = Options::new(ms(1_500)).renew_up_to(FOREVER);
    let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
    nodes.servers.iter().for_each(|server| take(server, &resource));
    eventually("it is at risk", async || guard.is_at_risk() || !guard.is_valid()).await;
    assert_eq!(ends(guard.lost()).await, Loss::Expired);
    drop(guard);
    settled(&redlatch).await;
    assert_eq!(nodes.servers.holds(&resource, STRANGER), 3);
}

/// A lock that was released was not lost.
#[tokio::test]
async fn lost_pends_for_ever_after_a_release() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("pends");
    let acquire = async || {
        let options = Options::new(ms(1_000));
        let guard: Guard = ends(redlatch.acquire(&resource, options)).await.expect("free");
        guard
    };
    let released = acquire().await;
    let mut futures = vec![Box::pin(released.lost())];
    // A machine that stands still for a second loses the lock before it releases it.
    if ends(released.release()).await.is_err() {
        futures.clear();
    }
    let dropped = acquire().await;
    let lost = dropped.lost();
    let was_valid = dropped.is_valid();
    drop(dropped);
    nodes.freed(&resource).await;
    if was_valid {
        futures.push(Box::pin(lost));
    }
    // Past the end that the leases had, and past the end of the client.
    let over = acquire().await;
    ends(over.lost()).await;
    drop(over);
    settled(&redlatch).await;
    drop(redlatch);
    let gone = async || {
        let list: String = nodes.servers[0].query(&["CLIENT", "LIST"]);
        !list.contains("user=default")
    };
    eventually("the client is gone", gone).await;
    for lost in &mut futures {
        assert_eq!(lost.now_or_never(), None);
    }
}
