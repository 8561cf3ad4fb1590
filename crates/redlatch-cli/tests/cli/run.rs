//! `run` where nothing goes wrong, or before the command is started.

use std::time::{Duration, Instant};

use redlatch_tests::{Cluster, Fault, FaultProxy, Match, unique_resource};

use crate::support::{eventually, holders, is_free, redlatch, run, start, word};

#[test]
fn the_command_runs_under_the_lock_and_its_lock_is_released() {
    let cluster = Cluster::start(5);
    let resource = unique_resource("run");
    let script = "echo \"$REDLATCH_RESOURCE $REDLATCH_FENCE\"; read go; exit 0";
    let mut command = redlatch(&cluster.urls(), ["run", &resource, "--", "sh", "-c", script]);
    command.stdin(std::process::Stdio::piped());
    let mut running = start(command);
    let line = running.line();
    let (name, fence) = line.split_once(' ').expect("two words");
    assert_eq!(name, resource);
    assert!(fence.parse::<u64>().expect("a number") > 0);
    assert!(holders(&cluster, &resource) >= 3, "{:?}", cluster.owner_of(&resource));
    // Its standard input is the command's: closing it ends the command. Nothing is said meanwhile.
    drop(running.stdin());
    let ended = running.end().with_code(0);
    assert_eq!(ended.stderr, "");
    assert!(is_free(&cluster, &resource));
}

#[test]
fn the_commands_code_is_passed_back() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("code");
    for code in [0, 1, 2, 7, 64, 76, 255] {
        let script = format!("exit {code}");
        let ended = run(&cluster.urls(), ["run", &resource, "--", "sh", "-c", &script]);
        assert_eq!(ended.with_code(code).stderr, "");
    }
    // Death by a signal, as shells tell it.
    run(&cluster.urls(), ["run", &resource, "--", "sh", "-c", "kill -KILL $$"]).with_code(137);
    run(&cluster.urls(), ["run", &resource, "--", "sh", "-c", "kill -SEGV $$"]).with_code(139);
    assert!(is_free(&cluster, &resource));
}

#[test]
fn a_command_that_cannot_be_run_has_the_codes_of_shells_and_leaves_no_lock() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("command");
    let missing = run(&cluster.urls(), ["run", &resource, "--", "no-such-command"]).with_code(127);
    assert!(missing.stderr.starts_with("redlatch: no-such-command cannot be run"), "{missing:?}");
    let directory = run(&cluster.urls(), ["run", &resource, "--", "/"]).with_code(126);
    assert!(directory.stderr.starts_with("redlatch: / cannot be run"), "{directory:?}");
    assert!(is_free(&cluster, &resource));
}

#[test]
fn fences_grow_and_are_absent_where_none_was_asked_for() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("fence");
    let print = ["sh", "-c", "echo ${REDLATCH_FENCE-none}"];
    let mut before = 0;
    for _ in 0..5 {
        let ended = run(&cluster.urls(), ["run", &resource, "--"].into_iter().chain(print));
        let fence: u64 = ended.with_code(0).stdout.trim().parse().expect("a number");
        assert!(fence > before, "{fence} after {before}");
        before = fence;
    }
    for flag in ["--no-fence", "--plain"] {
        let args = ["run", flag, &resource, "--"].into_iter().chain(print);
        let mut command = redlatch(&cluster.urls(), args);
        // That of a lock around this one is none of this one's.
        command.env("REDLATCH_FENCE", "1");
        assert_eq!(crate::support::ended(command).with_code(0).stdout, "none\n", "{flag}");
    }
}

#[test]
fn several_resources_are_locked_together() {
    let cluster = Cluster::start(3);
    let (one, two) = (unique_resource("{a}:1"), unique_resource("{a}:2"));
    let args = ["run", &one, &two, "--", "sh", "-c", "echo \"$REDLATCH_RESOURCE\"; read go"];
    let mut command = redlatch(&cluster.urls(), args);
    command.stdin(std::process::Stdio::piped());
    let mut running = start(command);
    running.wait_for(&one);
    running.wait_for(&two);
    assert!(holders(&cluster, &one) >= 2);
    assert!(holders(&cluster, &two) >= 2);
    drop(running.stdin());
    running.end().with_code(1);
    assert!(is_free(&cluster, &one) && is_free(&cluster, &two));
}

#[test]
fn a_taken_lock_is_told_by_a_code_of_its_own() {
    let cluster = Cluster::start(5);
    let resource = unique_resource("taken");
    run(&cluster.urls(), ["acquire", &resource]).with_code(0);
    // A node may be slow on a busy machine.
    let flags = ["--wait", "0", "--node-timeout", "5s"];
    let command = [resource.as_str(), "--", "echo", "ran"];
    let ended = run(&cluster.urls(), ["run"].iter().chain(&flags).chain(&command)).with_code(75);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.starts_with("redlatch: the lock is taken"), "{ended:?}");
    assert!(ended.stderr.contains("127.0.0.1:"), "it names nodes: {ended:?}");
    let quiet = run(&cluster.urls(), ["run", "-q"].iter().chain(&flags).chain(&command));
    assert_eq!(quiet.with_code(75).stderr, "");
}

#[test]
fn a_wait_that_ends_while_nodes_are_slow_is_no_want_of_a_quorum() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("slow");
    run(&cluster.urls(), ["acquire", &resource]).with_code(0);
    let proxies: Vec<_> = cluster.iter().map(FaultProxy::start).collect();
    let urls: Vec<_> = proxies.iter().map(FaultProxy::url).collect();
    // The wait ends in the middle of an attempt, or not: the code must be the same.
    for proxy in &proxies {
        proxy.inject(Match::any(), Fault::DelayReply(Duration::from_millis(150)));
    }
    let args = ["run", "--wait", "1s", "--node-timeout", "5s", &resource, "--", "echo", "ran"];
    run(&urls, args).with_code(75);
}

#[test]
fn too_few_nodes_are_told_by_a_code_of_its_own() {
    let cluster = Cluster::start(5);
    for node in cluster.iter().take(3) {
        node.kill();
    }
    let resource = unique_resource("quorum");
    for wait in ["0", "100ms"] {
        let ended = run(&cluster.urls(), ["run", "--wait", wait, &resource, "--", "echo", "ran"]);
        let ended = ended.with_code(69);
        assert_eq!(ended.stdout, "");
        for node in cluster.iter() {
            assert!(ended.stderr.contains(&node.addr().to_string()), "{ended:?}");
        }
    }
    assert!(is_free(&cluster, &resource));
}

#[test]
fn a_lock_that_is_freed_while_somebody_waits_is_taken() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("freed");
    let lease = run(&cluster.urls(), ["acquire", "--json", &resource]).with_code(0);
    let proxy = FaultProxy::start(&cluster[0]);
    let mut nodes = cluster.urls();
    nodes[0] = proxy.url();
    let running = start(redlatch(&nodes, ["run", "--wait", "9s", &resource, "--", "echo", "ran"]));
    eventually("it was refused and has tried again", || proxy.count("EVALSHA") >= 2);
    crate::support::run_with_input(&cluster.urls(), &["release"], &lease.stdout).with_code(0);
    assert_eq!(running.end().with_code(0).stdout, "ran\n");
}

#[test]
fn a_hung_node_and_a_dead_one_delay_nothing() {
    const RUNS: u32 = 5;
    let cluster = Cluster::start(5);
    let time = || {
        let begun = Instant::now();
        for _ in 0..RUNS {
            let resource = unique_resource("minority");
            let ended = run(&cluster.urls(), ["run", &resource, "--", "echo", "ran"]).with_code(0);
            assert_eq!(ended.stdout, "ran\n");
        }
        begun.elapsed() / RUNS
    };
    let all = time();
    cluster[1].pause();
    cluster[3].kill();
    let three = time();
    // For people: a loaded machine is no failure.
    let ratio = three.as_secs_f64() / all.as_secs_f64();
    println!("all five: {all:?}, one hung and one dead: {three:?}, ratio {ratio:.2}");
}

#[test]
fn what_happens_is_told_on_request() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("verbose");
    let ended = run(&cluster.urls(), ["run", "-v", &resource, "--", "true"]).with_code(0);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{ended:?}");
    assert!(lines[0].starts_with(&format!("redlatch: acquired {resource} after ")), "{ended:?}");
    assert_eq!(lines[1], format!("redlatch: released {resource}"));
}

#[test]
fn the_restart_guard_and_declare_fresh_go_together() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("guard");
    let flags = ["run", "--restart-guard", "1m", "--wait", "0", "--node-timeout", "5s"];
    let guarded = || flags.iter().copied().chain([resource.as_str(), "--", "echo", "ran"]);
    let refused = run(&cluster.urls(), guarded()).with_code(69);
    assert!(refused.stderr.contains("try again in"), "{refused:?}");
    for node in cluster.iter() {
        node.command(&["FLUSHALL"]);
    }
    let fresh = run(&cluster.urls(), ["declare-fresh"]).with_code(0);
    assert_eq!(fresh.stdout.lines().count(), 3, "{fresh:?}");
    assert_eq!(run(&cluster.urls(), guarded()).with_code(0).stdout, "ran\n");
    let again = run(&cluster.urls(), ["declare-fresh", "--json"]).with_code(69);
    assert_eq!(again.json()["fresh"].as_array().map(Vec::len), Some(0), "{again:?}");
    assert!(again.stderr.contains("0 of 3 nodes are fresh now"), "{again:?}");
}

#[test]
fn a_lease_printed_as_a_line_has_the_fence_for_scripts() {
    let cluster = Cluster::start(3);
    let lease = run(&cluster.urls(), ["acquire", &unique_resource("line")]).with_code(0);
    assert!(word(&lease.stdout, "fence").parse::<u64>().is_ok(), "{lease:?}");
}
