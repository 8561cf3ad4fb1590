//! `run` when its lock is lost, and when redlatch itself is killed.

use redlatch_tests::{Cluster, unique_resource};
use rustix::process::Signal;

use crate::support::{Running, is_free, redlatch, start};

/// Starts a script under a short lock, and waits until it says that it runs.
fn start_script(cluster: &Cluster, resource: &str, flags: &[&str], script: &str) -> Running {
    let args = ["run", "--ttl", "1500ms"].iter().chain(flags).copied();
    let args = args.chain([resource, "--", "sh", "-c", script]);
    let mut running = start(redlatch(&cluster.urls(), args));
    running.wait_for("started");
    running
}

/// Ends when it is told to, after some cleaning up.
const OBEDIENT: &str = "trap 'echo TERM; exit 0' TERM; echo started; while :; do sleep 0.01; done";
/// Goes on when it is told to end.
const DEAF: &str = "trap 'echo TERM' TERM; echo started; while :; do sleep 0.01; done";

/// Lets a majority of five be lost in one way or another.
fn break_majority(cluster: &Cluster, how: impl Fn(&redlatch_tests::RedisServer)) {
    cluster.iter().take(3).for_each(how);
}

#[test]
fn a_command_whose_lock_is_lost_is_told_to_end() {
    let cluster = Cluster::start(5);
    let resource = unique_resource("told");
    let running = start_script(&cluster, &resource, &["--grace", "9s"], OBEDIENT);
    break_majority(&cluster, |node| node.kill());
    // Whatever its own code is.
    let ended = running.end().with_code(76);
    assert_eq!(ended.stdout, "TERM\n");
    assert!(ended.stderr.contains("could not be renewed"), "{ended:?}");
    assert!(!ended.stderr.contains("killing"), "{ended:?}");
}

#[test]
fn a_command_that_does_not_end_is_killed() {
    let cluster = Cluster::start(5);
    let resource = unique_resource("killed");
    let running = start_script(&cluster, &resource, &["--grace", "2s"], DEAF);
    break_majority(&cluster, |node| node.pause());
    let ended = running.end().with_code(76);
    assert_eq!(ended.stdout, "TERM\n");
    assert!(ended.stderr.contains("the command did not end in time; killing it"), "{ended:?}");
}

#[test]
fn a_lock_whose_keys_are_somebody_elses_is_lost_and_left_to_them() {
    let cluster = Cluster::start(5);
    let resource = unique_resource("stolen");
    let running = start_script(&cluster, &resource, &["--grace", "9s"], OBEDIENT);
    break_majority(&cluster, |node| drop(node.command(&["SET", &resource, "other"])));
    assert_eq!(running.end().with_code(76).stdout, "TERM\n");
    assert_eq!(cluster.holds(&resource, "other"), 3);
}

#[test]
fn a_command_is_ended_when_the_lock_was_held_for_as_long_as_is_allowed() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("hold");
    let running =
        start_script(&cluster, &resource, &["--max-hold", "600ms", "--grace", "9s"], OBEDIENT);
    let ended = running.end().with_code(76);
    assert_eq!(ended.stdout, "TERM\n");
    assert!(ended.stderr.contains("may be held for 600ms"), "{ended:?}");
    assert!(is_free(&cluster, &resource));
}

#[test]
fn a_lock_is_renewed_for_as_long_as_the_command_runs() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("renewed");
    // Three times the ttl of 1.5 s.
    let script = "echo started; sleep 4.5; echo done";
    let running = start_script(&cluster, &resource, &["--grace", "1ms"], script);
    assert_eq!(running.end().with_code(0).stdout, "done\n");
}

#[test]
fn what_the_command_has_started_is_ended_with_it() {
    let cluster = Cluster::start(5);
    let resource = unique_resource("group");
    // The shell ends at once; what it has started is deaf, and has the pipe that `end` waits for.
    let inner = "trap '' TERM; echo started; while :; do sleep 0.01; done";
    let script = format!("sh -c \"{inner}\" & wait");
    let running = start_script(&cluster, &resource, &["--grace", "200ms"], &script);
    break_majority(&cluster, |node| node.pause());
    running.end().with_code(76);
}

#[cfg(target_os = "linux")]
#[test]
fn the_command_does_not_outlive_redlatch() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("orphan");
    let mut running = start_script(&cluster, &resource, &[], "echo started; exec sleep 600");
    running.signal(Signal::KILL);
    assert_eq!(running.ended_by(), Some(Signal::KILL.as_raw()));
    // Its standard output, which the command has as well, is at its end.
    running.wait_for("");
}
