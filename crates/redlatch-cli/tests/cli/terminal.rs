//! `run` at a terminal: a pseudo-terminal of the test's.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use redlatch_tests::{Cluster, unique_resource};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{REDLATCH, Running, bare, is_free, start};

/// Starts `redlatch run` as the foreground of a terminal. Its standard output is a pipe.
fn start_at_terminal(cluster: &Cluster, resource: &str, script: &str) -> (Running, File) {
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&keyboard).expect("its other end");
    unlockpt(&keyboard).expect("its other end");
    let name = ptsname(&keyboard, Vec::new()).expect("its name");
    let name = name.to_str().expect("an ASCII name");
    let terminal = OpenOptions::new().read(true).write(true).open(name).expect("its other end");
    let mut command = bare(REDLATCH);
    command.args(["run", resource, "--", "sh", "-c", script]);
    command.env("REDLATCH_NODES", cluster.urls().join(","));
    command.stdin(Stdio::from(terminal));
    // SAFETY: between fork and exec only `setsid` and `ioctl` are called, plain system calls that are
    // safe there.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
    let mut running = start(command);
    running.wait_for("started");
    (running, keyboard.into())
}

#[test]
fn control_c_reaches_the_command_once() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("keys");
    let script = "ulimit -c 0; trap 'echo INT' INT; trap 'echo QUIT' QUIT; trap 'echo USR1' USR1
        trap 'echo TERM; exit 3' TERM; echo started; while :; do sleep 0.01; done";
    let (mut running, mut keyboard) = start_at_terminal(&cluster, &resource, script);
    for (key, name) in [(b"\x03", "INT"), (b"\x1c", "QUIT")] {
        keyboard.write_all(key).expect("a key press");
        running.wait_for(name);
    }
    // What no key sends is passed on.
    running.signal(Signal::USR1);
    running.wait_for("USR1");
    running.signal(Signal::TERM);
    let ended = running.end().with_code(3);
    assert_eq!(ended.stdout, "TERM\n");
    assert!(is_free(&cluster, &resource));
}

#[test]
fn control_c_releases_the_lock_of_a_command_that_it_ends() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("keys");
    let script = "echo started; exec sleep 600";
    let (running, mut keyboard) = start_at_terminal(&cluster, &resource, script);
    keyboard.write_all(b"\x03").expect("a key press");
    running.end().with_code(130);
    assert!(is_free(&cluster, &resource));
}

#[test]
fn the_command_can_read_the_terminal() {
    let cluster = Cluster::start(3);
    let resource = unique_resource("typed");
    let script = "echo started; read line; echo \"got $line\"";
    let (running, mut keyboard) = start_at_terminal(&cluster, &resource, script);
    keyboard.write_all(b"hello\n").expect("key presses");
    assert_eq!(running.end().with_code(0).stdout, "got hello\n");
}
