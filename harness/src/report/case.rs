//! What there is to report.

use std::time::Duration;

use crate::check::Violation;
use crate::history::{History, Process};
use crate::plan::{self, FaultKind, Plan, Who};
use crate::sim::Counterexample;

/// One run of one scenario: what was run, what happened, and what is wrong, if anything is.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// What ran it: `sim`, `model`, `mutants`, `demo`.
    pub tier: String,
    /// The scenario, in a few words: the headline.
    pub title: String,
    /// What it was drawn from.
    pub seed: Option<u64>,
    /// The version of the code.
    pub commit: Option<String>,
    /// The command that shows it again.
    pub replay: String,
    /// How long it took.
    pub elapsed: Duration,
    /// How many of everything, and what befell them.
    pub shape: Shape,
    /// The plan as JSON, made as simple as possible, if there is a plan.
    pub plan: Option<String>,
    /// What happened.
    pub history: History,
    /// What the times in the history are.
    pub axis: Axis,
    /// What is wrong.
    pub violation: Option<Violation>,
    /// What happened, in sentences, where there is no history or where these say it better.
    pub story: Vec<String>,
}

impl Case {
    /// The case of a plan that shows a violation. `replay` is the command that shows it again.
    #[must_use]
    pub fn of(counterexample: &Counterexample, tier: &str, replay: &str) -> Self {
        let Counterexample { plan, violation, history } = counterexample;
        Self { violation: Some(violation.clone()), ..Self::of_run(plan, history, tier, replay) }
    }

    /// The case of a plan in whose `history` nothing is wrong.
    #[must_use]
    pub fn of_run(plan: &Plan, history: &History, tier: &str, replay: &str) -> Self {
        Self {
            tier: tier.to_owned(),
            title: format!("{}, seed {:#x}", plan.profile, plan.seed),
            seed: Some(plan.seed),
            replay: replay.to_owned(),
            shape: Shape::of(plan),
            plan: Some(plan.to_json_pretty()),
            history: history.clone(),
            ..Self::default()
        }
    }
}

/// What the times of a history are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Axis {
    /// Nanoseconds.
    #[default]
    Time,
    /// Numbers of steps, times [`STEP`]: only the order means something.
    Steps,
}

pub use crate::model::STEP;

/// How many of everything, and what befell them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many nodes.
    pub nodes: usize,
    /// How many clients.
    pub clients: usize,
    /// How many resources; client c wants resource c modulo this, unless its history says otherwise.
    pub resources: usize,
    /// How many nodes are a majority.
    pub majority: usize,
    /// Whether nodes that may have forgotten something are kept from voting (R16).
    pub guarded: bool,
    /// The faults, in the order in which `FaultBegan` counts them.
    pub faults: Vec<Fault>,
}

impl Shape {
    /// Of the world of `plan`.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let plan::Shape { nodes, clients, resources, .. } = plan.shape;
        Self {
            nodes: nodes.into(),
            clients: clients.into(),
            resources: resources.into(),
            majority: plan.shape.majority(),
            guarded: plan.shape.restart_guard_ms.is_some(),
            faults: plan.faults.iter().map(|fault| Fault::of(fault, &plan.shape)).collect(),
        }
    }
}

/// Something that befell somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whom.
    pub who: Vec<Process>,
    /// What it was, in a few words: `n1: crash, all lost`.
    pub text: String,
    /// What it does to those whom it befell.
    pub effect: Effect,
}

/// What a fault does to those whom it befell, as far as the picture is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They do not run while it lasts.
    Stops,
    /// It happens at one moment, and does not last.
    Moment,
    /// Something else, which lasts until it ends.
    Lasts,
}

impl Fault {
    fn of(fault: &plan::Fault, shape: &plan::Shape) -> Self {
        let who = match fault.who {
            Who::Node(node) => vec![Process::Node(node)],
            Who::Client(client) => vec![Process::Client(client)],
            Who::Link(client, node) => vec![Process::Client(client), Process::Node(node)],
            Who::All => {
                let clients = (0..shape.clients).map(Process::Client);
                clients.chain((0..shape.nodes).map(Process::Node)).collect()
            }
        };
        let text = format!("{}: {}", fault.who, fault.kind);
        let effect = match fault.kind {
            FaultKind::Pause | FaultKind::Suspend => Effect::Stops,
            FaultKind::Jump { .. } | FaultKind::Evict | FaultKind::Flush => Effect::Moment,
            FaultKind::Crash { .. }
            | FaultKind::Cut { .. }
            | FaultKind::Split { .. }
            | FaultKind::Bridge { .. }
            | FaultKind::MajoritiesRing { .. }
            | FaultKind::Slow { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Reorder { .. }
            | FaultKind::Rate { .. }
            | FaultKind::Freeze
            | FaultKind::WallSkew { .. }
            | FaultKind::Failover
            | FaultKind::HalfScripts { .. } => Effect::Lasts,
        };
        Self { who, text, effect }
    }
}
