//! Wall clocks that are wrong, by libfaketime.
//!
//! Redis tells the time, and expires keys, by the wall clock; its event loop goes by the monotonic one. So only the
//! first is faked. The library computes `start + (true − start) · rate + offset`, where `start` is when its process
//! began, and reads rate and offset from a file before each call.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The file in the folder of a node that the library reads.
pub(super) const FILE: &str = "clock";

/// A wall clock: from `since` on it is `ahead_us` ahead, and runs `rate_ppm` faster than true time.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    since: SystemTime,
    ahead_us: i64,
    rate_ppm: i32,
}

impl WallClock {
    pub(super) fn right() -> Self {
        Self { since: SystemTime::UNIX_EPOCH, ahead_us: 0, rate_ppm: 0 }
    }

    pub(super) fn set(ahead_ms: i64, rate_ppm: i32) -> Self {
        Self { since: SystemTime::now(), ahead_us: ahead_ms.saturating_mul(1_000), rate_ppm }
    }

    /// What it shows at `now`.
    pub(super) fn shows(&self, now: SystemTime) -> SystemTime {
        let ahead = Duration::from_micros(self.ahead_us_at(now).unsigned_abs());
        let shown = match self.ahead_us_at(now) {
            0.. => now.checked_add(ahead),
            i64::MIN..0 => now.checked_sub(ahead),
        };
        shown.unwrap_or(now)
    }

    fn ahead_us_at(&self, now: SystemTime) -> i64 {
        self.ahead_us.saturating_add(drift_us(self.since, now, self.rate_ppm))
    }

    /// Writes the file for a process that began at `start`.
    pub(super) fn write(&self, folder: &Path, start: SystemTime) -> io::Result<()> {
        let now = SystemTime::now();
        let offset_us = self.ahead_us_at(now).saturating_sub(drift_us(start, now, self.rate_ppm));
        let (sign, us) = (if offset_us < 0 { '-' } else { '+' }, offset_us.unsigned_abs());
        let rate = 1_000_000_u64.saturating_add_signed(i64::from(self.rate_ppm));
        let text = format!(
            "{sign}{}.{:06} x{}.{:06}\n",
            us / 1_000_000,
            us % 1_000_000,
            rate / 1_000_000,
            rate % 1_000_000
        );
        // The library must never see half of it.
        let new = folder.join("clock.new");
        fs::write(&new, text)?;
        fs::rename(new, folder.join(FILE))
    }
}

/// How far a clock that runs `rate_ppm` faster gets between the two.
fn drift_us(since: SystemTime, now: SystemTime, rate_ppm: i32) -> i64 {
    if rate_ppm == 0 {
        return 0;
    }
    let elapsed = now.duration_since(since).unwrap_or_default().as_micros();
    let drift = i128::try_from(elapsed).unwrap_or(i128::MAX).saturating_mul(rate_ppm.into());
    i64::try_from(drift / 1_000_000).unwrap_or(i64::MAX)
}

/// The settings by which the library reads `file`.
pub(super) fn environment(preload: &str, file: &Path) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", preload.to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        // Read anew each time: a clock that lags behind its file would be wrong in another way.
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// What to preload on this machine, where it has the library.
///
/// The C library comes right behind it: a server with the system's jemalloc would hang otherwise, because jemalloc
/// asks for the time while it begins, before the library is ready to tell it.
pub(super) fn preload() -> Option<String> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let nested = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    folders.into_iter().chain(nested).find_map(|folder| {
        let (faketime, libc) = (folder.join("faketime/libfaketime.so.1"), folder.join("libc.so.6"));
        (faketime.exists() && libc.exists())
            .then(|| format!("{}:{}", faketime.display(), libc.display()))
    })
}

/// The library's shared memory outlives a process that is killed. What is mapped needs no name any more.
pub(super) fn forget_shared_memory(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // It is there only where the library is in use.
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}
