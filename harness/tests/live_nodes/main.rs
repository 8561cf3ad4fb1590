//! One conformance test that every backend passes: what a node says it can do it does, and what it cannot do it
//! refuses with a reason.

mod checks;
mod left_behind;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redlatch_harness::live::PATIENCE;
use redlatch_harness::live::node::{
    Ability, Backend, Containers, External, Fsync, Keep, Node, NodeError, Processes,
};
use redlatch_harness::live::observe::{Guard, Seen, Watch};

/// Runs all checks on nodes of one backend; those whose abilities it lacks must be refused.
fn conforms(backend: &dyn Backend) -> Vec<Arc<dyn Node>> {
    let nodes = backend.start(2).expect("two nodes");
    assert_eq!(nodes.iter().map(|node| node.name()).collect::<Vec<_>>(), ["n0", "n1"]);
    assert_ne!(nodes[0].addr(), nodes[1].addr());
    for check in checks::ALL {
        println!("{}: {}", backend.name(), check.name);
        if check.needs.iter().all(|ability| nodes[0].can(*ability)) {
            (check.run)(nodes[0].as_ref());
            // Whatever a check did, the next begins with a node that runs and is empty.
            assert_eq!(
                nodes[0].query::<String>(&["PING"]).as_deref(),
                Ok("PONG"),
                "{}",
                check.name
            );
            nodes[0].flush().expect("it is ours to flush");
        }
    }
    for ability in Ability::ALL {
        if !nodes[0].can(ability) {
            let error = refused(nodes[0].as_ref(), ability).expect_err("it said that it cannot");
            let is_told = matches!(&error, NodeError::Unable { node, why, .. } if node == "n0" && why.len() > 20);
            assert!(is_told, "{ability:?}: {error}");
        }
    }
    if nodes[0].can(Ability::Process) {
        checks::follows(&nodes);
    }
    checks::network(&nodes);
    nodes
}

fn refused(node: &dyn Node, ability: Ability) -> Result<(), NodeError> {
    match ability {
        Ability::Process => node.kill().and(node.stop()).and(node.start(Keep::All)),
        Ability::Pause => node.pause().and(node.resume()),
        Ability::Wipe => node.start(Keep::Nothing),
        Ability::PowerLoss => node.start(Keep::Synced),
        Ability::Command => node.flush(),
        Ability::ClockShift => node.set_clock(1, 0),
        Ability::ClockRate => node.set_clock(0, 1),
    }
}

/// Waits until something holds that no call can wait for.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + 3 * PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Nothing is left out for want of something on the machine: that is a failure, and says what to do.
fn can_do_everything(nodes: &[Arc<dyn Node>]) {
    for ability in Ability::ALL {
        let can = nodes.iter().all(|node| node.can(ability));
        assert!(
            can,
            "they cannot {ability}: `just setup` installs what is missing (libfaketime, or its image)"
        );
    }
}

#[test]
fn processes_conform() {
    can_do_everything(&conforms(&Processes::new()));
}

#[test]
fn containers_conform() {
    can_do_everything(&conforms(&Containers::new()));
}

/// With a password, which no output may show.
#[test]
fn external_servers_conform_as_far_as_they_can() {
    let servers = Processes::new().start(2).expect("servers");
    let urls = servers.iter().map(|server| {
        let _ = server.command(&["CONFIG", "SET", "requirepass", "s3cret"]).expect("a password");
        server.url().replace("redis://", "redis://:s3cret@")
    });
    let urls: Vec<_> = urls.collect();
    let disposable = External::new(urls.clone()).disposable();
    let nodes = conforms(&disposable);
    assert!(nodes[0].can(Ability::Command) && !nodes[0].can(Ability::Process));
    assert!(!format!("{disposable:?} {nodes:?}").contains("s3cret"));

    let theirs = External::new(urls.clone()).start(2).expect("nodes");
    assert!(!theirs[0].can(Ability::Command));
    let _ = theirs[0].command(&["SET", "theirs", "value"]).expect("SET");
    for refused in [
        theirs[0].flush(),
        theirs[0].flush_scripts(),
        theirs[0].jump(1),
        theirs[0].set_fsync(Fsync::Always),
        theirs[0].evict(&["theirs"]).map(drop),
    ] {
        assert!(refused.expect_err("it is somebody else's").to_string().contains("disposable"));
    }
    assert_eq!(theirs[0].query::<String>(&["GET", "theirs"]).as_deref(), Ok("value"));

    for (urls, told) in [
        (vec![urls[0].clone()], "2 are needed"),
        (vec!["rediss://:s3cret@127.0.0.1:1".to_owned(), urls[0].clone()], "TLS"),
        (vec!["unix:///s3cret".to_owned(), urls[0].clone()], "only TCP"),
        (vec!["s3cret".to_owned(), urls[0].clone()], "no redis:// URL"),
        (vec!["redis://:s3cret@127.0.0.1:1".to_owned(), urls[0].clone()], "does not answer"),
    ] {
        let error = External::new(urls).start(2).expect_err(told).to_string();
        assert!(error.contains(told) && !error.contains("s3cret"), "{error}");
    }
}

/// A node that redlatch's restart guard keeps from voting can be locked by nobody, so it supports whoever believes.
#[test]
fn a_node_in_quarantine_is_seen_to_give_no_lock() {
    let nodes = Processes::new().without_clocks().start(1).expect("a node");
    let origin = Instant::now();
    let keys = || vec!["lock".to_owned()];
    let guarded = Watch::start_with(&nodes, keys(), origin, Guard::On).expect("a watch");
    let unguarded = Watch::start(&nodes, keys(), origin).expect("a watch");
    let last = |watch: &Watch| watch.sightings().last().map(|sighting| sighting.seen.clone());
    eventually("without a marker it gives none", || last(&guarded) == Some(Seen::Withheld));
    eventually("to others it does", || last(&unguarded) == Some(Seen::Nobody));
    let info: String = nodes[0].query(&["INFO", "server"]).expect("INFO");
    let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:")).expect("a run_id");
    let _ = nodes[0].command(&["SET", "redlatch:run_id", run_id]).expect("SET");
    eventually("it is known", || last(&guarded) == Some(Seen::Nobody));
    let _ = nodes[0].command(&["SET", "redlatch:quarantine", "1"]).expect("SET");
    eventually("it is in quarantine", || last(&guarded) == Some(Seen::Withheld));
    let _ = nodes[0].command(&["SET", "lock", "token"]).expect("SET");
    let held = Some(Seen::Value { value: b"token".into(), remaining: None });
    eventually("it is held", || last(&guarded) == held && last(&unguarded) == held);
    nodes[0].pause().expect("it can be paused");
    eventually("it is silent", || last(&guarded) == Some(Seen::Unreachable));
    nodes[0].resume().expect("it goes on");
    eventually("it is there again", || last(&guarded) == held);
    nodes[0].kill().expect("it can be killed");
    eventually("it is gone", || last(&guarded) == Some(Seen::Unreachable));
    nodes[0].start(Keep::All).expect("it starts");
    eventually("it has forgotten", || last(&guarded) == Some(Seen::Withheld));
    assert!(guarded.stop().len() >= 8);
}

#[test]
fn what_is_missing_is_told() {
    let error = Processes::new().program("no-such-server").start(1).expect_err("no such program");
    assert!(error.to_string().contains("no-such-server"), "{error}");
    let error = Processes::new().arg("--no-such-option").start(1).expect_err("a bad option");
    assert!(error.to_string().contains("no-such-option"), "{error}");
    let error = Containers::new().image("no-such-image.invalid/redis:0").start(1);
    let error = error.expect_err("no such image").to_string();
    assert!(error.contains("no-such-image") && error.contains("scripts/live-image.sh"), "{error}");
    let nodes = Processes::new().without_clocks().start(1).expect("a node");
    let error = nodes[0].set_clock(1, 0).expect_err("no clock of its own");
    assert!(error.to_string().contains("libfaketime"), "{error}");
}
