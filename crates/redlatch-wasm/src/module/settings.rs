//! What a lock is configured with.

use core::num::NonZeroU32;

use redlatch_core::wire::{self, Compare};
use redlatch_core::{Config, Drift, Quorum, Renewal, Retry, Ttl};
use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

use super::{clock, js_error};

/// How nodes are spoken to.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Each command is one script. Needed for fences, several resources, and the restart guard.
    Scripts,
    /// `SET … NX PX` to acquire: one resource, no fence. To extend and to release is still a script.
    Plain,
}

/// The parameters of a lock, as the options of the native driver begin: nothing is checked before a
/// [`Machine`](super::Machine) is made of them. All times are in ms.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many nodes there are, 1 to 16.
    pub nodes: u32,
    /// How long a node is asked to keep a key: 1 ms to 24 h, in whole milliseconds.
    pub ttl: f64,
    /// How much of the ttl is given away to clocks, in parts per million, at most 500,000.
    #[wasm_bindgen(js_name = driftPpm)]
    pub drift_ppm: u32,
    /// How long a node may take to answer; 0 for the usual tenth of the ttl, 50 ms to 500 ms.
    #[wasm_bindgen(js_name = nodeTimeout)]
    pub node_timeout: f64,
    /// A lock is granted only if it is then good for longer than this.
    #[wasm_bindgen(js_name = validityMin)]
    pub validity_min: f64,
    /// How long to go on trying; 0 is one attempt, `Infinity` leaves it to `attemptsMax`.
    pub wait: f64,
    /// The most attempts; 0 leaves it to `wait`.
    #[wasm_bindgen(js_name = attemptsMax)]
    pub attempts_max: u32,
    /// The shortest delay before the next attempt.
    #[wasm_bindgen(js_name = delayMin)]
    pub delay_min: f64,
    /// The longest delay before the next attempt.
    #[wasm_bindgen(js_name = delayMax)]
    pub delay_max: f64,
    /// The lock is renewed by itself until it was held for this long; 0 is no renewal.
    #[wasm_bindgen(js_name = holdMax)]
    pub hold_max: f64,
    /// How nodes are spoken to.
    pub dialect: Dialect,
    /// The longest ttl that any client of the nodes uses, if nodes that may have forgotten keys are to
    /// be kept from voting for that long; 0 is no guard. Every client must have the same.
    #[wasm_bindgen(js_name = restartGuard)]
    pub restart_guard: f64,
    /// How long nodes keep a fence number after its last grant.
    #[wasm_bindgen(js_name = fenceRetention)]
    pub fence_retention: f64,
}

/// How long an `acquire` waits for a lock that is taken, unless told otherwise: as the native driver.
const WAIT_MS: f64 = 10_000.0;
/// How long a lock that is to be renewed is held, unless told otherwise: as the native driver.
const HOLD_MAX_MS: f64 = 3_600_000.0;

#[wasm_bindgen]
impl Settings {
    /// A lock on `nodes` nodes whose keys live for `ttl`, without renewal, that waits for up to 10 s.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(nodes: u32, ttl: f64) -> Self {
        Self {
            nodes,
            ttl,
            drift_ppm: 10_000,
            node_timeout: 0.0,
            validity_min: 0.0,
            wait: WAIT_MS,
            attempts_max: 0,
            delay_min: clock::millis_of(Some(Retry::DELAY_MIN)),
            delay_max: clock::millis_of(Some(Retry::DELAY_MAX)),
            hold_max: 0.0,
            dialect: Dialect::Scripts,
            restart_guard: 0.0,
            fence_retention: clock::millis_of(Some(wire::Dialect::FENCE_RETENTION)),
        }
    }

    /// One attempt, whatever was said of waiting.
    pub fn once(&mut self) {
        self.wait = f64::INFINITY;
        self.attempts_max = 1;
    }

    /// Renewal, for up to an hour unless `holdMax` says otherwise.
    pub fn renewed(&mut self) {
        if self.hold_max == 0.0 {
            self.hold_max = HOLD_MAX_MS;
        }
    }
}

impl Settings {
    pub(crate) fn config(&self) -> Result<Config, JsError> {
        let ttl = Ttl::new(clock::duration(self.ttl)).map_err(js_error)?;
        let quorum = Quorum::of(self.nodes as usize).map_err(js_error)?;
        let drift = Drift::from_ppm(self.drift_ppm)
            .ok_or_else(|| js_error("a drift of more than half of the ttl leaves no lock"))?;
        let config = Config::new(quorum, ttl)
            .and_then(|config| config.with_drift(drift))
            .and_then(|config| config.with_validity_min(clock::duration(self.validity_min)))
            .and_then(|config| match self.node_timeout {
                0.0 => Ok(config),
                timeout => config.with_node_timeout(clock::duration(timeout)),
            });
        let config = config.map_err(js_error)?.with_retry(self.retry());
        Ok(match self.hold_max {
            0.0 => config,
            hold_max => config.with_renewal(Renewal::up_to(clock::duration(hold_max))),
        })
    }

    pub(crate) fn wire_dialect(&self) -> Result<wire::Dialect, JsError> {
        Ok(match self.dialect {
            Dialect::Plain => wire::Dialect::Plain { compare: Compare::Script },
            Dialect::Scripts => wire::Dialect::Scripts {
                restart_guard: match self.restart_guard {
                    0.0 => None,
                    ttl => Some(Ttl::new(clock::duration(ttl)).map_err(js_error)?),
                },
                fence_retention: clock::duration(self.fence_retention),
            },
        })
    }

    fn retry(&self) -> Retry {
        let attempts_max = NonZeroU32::new(self.attempts_max);
        let retry = match (self.wait < f64::INFINITY, attempts_max) {
            (true, _) if clock::nanos(self.wait) == 0 => Retry::never(),
            (true, None) => Retry::within(clock::duration(self.wait)),
            (true, Some(max)) => Retry::within(clock::duration(self.wait)).with_attempts_max(max),
            (false, Some(max)) => Retry::attempts(max),
            (false, None) => Retry::never(),
        };
        retry.with_delays(clock::duration(self.delay_min), clock::duration(self.delay_max))
    }
}
