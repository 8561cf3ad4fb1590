//! Each metric moves when its event happens, and only then.

use std::collections::BTreeSet;
use std::time::Duration;

use redlatch::metrics::{ALL, Kind};
use redlatch::{AcquireError, ExtendError, Loss, Options, Redlatch};
use redlatch_core::wire::{ACQUIRE, EXTEND};
use redlatch_tests::{
    Cluster, Connections, Fault, Owner, PATIENCE, Then, eventually, unique_resource,
};

use crate::Recorder;
use crate::native::{FOREVER, Nodes, connected, endless, ends, runs, settled, take};

/// Patience with nodes that are known to be silent: a test waits for all of it.
const IMPATIENT: Duration = Duration::from_millis(200);

/// Servers behind proxies, and a client of them that reports to a recorder of its own.
async fn measured(count: usize) -> (Nodes, Redlatch, Recorder) {
    let nodes = Nodes::start(count);
    let recorder = Recorder::new();
    let builder =
        nodes.proxies.iter().fold(Redlatch::builder(), |builder, proxy| builder.node(proxy.url()));
    let redlatch = recorder.build(builder.connect_timeout(PATIENCE)).expect("a client");
    connected(&redlatch).await;
    (nodes, redlatch, recorder)
}

/// Waits until the samples of this name that have these labels have this sum.
async fn becomes(recorder: &Recorder, name: &str, labels: &[(&str, &str)], value: f64) {
    let what = format!("{name} of {labels:?} is {value}");
    eventually(&what, async || recorder.scrape().value(name, labels) == value).await;
}

#[tokio::test]
async fn the_life_of_a_lock_is_counted() {
    let (nodes, redlatch, recorder) = measured(3).await;
    let resource = unique_resource("counted");
    let guard = ends(redlatch.acquire(&resource, endless())).await.expect("three nodes");
    becomes(&recorder, "redlatch_held_locks", &[], 1.0).await;
    nodes.taken(&resource).await;
    ends(guard.extend()).await.expect("three nodes");
    let owner = nodes.servers[0].owner_of(&resource);
    ends(guard.release()).await.expect("three nodes");
    settled(&redlatch).await;

    let seen = recorder.scrape();
    let granted = [("outcome", "granted")];
    assert_eq!(seen.value("redlatch_acquires_total", &granted), 1.0);
    assert_eq!(seen.value("redlatch_acquires_total", &[]), 1.0);
    assert_eq!(seen.value("redlatch_acquire_duration_seconds_count", &granted), 1.0);
    assert!(seen.value("redlatch_acquire_duration_seconds_sum", &granted) > 0.0);
    assert_eq!(seen.value("redlatch_retries_total", &[]), 0.0);
    assert_eq!(seen.value("redlatch_held_locks", &[]), 0.0);
    let released = [("end", "released")];
    assert_eq!(seen.value("redlatch_hold_duration_seconds_count", &released), 1.0);
    assert_eq!(seen.value("redlatch_hold_duration_seconds_count", &[]), 1.0);
    assert!(seen.value("redlatch_hold_duration_seconds_sum", &released) > 0.0);
    assert_eq!(seen.value("redlatch_renewals_total", &[("outcome", "extended")]), 1.0);
    assert_eq!(seen.value("redlatch_renewals_total", &[]), 1.0);
    assert_eq!(seen.value("redlatch_releases_total", &[("outcome", "confirmed")]), 1.0);
    assert_eq!(seen.value("redlatch_releases_total", &[]), 1.0);
    assert_eq!(seen.value("redlatch_lost_total", &[]), 0.0);
    assert_eq!(seen.value("redlatch_at_risk_total", &[]), 0.0);

    let mut commands = 0.0;
    for proxy in &nodes.proxies {
        let node = proxy.addr().to_string();
        let of = |name, label, value| seen.value(name, &[("node", &node), (label, value)]);
        let command = |command, outcome| {
            let labels = [("node", &*node), ("command", command), ("outcome", outcome)];
            seen.value("redlatch_node_commands_total", &labels)
        };
        assert_eq!(command("acquire", "applied"), 1.0);
        assert_eq!(command("extend", "applied"), 1.0);
        assert_eq!(command("release", "applied"), 1.0);
        let all = seen.value("redlatch_node_commands_total", &[("node", &node)]);
        // R6: a node whose answer came late is told once more that it is over, to no effect.
        assert!(all - 3.0 - command("release", "refused") == 0.0, "{}", seen.0);
        commands += all;
        assert_eq!(of("redlatch_node_connections_total", "outcome", "made"), 1.0);
        assert_eq!(of("redlatch_node_connections_total", "outcome", "failed"), 0.0);
        assert_eq!(of("redlatch_node_state", "state", "up"), 1.0);
        assert_eq!(seen.value("redlatch_node_state", &[("node", &node)]), 1.0);
    }
    assert_eq!(seen.value("redlatch_node_round_trip_seconds_count", &[]), commands);

    // No resource, no token, no fence.
    let Owner::Token(token) = owner else { panic!("{owner:?}") };
    assert!(!seen.0.contains(&resource) && !seen.0.contains(&token[..32]), "{}", seen.0);
}

/// What is exposed is what is listed, with these labels and values and no others.
#[tokio::test]
async fn all_that_is_listed_is_told_and_nothing_else() {
    let (nodes, redlatch, recorder) = measured(3).await;
    let resource = unique_resource("listed");
    let guard = ends(redlatch.acquire(&resource, endless())).await.expect("three nodes");
    ends(guard.release()).await.expect("three nodes");
    settled(&redlatch).await;

    let seen = recorder.scrape();
    let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(seen.families(), names);
    for metric in ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Seconds => "histogram",
        };
        assert_eq!(seen.said("TYPE", metric.name), Some(kind), "{}", metric.name);
        assert_eq!(seen.said("HELP", metric.name), Some(metric.help), "{}", metric.name);
    }
    let addresses: Vec<String> = nodes.proxies.iter().map(|p| p.addr().to_string()).collect();
    for sample in seen.samples() {
        let of = |metric: &&redlatch::metrics::Metric| match metric.kind {
            Kind::Seconds => sample.name.starts_with(metric.name),
            Kind::Counter | Kind::Gauge => sample.name == metric.name,
        };
        let metric = ALL.iter().find(of).expect("families are known");
        let mut labels = sample.labels.clone();
        labels.remove("le");
        let known: BTreeSet<&str> = metric.labels.iter().map(|label| label.name).collect();
        assert_eq!(labels.keys().copied().collect::<BTreeSet<_>>(), known, "{}", sample.name);
        for label in metric.labels {
            let value = labels[label.name];
            let is_node = label.name == "node" && addresses.iter().any(|node| node == value);
            assert!(is_node || label.values.contains(&value), "{}: {value}", sample.name);
        }
    }
    // Every combination is there before it is needed: a rate needs to see the first of its kind.
    for metric in ALL.iter().filter(|metric| metric.kind == Kind::Counter) {
        let combinations: usize = metric
            .labels
            .iter()
            .map(|label| if label.values.is_empty() { addresses.len() } else { label.values.len() })
            .product();
        let there = seen.samples().filter(|sample| sample.name == metric.name).count();
        assert_eq!(there, combinations, "{}", metric.name);
    }
}

#[tokio::test]
async fn a_lock_that_is_taken_is_contended_and_tried_again() {
    let (nodes, redlatch, recorder) = measured(3).await;
    let resource = unique_resource("contended");
    for server in &nodes.servers {
        take(server, &resource);
    }
    let error = ends(redlatch.try_acquire(&resource, endless())).await.expect_err("taken");
    assert!(matches!(error, AcquireError::Contended { .. }), "{error}");
    let contended = [("outcome", "contended")];
    becomes(&recorder, "redlatch_acquires_total", &contended, 1.0).await;
    becomes(&recorder, "redlatch_acquire_duration_seconds_count", &contended, 1.0).await;
    becomes(&recorder, "redlatch_retries_total", &[], 0.0).await;
    let refused = [("command", "acquire"), ("outcome", "refused")];
    becomes(&recorder, "redlatch_node_commands_total", &refused, 3.0).await;

    let waiting = tokio::spawn({
        let (redlatch, resource) = (redlatch.clone(), resource.clone());
        async move { redlatch.acquire(&resource, endless().wait(FOREVER)).await }
    });
    eventually("it is tried again", async || {
        recorder.scrape().value("redlatch_retries_total", &[("cause", "contended")]) >= 1.0
    })
    .await;
    for server in &nodes.servers {
        server.command(&["DEL", &resource]);
    }
    let guard = ends(waiting).await.expect("no panic").expect("it is free");
    becomes(&recorder, "redlatch_acquires_total", &[("outcome", "granted")], 1.0).await;
    ends(guard.release()).await.expect("three nodes");
    settled(&redlatch).await;
    // The clean-up after attempts that were lost is no release of a lock.
    becomes(&recorder, "redlatch_releases_total", &[], 1.0).await;
    becomes(&recorder, "redlatch_hold_duration_seconds_count", &[], 1.0).await;
}

#[tokio::test]
async fn an_acquire_that_is_given_up_is_cancelled() {
    let (nodes, redlatch, recorder) = measured(3).await;
    let resource = unique_resource("cancelled");
    let held = nodes.inject(|| runs(ACQUIRE), Fault::HoldRequest);
    let waiting = tokio::spawn({
        let redlatch = redlatch.clone();
        async move { redlatch.acquire(&resource, endless()).await }
    });
    for rule in &held {
        rule.wait_struck(1).await;
    }
    waiting.abort();
    becomes(&recorder, "redlatch_acquires_total", &[("outcome", "cancelled")], 1.0).await;
    nodes.heal();
    settled(&redlatch).await;
    let seen = recorder.scrape();
    assert_eq!(seen.value("redlatch_acquires_total", &[]), 1.0);
    assert_eq!(seen.value("redlatch_held_locks", &[]), 0.0);
    assert_eq!(seen.value("redlatch_releases_total", &[]), 0.0);
}

#[tokio::test]
async fn a_missed_extension_and_the_loss_after_it_are_counted() {
    let (nodes, redlatch, recorder) = measured(3).await;
    let resource = unique_resource("lost");
    let options = Options::new(Duration::from_secs(2)).node_timeout(IMPATIENT);
    let guard = ends(redlatch.acquire(&resource, options)).await.expect("three nodes");
    nodes.inject(|| runs(EXTEND), Fault::DropRequest(Then::Reset));
    let error = ends(guard.extend()).await.expect_err("nobody extends");
    assert!(matches!(error, ExtendError::AtRisk { .. }), "{error}");
    becomes(&recorder, "redlatch_at_risk_total", &[], 1.0).await;
    assert_eq!(ends(guard.lost()).await, Loss::Expired);
    becomes(&recorder, "redlatch_lost_total", &[("loss", "expired")], 1.0).await;
    becomes(&recorder, "redlatch_held_locks", &[], 0.0).await;
    let seen = recorder.scrape();
    assert!(seen.value("redlatch_renewals_total", &[("outcome", "missed")]) >= 1.0);
    assert_eq!(seen.value("redlatch_renewals_total", &[("outcome", "extended")]), 0.0);
    // It came to be at risk once, however often the extension was tried.
    assert_eq!(seen.value("redlatch_at_risk_total", &[]), 1.0);
    assert_eq!(seen.value("redlatch_hold_duration_seconds_count", &[("end", "lost")]), 1.0);
    assert_eq!(seen.value("redlatch_hold_duration_seconds_count", &[]), 1.0);
    let failed = [("command", "extend"), ("outcome", "failed")];
    assert!(seen.value("redlatch_node_commands_total", &failed) >= 3.0);
}

#[tokio::test]
async fn a_lock_that_was_held_for_as_long_as_it_may_be_is_lost_by_that() {
    let (_nodes, redlatch, recorder) = measured(3).await;
    let ttl = Duration::from_millis(500);
    let options = Options::new(ttl).renew_up_to(Duration::from_millis(600));
    let guard =
        ends(redlatch.acquire(unique_resource("hold-max"), options)).await.expect("three nodes");
    assert_eq!(ends(guard.lost()).await, Loss::HoldMax);
    becomes(&recorder, "redlatch_lost_total", &[("loss", "hold_max")], 1.0).await;
    let seen = recorder.scrape();
    assert_eq!(seen.value("redlatch_lost_total", &[]), 1.0);
    assert!(seen.value("redlatch_renewals_total", &[("outcome", "extended")]) >= 1.0);
}

#[tokio::test]
async fn a_lease_that_is_handed_over_is_held_where_it_is_adopted() {
    let (nodes, redlatch, recorder) = measured(3).await;
    let elsewhere = Recorder::new();
    let builder = nodes
        .servers
        .urls()
        .into_iter()
        .fold(Redlatch::builder(), |builder, url| builder.node(url));
    let adopter = elsewhere.build(builder).expect("a client");
    let resource = unique_resource("handed-over");
    let guard = ends(redlatch.acquire(&resource, endless())).await.expect("three nodes");
    let parts = ends(guard.into_parts()).await.expect("it is held");
    becomes(&recorder, "redlatch_held_locks", &[], 0.0).await;
    let handed_over = [("end", "handed_over")];
    becomes(&recorder, "redlatch_hold_duration_seconds_count", &handed_over, 1.0).await;
    let guard = adopter.adopt(&parts, &endless()).expect("it is held");
    becomes(&elsewhere, "redlatch_held_locks", &[], 1.0).await;
    ends(guard.release()).await.expect("three nodes");
    let released = [("end", "released")];
    becomes(&elsewhere, "redlatch_hold_duration_seconds_count", &released, 1.0).await;
    becomes(&elsewhere, "redlatch_held_locks", &[], 0.0).await;
    // Nobody acquired it there.
    becomes(&elsewhere, "redlatch_acquires_total", &[], 0.0).await;
}

#[tokio::test]
async fn a_node_is_up_suspect_and_down_as_it_is_seen() {
    let (nodes, redlatch, recorder) = measured(3).await;
    let node = nodes.proxies[0].addr().to_string();
    let is = async |state: &str| {
        let state = [("node", &*node), ("state", state)];
        becomes(&recorder, "redlatch_node_state", &state, 1.0).await;
        becomes(&recorder, "redlatch_node_state", &[("node", &node)], 1.0).await;
    };
    is("up").await;

    // It hangs.
    nodes.servers[0].pause();
    let options = Options::new(FOREVER).node_timeout(IMPATIENT);
    let guard = ends(redlatch.acquire(unique_resource("states"), options)).await;
    let guard = guard.expect("two nodes");
    is("suspect").await;
    nodes.servers[0].resume();
    is("up").await;

    // It is gone.
    nodes.proxies[0].connections(Connections::Refuse);
    nodes.proxies[0].reset_all();
    let failed = [("node", &*node), ("outcome", "failed")];
    becomes(&recorder, "redlatch_node_connections_total", &failed, 0.0).await;
    // It is noticed when there is something to send.
    ends(guard.release()).await.expect("two nodes");
    is("down").await;
    eventually("it cannot be connected", async || {
        recorder.scrape().value("redlatch_node_connections_total", &failed) >= 1.0
    })
    .await;
    nodes.heal();
    eventually("it is looked at again", async || {
        redlatch.inspect("states").await.expect("a good name").nodes[0].sighting.is_ok()
    })
    .await;
    is("up").await;
}

#[tokio::test]
async fn commands_that_are_never_answered_are_silent() {
    let (nodes, redlatch, recorder) = measured(3).await;
    let node = nodes.proxies[0].addr().to_string();
    nodes.servers[0].pause();
    let options = Options::new(Duration::from_millis(500));
    let guard = ends(redlatch.acquire(unique_resource("silent"), options)).await;
    ends(guard.expect("two nodes").release()).await.expect("two nodes");
    let silent = [("node", &*node), ("command", "acquire"), ("outcome", "silent")];
    becomes(&recorder, "redlatch_node_commands_total", &silent, 1.0).await;
    let seen = recorder.scrape();
    let others: f64 = nodes.proxies[1..]
        .iter()
        .map(|proxy| {
            let node = proxy.addr().to_string();
            let silent = [("node", &*node), ("outcome", "silent")];
            seen.value("redlatch_node_commands_total", &silent)
        })
        .sum();
    assert_eq!(others, 0.0);
}

#[tokio::test]
async fn a_node_that_may_have_forgotten_is_quarantined() {
    let servers = Cluster::start(3);
    let recorder = Recorder::new();
    let builder = servers.urls().into_iter().fold(Redlatch::builder(), |b, url| b.node(url));
    let redlatch = recorder.build(builder.restart_guard(FOREVER)).expect("a client");
    let error = ends(redlatch.try_acquire(unique_resource("new"), FOREVER)).await;
    let error = error.expect_err("nodes that nobody has seen before");
    assert!(matches!(error, AcquireError::Quarantined { .. }), "{error}");
    becomes(&recorder, "redlatch_acquires_total", &[("outcome", "quarantined")], 1.0).await;
    let quarantined = [("command", "acquire"), ("outcome", "quarantined")];
    becomes(&recorder, "redlatch_node_commands_total", &quarantined, 3.0).await;
}

/// Without a recorder, everything works as it does without the feature.
#[tokio::test]
async fn nobody_needs_a_recorder() {
    let nodes = Nodes::start(3);
    let redlatch = nodes.connect().await;
    let guard = ends(redlatch.acquire(unique_resource("unseen"), endless())).await;
    ends(guard.expect("three nodes").release()).await.expect("three nodes");
    settled(&redlatch).await;
}
