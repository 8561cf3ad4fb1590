//! Signals to `run` and `acquire`, without a terminal.

use redlatch_tests::{Cluster, FaultProxy, unique_resource};
use rustix::process::Signal;

use crate::support::{Running, eventually, is_free, program, redlatch, run, start};

/// Says what it gets, and ends at TERM with 3. The shell says more on standard error, of its `sleep`s
/// that get the same; none of them is to leave a core file.
const TALKATIVE: &str = "
    ulimit -c 0
    for name in HUP INT QUIT USR1 USR2 CONT WINCH; do trap \"echo $name\" $name; done
    trap 'echo TERM; exit 3' TERM
    echo started
    while :; do sleep 0.01; done";

fn start_script(cluster: &Cluster, resource: &str, script: &str) -> Running {
    let args = ["run", resource, "--", "sh", "-c", script];
    let mut running = start(redlatch(&cluster.urls(), args));
    running.wait_for("started");
    running
}

#[test]
fn every_signal_is_passed_on_once() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("signals");
    let mut running = start_script(&cluster, &resource, TALKATIVE);
    let signals = [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::CONT, "CONT"),
        (Signal::WINCH, "WINCH"),
    ];
    for (signal, name) in signals {
        running.signal(signal);
        running.wait_for(name);
    }
    running.signal(Signal::TERM);
    // Nothing came twice, or it would stand before this.
    let ended = running.end().with_code(3);
    assert_eq!(ended.stdout, "TERM\n");
    assert!(!ended.stderr.contains("redlatch:"), "{ended:?}");
    assert!(is_free(&cluster, &resource));
}

#[test]
fn a_command_that_a_signal_ends_is_told_by_its_code_and_its_lock_is_released() {
    let cluster = Cluster::start(3);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let resource = unique_resource("ended");
        let running = start_script(&cluster, &resource, "echo started; exec sleep 600");
        running.signal(signal);
        running.end().with_code(code);
        assert!(is_free(&cluster, &resource), "{signal:?}");
    }
}

#[test]
fn an_interrupt_of_the_whole_process_group_comes_once_and_releases_the_lock() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("interrupt");
    let mut running = start_script(&cluster, &resource, TALKATIVE);
    let group = || rustix::process::kill_process_group(running.pid(), Signal::INT);
    group().expect("a process group");
    running.wait_for("INT");
    running.signal(Signal::TERM);
    assert_eq!(running.end().with_code(3).stdout, "TERM\n");
    assert!(is_free(&cluster, &resource));
}

#[test]
fn a_command_is_stopped_and_goes_on() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("stopped");
    let script = "echo $$; echo started; while read line; do :; done";
    let mut command = redlatch(&cluster.urls(), ["run", &resource, "--", "sh", "-c", script]);
    command.stdin(std::process::Stdio::piped());
    let mut running = start(command);
    let pid = running.line();
    running.wait_for("started");
    running.signal(Signal::TSTP);
    let stat = std::path::PathBuf::from(format!("/proc/{pid}/stat"));
    if stat.exists() {
        eventually("the command stands still", || crate::support::read(&stat).contains(") T "));
    }
    running.signal(Signal::CONT);
    drop(running.stdin());
    running.end().with_code(0);
}

#[test]
fn a_wait_for_a_lock_is_ended_by_a_signal_and_leaves_nothing() {
    let cluster = Cluster::start(3);
    for command in ["run", "acquire"] {
        let resource = unique_resource("waiting");
        let lease = run(&cluster.urls(), ["acquire", &resource]).with_code(0).stdout;
        let proxy = FaultProxy::start(&cluster[0]);
        let mut nodes = cluster.urls();
        nodes[0] = proxy.url();
        let mut args = vec![command, "--wait", "1h", &resource];
        if command == "run" {
            args.extend(["--", "echo", "ran"]);
        }
        let running = start(redlatch(&nodes, args));
        eventually("it has asked", || proxy.count("EVALSHA") >= 1);
        running.signal(Signal::TERM);
        assert_eq!(running.end().with_code(143).stdout, "", "{command}");
        crate::support::run_with_input(&cluster.urls(), &["release"], &lease).with_code(0);
        assert!(is_free(&cluster, &resource), "{command}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_is_ignored_from_the_start_stays_so() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("nohup");
    let script = format!(
        "trap '' HUP; exec {} run {resource} -- sh -c 'echo started; exec sleep 600'",
        crate::support::REDLATCH
    );
    let mut running = start(program("sh", &cluster.urls(), ["-c", &script]));
    running.wait_for("started");
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    // HUP would have come first.
    running.end().with_code(143);
}
