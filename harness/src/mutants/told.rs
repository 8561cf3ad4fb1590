//! Machines whose fault is small: what they tell is wrong or late, or a single request is missing.

use std::time::Duration;

use redlatch_core::{Command, Config, Drift, Event, Fence, Instant, Lease, Lock, Op};

use super::plant::{Plant, around_lock, with_lease};

/// X4: for a moment after each grant the application is told a longer validity than the lock itself
/// relies on. For longer, and whoever acts on it would be seen without a witness.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TellsMore {
    lock: Lock,
    now: Instant,
    until: Option<Instant>,
}

impl TellsMore {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), now: Instant::ZERO, until: None }
    }

    fn told(&self, lease: Lease) -> Lease {
        let ttl = self.lock.config().ttl().as_duration();
        let more = if self.until.is_some() { ttl / 4 } else { Duration::ZERO };
        Lease { valid_until: lease.valid_until.saturating_add(more), ..lease }
    }
}

impl Plant for TellsMore {
    around_lock!();

    fn clock(&mut self, now: Instant) -> Instant {
        self.now = now;
        self.until = self.until.filter(|until| now < *until);
        now
    }

    fn on_event(&mut self, event: Event) -> Event {
        if let Event::Granted(_) = event {
            self.until = Some(self.now.saturating_add(Duration::from_micros(1)));
        }
        with_lease(event, |lease| self.told(lease))
    }

    fn believed(&self) -> Option<Lease> {
        self.lock.lease().map(|lease| self.told(lease))
    }

    fn deadline(&self) -> Option<Instant> {
        [self.until, self.lock.poll_timeout()].into_iter().flatten().min()
    }
}

/// X10: of two neighbouring numbers each is told as the other. So fences are still unique, and their order
/// is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Swapped {
    lock: Lock,
}

/// 2 is told as 3, and 3 as 2; and so on.
fn swapped(lease: Lease) -> Lease {
    let fence = lease.fence.and_then(|fence| Fence::new(fence.get() ^ 1));
    Lease { fence: fence.or(lease.fence), ..lease }
}

impl Plant for Swapped {
    around_lock!(lock);

    fn plant(config: Config) -> Self {
        Self { lock: Lock::new(config) }
    }

    fn on_event(&mut self, event: Event) -> Event {
        with_lease(event, swapped)
    }

    fn believed(&self) -> Option<Lease> {
        self.lock.lease().map(swapped)
    }
}

/// X6: the end of a release is told a whole ttl too late, where a node does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LateEnd {
    lock: Lock,
    is_releasing: bool,
}

impl LateEnd {
    const fn rest(config: Config) -> Self {
        Self { lock: Lock::new(config), is_releasing: false }
    }

    fn late(&self) -> Duration {
        if self.is_releasing { self.lock.config().ttl().as_duration() } else { Duration::ZERO }
    }
}

impl Plant for LateEnd {
    around_lock!();

    fn on_command(&mut self, command: Command) -> Option<Command> {
        if let Op::Release { .. } = command.op {
            self.is_releasing = true;
        }
        Some(command)
    }

    fn on_event(&mut self, event: Event) -> Event {
        self.is_releasing = false;
        event
    }

    fn deadline(&self) -> Option<Instant> {
        self.lock.poll_timeout().map(|at| at.saturating_add(self.late()))
    }
}

/// X7: half of every promise is given away for drift, so that the lock is given up early.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GivesUpEarly {
    lock: Lock,
}

impl Plant for GivesUpEarly {
    around_lock!(lock);

    fn plant(config: Config) -> Self {
        let half = Drift::from_ppm(500_000).unwrap_or_default();
        Self { lock: Lock::new(config.with_drift(half).unwrap_or(config)) }
    }
}

/// Never asks anybody to release.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NeverReleases {
    lock: Lock,
}

impl Plant for NeverReleases {
    around_lock!(lock);

    fn plant(config: Config) -> Self {
        Self { lock: Lock::new(config) }
    }

    fn on_command(&mut self, command: Command) -> Option<Command> {
        match command.op {
            Op::Release { .. } => None,
            Op::Acquire { .. } | Op::Seal { .. } | Op::Extend { .. } => Some(command),
        }
    }
}

/// Never wants to be woken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SleepsForEver {
    lock: Lock,
}

impl Plant for SleepsForEver {
    around_lock!(lock);

    fn plant(config: Config) -> Self {
        Self { lock: Lock::new(config) }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
