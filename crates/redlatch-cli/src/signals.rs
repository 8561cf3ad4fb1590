//! Signals to redlatch: which are listened to, and which are passed on to the command.

use std::fs;
use std::future::poll_fn;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

use crate::exit::{Exit, Failure};

/// Whether there is a terminal, whose Ctrl-C and the like reach the command by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    Present,
    Absent,
}

impl Terminal {
    /// Whether this process has a controlling terminal, in the foreground or not.
    pub(crate) fn find() -> Self {
        match fs::File::open("/dev/tty") {
            Ok(_) => Self::Present,
            Err(_) => Self::Absent,
        }
    }
}

/// What is done with a signal while the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relay {
    Always,
    /// At a terminal the command gets it from there, or from the shell, and must not get it twice. But
    /// it must not end redlatch, which has a lock to release.
    UnlessTerminal,
    /// At a terminal it does to redlatch what it always does: Ctrl-Z stops both, and the shell
    /// goes on.
    OnlyWithoutTerminal,
}

/// What is listened to while the command runs.
const RELAYED: [(Signal, Relay); 9] = [
    (Signal::HUP, Relay::Always),
    (Signal::TERM, Relay::Always),
    (Signal::USR1, Relay::Always),
    (Signal::USR2, Relay::Always),
    (Signal::INT, Relay::UnlessTerminal),
    (Signal::QUIT, Relay::UnlessTerminal),
    (Signal::TSTP, Relay::OnlyWithoutTerminal),
    (Signal::CONT, Relay::OnlyWithoutTerminal),
    (Signal::WINCH, Relay::OnlyWithoutTerminal),
];

/// What ends redlatch while it waits for a lock.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// The signals that this process listens to.
pub(crate) struct Signals {
    terminal: Terminal,
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Those that end it while it waits for a lock.
    pub(crate) fn while_waiting() -> Result<Self, Failure> {
        Self::listen(Terminal::Absent, ENDING.into_iter())
    }

    /// Those and the ones that are passed on to a command.
    pub(crate) fn for_command(terminal: Terminal) -> Result<Self, Failure> {
        let heard = RELAYED.into_iter().filter(|(_, relay)| match relay {
            Relay::Always | Relay::UnlessTerminal => true,
            Relay::OnlyWithoutTerminal => terminal == Terminal::Absent,
        });
        Self::listen(terminal, heard.map(|(signal, _)| signal))
    }

    fn listen(terminal: Terminal, signals: impl Iterator<Item = Signal>) -> Result<Self, Failure> {
        let ignored = ignored();
        let mut streams = Vec::new();
        for signal in signals.filter(|signal| !is_in(ignored, *signal)) {
            let stream = unix::signal(SignalKind::from_raw(signal.as_raw())).map_err(|error| {
                Failure::new(Exit::Internal, format!("signals cannot be listened to: {error}"))
            })?;
            streams.push((signal, stream));
        }
        Ok(Self { terminal, streams })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The next signal that ends a process that waits for a lock.
    pub(crate) async fn next_ending(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if ENDING.contains(&signal) {
                return signal;
            }
        }
    }

    /// The next signal that the command should get from us.
    pub(crate) async fn next_relayed(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            let at_terminal = self.terminal == Terminal::Present;
            let from_terminal = (signal, Relay::UnlessTerminal);
            if !(at_terminal && RELAYED.contains(&from_terminal)) {
                return signal;
            }
        }
    }
}

/// The exit of a process that `signal` has ended.
pub(crate) fn exit(signal: Signal) -> Exit {
    Exit::Signal(u8::try_from(signal.as_raw()).unwrap_or(u8::MAX))
}

/// The signals that this process was started to ignore, as by nohup: listening to them would end
/// that, for the command as well. Only Linux tells without unsafe code.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Whether the mask has the signal; bit 0 is signal 1.
fn is_in(mask: u64, signal: Signal) -> bool {
    u32::try_from(signal.as_raw() - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}
