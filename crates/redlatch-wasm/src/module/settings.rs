//! What a lock is configured with.

use alloc::boxed::Box;
use core::num::NonZeroU32;
use core::time::Duration;

use redlatch_core::wire::{self, Compare};
use redlatch_core::{Config, Drift, Quorum, Renewal, Retry, Ttl};
use wasm_bindgen::prelude::wasm_bindgen;

use super::clock;
use super::problem::{Invalid, Problem};

/// The place of each parameter in the list that [`settings`] begins. All times are in ms.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// How many nodes there are, 1 to 16.
    Nodes,
    /// How long a node is asked to keep a key: 1 ms to 24 h, in whole milliseconds.
    Ttl,
    /// How much of the ttl is given away to clocks, in parts per million, at most 500,000.
    DriftPpm,
    /// How long a node may take to answer; 0 for the usual tenth of the ttl, 50 ms to 500 ms.
    NodeTimeout,
    /// A lock is granted only if it is then good for longer than this.
    ValidityMin,
    /// How long to go on trying; 0 is one attempt, `Infinity` leaves it to `AttemptsMax`.
    Wait,
    /// The most attempts; 0 leaves it to `Wait`.
    AttemptsMax,
    /// The shortest delay before the next attempt.
    DelayMin,
    /// The longest delay before the next attempt.
    DelayMax,
    /// 1 if the lock is to be renewed by itself, 0 if not.
    Renew,
    /// For how long a lock that is renewed may be held; then it is lost.
    HoldMax,
    /// 1 for the plain dialect (`SET … NX PX` to acquire: one resource, no fence), 0 for scripts.
    Plain,
    /// The longest ttl that any client of the nodes uses, if nodes that may have forgotten keys are to
    /// be kept from voting for that long; 0 is no guard. Every client must have the same.
    RestartGuard,
    /// How long nodes keep a fence number after its last grant.
    FenceRetention,
}

/// How many there are.
const COUNT: usize = Setting::FenceRetention as usize + 1;

/// How long an `acquire` waits for a lock that is taken, unless told otherwise: as the native driver.
const WAIT: Duration = Duration::from_secs(10);
/// How long a lock that is to be renewed is held, unless told otherwise: as the native driver.
const HOLD_MAX: Duration = Duration::from_secs(60 * 60);

/// The parameters of a lock on `nodes` nodes whose keys live for `ttl`, as the options of the native
/// driver begin: it waits for up to 10 s and is not renewed. Nothing is checked before a
/// [`Machine`](super::Machine) is made of them.
#[wasm_bindgen]
#[must_use]
pub fn settings(nodes: u32, ttl: f64) -> Box<[f64]> {
    let mut values = [0.0; COUNT];
    values[Setting::Nodes as usize] = f64::from(nodes);
    values[Setting::Ttl as usize] = ttl;
    values[Setting::DriftPpm as usize] = 10_000.0;
    values[Setting::Wait as usize] = WAIT.as_millis() as f64;
    values[Setting::DelayMin as usize] = Retry::DELAY_MIN.as_millis() as f64;
    values[Setting::DelayMax as usize] = Retry::DELAY_MAX.as_millis() as f64;
    values[Setting::HoldMax as usize] = HOLD_MAX.as_millis() as f64;
    values[Setting::FenceRetention as usize] = wire::Dialect::FENCE_RETENTION.as_millis() as f64;
    values.into()
}

/// A list that [`settings`] began.
pub(crate) struct Settings<'a>(pub(crate) &'a [f64]);

impl Settings<'_> {
    pub(crate) fn config(&self) -> Result<Config, Invalid> {
        let ttl = Ttl::new(self.duration(Setting::Ttl))?;
        let quorum = Quorum::of(self.value(Setting::Nodes) as usize)?;
        let drift = Drift::from_ppm(self.value(Setting::DriftPpm) as u32).ok_or(Problem::Drift)?;
        let mut config = Config::new(quorum, ttl)?
            .with_drift(drift)?
            .with_validity_min(self.duration(Setting::ValidityMin))?
            .with_retry(self.retry());
        if self.value(Setting::NodeTimeout) > 0.0 {
            config = config.with_node_timeout(self.duration(Setting::NodeTimeout))?;
        }
        if self.value(Setting::Renew) > 0.0 {
            config = config.with_renewal(Renewal::up_to(self.duration(Setting::HoldMax)));
        }
        Ok(config)
    }

    pub(crate) fn dialect(&self) -> Result<wire::Dialect, Invalid> {
        if self.value(Setting::Plain) > 0.0 {
            return Ok(wire::Dialect::Plain { compare: Compare::Script });
        }
        let guard = self.duration(Setting::RestartGuard);
        Ok(wire::Dialect::Scripts {
            restart_guard: if guard.is_zero() { None } else { Some(Ttl::new(guard)?) },
            fence_retention: self.duration(Setting::FenceRetention),
        })
    }

    fn retry(&self) -> Retry {
        let wait = self.value(Setting::Wait);
        let attempts_max = match NonZeroU32::new(self.value(Setting::AttemptsMax) as u32) {
            Some(attempts_max) if wait > 0.0 => attempts_max,
            None if wait > 0.0 && wait < f64::INFINITY => NonZeroU32::MAX,
            Some(_) | None => NonZeroU32::MIN,
        };
        // An infinite wait is one until the end of time.
        let retry = Retry::within(clock::duration(wait)).with_attempts_max(attempts_max);
        retry.with_delays(self.duration(Setting::DelayMin), self.duration(Setting::DelayMax))
    }

    fn value(&self, setting: Setting) -> f64 {
        self.0.get(setting as usize).copied().unwrap_or_default()
    }

    #[inline(never)] // eight times the same
    fn duration(&self, setting: Setting) -> Duration {
        clock::duration(self.value(setting))
    }
}
