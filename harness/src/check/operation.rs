//! I11 termination, I12 no-false-loss, I13 API: one client's operations, on its own clock.

use redlatch_core::{Cause, Event, Lease, Loss, Token};

use crate::check::{Checker, Invariant, Mark, ms, name};
use crate::history::{Answered, Asked};
use crate::plan::{NODES_MAX, Shape};
use crate::sim::clock::TrueTime;

/// Clocks are read in nanoseconds, but rounded somewhere.
const SLACK: u64 = 1_000_000;

/// Bounds, by the checker's own arithmetic.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// How long a promise is good for, from when its command was sent.
    validity: u64,
    ttl: u64,
    delay_min: u64,
    /// The longest wait between two attempts.
    delay_max: u64,
    attempts_max: u32,
    wait: u64,
    /// How long after a release it must have been told how it went.
    release: u64,
    hold_max: u64,
    majority: usize,
}

impl Limits {
    pub(super) fn of(shape: &Shape) -> Self {
        let ttl = u64::from(shape.ttl_ms) * 1_000_000;
        let drift = (u128::from(ttl) * u128::from(shape.drift_ppm)).div_ceil(1_000_000) as u64;
        let delay = shape.retries.delay_max_ms.max(shape.retries.delay_min_ms);
        let nanos = |millis: u32| u64::from(millis) * 1_000_000;
        Self {
            validity: ttl.saturating_sub(drift + 2_000_000),
            ttl,
            delay_min: nanos(shape.retries.delay_min_ms),
            // Whoever learns that it will be called asks later than it has told.
            delay_max: nanos(delay) * if shape.queues { 2 } else { 1 },
            attempts_max: shape.retries.attempts_max,
            wait: shape.retries.wait_ms.map_or(u64::MAX, nanos),
            release: nanos(shape.node_timeout_ms) * 2,
            hold_max: shape.renewal_ms.map_or(u64::MAX, nanos),
            majority: shape.majority(),
        }
    }
}

/// What a client's lock is doing, as far as it can be told from outside. Times are on its clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// Nothing is asked for.
    None,
    /// An acquire was asked for.
    Acquiring {
        began: u64,
        attempts: u32,
        /// When this attempt, or the wait for the next, must be over.
        due: u64,
    },
    /// An acquire was called off, and has to end in this very moment.
    Cancelled,
    /// The lock is held.
    Held { granted: u64 },
    /// A release was asked for.
    Releasing {
        /// When the lease would have ended.
        valid_until: u64,
        /// When it must have been told how it went.
        due: u64,
    },
}

impl Checker {
    /// An acquire is asked for.
    pub(crate) fn acquire(&mut self, client: usize, reading: u64) {
        self.note_floor(client);
        let due = reading + self.limits.ttl;
        let view = &mut self.clients[client];
        view.operation = Operation::Acquiring { began: reading, attempts: 0, due };
        (view.earliest, view.was_called) = (0, false);
    }

    /// A release is asked for: from now on nothing is believed (R12).
    pub(crate) fn release(&mut self, client: usize, reading: u64) {
        let view = &mut self.clients[client];
        view.operation = match (view.operation, view.belief) {
            (Operation::Acquiring { .. }, _) => Operation::Cancelled,
            (Operation::Held { .. }, Some(belief)) => {
                let due = reading + self.limits.release;
                Operation::Releasing { valid_until: belief.valid_until, due }
            }
            (operation, _) => operation,
        };
        view.belief = None;
    }

    /// The client's process died.
    pub(crate) const fn crash(&mut self, client: usize) {
        let view = &mut self.clients[client];
        view.operation = Operation::None;
        view.belief = None;
        view.promised_to = None;
    }

    /// The lock hands a request out. `lease` is what it says to hold at this moment.
    pub(crate) fn sent(
        &mut self,
        client: usize,
        now: TrueTime,
        reading: u64,
        asked: Asked,
        token: &Token,
        lease: Option<&Lease>,
    ) {
        match asked {
            Asked::Acquire => self.attempt(client, now, reading, token),
            Asked::Release if lease.is_some_and(|lease| lease.token == *token) => {
                self.violate(Invariant::Api, now, Some(client), || {
                    let token = name(token);
                    format!("c{client} sends releases for {token} while it says that it holds it")
                });
            }
            Asked::Seal => self.clients[client].sealed = true,
            Asked::Extend | Asked::Release => {}
        }
    }

    /// The first acquire of a token begins an attempt.
    fn attempt(&mut self, client: usize, now: TrueTime, reading: u64, token: &Token) {
        let Limits { ttl, attempts_max, wait, .. } = self.limits;
        let view = &mut self.clients[client];
        if view.promised_to == Some(*token) {
            return;
        }
        view.promised_to = Some(*token);
        view.promises = [0; NODES_MAX];
        view.sealed = false;
        let is_called = reading + SLACK < view.earliest;
        let spins = is_called && view.was_called;
        view.was_called = is_called;
        view.earliest = 0;
        if spins {
            self.violate(Invariant::Api, now, Some(client), || {
                format!("c{client} began one attempt after the other, at every call")
            });
            return;
        }
        let view = &mut self.clients[client];
        let Operation::Acquiring { began, attempts, due } = &mut view.operation else { return };
        *attempts += 1;
        *due = reading + ttl;
        let (attempts, waited) = (*attempts, reading - *began);
        if attempts > 1 {
            *due = (*due).min(began.saturating_add(wait)).max(reading);
        }
        if attempts > attempts_max || attempts > 1 && waited > wait.saturating_add(SLACK) {
            self.violate(Invariant::Termination, now, Some(client), || {
                let waited = ms(waited);
                format!("c{client} began attempt {attempts} of one acquire after {waited}")
            });
        }
    }

    /// A node's answer was handed in: a yes is a promise, counted from when its request was sent.
    pub(crate) fn answered(
        &mut self,
        client: usize,
        node: usize,
        asked: Asked,
        token: &Token,
        answered: Answered,
        sent: u64,
    ) {
        let view = &mut self.clients[client];
        if view.promised_to != Some(*token) {
            return;
        }
        match (asked, answered) {
            (Asked::Acquire | Asked::Extend, Answered::Applied) => {
                let promise = &mut view.promises[node];
                *promise = (*promise).max(sent + self.limits.validity);
            }
            // The key is gone: whatever was promised does not count any more.
            (Asked::Seal | Asked::Extend, Answered::Refused) => view.promises[node] = 0,
            (Asked::Acquire | Asked::Extend | Asked::Seal | Asked::Release, _) => {}
        }
    }

    /// The lock told something. Comes before `believe`, `answered`, and `settled` of the same input.
    pub(crate) fn told(&mut self, client: usize, now: TrueTime, reading: u64, event: &Event) {
        let operation = self.clients[client].operation;
        let limits = self.limits;
        let next = match (event, operation) {
            (Event::Granted(_), Operation::Acquiring { .. }) => {
                self.mark(Mark::Granted);
                if self.clients[client].sealed {
                    self.mark(Mark::TwoRoundFence);
                }
                Some(Operation::Held { granted: reading })
            }
            (Event::Retrying { cause, .. }, Operation::Acquiring { began, attempts, .. }) => {
                self.mark(Mark::Retried);
                // What it waits for otherwise may come as soon as it likes.
                let is_contended = matches!(cause, Cause::Contended { .. });
                let useful = match cause {
                    Cause::Contended { retry_after: Some(useful) } => useful.as_nanos() as u64,
                    Cause::Contended { retry_after: None }
                    | Cause::NoQuorum
                    | Cause::Quarantined { .. }
                    | Cause::TooLate
                    | Cause::DeadlineExceeded
                    | Cause::Cancelled => u64::MAX,
                };
                let earliest = reading + useful.min(limits.delay_min);
                self.clients[client].earliest = if is_contended { earliest } else { 0 };
                let due = reading + limits.delay_max;
                Some(Operation::Acquiring { began, attempts, due })
            }
            (Event::Failed { .. }, Operation::Acquiring { .. }) => {
                self.mark(Mark::Failed);
                Some(Operation::None)
            }
            (Event::Failed { .. }, Operation::Cancelled) => {
                self.mark(Mark::Cancelled);
                Some(Operation::None)
            }
            (Event::Extended(_), Operation::Held { .. }) => {
                self.mark(Mark::Extended);
                self.check_extended(client, now);
                Some(operation)
            }
            (Event::AtRisk { .. }, Operation::Held { .. }) => {
                self.mark(Mark::AtRisk);
                Some(operation)
            }
            (Event::Lost { loss, .. }, Operation::Held { granted }) => {
                self.lost(client, now, reading, granted, *loss);
                Some(Operation::None)
            }
            // The release came too late: the lease had ended before.
            (Event::Lost { .. }, Operation::Releasing { valid_until, .. })
                if reading >= valid_until =>
            {
                Some(Operation::None)
            }
            (Event::Released(_), Operation::Releasing { .. }) => Some(Operation::None),
            (
                Event::Granted(_)
                | Event::Retrying { .. }
                | Event::Failed { .. }
                | Event::Extended(_)
                | Event::AtRisk { .. }
                | Event::Lost { .. }
                | Event::Released(_),
                _,
            ) => None,
        };
        match next {
            Some(next) => self.clients[client].operation = next,
            None => self.violate(Invariant::Api, now, Some(client), || {
                format!("c{client} was told {event:?}, while {operation:?}")
            }),
        }
    }

    fn lost(&mut self, client: usize, now: TrueTime, reading: u64, granted: u64, loss: Loss) {
        let limits = self.limits;
        let mut promises = self.clients[client].promises;
        promises.sort_unstable_by(|a, b| b.cmp(a));
        let promised = promises[limits.majority - 1];
        self.clients[client].belief = None;
        let (early, why) = match loss {
            Loss::Expired => {
                self.mark(Mark::Lapsed);
                (reading + SLACK < promised, "a majority's promises stand for longer")
            }
            Loss::HoldMax => {
                let held = reading - granted;
                (held + SLACK < limits.hold_max, "it was not held for the longest time")
            }
        };
        if early {
            self.violate(Invariant::NoFalseLoss, now, Some(client), || {
                let left = ms(promised.saturating_sub(reading));
                format!("c{client} was told that its lock is lost, but {why} ({left})")
            });
        }
    }

    /// After every input: what the lock says of itself, and when it wants to be woken.
    pub(crate) fn settled(
        &mut self,
        client: usize,
        now: TrueTime,
        reading: u64,
        lease: Option<&Lease>,
        wake_at: Option<u64>,
    ) {
        let view = &self.clients[client];
        let operation = view.operation;
        if let Some(wrong) = wrong_belief(reading, view.belief.map(|b| b.token), lease) {
            self.violate(Invariant::Api, now, Some(client), || format!("c{client} {wrong}"));
        }
        let due = match operation {
            Operation::None => return,
            Operation::Cancelled => {
                self.violate(Invariant::Api, now, Some(client), || {
                    format!("c{client} called an acquire off and was not told that it ended")
                });
                return;
            }
            Operation::Acquiring { due, .. } | Operation::Releasing { due, .. } => due + SLACK,
            Operation::Held { .. } => lease.map_or(0, |lease| lease.valid_until.as_nanos()),
        };
        if reading >= due || wake_at.is_none_or(|wake_at| wake_at > due) {
            self.violate(Invariant::Termination, now, Some(client), || {
                let wake = wake_at.map_or_else(
                    || "and does not want to be woken".into(),
                    |at| format!("and wants to be woken in {}", ms(at.saturating_sub(reading))),
                );
                let left = ms(due.saturating_sub(reading));
                format!("c{client} is {operation:?}, must be done in {left}, {wake}")
            });
        }
    }
}

/// What is wrong about a lock that says to hold `lease` where `believed` is known to be granted.
fn wrong_belief(
    reading: u64,
    believed: Option<Token>,
    lease: Option<&Lease>,
) -> Option<&'static str> {
    match (believed, lease) {
        (_, Some(lease)) if lease.valid_until.as_nanos() <= reading => {
            Some("says that it holds the lock, after the end of its lease")
        }
        (Some(believed), Some(lease)) if believed != lease.token => {
            Some("says that it holds another token than it was granted")
        }
        (None, Some(_)) => Some("says that it holds the lock, without a grant"),
        (Some(_), None) => Some("does not hold the lock any more, but was not told so"),
        (Some(_), Some(_)) | (None, None) => None,
    }
}
