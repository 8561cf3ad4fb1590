//! When to try again: a policy that is data, and a jitter that is a function of the attempt.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::lease::Token;
use crate::time::{Instant, nanos};

/// How long, and how often, an `acquire` goes on trying. It is always bounded: by a number of
/// attempts, by a total time, or by both (R13).
///
/// ```
/// use core::{num::NonZeroU32, time::Duration};
/// use redlatch_core::Retry;
///
/// let patient = Retry::within(Duration::from_secs(10));
/// let both = patient.with_attempts_max(NonZeroU32::new(20).unwrap());
/// assert_ne!(patient, both);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    attempts_max: u32,
    wait_nanos: u64,
    delay_min_nanos: u64,
    delay_max_nanos: u64,
    first: First,
}

/// When the first attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum First {
    /// When its time is over, however short the wait.
    InFull,
    /// With the wait, as all others do.
    WithTheWait,
}

/// The first ceiling of a delay that may be none at all.
const CEILING_MIN_NANOS: u64 = 1_000_000;
/// A waiter that is in queues asks again at least this often, because a queue that nobody joins is gone
/// after a minute.
const QUEUED_MAX_NANOS: u64 = 30_000_000_000;

impl Retry {
    /// The shortest delay before the next attempt, unless told otherwise: a few round trips.
    pub const DELAY_MIN: Duration = Duration::from_millis(10);
    /// The longest delay before the next attempt, unless told otherwise: what the Redis
    /// documentation's clients use, and what a person calls prompt.
    pub const DELAY_MAX: Duration = Duration::from_millis(200);

    /// One attempt, no retry.
    #[must_use]
    pub const fn never() -> Self {
        Self::attempts(NonZeroU32::MIN)
    }

    /// At most `attempts_max` attempts, however long they take.
    #[must_use]
    pub const fn attempts(attempts_max: NonZeroU32) -> Self {
        Self {
            attempts_max: attempts_max.get(),
            wait_nanos: u64::MAX,
            delay_min_nanos: nanos(Self::DELAY_MIN),
            delay_max_nanos: nanos(Self::DELAY_MAX),
            first: First::InFull,
        }
    }

    /// As many attempts as fit into `wait`. The first attempt is made in any case and gets its full
    /// time; every later one ends when the wait ends.
    #[must_use]
    pub const fn within(wait: Duration) -> Self {
        Self { wait_nanos: nanos(wait), ..Self::attempts(NonZeroU32::MAX) }
    }

    /// The same, with a first attempt that ends when the wait ends, too: nothing is granted after it.
    ///
    /// ```
    /// use core::time::Duration;
    /// use redlatch_core::Retry;
    ///
    /// let wait = Duration::from_millis(20);
    /// assert_ne!(Retry::within(wait).ending_in_time(), Retry::within(wait));
    /// ```
    #[must_use]
    pub const fn ending_in_time(self) -> Self {
        Self { first: First::WithTheWait, ..self }
    }

    /// The same, with at most `attempts_max` attempts.
    #[must_use]
    pub const fn with_attempts_max(self, attempts_max: NonZeroU32) -> Self {
        Self { attempts_max: attempts_max.get(), ..self }
    }

    /// The same, with delays that grow from `min` to `max`. A `max` below `min` counts as `min`.
    #[must_use]
    pub const fn with_delays(self, min: Duration, max: Duration) -> Self {
        Self { delay_min_nanos: nanos(min), delay_max_nanos: nanos(max), ..self }
    }

    /// When an `acquire` that began at `started` gives up.
    pub(crate) const fn give_up_at(&self, started: Instant) -> Instant {
        Instant::from_nanos(started.as_nanos().saturating_add(self.wait_nanos))
    }

    /// By when the `tries`-th attempt of an `acquire` that began at `started` is over at the latest.
    pub(crate) fn attempt_ends_by(&self, started: Instant, tries: u32) -> Instant {
        if tries == 1 && self.first == First::InFull {
            Instant::MAX
        } else {
            self.give_up_at(started)
        }
    }

    pub(crate) const fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// When to try again after the attempt of `token`, the `tries`-th, was lost; `None` when that
    /// would not be within the bounds (there is no sleep after the last try, R13).
    ///
    /// `useful` is the earliest time at which a majority could be free, as far as refusals told.
    pub(crate) fn retry_at(
        &self,
        now: Instant,
        give_up_at: Instant,
        tries: u32,
        token: &Token,
        useful: Option<Duration>,
    ) -> Option<Instant> {
        if tries >= self.attempts_max {
            return None;
        }
        let own = self.own_delay(tries, jitter(token));
        let at = now.plus_nanos(useful_delay(own, jitter(token), useful));
        (at < give_up_at).then_some(at)
    }

    /// When a waiter that is to try again at `retry_at` does so if a majority is going to call it: later,
    /// in the upper half of the longest delay, but before its place is gone.
    pub(crate) fn called_at(
        &self,
        now: Instant,
        give_up_at: Instant,
        retry_at: Instant,
        token: &Token,
        useful: Option<Duration>,
    ) -> Instant {
        let latest = now.plus_nanos(QUEUED_MAX_NANOS.max(self.delay_min_nanos));
        let half = self.delay_max_nanos.min(QUEUED_MAX_NANOS) / 2;
        let own = half + share(half, jitter(token));
        let at = now.plus_nanos(useful_delay(own, jitter(token), useful));
        let retry_at = retry_at.min(latest);
        if at < give_up_at { at.max(retry_at) } else { retry_at }
    }

    /// A random share of a ceiling that doubles with every try.
    fn own_delay(&self, tries: u32, jitter: u64) -> u64 {
        let first = self.delay_min_nanos.max(CEILING_MIN_NANOS);
        // As often as it can be doubled: that is for longer than anybody waits.
        let ceiling = first << tries.min(first.leading_zeros());
        let ceiling = ceiling.min(self.delay_max_nanos).max(self.delay_min_nanos);
        self.delay_min_nanos + share(ceiling - self.delay_min_nanos, jitter)
    }
}

/// Where a majority will be free earlier than a waiter's `own` delay, the time from then on is shared
/// out instead: no shorter than useful, and never all waiters at once.
fn useful_delay(own: u64, jitter: u64, useful: Option<Duration>) -> u64 {
    match useful.map(nanos) {
        Some(useful) if useful < own => useful + share(own - useful, jitter),
        Some(_) | None => own,
    }
}

/// The part of `whole` that `jitter` picks, 0 to `whole`.
const fn share(whole: u64, jitter: u64) -> u64 {
    ((whole as u128 * jitter as u128) >> 64) as u64
}

/// Sixty-four well-mixed bits of a token. The nonce is random and the attempt counts, so this is as
/// good as a generator that is seeded with the nonce, and needs no state.
fn jitter(token: &Token) -> u64 {
    // Read byte by byte: a 32-bit machine that cannot swap bytes does it in thirty operations otherwise.
    let halves = token.nonce().as_chunks::<8>().0.iter().fold(0, |mixed, half| {
        split_mix(mixed ^ half.iter().fold(0, |half, byte| half << 8 | u64::from(*byte)))
    });
    split_mix(halves ^ u64::from(token.attempt()))
}

/// The finalizer of SplitMix64.
const fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
