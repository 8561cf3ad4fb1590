//! The native client among nodes that are down, hung, slow, broken or forgetful, on real servers.
//!
//! What other Redlock clients get wrong here was found by experiment; the comments name them.

mod native;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redlatch::{AcquireError, Drift, ExtendError, InvalidRequest, Loss, Options, Redlatch, Vote};
use redlatch_core::wire::{ACQUIRE, EXTEND, RELEASE, SCRIPTS, Script};
use redlatch_core::{ConfigError, Ttl};
use redlatch_tests::{
    Cluster, Connections, Fault, FaultProxy, Match, Owner, RedisServer, RedisServerBuilder, Then,
    eventually, unique_resource,
};

use native::{
    FOREVER, Nodes, STRANGER, connected, count, endless, ends, is_run, load_scripts, runs, settled,
    take,
};

/// Patience with nodes that are known to be silent: a test waits for all of it, so it is short, and
/// nothing that has to succeed depends on it.
const IMPATIENT: Duration = Duration::from_millis(200);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Acquires, extends and releases, each of which must succeed, and end.
async fn live(redlatch: &Redlatch, resource: &str, options: Options) {
    let guard = ends(redlatch.try_acquire(resource, options)).await.expect("a majority");
    ends(guard.extend()).await.expect("a majority");
    assert!(guard.is_valid());
    ends(guard.release()).await.expect("a majority");
}

/// Waits until one try of `redlatch` gets the lock.
async fn recovers(redlatch: &Redlatch, options: Options) {
    eventually("the lock is had again", async || {
        let resource = unique_resource("recovers");
        ends(redlatch.try_acquire(&resource, options.clone())).await.is_ok()
    })
    .await;
}

fn assert_names_all<'a>(error: &AcquireError, addresses: impl Iterator<Item = &'a RedisServer>) {
    let votes = error.votes().expect("the votes of the nodes");
    let names: Vec<_> = votes.iter().map(|(name, _)| name.to_owned()).collect();
    let addresses: Vec<_> = addresses.map(|server| server.addr().to_string()).collect();
    assert_eq!(names, addresses);
    for address in addresses {
        assert!(error.to_string().contains(&address), "{error}");
    }
}

// Nodes that are down.

/// R5, R8. redlock-rs and redlock-py fail here and leave their keys (experiments R1, P1).
#[tokio::test]
async fn a_dead_minority_changes_nothing() {
    for (nodes, dead) in [(3, 1), (5, 2)] {
        let servers = Cluster::start(nodes);
        let redlatch = Redlatch::new(servers.urls()).expect("a client");
        servers.iter().take(dead).for_each(RedisServer::kill);
        let resource = unique_resource("minority");
        live(&redlatch, &resource, endless()).await;
        settled(&redlatch).await;
        let owners = servers.owner_of(&resource);
        assert!(!owners.iter().any(|owner| matches!(owner, Owner::Token(_))), "{owners:?}");
    }
}

/// R4, R5.
#[tokio::test]
async fn a_dead_majority_is_no_quorum_and_leaves_nothing() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.bystander();
    nodes.servers[0].kill();
    nodes.servers[2].kill();
    let resource = unique_resource("majority");
    let error = ends(redlatch.try_acquire(&resource, endless())).await.expect_err("no majority");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
    assert_names_all(&error, nodes.servers.iter());
    let votes: Vec<_> = error.votes().expect("votes").iter().map(|(_, vote)| vote).collect();
    for dead in [0, 2] {
        let Vote::Failed(why) = votes[dead] else { panic!("{error}") };
        assert!(why.to_lowercase().contains("refused"), "{why}");
    }
    settled(&redlatch).await;
    assert!(nodes.are_free(&resource));
}

/// R13. node-redlock gives a lone client nothing in eleven tries, because the keys of its first try
/// are in its way (experiment E3).
#[tokio::test]
async fn a_lone_client_gets_the_lock_when_a_majority_is_back() {
    let nodes = Nodes::start(3);
    nodes.servers[1].kill();
    nodes.servers[2].kill();
    let redlatch = Redlatch::new(nodes.proxies.iter().map(FaultProxy::url)).expect("a client");
    let resource = unique_resource("alone");
    let options = endless().wait(FOREVER);
    let acquired = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        async move { redlatch.acquire(&resource, options).await }
    });
    eventually("it tries again", async || count(&nodes.proxies[0], ACQUIRE) >= 3).await;
    nodes.servers[1].restart();
    let guard = ends(acquired).await.expect("no panic").expect("two of three nodes");
    ends(guard.release()).await.expect("two of three nodes");
    settled(&redlatch).await;
    assert!(nodes.are_free(&resource));
}

#[tokio::test]
async fn a_node_that_comes_back_votes_again() {
    let servers = Cluster::start(3);
    let redlatch = Redlatch::new(servers.urls()).expect("a client");
    let options = endless();
    // Each node in turn is down and comes back, and then a majority needs it.
    for down in 0..3 {
        servers[down].kill();
        recovers(&redlatch, options.clone()).await;
        servers[down].restart();
        let other = (down + 1) % 3;
        servers[other].kill();
        recovers(&redlatch, options.clone()).await;
        servers[other].restart();
    }
}

/// Every command of the protocol may be repeated, so a connection that turns out to be broken costs
/// no vote.
#[tokio::test]
async fn a_restart_between_two_commands_costs_no_vote() {
    let server = RedisServer::builder().append_only().start();
    let redlatch = Redlatch::new([server.url()]).expect("a client");
    for round in 0..5 {
        let resource = unique_resource("restart");
        let guard = ends(redlatch.try_acquire(&resource, endless())).await;
        let guard = guard.unwrap_or_else(|error| panic!("round {round}: {error}"));
        server.restart();
        ends(guard.extend()).await.expect("the only node extends");
        server.restart();
        ends(guard.release()).await.expect("the only node releases");
        assert_eq!(server.owner_of(&resource), Owner::Nobody);
        server.restart();
    }
}

/// A restart may also cut a connection off while it is made.
#[tokio::test]
async fn a_connection_that_breaks_while_it_is_made_costs_no_vote() {
    for fault in [Fault::DropRequest(Then::Reset), Fault::DropReply(Then::Reset)] {
        let server = RedisServer::start();
        let proxy = FaultProxy::start(&server);
        let redlatch = Redlatch::new([proxy.url()]).expect("a client");
        let cut = proxy.inject(Match::command("INFO").nth(1), fault);
        live(&redlatch, &unique_resource("made"), endless()).await;
        assert_eq!(cut.struck(), 1, "it did not break");
    }
}

/// R16. A node that comes back empty could give the lock to a second holder.
#[tokio::test]
async fn a_node_that_forgot_does_not_vote() {
    let nodes = Nodes::start(3);
    let client = || {
        let urls = nodes.servers.urls();
        let builder = urls.iter().fold(Redlatch::builder(), |builder, url| builder.node(url));
        builder.restart_guard(FOREVER).build().expect("a client")
    };
    let (holder, rival) = (client(), client());
    assert_eq!(ends(holder.declare_fresh()).await.len(), 3);
    let resource = unique_resource("forgot");
    nodes.servers[2].pause();
    let guard = ends(holder.try_acquire(&resource, endless())).await.expect("two nodes");
    nodes.servers[1].restart();
    nodes.servers[2].resume();
    // Two nodes may be free now, though the third may have heard of the holder late.
    nodes.servers[2].command(&["DEL", &resource]);
    let error = ends(rival.try_acquire(&resource, endless())).await.expect_err("held");
    let forgetful = error.votes().expect("votes").iter().nth(1).expect("the second node");
    assert!(matches!(forgetful.1, Vote::Quarantined { .. }), "{error}");
    assert!(guard.is_valid());
}

// Nodes that hang.

/// R8, R9. rslock waits for ever here (experiment R3), pottery until its own timeout, and redlock-rb
/// for each such node in turn.
#[tokio::test]
async fn a_hung_minority_is_not_waited_for() {
    for (count, hung) in [(3, 1), (5, 2)] {
        for is_connected in [true, false] {
            let nodes = Nodes::start(count);
            let redlatch = nodes.bystander();
            if is_connected {
                connected(&redlatch).await;
            }
            let resource = unique_resource("hung");
            nodes.servers.iter().take(hung).for_each(RedisServer::pause);
            live(&redlatch, &resource, endless()).await;
            nodes.servers.iter().take(hung).for_each(RedisServer::resume);
            nodes.freed(&resource).await;
            settled(&redlatch).await;
            assert!(nodes.are_free(&resource));
        }
    }
}

/// R9: extension and release of a lock that the node has, too. redsync has no timeout for these.
#[tokio::test]
async fn a_node_that_hangs_while_it_holds_a_key_is_not_waited_for() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("hangs");
    let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("three nodes");
    nodes.servers[0].pause();
    ends(guard.extend()).await.expect("two nodes");
    ends(guard.release()).await.expect("two nodes");
    nodes.servers[0].resume();
    settled(&redlatch).await;
    assert!(nodes.are_free(&resource));
}

/// R4, R5, R8.
#[tokio::test]
async fn a_hung_majority_is_no_quorum_and_leaves_nothing() {
    for is_connected in [true, false] {
        let nodes = Nodes::start(3);
        let redlatch = nodes.bystander();
        if is_connected {
            connected(&redlatch).await;
        }
        nodes.servers[0].pause();
        nodes.servers[1].pause();
        let resource = unique_resource("silence");
        let options = Options::new(FOREVER).node_timeout(IMPATIENT);
        let error = ends(redlatch.try_acquire(&resource, options)).await.expect_err("one node");
        assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
        assert_names_all(&error, nodes.servers.iter());
        for (_, vote) in error.votes().expect("votes").iter().take(2) {
            assert!(matches!(vote, Vote::Silent), "{error}");
        }
        nodes.freed(&resource).await;
        nodes.servers[0].resume();
        nodes.servers[1].resume();
        nodes.freed(&resource).await;
        recovers(&redlatch, endless()).await;
        settled(&redlatch).await;
        assert!(nodes.are_free(&resource));
    }
}

/// R8, R9. node-redlock never comes back from black holes, without a timeout of its own (E5).
#[tokio::test]
async fn when_all_nodes_are_black_holes_everything_ends() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let (held, wanted) = (unique_resource("held"), unique_resource("wanted"));
    let options = Options::new(FOREVER).node_timeout(IMPATIENT);
    let guard = ends(redlatch.acquire(&held, &options)).await.expect("three nodes");
    let released = ends(redlatch.acquire(&wanted, &options)).await.expect("three nodes");
    let fresh = Redlatch::new(nodes.proxies.iter().map(FaultProxy::url)).expect("a client");
    nodes.black_hole();

    let unheard = unique_resource("unheard");
    for client in [&redlatch, &fresh] {
        let error = ends(client.try_acquire(&unheard, &options)).await.expect_err("nobody");
        assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
        let options = options.clone().wait(ms(500));
        let error = ends(client.acquire(&unheard, options)).await.expect_err("nobody");
        let ended =
            matches!(error, AcquireError::NoQuorum { .. } | AcquireError::DeadlineExceeded { .. });
        assert!(ended, "{error}");
        let inspection = ends(client.inspect(&unheard)).await.expect("a good name");
        assert!(inspection.nodes.iter().all(|node| node.sighting.is_err()));
    }
    let error = ends(released.extend()).await.expect_err("nobody");
    assert!(matches!(error, ExtendError::AtRisk { .. }), "{error}");
    ends(released.release()).await.expect_err("nobody confirms");
    assert!(guard.is_valid());
    ends(fresh.shutdown()).await;

    nodes.heal();
    drop(guard);
    recovers(&redlatch, options).await;
    for resource in [held, wanted, unheard] {
        nodes.freed(&resource).await;
    }
}

/// A path that swallows bytes looks like a hung node, and nothing ever closes the connection.
#[tokio::test]
async fn a_connection_that_went_silent_is_replaced() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let silent = nodes.inject(|| Match::any().nth(1), Fault::DropRequest(Then::Hang));
    let options = Options::new(FOREVER).node_timeout(IMPATIENT);
    let resource = unique_resource("silent");
    let error = ends(redlatch.try_acquire(&resource, &options)).await.expect_err("silence");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
    assert!(silent.iter().all(|rule| rule.struck() == 1));
    recovers(&redlatch, options).await;
}

/// The same while somebody waits for a lock and asks more often than silence is borne for.
#[tokio::test]
async fn a_connection_that_went_silent_is_replaced_while_a_lock_is_waited_for() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("silent");
    take(&nodes.servers[0], &resource);
    take(&nodes.servers[1], &resource);
    nodes.proxies[2].inject(Match::any().nth(1), Fault::DropRequest(Then::Hang));
    let options = Options::new(FOREVER).node_timeout(ms(1_000)).retry_delay(ms(10), ms(20));
    let waiting = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        async move { redlatch.acquire(&resource, options.wait(FOREVER)).await }
    });
    eventually("it asks on another connection", async || {
        let log = nodes.proxies[2].log();
        log.iter().any(|command| is_run(command, ACQUIRE) && command.connection() > 1)
    })
    .await;
    waiting.abort();
}

#[tokio::test]
async fn paused_clients_and_sleeping_servers_are_only_slow() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    // A minority: nothing is waited for.
    nodes.servers[0].command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let resource = unique_resource("pause");
    live(&redlatch, &resource, endless()).await;
    // A majority: no quorum, and nothing stays.
    nodes.servers[1].command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let options = Options::new(FOREVER).node_timeout(IMPATIENT);
    let error = ends(redlatch.try_acquire(&resource, options)).await.expect_err("one node");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
    nodes.servers[0].command(&["CLIENT", "UNPAUSE"]);
    nodes.servers[1].command(&["CLIENT", "UNPAUSE"]);
    nodes.freed(&resource).await;
    // All of them, for a while: the lock comes when they do.
    let sleeping: Vec<_> = (nodes.servers.iter())
        .map(|server| {
            let client = redis::Client::open(server.unix_url()).expect("a client");
            tokio::task::spawn_blocking(move || {
                let mut connection = client.get_connection().expect("a connection");
                redis::cmd("DEBUG").arg("SLEEP").arg("0.5").query::<()>(&mut connection)
            })
        })
        .collect();
    live(&redlatch, &resource, endless()).await;
    for sleep in sleeping {
        ends(sleep).await.expect("no panic").expect("DEBUG SLEEP");
    }
}

// Even numbers, and several contenders.

/// R8: a tie is lost, and known to be. node-redlock never settles here (experiments E1, E1b).
#[tokio::test]
async fn an_even_split_is_lost_and_ends() {
    for (count, options) in [2, 4]
        .into_iter()
        .flat_map(|count| [(count, endless()), (count, endless().without_fence())])
    {
        let nodes = Nodes::start(count);
        let redlatch = nodes.connect().await;
        let resource = unique_resource("tie");
        nodes.servers.iter().take(count / 2).for_each(|server| take(server, &resource));
        let error = ends(redlatch.try_acquire(&resource, &options)).await.expect_err("a tie");
        assert!(matches!(error, AcquireError::Contended { .. }), "{error}");
        settled(&redlatch).await;
        assert_eq!(nodes.servers.holds(&resource, STRANGER), count / 2);
        let free = nodes.servers.owner_of(&resource).split_off(count / 2);
        assert!(free.iter().all(|owner| *owner == Owner::Nobody), "{free:?}");

        let redlatch = nodes.bystander();
        let resource = unique_resource("tie");
        nodes.servers.iter().take(count / 2).for_each(RedisServer::kill);
        let error = ends(redlatch.try_acquire(&resource, &options)).await.expect_err("a tie");
        assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
        settled(&redlatch).await;
        assert!(nodes.are_free(&resource));
    }
}

/// R8: it is lost as soon as a majority has refused. pottery waits for the hung node.
#[tokio::test]
async fn refusals_of_a_majority_decide_without_the_hung_node() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("refused");
    take(&nodes.servers[1], &resource);
    take(&nodes.servers[2], &resource);
    nodes.servers[0].pause();
    let error = ends(redlatch.try_acquire(&resource, endless())).await.expect_err("taken");
    let AcquireError::Contended { retry_after, .. } = error else { panic!("{error}") };
    assert!(retry_after.is_some_and(|after| after <= FOREVER));
}

/// R3, R4, R13. With node-redlock and aioredlock each keeps the other out until the ttl.
#[tokio::test]
async fn two_contenders_with_a_minority_each_do_not_block_each_other() {
    let nodes = Nodes::start(3);
    let others: Vec<_> = nodes.servers.iter().map(FaultProxy::start).collect();
    let one = nodes.connect().await;
    let two = Redlatch::new(others.iter().map(FaultProxy::url)).expect("a client");
    connected(&two).await;
    nodes.servers[2].kill();
    let resource = unique_resource("minorities");

    // Each has one node before it asks the other one.
    let held = [
        nodes.proxies[1].inject(runs(ACQUIRE).nth(1), Fault::HoldRequest),
        others[0].inject(runs(ACQUIRE).nth(1), Fault::HoldRequest),
    ];
    let contend = |redlatch: &Redlatch| {
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        tokio::spawn(async move {
            let guard = redlatch.acquire(&resource, endless().wait(FOREVER)).await;
            guard.expect("its turn").release().await.expect("a majority");
        })
    };
    let contenders = [contend(&one), contend(&two)];
    for rule in &held {
        rule.wait_struck(1).await;
    }
    eventually("each has a node", async || {
        let owners = nodes.servers.owner_of(&resource);
        let (first, second) = (&owners[0], &owners[1]);
        matches!((first, second), (Owner::Token(a), Owner::Token(b)) if a != b)
    })
    .await;
    held.iter().for_each(redlatch_tests::Rule::release);
    for contender in contenders {
        ends(contender).await.expect("both get it, one after the other");
    }
}

/// rslock panics on a delay of zero.
#[tokio::test]
async fn a_retry_delay_of_zero_is_legal() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("at-once");
    nodes.servers.iter().for_each(|server| take(server, &resource));
    let options = endless().retry_delay(Duration::ZERO, Duration::ZERO);
    let error = ends(redlatch.acquire(&resource, options.clone().wait(ms(100)))).await;
    let error = error.expect_err("taken");
    let is_taken =
        matches!(error, AcquireError::Contended { .. } | AcquireError::DeadlineExceeded { .. });
    assert!(is_taken, "{error}");

    nodes.proxies.iter().for_each(FaultProxy::clear_log);
    let waiting = redlatch.acquire(&resource, options.wait(FOREVER));
    let freeing = async {
        eventually("it waits", async || count(&nodes.proxies[0], ACQUIRE) > 2).await;
        for server in &nodes.servers {
            server.command(&["DEL", &resource]);
        }
    };
    let (guard, ()) = ends(async { tokio::join!(waiting, freeing) }).await;
    drop(guard.expect("a free lock"));
}

/// One attempt is made, however short the wait. pottery makes none (experiment P2).
#[tokio::test]
async fn no_wait_is_one_attempt() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("no-wait");
    let options = endless().wait(Duration::ZERO);
    let guard = ends(redlatch.acquire(&resource, &options)).await.expect("a free lock");
    let error = ends(redlatch.acquire(&resource, &options)).await.expect_err("held");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error}");
    drop(guard);
    settled(&redlatch).await;
    assert_eq!(count(&nodes.proxies[0], ACQUIRE), 2);
}

/// R13. redlock-rb reports an error of an early attempt when the last one was refused.
#[tokio::test]
async fn the_last_cause_is_reported() {
    let nodes = Nodes::start(1);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("cause");
    take(&nodes.servers[0], &resource);
    // The first attempt breaks its connection, and the one that replaces it.
    let broken = [1, 2]
        .map(|_| nodes.proxies[0].inject(runs(ACQUIRE).nth(1), Fault::DropRequest(Then::Reset)));
    let options = endless().wait(FOREVER).attempts_max(NonZeroU32::new(2).expect("two"));
    let error = ends(redlatch.acquire(&resource, options)).await.expect_err("taken");
    assert!(broken.iter().all(|rule| rule.struck() == 1), "{broken:?}");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error}");
}

// Validity.

/// R1, R2, R4. node-redlock returns −106 ms here, redlock-rs 2^64 − 217 ms (experiments E2, R2), and
/// Redisson does not ask; rslock notices, and leaves its keys.
#[tokio::test]
async fn replies_after_the_ttl_are_no_success() {
    for (ttl, fault) in [
        (ms(300), Fault::HoldReply),
        (ms(300), Fault::DelayReply(ms(400))),
        (ms(300), Fault::DelayRequest(ms(400))),
        (ms(50), Fault::DelayReply(ms(50))),
    ] {
        let nodes = Nodes::start(3);
        let redlatch = nodes.connect().await;
        let rules = nodes.inject(|| runs(ACQUIRE), fault);
        let resource = unique_resource("late");
        let options = Options::new(ttl).node_timeout(FOREVER);
        let error = ends(redlatch.try_acquire(&resource, options)).await.expect_err("late");
        let is_late = matches!(error, AcquireError::NoQuorum { .. } | AcquireError::TooLate { .. });
        assert!(is_late, "{fault:?}: {error}");
        // What to do about it, and about whom.
        let text = error.to_string();
        assert!(text.contains("see to those that ") && text.contains("127.0.0.1:"), "{text}");
        rules.iter().for_each(redlatch_tests::Rule::release);
        settled(&redlatch).await;
        assert!(nodes.are_free(&resource));
    }
}

/// R1: whatever the nodes take to answer is taken off. The holder never believes for longer than a
/// majority of keys lives.
#[tokio::test]
async fn validity_counts_from_before_the_first_byte() {
    let ttl = Duration::from_secs(20);
    let margin = Drift::DEFAULT.margin(Ttl::new(ttl).expect("a ttl"));
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("validity");
    let late = || {
        let left = nodes.servers.pttl_ms(&resource);
        left.iter().all(|left| left.is_some_and(|left| (0..19_000).contains(&left)))
    };
    let assert_honest = |guard: &redlatch::Guard, answered: Instant| {
        let mut keys: Vec<_> = nodes.servers.pttl_ms(&resource).into_iter().flatten().collect();
        keys.sort_unstable();
        let majority = ms(keys[1].try_into().expect("the key lives"));
        let elapsed = answered.elapsed();
        let remaining = guard.remaining();
        assert!(remaining + elapsed <= ttl - margin, "{remaining:?} left after {elapsed:?}");
        assert!(remaining <= majority, "{remaining:?} left of {majority:?}");
    };

    let replies = nodes.inject(|| runs(ACQUIRE), Fault::HoldReply);
    let acquired = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        let options = Options::new(ttl).node_timeout(FOREVER);
        async move { redlatch.try_acquire(&resource, options).await }
    });
    for reply in &replies {
        reply.wait_answered(1).await;
    }
    // Nothing was sent after this.
    let answered = Instant::now();
    eventually("a second of the ttl is gone", async || late()).await;
    replies.iter().for_each(redlatch_tests::Rule::release);
    let guard = ends(acquired).await.expect("no panic").expect("in time");
    assert_honest(&guard, answered);

    let replies = nodes.inject(|| runs(EXTEND), Fault::HoldReply);
    let (extended, answered) = tokio::join!(guard.extend(), async {
        for reply in &replies {
            reply.wait_answered(1).await;
        }
        let answered = Instant::now();
        eventually("a second of the ttl is gone", async || late()).await;
        replies.iter().for_each(redlatch_tests::Rule::release);
        answered
    });
    extended.expect("in time");
    assert_honest(&guard, answered);
    ends(guard.release()).await.expect("three nodes");
}

/// R2: no arithmetic wraps around, and no node is asked in vain.
#[tokio::test]
async fn a_ttl_that_leaves_nothing_is_refused() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    nodes.proxies.iter().for_each(FaultProxy::clear_log);
    let acquire = async |options: Options| match ends(redlatch.acquire("too-short", options)).await
    {
        Err(AcquireError::Invalid(reason)) => reason,
        other => panic!("{other:?}"),
    };
    for millis in [1, 2] {
        let reason = acquire(Options::new(ms(millis))).await;
        let is_too_short =
            matches!(reason, InvalidRequest::Config(ConfigError::TtlTooShort { .. }));
        assert!(is_too_short, "{reason}");
    }
    let reason = acquire(Options::new(ms(100)).validity_min(ms(97))).await;
    assert!(matches!(reason, InvalidRequest::Config(_)), "{reason}");
    for ttl in [Duration::ZERO, Duration::from_micros(1_500), Duration::MAX] {
        let reason = acquire(Options::new(ttl)).await;
        assert!(matches!(reason, InvalidRequest::Ttl(_)), "{reason}");
    }
    let reason = acquire(endless().node_timeout(Duration::ZERO)).await;
    assert!(matches!(reason, InvalidRequest::Config(ConfigError::NodeTimeoutZero)), "{reason}");
    assert!(nodes.proxies.iter().all(|proxy| proxy.log().is_empty()));

    // The shortest that is legal leaves less than a millisecond.
    let resource = unique_resource("short");
    if let Ok(guard) = ends(redlatch.acquire(&resource, ms(4))).await {
        assert!(guard.remaining() < ms(2));
    }
}

// Connections that break.

/// R7: a command that may have been carried out is repeated, and its own token is no refusal.
#[tokio::test]
async fn a_command_whose_connection_breaks_is_repeated() {
    for fault in [Fault::DropRequest(Then::Reset), Fault::DropReply(Then::Reset), Fault::Duplicate]
    {
        let nodes = Nodes::start(1);
        let redlatch = nodes.connect().await;
        let rules: Vec<_> = [ACQUIRE, EXTEND, RELEASE]
            .map(|script| nodes.proxies[0].inject(runs(script).nth(1), fault))
            .into();
        let resource = unique_resource("breaks");
        live(&redlatch, &resource, endless()).await;
        assert!(rules.iter().all(|rule| rule.struck() == 1), "{fault:?}: {rules:?}");
        assert!(nodes.are_free(&resource), "{fault:?}");
    }
}

#[tokio::test]
async fn a_killed_connection_costs_no_vote() {
    let nodes = Nodes::start(1);
    let redlatch = nodes.bystander();
    connected(&redlatch).await;
    let server = &nodes.servers[0];
    let kill = || server.command(&["CLIENT", "KILL", "USER", "default"]);
    let resource = unique_resource("killed");
    for _ in 0..5 {
        // Between two commands.
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("the node");
        kill();
        ends(guard.extend()).await.expect("the node");
        kill();
        ends(guard.release()).await.expect("the node");
        kill();
    }
    // In the middle of one, which the server has and does not carry out.
    connected(&redlatch).await;
    server.command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let acquired = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        async move { redlatch.try_acquire(&resource, endless()).await }
    });
    let is_asked = || server.query::<String>(&["CLIENT", "LIST"]).contains("cmd=evalsha");
    let is_blocked = || server.query::<String>(&["INFO", "clients"]).contains("blocked_clients:1");
    eventually("the command is there", async || is_blocked() || is_asked()).await;
    kill();
    server.command(&["CLIENT", "UNPAUSE"]);
    let guard = ends(acquired).await.expect("no panic").expect("the node");
    ends(guard.release()).await.expect("the node");
}

/// `SCRIPT FLUSH` is not seen, not even by one node alone.
#[tokio::test]
async fn flushed_scripts_are_sent_again() {
    let nodes = Nodes::start(1);
    let redlatch = nodes.connect().await;
    let flush = || nodes.servers[0].command(&["SCRIPT", "FLUSH"]);
    let resource = unique_resource("scripts");
    for _ in 0..3 {
        flush();
        let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("the node");
        flush();
        ends(guard.extend()).await.expect("the node");
        flush();
        ends(guard.release()).await.expect("the node");
        assert!(nodes.are_free(&resource));
    }
}

/// R10, R11: nodes that forgot the lock do not extend it, and it is lost by its deadline.
#[tokio::test]
async fn a_flushed_lock_is_at_risk_and_then_lost() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let resource = unique_resource("flushed");
    let guard = ends(redlatch.acquire(&resource, ms(2_000))).await.expect("three nodes");
    let lost = guard.lost();
    // An acquire that is still on its way would not be flushed.
    nodes.taken(&resource).await;
    for server in &nodes.servers {
        server.command(&["FLUSHALL"]);
    }
    let mut has_been_at_risk = false;
    let loss = loop {
        match ends(guard.extend()).await {
            Ok(()) => panic!("extended a lock that no node knows"),
            Err(ExtendError::AtRisk { votes, .. }) => {
                assert!(votes.iter().all(|(_, vote)| *vote != Vote::Applied), "{votes}");
                has_been_at_risk = true;
            }
            Err(ExtendError::Lost(loss)) => break loss,
            Err(other) => panic!("{other}"),
        }
        assert!(nodes.are_free(&resource), "an extension created a key");
    };
    assert!(has_been_at_risk);
    assert_eq!(loss, Loss::Expired);
    assert_eq!(ends(lost).await, Loss::Expired);
    assert!(!guard.is_valid());
}

/// R15: the largest number of a majority alone would not do, if nodes count differently and
/// majorities change (experiment F1).
#[tokio::test]
async fn fences_grow_whatever_the_nodes_count_and_whichever_answer() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.bystander();
    connected(&redlatch).await;
    let resource = unique_resource("fence");
    // Clients whose clocks are ahead have left numbers that no proposal reaches.
    for (server, number) in nodes.servers.iter().zip([7_u64, 7_000, 42]) {
        let number = ((1 << 52) + number).to_string();
        server.command(&["SET", &format!("redlatch:fence:{{{resource}}}"), &number]);
    }
    let mut last = 0;
    for round in 0..30 {
        let hung = &nodes.servers[round % 3];
        hung.pause();
        let guard = ends(redlatch.acquire(&resource, endless().wait(FOREVER))).await;
        let fence = guard.as_ref().expect("two nodes").fence().expect("a fence");
        assert!(fence > last, "round {round}: {fence} after {last}");
        last = fence;
        ends(guard.expect("two nodes").release()).await.expect("two nodes");
        hung.resume();
    }
}

// Nodes that answer errors.

/// A node that answers errors, and how it is told that it should no longer.
struct Ailing {
    server: Arc<RedisServer>,
    url: String,
    /// What its error says.
    says: &'static str,
    secrets: Vec<&'static str>,
}

impl Ailing {
    fn new(server: RedisServer, says: &'static str) -> Self {
        let url = server.url();
        Self { server: Arc::new(server), url, says, secrets: Vec::new() }
    }

    fn start(
        says: &'static str,
        build: impl FnOnce(RedisServerBuilder) -> RedisServerBuilder,
    ) -> Self {
        Self::new(build(RedisServer::builder()).start(), says)
    }

    /// R4, R5: with one more node that is well there is no quorum, the error names the node and tells
    /// what it says, and shows neither token nor password; the well node keeps no key.
    async fn assert_unknown(&self) {
        self.beside_a_well_one().await;
    }

    /// The same; then `cure` ends it and the node votes again.
    async fn assert_unknown_until(&self, cure: impl FnOnce(&RedisServer)) {
        let (redlatch, _proxy, _well) = self.beside_a_well_one().await;
        cure(&self.server);
        recovers(&redlatch, endless()).await;
    }

    async fn beside_a_well_one(&self) -> (Redlatch, FaultProxy, RedisServer) {
        let well = RedisServer::start();
        load_scripts(&well);
        let proxy = FaultProxy::start(&well);
        let redlatch = Redlatch::new([&proxy.url(), &self.url]).expect("a client");
        // Both servers are the test's own, so the name may be short: an error that repeats arguments
        // has room for the token then.
        let resource = "r".to_owned();
        // What the well node saw is what the other was sent.
        let asked = proxy.inject(runs(ACQUIRE).nth(1), Fault::HoldReply);
        let (result, ()) = ends(async {
            tokio::join!(redlatch.try_acquire(&resource, endless()), async {
                asked.wait_answered(1).await;
                asked.release();
            })
        })
        .await;
        let error = result.expect_err("one of two nodes");
        assert!(matches!(error, AcquireError::NoQuorum { .. }), "{}: {error}", self.says);
        let votes = error.votes().expect("votes");
        let (name, vote) = votes.iter().nth(1).expect("the second node");
        assert_eq!(name, self.server.addr().to_string());
        let Vote::Failed(why) = vote else { panic!("{}: {error}", self.says) };
        assert!(why.contains(self.says), "{:?} does not say {:?}", why, self.says);
        // Nothing that only the client library or the script's author could read.
        assert!(!why.contains(" - ") && !why.contains("script: "), "{why}");
        let text = format!("{error} {error:?} {redlatch:?}");
        for token in tokens(&proxy) {
            let nonce = &token[..32];
            assert!(!text.contains(nonce), "{}: the token is in {text}", self.says);
        }
        for secret in &self.secrets {
            assert!(!text.contains(secret), "{}: a secret is in {text}", self.says);
        }
        // redlock-rb lets such errors escape from a look.
        let inspection = ends(redlatch.inspect(&resource)).await.expect("a good name");
        assert_eq!(inspection.nodes.len(), 2);
        let owner = async || well.owner_of(&resource) == Owner::Nobody;
        eventually("the well node is free", owner).await;
        (redlatch, proxy, well)
    }
}

/// The tokens of the acquires that a proxy has seen.
fn tokens(proxy: &FaultProxy) -> Vec<String> {
    let log = proxy.log();
    let acquires = log.iter().filter(|command| is_run(command, ACQUIRE));
    let tokens: Vec<_> = acquires
        .map(|command| {
            let keys: usize = command.arg(2).parse().expect("the number of keys");
            command.arg(3 + keys).into_owned()
        })
        .collect();
    assert!(!tokens.is_empty() && tokens.iter().all(|token| token.len() == 40), "{tokens:?}");
    tokens
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let says = "authentication failed";
    let mut ailing = Ailing::start(says, |builder| builder.password("right-s3cret"));
    ailing.url = format!("redis://:wrong-s3cret@{}", ailing.server.addr());
    ailing.secrets = vec!["right-s3cret", "wrong-s3cret"];
    ailing.assert_unknown().await;
}

#[tokio::test]
async fn a_missing_password_is_told() {
    let mut ailing = Ailing::start("NOAUTH", |builder| builder.password("right-s3cret"));
    ailing.url = format!("redis://{}", ailing.server.addr());
    ailing.secrets = vec!["right-s3cret"];
    ailing.assert_unknown().await;
}

#[tokio::test]
async fn who_may_not_run_scripts_or_use_the_keys_is_told_so() {
    for rules in [&["+ping", "+info", "~*"][..], &["+@all", "~other:*"][..]] {
        let mut ailing =
            Ailing::start("NOPERM", |builder| builder.user("locker", "locker-s3cret", rules));
        ailing.url = ailing.server.url_as("locker");
        ailing.secrets = vec!["locker-s3cret"];
        ailing.assert_unknown().await;
    }
}

/// Redis repeats the arguments of commands that it does not know, the token among them.
#[tokio::test]
async fn a_server_without_scripts_does_not_make_the_error_show_the_token() {
    let renamed = ["--rename-command", "EVALSHA", "", "--rename-command", "EVAL", ""];
    Ailing::start("unknown command", |builder| builder.args(&renamed)).assert_unknown().await;
    let renamed = ["--rename-command", "EVAL", ""];
    Ailing::start("unknown command", |builder| builder.args(&renamed)).assert_unknown().await;
}

#[tokio::test]
async fn a_server_that_may_not_write_is_unknown() {
    let ailing = Ailing::start("READONLY", |builder| builder);
    ailing.server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let cure = |server: &RedisServer| drop(server.command(&["REPLICAOF", "NO", "ONE"]));
    ailing.assert_unknown_until(cure).await;

    let stale = ["--replica-serve-stale-data", "no"];
    let ailing = Ailing::start("MASTERDOWN", |builder| builder.args(&stale));
    ailing.server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    ailing.assert_unknown_until(cure).await;

    let ailing = Ailing::start("NOREPLICAS", |builder| builder);
    ailing.server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let cure = |server: &RedisServer| {
        server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    };
    ailing.assert_unknown_until(cure).await;

    // A directory in the place of the dump makes every save fail, and then every write.
    let ailing = Ailing::start("MISCONF", |builder| builder);
    let dump = ailing.server.directory().join("dump.rdb");
    std::fs::create_dir_all(dump.join("full")).expect("a directory");
    ailing.server.command(&["CONFIG", "SET", "save", "3600 1"]);
    ailing.server.command(&["BGSAVE"]);
    eventually("the save failed", async || {
        let info: String = ailing.server.query(&["INFO", "persistence"]);
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;
    let cure = |server: &RedisServer| {
        server.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    };
    ailing.assert_unknown_until(cure).await;
}

#[tokio::test]
async fn a_server_without_memory_is_unknown_and_can_still_release() {
    let ailing = Ailing::start("OOM", |builder| builder);
    let redlatch = Redlatch::new([ailing.server.url()]).expect("a client");
    let resource = unique_resource("memory");
    let guard = ends(redlatch.try_acquire(&resource, endless())).await.expect("the node");
    ailing.server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    ends(guard.release()).await.expect("nothing is written for it");
    assert_eq!(ailing.server.owner_of(&resource), Owner::Nobody);
    let cure = |server: &RedisServer| drop(server.command(&["CONFIG", "SET", "maxmemory", "0"]));
    ailing.assert_unknown_until(cure).await;
}

#[tokio::test]
async fn a_server_that_is_busy_with_a_script_is_unknown() {
    let ailing = Ailing::start("BUSY", |builder| builder.args(&["--busy-reply-threshold", "1"]));
    let busy = tokio::task::spawn_blocking({
        let server = ailing.server.clone();
        move || server.try_query::<()>(&["EVAL", "while true do end", "0"])
    });
    eventually("it is busy", async || ailing.server.try_query::<()>(&["PING"]).is_err()).await;
    let cure = |server: &RedisServer| drop(server.command(&["SCRIPT", "KILL"]));
    ailing.assert_unknown_until(cure).await;
    ends(busy).await.expect("no panic").expect_err("it was killed");
}

#[tokio::test]
async fn a_server_that_is_loading_is_unknown() {
    let ailing = Ailing::start("LOADING", |builder| {
        builder.args(&["--loading-process-events-interval-bytes", "1024"])
    });
    let fill = "for i = 1, 2000 do redis.call('SET', i, string.rep('x', 1024)) end";
    ailing.server.command(&["EVAL", fill, "0"]);
    ailing.server.command(&["CONFIG", "SET", "rdbcompression", "no"]);
    ailing.server.command(&["CONFIG", "SET", "key-load-delay", "100000"]);
    let reload = tokio::task::spawn_blocking({
        let server = ailing.server.clone();
        move || drop(server.try_query::<()>(&["DEBUG", "RELOAD"]))
    });
    eventually("it loads", async || {
        let ping = ailing.server.try_query::<()>(&["PING"]);
        ping.is_err_and(|error| error.code() == Some("LOADING"))
    })
    .await;
    let cure = |server: &RedisServer| {
        server.command(&["CONFIG", "SET", "key-load-delay", "0"]);
    };
    ailing.assert_unknown_until(cure).await;
    ends(reload).await.expect("no panic");
}

#[tokio::test]
async fn a_key_of_another_type_is_unknown() {
    let servers = Cluster::start(3);
    let redlatch = Redlatch::new(servers.urls()).expect("a client");
    let resource = unique_resource("list");
    for server in servers.iter().take(2) {
        server.command(&["LPUSH", &resource, "data"]);
    }
    let error = ends(redlatch.try_acquire(&resource, endless())).await.expect_err("two lists");
    assert!(matches!(error, AcquireError::NoQuorum { .. }), "{error}");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    settled(&redlatch).await;
    for server in servers.iter().take(2) {
        assert_eq!(server.query::<usize>(&["LLEN", &resource]), 1, "the data is untouched");
    }
    assert_eq!(servers[2].owner_of(&resource), Owner::Nobody);
}

/// A server at its limit of connections answers an error and closes.
#[tokio::test]
async fn a_server_with_too_many_clients_is_unknown_and_not_hammered() {
    let nodes = Nodes::start(3);
    let redlatch = Redlatch::new(nodes.proxies.iter().map(FaultProxy::url)).expect("a client");
    nodes.proxies[0].connections(Connections::Refuse);
    // Room for the fixture and for nobody beside it, once this connection is there.
    let client = redis::Client::open(nodes.servers[0].url()).expect("a client");
    let _taken = client.get_connection().expect("a connection");
    nodes.servers[0].command(&["CONFIG", "SET", "maxclients", "1"]);
    nodes.proxies[0].connections(Connections::Pass);
    let resource = unique_resource("crowd");
    live(&redlatch, &resource, endless()).await;
    settled(&redlatch).await;
    assert!(count_scripts(&nodes.proxies[0], &SCRIPTS) == 0);
}

fn count_scripts(proxy: &FaultProxy, scripts: &[Script]) -> usize {
    scripts.iter().map(|&script| count(proxy, script)).sum()
}
