//! The checker: what has to hold, judged from outside.
//!
//! It is told what clients were told and sent, and may look at the nodes; it knows nothing of how the
//! lock works inside. Of `redlatch_core` it uses plain data (tokens, leases, events), and its
//! arithmetic is its own. Whether an [`Invariant`] is checked depends on what it assumes and on what
//! the plan breaks ([`Invariant::holds_under`]).

mod belief;
mod fences;
mod invariant;
mod mark;
mod operation;

use std::fmt;

use redlatch_core::{Lease, Token};

pub use invariant::{Assumption, Invariant, Invariants};
pub use mark::{Mark, Marks};

use crate::history::TokenName;
use crate::plan::{CLIENTS_MAX, NODES_MAX, Plan, RESOURCES_MAX, ResourceMode};
use crate::sim::clock::TrueTime;
use fences::Fences;
pub(crate) use fences::Resource;
use operation::{Limits, Operation};

/// What the checker may look at.
pub trait Nodes {
    /// How many there are.
    fn count(&self) -> usize;
    /// The token that is in the node's key of `resource` at this time, if nothing but time passes.
    fn owner(&self, node: usize, resource: usize, at: TrueTime) -> Option<Token>;
    /// Whether the node is kept from giving a key to anybody at this time, if nothing but time passes.
    fn is_withheld(&self, node: usize, at: TrueTime) -> bool;
    /// The node's fence number of `resource`.
    fn fence(&self, node: usize, resource: usize) -> u64;
}

/// Something that must not happen did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What is violated.
    pub invariant: Invariant,
    /// When, in nanoseconds of true time.
    pub time: TrueTime,
    /// The client that it is about, if it is about one.
    pub client: Option<usize>,
    /// What happened, in one plain sentence.
    pub story: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, micros) = (self.time / 1_000_000, self.time / 1_000 % 1_000);
        write!(f, "{} at {millis}.{micros:03} ms: {}", self.invariant, self.story)
    }
}

/// What a client believes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Belief {
    pub(crate) token: Token,
    pub(crate) fence: u64,
    /// The end, on the client's clock.
    pub(crate) valid_until: u64,
    /// The end in true time, if nothing happens to the clock.
    pub(crate) ends: TrueTime,
}

#[derive(Clone, Copy, Debug)]
struct ClientView {
    resource: usize,
    operation: Operation,
    belief: Option<Belief>,
    /// The largest fence granted when the acquire was asked for.
    floor: u64,
    /// What nodes promised the token, by the checker's own arithmetic.
    promised_to: Option<Token>,
    promises: [u64; NODES_MAX],
    /// Whether a seal was sent for that token.
    sealed: bool,
    /// Before this the next attempt begins only if calls begin it; 0 if none is to come.
    earliest: u64,
    /// Whether calls began the latest attempt.
    was_called: bool,
}

impl ClientView {
    const NEW: Self = Self {
        resource: 0,
        operation: Operation::None,
        belief: None,
        floor: 0,
        promised_to: None,
        promises: [0; NODES_MAX],
        sealed: false,
        earliest: 0,
        was_called: false,
    };
}

/// Watches one run.
#[derive(Debug)]
pub struct Checker {
    checked: Invariants,
    majority: usize,
    resources: usize,
    mode: ResourceMode,
    limits: Limits,
    clients: [ClientView; CLIENTS_MAX],
    fences: [Fences; RESOURCES_MAX],
    marks: Marks,
    violation: Option<Violation>,
}

impl Checker {
    pub(crate) fn new() -> Self {
        Self {
            checked: Invariants::NONE,
            majority: 1,
            resources: 1,
            mode: ResourceMode::Unfenced,
            limits: Limits::default(),
            clients: [ClientView::NEW; CLIENTS_MAX],
            fences: Default::default(),
            marks: Marks::default(),
            violation: None,
        }
    }

    /// Forgets everything and watches a run of `plan`, in which those of `asked` that can hold have to.
    pub(crate) fn restart(&mut self, plan: &Plan, asked: Invariants) {
        self.checked = asked.under(plan);
        self.majority = plan.shape.majority();
        self.resources = plan.shape.resources.into();
        self.mode = plan.shape.resource;
        self.limits = Limits::of(&plan.shape);
        for (client, view) in self.clients.iter_mut().enumerate() {
            *view = ClientView { resource: client % self.resources, ..ClientView::NEW };
        }
        for fences in &mut self.fences {
            fences.restart();
        }
        self.marks = Marks::default();
        self.violation = None;
    }

    pub(crate) const fn marks(&self) -> Marks {
        self.marks
    }

    pub(crate) const fn mark(&mut self, mark: Mark) {
        self.marks.insert(mark);
    }

    pub(crate) const fn is_violated(&self) -> bool {
        self.violation.is_some()
    }

    pub(crate) const fn take_violation(&mut self) -> Option<Violation> {
        self.violation.take()
    }

    pub(crate) const fn resource_of(&self, client: usize) -> usize {
        self.clients[client].resource
    }

    pub(crate) const fn belief(&self, client: usize) -> Option<&Belief> {
        self.clients[client].belief.as_ref()
    }

    /// The first violation counts; what follows from it is of no interest.
    pub(crate) fn violate(
        &mut self,
        invariant: Invariant,
        time: TrueTime,
        client: Option<usize>,
        story: impl FnOnce() -> String,
    ) {
        if self.checked.contains(invariant) && self.violation.is_none() {
            self.violation = Some(Violation { invariant, time, client, story: story() });
        }
    }
}

fn name(token: &Token) -> TokenName {
    TokenName::of(token)
}

fn fence_of(lease: &Lease) -> u64 {
    lease.fence.map_or(0, redlatch_core::Fence::get)
}

/// Milliseconds with three digits after the point.
fn ms(nanos: u64) -> String {
    format!("{}.{:03} ms", nanos / 1_000_000, nanos / 1_000 % 1_000)
}
