//! A clock that is wrong on purpose, for harnesses: how do an application, and the driver, fare when the holder's clock
//! runs at another rate than those of the nodes, or jumps?
//!
//! It is the clock of this process: every client in it reads it. Only with the feature `clock-faults`, which no service
//! should switch on.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use redlatch::{Redlatch, clock_faults};
//! use std::time::Duration;
//!
//! let (redlatch, _fake) = Redlatch::fake()?;
//! let guard = redlatch.acquire("report", Duration::from_secs(30)).await?;
//! clock_faults::jump(Duration::from_secs(40)); // as after a suspend
//! assert!(!guard.is_valid());
//! # Ok(()) }
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redlatch_core::Instant;

use crate::clock;

const MILLION: i128 = 1_000_000;

/// What is read instead of the machine's clock: from `since` on, at another rate.
#[derive(Clone, Copy, Debug)]
struct Course {
    since: Instant,
    read: Instant,
    ppm: i32,
}

static COURSE: Mutex<Course> =
    Mutex::new(Course { since: Instant::ZERO, read: Instant::ZERO, ppm: 0 });

/// Lets the clock run faster by so many parts per million from now on, slower if negative; it does not jump. 0 is the
/// machine's own rate, and at -1,000,000 or less it stands still.
pub fn run_at(ppm: i32) {
    let mut course = course();
    let since = clock::machine();
    *course = Course { since, read: course.at(since), ppm: ppm.max(-1_000_000) };
}

/// Lets the clock jump ahead, as after a suspend. It never goes back.
pub fn jump(by: Duration) {
    let mut course = course();
    course.read = course.read.saturating_add(by);
}

/// What the clock shows when the machine's shows `machine`.
pub(crate) fn seen(machine: Instant) -> Instant {
    course().at(machine)
}

/// How long a timer has to be set for the clock to show so much more.
pub(crate) fn on_timers(time: Duration) -> Duration {
    let rate = MILLION + i128::from(course().ppm);
    if rate == 0 {
        return Duration::MAX;
    }
    scaled(time, MILLION, rate)
}

impl Course {
    fn at(&self, machine: Instant) -> Instant {
        let passed = machine.saturating_duration_since(self.since);
        self.read.saturating_add(scaled(passed, MILLION + i128::from(self.ppm), MILLION))
    }
}

fn scaled(time: Duration, by: i128, over: i128) -> Duration {
    let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX).saturating_mul(by) / over;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn course() -> MutexGuard<'static, Course> {
    COURSE.lock().unwrap_or_else(PoisonError::into_inner)
}
