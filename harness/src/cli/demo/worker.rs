//! A worker: takes locks, works under them, and behaves as badly as real programs do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redlatch::{Guard, Options, Redlatch};
use tokio::time::{sleep, sleep_until, timeout};

use super::TTL;
use super::record::{Hold, What};
use super::referee::{Loss, Referee};

/// How long an acquire waits for a lock that is taken.
const WAIT: Duration = Duration::from_millis(1_200);
/// How much longer than that an acquire, or a release at all, may take to end.
const END_MAX: Duration = Duration::from_secs(2);
/// How long a node may take to answer.
const NODE_TIMEOUT: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) redlatch: Redlatch,
    pub(super) referee: Arc<Referee>,
    pub(super) rng: Rng,
    pub(super) stop_at: Instant,
    /// How often it has asked, and how often it was granted.
    pub(super) acquires: u32,
    pub(super) grants: u32,
}

/// What a worker does under the lock.
enum Manner {
    /// Works for so many milliseconds, writes now and then, and releases.
    Careful(u64),
    /// Works for longer than the ttl, extends, and releases.
    Long,
    /// Drops the guard in the middle.
    Careless,
    /// Stands still until the lock is lost, and writes nevertheless.
    Paused,
}

impl Worker {
    pub(super) async fn run(mut self) {
        while Instant::now() < self.stop_at && !self.referee.record().is_violated() {
            self.turn().await;
            let rest = self.rng.u64(0..8);
            sleep(Duration::from_millis(rest)).await;
        }
    }

    async fn turn(&mut self) {
        let resource = self.rng.usize(..self.referee.names().len());
        let name = self.referee.names()[resource].clone();
        let options = Options::new(TTL).wait(WAIT).node_timeout(NODE_TIMEOUT);
        // One in twelve changes its mind while it waits.
        let patience = match self.rng.u8(..12) {
            0 => Duration::from_micros(self.rng.u64(50..5_000)),
            1..=255 => WAIT + END_MAX,
        };
        self.acquires += 1;
        let hold = Hold { worker: self.index, acquire: self.acquires, resource };
        self.referee.record().note(What::Asked { hold });
        let (floor, begin) = (self.referee.fence_floor(resource), Instant::now());
        let acquired = timeout(patience, self.redlatch.acquire(&name, options)).await;
        match acquired {
            Ok(Ok(guard)) => {
                let took = begin.elapsed();
                self.referee.count(|counts| counts.acquire_max = counts.acquire_max.max(took));
                self.referee.granted(hold, floor, &guard.view());
                self.work(hold, guard).await;
            }
            Ok(Err(_)) => {
                self.referee.record().note(What::NotGranted { hold });
                self.referee.count(|counts| counts.refusals += 1);
            }
            Err(_) if patience < WAIT => {
                self.referee.record().note(What::NotGranted { hold });
                self.referee.count(|counts| counts.cancelled += 1);
            }
            Err(_) => self.referee.overdue(self.index, "an acquire"),
        }
    }

    async fn work(&mut self, hold: Hold, guard: Guard) {
        let view = guard.view();
        self.grants += 1;
        // Once each worker is paused in any case, so that no run is without a loss.
        let draw = if self.grants == 2 { u8::MAX } else { self.rng.u8(..20) };
        let manner = match draw {
            0..=15 => Manner::Careful(self.rng.u64(2..60)),
            16 => Manner::Long,
            17 | 18 => Manner::Careless,
            19..=255 => Manner::Paused,
        };
        self.referee.write(hold, &view);
        match manner {
            Manner::Careful(millis) => {
                for _ in 0..3 {
                    sleep(Duration::from_millis(millis / 3)).await;
                    self.referee.write(hold, &view);
                }
                self.release(hold, guard).await;
            }
            Manner::Long => {
                for _ in 0..4 {
                    sleep(TTL / 3).await;
                    if guard.extend().await.is_ok() {
                        let until = self.referee.record().elapsed() + guard.remaining();
                        self.referee.record().note(What::Extended { hold, until });
                        self.referee.count(|counts| counts.extensions += 1);
                    }
                    self.referee.write(hold, &view);
                }
                self.release(hold, guard).await;
            }
            Manner::Careless => {
                sleep(Duration::from_millis(self.rng.u64(1..40))).await;
                self.referee.gone(hold);
                self.referee.record().note(What::GivenUp { hold });
                drop(guard);
            }
            Manner::Paused => {
                let until = guard.valid_until();
                // It is at most so long until the loss must be told.
                let told = async {
                    let told = timeout(TTL + END_MAX, guard.lost()).await;
                    (told.is_ok(), Instant::now())
                };
                let timer = async {
                    sleep_until(until.into()).await;
                    Instant::now()
                };
                let ((told, at), rang) = tokio::join!(told, timer);
                self.referee.gone(hold);
                if told {
                    self.referee.lost(hold, Loss { until, rang, told: at });
                } else {
                    self.referee.overdue(self.index, "a lease");
                }
                sleep(Duration::from_millis(self.rng.u64(0..80))).await;
                self.referee.write(hold, &view);
            }
        }
    }

    async fn release(&self, hold: Hold, guard: Guard) {
        self.referee.gone(hold);
        self.referee.record().note(What::GivenUp { hold });
        // Whether a majority confirms it or not: the lock is not held any more, and the call ends.
        match timeout(END_MAX, guard.release()).await {
            Ok(result) => {
                let confirmed = result.is_ok();
                self.referee.record().note(What::Released { hold, confirmed });
            }
            Err(_) => self.referee.overdue(self.index, "a release"),
        }
    }
}
