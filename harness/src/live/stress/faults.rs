//! Faults, one set after the other, until the time is over. None breaks an assumption of locks: nodes that forget are
//! kept from voting by the restart guard, and no clock is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::WAYS;
use crate::live::act::{self, Field};
use crate::live::network::Network;
use crate::live::node::Node;
use crate::live::plan::{Cue, Fault, First, Kind, LiveKind, Plan, Shape, VERSION, Work};
use crate::live::run::RunError;
use crate::live::workload::Cues;
use crate::plan::{Direction, FaultKind, Keep, Who};

/// The most faults at the same time.
const FAULTS_MAX: usize = 3;

/// How many faults of each kind struck.
pub(super) type Struck = Vec<(String, usize)>;

/// A run's faults, drawn as they come.
pub(super) struct Storm {
    rng: Rng,
    seed: u64,
    nodes: Vec<Arc<dyn Node>>,
    network: Arc<Network>,
    keys: Vec<String>,
    ttl: Duration,
}

impl Storm {
    pub(super) fn new(
        seed: u64,
        nodes: &[Arc<dyn Node>],
        network: Arc<Network>,
        keys: &[String],
        ttl: Duration,
    ) -> Self {
        let rng = Rng::with_seed(seed);
        Self { rng, seed, nodes: nodes.to_vec(), network, keys: keys.to_vec(), ttl }
    }

    /// Faults until `end`; how many of each kind struck. For how long the clients are to stand still meanwhile is told to
    /// `pause`.
    pub(super) async fn go_on(
        mut self,
        end: Instant,
        pause: mpsc::UnboundedSender<Duration>,
    ) -> Result<Struck, RunError> {
        let mut struck = BTreeMap::new();
        loop {
            // Some of the time all is well.
            let calm = Duration::from_millis(self.rng.u64(100..800));
            let left = end.saturating_duration_since(Instant::now());
            sleep(calm.min(left)).await;
            if Instant::now() >= end {
                break;
            }
            let plan = self.plan(end.saturating_duration_since(Instant::now()));
            if self.rng.u8(..100) < 12 {
                *struck.entry("clients stand still".to_owned()).or_default() += 1;
                let ttl = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
                // Whoever is told waits for the end of this.
                let _ = pause.send(Duration::from_millis(self.rng.u64(50..ttl * 3 / 2)));
            }
            let field = self.field(plan);
            for (fault, strike) in field.plan.faults.iter().zip(act::act(&field).await) {
                if let Some(trouble) = strike.trouble {
                    return Err(RunError::Plan(format!("{fault}: {trouble}")));
                }
                *struck.entry(word(fault.kind)).or_default() += 1;
            }
        }
        Ok(struck.into_iter().collect())
    }

    fn field(&self, plan: Plan) -> Arc<Field> {
        Arc::new(Field {
            plan: Arc::new(plan),
            nodes: self.nodes.clone(),
            network: Arc::clone(&self.network),
            keys: self.keys.clone(),
            cues: Arc::new(Cues::given()),
            clients: WAYS,
            orders: Vec::new(),
            origin: Instant::now(),
        })
    }

    /// Some faults at about the same time, each of another node.
    fn plan(&mut self, left: Duration) -> Plan {
        let mut nodes: Vec<u8> = (0..u8::try_from(self.nodes.len()).unwrap_or(u8::MAX)).collect();
        self.rng.shuffle(&mut nodes);
        let count = self.rng.usize(1..=FAULTS_MAX.min(nodes.len()));
        let left = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        let faults = nodes[..count].iter().map(|node| draw(&mut self.rng, *node, left)).collect();
        let ttl_ms = u32::try_from(self.ttl.as_millis()).unwrap_or(u32::MAX);
        let shape = Shape {
            nodes: u8::try_from(self.nodes.len()).unwrap_or(u8::MAX),
            clients: WAYS as u8,
            resources: 1,
            ttl_ms,
            wait_ms: ttl_ms,
            node_timeout_ms: ttl_ms,
        };
        let work = Work {
            hold_ms: (0, 0),
            rest_ms: (0, 0),
            extend_permille: 0,
            lapse_permille: 0,
            first: First::Alike,
            before_ms: 0,
            during_ms: 0,
            after_ms: 0,
        };
        let scenario = "stress".to_owned();
        Plan { version: VERSION, scenario, seed: self.seed, shape, work, faults }
    }
}

/// Without how much.
fn word(kind: Kind) -> String {
    match kind {
        Kind::Known(FaultKind::Slow { .. }) => "slow".to_owned(),
        Kind::Known(_) | Kind::Live(_) => kind.to_string(),
    }
}

/// What befalls one node, or one way to it.
fn draw(rng: &mut Rng, node: u8, left_ms: u32) -> Fault {
    let way = Who::Link(rng.u8(..WAYS as u8), node);
    let node = Who::Node(node);
    let direction = match rng.u8(..3) {
        0 => Direction::Both,
        1 => Direction::Requests,
        _ => Direction::Replies,
    };
    let somewhere = if rng.bool() { node } else { way };
    let (who, kind) = match rng.u8(..15) {
        0 => (node, Kind::Known(FaultKind::Crash { keep: Keep::All })),
        1 => (node, Kind::Known(FaultKind::Crash { keep: Keep::Nothing })),
        2..=3 => (node, Kind::Known(FaultKind::Pause)),
        4 => (node, Kind::Known(FaultKind::Flush)),
        5..=6 => (somewhere, Kind::Known(FaultKind::Cut { direction })),
        7..=8 => (somewhere, Kind::Known(FaultKind::Slow { by_us: rng.u32(5_000..200_000) })),
        9 => (somewhere, Kind::Live(LiveKind::Refused)),
        10 => (way, Kind::Live(LiveKind::Overtaken)),
        11 => (somewhere, Kind::Live(LiveKind::Duplicated)),
        12 => (way, Kind::Live(LiveKind::ReplyLost)),
        13 => (way, Kind::Live(LiveKind::ResetAfter)),
        _ => (node, Kind::Live(LiveKind::ScriptsForgotten)),
    };
    let at_ms = rng.u32(..200).min(left_ms);
    let for_ms = rng.u32(100..1_800).min(left_ms.max(100));
    Fault { when: Cue::Start, at_ms, for_ms, who, kind }
}
