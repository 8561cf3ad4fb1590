//! Child processes that do not outlive the test process, however that one ends.
//!
//! `Drop` ends a server when a test passes or panics. When the whole test process is killed nothing
//! of ours runs any more, so on Linux the kernel does it: every child asks for SIGKILL at its
//! parent's death (`PR_SET_PDEATHSIG`). That "parent" is the *thread* that forked, and test threads
//! end with their test; therefore all children are forked by one thread that lives as long as the
//! process. Elsewhere there is no such call, and a killed test process leaves its servers behind.

use std::io;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread;

struct Job {
    command: Command,
    answer: SyncSender<io::Result<Child>>,
}

/// The only way to the forking thread; as a static it is never dropped, so the thread never ends.
static SPAWNER: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name("spawner".into())
        .spawn(move || {
            for mut job in jobs {
                // The asker waits for this answer; were it gone, the child would be ours to end.
                if let Err(unwanted) = job.answer.send(job.command.spawn()) {
                    end(unwanted.0);
                }
            }
        })
        .expect("a thread for forking");
    sender
});

/// Starts `command` as a child that dies with the test process (on Linux).
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    #[cfg(target_os = "linux")]
    die_with_parent(&mut command);
    let (answer, result) = mpsc::sync_channel(1);
    SPAWNER.send(Job { command, answer }).expect("the spawner never ends");
    result.recv().expect("the spawner answers every job")
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
    use std::os::unix::process::CommandExt;

    let parent = getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl and getppid, both
    // plain system calls, and nothing allocates.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // A parent that died before the call above sends no signal any more.
            if getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

fn end(child: io::Result<Child>) {
    if let Ok(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}
