//! Real servers that fail, for tests of one's own code.
//!
//! ```
//! use std::time::Duration;
//!
//! use redlatch::Redlatch;
//! use redlatch_harness::live::rehearsal::Rehearsal;
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let cluster = Rehearsal::start(5)?; // redis-server processes, each behind a proxy
//! let redlatch = Redlatch::new(cluster.urls())?;
//! let faults = cluster.play("node-hung", 7)?; // scenario and seed
//! redlatch.using("report", Duration::from_secs(1), async |_lease| { /* your code */ }).await?;
//! faults.over().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

use super::act::{self, Field};
use super::network::Network;
use super::node::{Backend, Node, Processes};
use super::plan::Plan;
use super::proxy::{Link, Log};
use super::record::Strike;
use super::run::{RunError, has, keep_on_disk};
use super::scenario::{Pace, Scenario, Sizes};
use super::workload::Cues;
use crate::plan::FaultKind;

/// Real servers, each behind a proxy, and a client's way to them. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Rehearsal {
    nodes: Vec<Arc<dyn Node>>,
    network: Arc<Network>,
    keys: Vec<String>,
    origin: Instant,
}

impl Rehearsal {
    /// `redis-server` processes of this machine. Blocks for some milliseconds.
    ///
    /// # Errors
    /// If they do not start.
    pub fn start(nodes: u8) -> Result<Self, RunError> {
        Self::on(&Processes::new(), nodes)
    }

    /// Servers of this backend.
    ///
    /// # Errors
    /// If they do not start.
    pub fn on(backend: &dyn Backend, nodes: u8) -> Result<Self, RunError> {
        let origin = Instant::now();
        let nodes = backend.start(nodes.into())?;
        let network = Arc::new(Network::start(&nodes, 1, origin)?);
        Ok(Self { nodes, network, keys: Vec::new(), origin })
    }

    /// Faults of single commands are to befall those that name one of these keys; else they befall all.
    #[must_use]
    pub fn with_keys<K: Into<String>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// URLs for the client, by way of the proxies; with credentials if the servers want some.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.network.urls(0)
    }

    /// The servers, to be killed or paused by hand.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<dyn Node>] {
        &self.nodes
    }

    /// The way to a server, for faults by hand.
    ///
    /// # Panics
    /// If there is no such server.
    #[must_use]
    pub fn link(&self, node: usize) -> &Link {
        self.network.link(0, node)
    }

    /// What each server was told so far.
    #[must_use]
    pub fn log(&self) -> Log {
        self.network.log()
    }

    /// Carries the faults of a scenario out, from now on and in the background. They wait for nobody: what a scenario
    /// does to a client's process is left out, and what would wait for a grant begins at once.
    ///
    /// # Errors
    /// If there is no such scenario, or it takes more nodes.
    pub fn play(&self, scenario: &str, seed: u64) -> Result<Faults, RunError> {
        let unknown = || RunError::Plan(format!("there is no scenario {scenario:?}"));
        let scenario = Scenario::named(scenario).ok_or_else(unknown)?;
        let nodes = u8::try_from(self.nodes.len()).unwrap_or(u8::MAX);
        if !scenario.fits(nodes) {
            return Err(RunError::Plan(format!("{} takes more nodes than {nodes}", scenario.name)));
        }
        self.carry_out(scenario.plan(seed, Sizes { nodes, clients: 1, pace: Pace::Quick }))
    }

    /// Carries the faults of a plan out, likewise.
    ///
    /// # Errors
    /// If a server does not do what it takes, or there is no thread to be had.
    pub fn carry_out(&self, plan: Plan) -> Result<Faults, RunError> {
        if has(&plan, |kind| matches!(kind, FaultKind::Failover)) {
            let why =
                "a failover takes a server that follows another: `redlatch-harness live` has one";
            return Err(RunError::Plan(why.to_owned()));
        }
        keep_on_disk(&self.nodes, &plan)?;
        let field = Field {
            cues: Arc::new(Cues::given()),
            plan: Arc::new(plan),
            nodes: self.nodes.clone(),
            network: Arc::clone(&self.network),
            keys: self.keys.clone(),
            clients: 1,
            orders: Vec::new(),
            origin: self.origin,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (done, strikes) = oneshot::channel();
        thread::Builder::new().name("faults".into()).spawn(move || {
            let strikes = runtime.block_on(act::act(&Arc::new(field)));
            drop(done.send(strikes));
        })?;
        Ok(Faults { strikes })
    }
}

/// Faults that go on.
#[derive(Debug)]
pub struct Faults {
    strikes: oneshot::Receiver<Vec<Strike>>,
}

impl Faults {
    /// Waits until they are over; what came of each. On any executor.
    ///
    /// # Errors
    /// If one could not be carried out.
    pub async fn over(self) -> Result<Vec<Strike>, RunError> {
        let strikes = self.strikes.await;
        checked(strikes.unwrap_or_default())
    }

    /// The same, for a thread that may block.
    ///
    /// # Errors
    /// If one could not be carried out.
    pub fn wait(self) -> Result<Vec<Strike>, RunError> {
        checked(self.strikes.blocking_recv().unwrap_or_default())
    }
}

fn checked(strikes: Vec<Strike>) -> Result<Vec<Strike>, RunError> {
    match strikes.iter().find_map(|strike| strike.trouble.clone()) {
        Some(trouble) => Err(RunError::Plan(trouble)),
        None => Ok(strikes),
    }
}
