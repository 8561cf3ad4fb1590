//! Machines that take calls for more than hints.

use std::collections::VecDeque;

use redlatch_core::{Command, Config, Event, Instant, Lease, Lock, NodeId, NodeSet, Op, Reply};

use super::plant::{Plant, Sent, around_lock, with_lease};

/// Q1: a call is as good as a yes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallIsYes {
    lock: Lock,
    sent: Sent,
    is_acquiring: bool,
}

impl CallIsYes {
    fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), sent: Sent::default(), is_acquiring: false }
    }
}

impl Plant for CallIsYes {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        self.sent.note(&command);
        self.is_acquiring = matches!(command.op, Op::Acquire { .. });
        Some(command)
    }

    fn on_event(&mut self, event: Event) -> Event {
        self.is_acquiring = false;
        event
    }

    fn on_call(&mut self, now: Instant, node: NodeId) {
        self.lock.handle_call(now, node);
        if let (true, Some(id)) = (self.is_acquiring, self.sent.acquires.get(&node)) {
            self.lock.handle_reply(now, *id, Reply::Applied { fence: None });
        }
    }
}

/// Q6: an attempt that calls began, and that was lost, does not keep calls from beginning the next. (Its
/// clock is put forward to when the lock would try again, and its times back by as much.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NeverDeaf {
    lock: Lock,
    ahead: std::time::Duration,
    is_waiting: bool,
    called: NodeSet,
    out: VecDeque<Command>,
}

impl NeverDeaf {
    const fn rest(config: Config) -> Self {
        Self {
            lock: Lock::new(config),
            ahead: std::time::Duration::ZERO,
            is_waiting: false,
            called: NodeSet::EMPTY,
            out: VecDeque::new(),
        }
    }

    fn note(&mut self, command: &Command) {
        if let Op::Acquire { .. } = command.op {
            self.is_waiting = false;
            self.called = NodeSet::EMPTY;
        }
    }

    fn drain(&mut self) {
        while let Some(command) = self.lock.poll_command() {
            self.note(&command);
            self.out.push_back(command);
        }
    }

    fn behind(&self, lease: Lease) -> Lease {
        Lease { valid_until: lease.valid_until.saturating_sub(self.ahead), ..lease }
    }
}

impl Plant for NeverDeaf {
    around_lock!();

    fn clock(&mut self, now: Instant) -> Instant {
        now.saturating_add(self.ahead)
    }

    fn own_command(&mut self) -> Option<Command> {
        self.out.pop_front()
    }

    fn on_command(&mut self, command: Command) -> Option<Command> {
        self.note(&command);
        Some(command)
    }

    fn on_call(&mut self, now: Instant, node: NodeId) {
        /// As many timers as there may be before the retry.
        const TIMERS_MAX: usize = 8;
        self.lock.handle_call(now, node);
        self.drain();
        self.called.insert(node);
        let mut now = now;
        let majority = self.lock.config().quorum().majority();
        for _ in 0..TIMERS_MAX {
            let is_called = self.is_waiting && self.called.len() >= majority;
            let Some(at) = self.lock.poll_timeout().filter(|_| is_called) else { return };
            self.ahead += at.saturating_duration_since(now);
            now = now.max(at);
            self.lock.handle_timeout(now);
            self.drain();
        }
    }

    fn on_event(&mut self, event: Event) -> Event {
        self.is_waiting = matches!(event, Event::Retrying { .. });
        self.called = NodeSet::EMPTY;
        with_lease(event, |lease| self.behind(lease))
    }

    fn believed(&self) -> Option<Lease> {
        self.lock.lease().map(|lease| self.behind(lease))
    }

    fn deadline(&self) -> Option<Instant> {
        self.lock.poll_timeout().map(|at| at.saturating_sub(self.ahead))
    }
}
