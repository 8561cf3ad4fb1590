//! The one file that reads clocks.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use redlatch_core::{Instant, Place, Proposal, ProposalError};
use tokio::sync::watch;
use tokio::time::Sleep;

/// The holder's clock.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "clock-faults")]
    return crate::clock_faults::seen(machine());
    #[cfg(not(feature = "clock-faults"))]
    machine()
}

/// Monotonic, and counting the time in which the machine was suspended, so that a laptop that wakes up
/// finds its lock expired.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn machine() -> Instant {
    since_origin(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

/// On these systems `CLOCK_MONOTONIC` counts suspended time.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub(crate) fn machine() -> Instant {
    since_origin(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

/// The performance counter, which counts suspended time.
#[cfg(not(unix))]
pub(crate) fn machine() -> Instant {
    static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let elapsed = ORIGIN.get_or_init(std::time::Instant::now).elapsed();
    Instant::ZERO.saturating_add(elapsed)
}

#[cfg(unix)]
fn since_origin(time: rustix::time::Timespec) -> Instant {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Instant::ZERO.saturating_add(Duration::new(seconds, nanos))
}

/// The fence that this client proposes: its wall clock.
pub(crate) fn proposal() -> Result<Proposal, ProposalError> {
    Proposal::from_unix_micros(u64::try_from(wall().as_micros()).unwrap_or(u64::MAX))
}

/// The place of one who begins to wait now.
pub(crate) fn place() -> Place {
    Place::since_millis(u64::try_from(wall().as_millis()).unwrap_or(u64::MAX))
}

/// The wall clock, since 1970.
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// How long it is until `at`.
pub(crate) fn until(at: Instant) -> Duration {
    at.saturating_duration_since(now())
}

/// Sleeps until about `at`. Timers stand still while the machine is suspended, so whoever wakes up
/// compares the clock; [`watch_for_suspend`] wakes the sleepers after a suspend.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    Alarm::default().ring(at).await;
}

/// How long a timer has to be set to end at `at`.
fn on_timers(at: Instant) -> Duration {
    #[cfg(feature = "clock-faults")]
    return crate::clock_faults::on_timers(until(at));
    #[cfg(not(feature = "clock-faults"))]
    until(at)
}

/// A timer for somebody who looks at the clock when it rings, and often has something to do before: it is
/// set again only to ring earlier, and rings early rather than be set anew.
#[derive(Default)]
pub(crate) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// When it rings; `None` if it is not set.
    rings_at: Option<Instant>,
}

impl Alarm {
    /// Completes at about `at`, or earlier.
    pub(crate) async fn ring(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return std::future::pending().await };
        if self.rings_at.is_none_or(|rings_at| at < rings_at) {
            let sleep = on_timers(at).min(SLEEP_MAX);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(tokio::time::Instant::now() + sleep),
                None => self.timer = Some(Box::pin(tokio::time::sleep(sleep))),
            }
            self.rings_at = Some(at);
        }
        if let Some(timer) = &mut self.timer {
            timer.as_mut().await;
        }
        self.rings_at = None;
    }

    /// Forgets when it is set to ring: the clock has run ahead of the timers.
    pub(crate) fn forget(&mut self) {
        self.rings_at = None;
    }
}

/// The longest sleep without a look at the clock. A timer that ends too far away cannot be set.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How often to look whether the machine was suspended: the delay with which a loss may be told
/// after one. (`is_valid` is right at once.)
const SUSPEND_CHECK: Duration = Duration::from_millis(250);
/// How far timers must have fallen behind the clock to call it a suspend.
const SUSPEND_MIN: Duration = Duration::from_millis(100);

/// Tells every lock when the clock has run ahead of the timers, until nobody is there to be told.
pub(crate) async fn watch_for_suspend(woken: watch::Sender<Duration>) {
    let mut before = (now(), tokio::time::Instant::now());
    while !woken.is_closed() {
        tokio::time::sleep(SUSPEND_CHECK).await;
        let after = (now(), tokio::time::Instant::now());
        let (clock, timers) = (after.0.saturating_duration_since(before.0), after.1 - before.1);
        if clock > timers + SUSPEND_MIN {
            // `now` has what was missed.
            woken.send_replace(Duration::ZERO);
        }
        before = after;
    }
}
