//! The counting for [`metrics`](crate::metrics), if the feature of that name is on. All handles are made
//! when a client is built: what happens later finds no name and makes no key.

#[cfg(feature = "metrics")]
mod on {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use ::metrics::{Counter, Gauge, Histogram};
    use redlatch_core::{Cause, Command, CommandId, Event, Instant, Loss, Op, Released, Reply};

    use super::End;
    use crate::clock;
    use crate::metrics::{self as table, Metric};
    use crate::node::Node;

    /// The most nodes that there can be.
    const NODES_MAX: usize = 16;
    /// `acquire`, `seal`, `extend`, `release`.
    const COMMANDS: usize = 4;

    /// What the locks of one client count with.
    #[derive(Clone)]
    pub(crate) struct Meters(Arc<Handles>);

    /// The order of each field's handles is that of the values of its metric's label.
    struct Handles {
        acquires: Vec<Counter>,
        acquire_duration: Vec<Histogram>,
        retries: Vec<Counter>,
        held: Gauge,
        hold_duration: Vec<Histogram>,
        renewals: Vec<Counter>,
        at_risk: Counter,
        lost: Vec<Counter>,
        releases: Vec<Counter>,
    }

    impl Meters {
        /// With the recorder that is there at this moment.
        pub(crate) fn new() -> Self {
            table::describe();
            Self(Arc::new(Handles {
                acquires: counters(&table::ACQUIRES),
                acquire_duration: histograms(&table::ACQUIRE_DURATION),
                retries: counters(&table::RETRIES),
                held: metrics::gauge!(table::HELD.name),
                hold_duration: histograms(&table::HOLD_DURATION),
                renewals: counters(&table::RENEWALS),
                at_risk: metrics::counter!(table::AT_RISK.name),
                lost: counters(&table::LOST),
                releases: counters(&table::RELEASES),
            }))
        }
    }

    /// One for each value of the metric's only label.
    fn counters(metric: &Metric) -> Vec<Counter> {
        let values = metric.labels.iter().flat_map(|label| label.values);
        let name = metric.labels.first().map_or("", |label| label.name);
        values.map(|value| metrics::counter!(metric.name, name => *value)).collect()
    }

    fn histograms(metric: &Metric) -> Vec<Histogram> {
        let values = metric.labels.iter().flat_map(|label| label.values);
        let name = metric.labels.first().map_or("", |label| label.name);
        values.map(|value| metrics::histogram!(metric.name, name => *value)).collect()
    }

    fn count(counters: &[Counter], place: usize) {
        if let Some(counter) = counters.get(place) {
            counter.increment(1);
        }
    }

    fn time(histograms: &[Histogram], place: usize, since: Instant) {
        if let Some(histogram) = histograms.get(place) {
            histogram.record(clock::now().saturating_duration_since(since));
        }
    }

    /// What one lock counts.
    pub(crate) struct Meter {
        meters: Meters,
        nodes: Arc<[Arc<Node>]>,
        /// When it was asked for, until that has ended.
        asked_at: Option<Instant>,
        /// Since when it is held, if it is.
        held_since: Option<Instant>,
        was_held: bool,
        is_at_risk: bool,
        /// How many commands of each kind each node owes an answer to.
        unanswered: [[u16; COMMANDS]; NODES_MAX],
    }

    impl Meter {
        /// Of a lock that is asked for at this moment.
        pub(crate) fn asked(meters: &Meters, nodes: &Arc<[Arc<Node>]>, now: Instant) -> Self {
            Self {
                meters: meters.clone(),
                nodes: nodes.clone(),
                asked_at: Some(now),
                held_since: None,
                was_held: false,
                is_at_risk: false,
                unanswered: [[0; COMMANDS]; NODES_MAX],
            }
        }

        /// Of a lock that is held already.
        pub(crate) fn adopted(meters: &Meters, nodes: &Arc<[Arc<Node>]>, now: Instant) -> Self {
            let mut this = Self::asked(meters, nodes, now);
            this.asked_at = None;
            this.held(now);
            this
        }

        fn held(&mut self, now: Instant) {
            self.held_since = Some(now);
            self.was_held = true;
            self.meters.0.held.increment(1);
        }

        pub(crate) fn event(&mut self, event: &Event) {
            let meters = self.meters.clone();
            let meters = &*meters.0;
            match event {
                Event::Granted(_) => {
                    self.acquire_ended(0);
                    self.held(clock::now());
                }
                Event::Retrying { cause, .. } => count(&meters.retries, cause_of(cause) - 1),
                Event::Failed { cause, .. } => self.acquire_ended(cause_of(cause)),
                Event::Extended(_) => {
                    count(&meters.renewals, 0);
                    self.is_at_risk = false;
                }
                Event::AtRisk { .. } => {
                    count(&meters.renewals, 1);
                    if !std::mem::replace(&mut self.is_at_risk, true) {
                        meters.at_risk.increment(1);
                    }
                }
                Event::Lost { loss, .. } => count(
                    &meters.lost,
                    match loss {
                        Loss::Expired => 0,
                        Loss::HoldMax => 1,
                    },
                ),
                // The clean-up after an acquire that was given up is none.
                Event::Released(_) if !self.was_held => {}
                Event::Released(Released::Confirmed) => count(&meters.releases, 0),
                Event::Released(Released::Unconfirmed { .. }) => count(&meters.releases, 1),
            }
        }

        fn acquire_ended(&mut self, outcome: usize) {
            if let Some(asked_at) = self.asked_at.take() {
                count(&self.meters.0.acquires, outcome);
                time(&self.meters.0.acquire_duration, outcome, asked_at);
            }
        }

        /// The lock is not held any more, if it was.
        pub(crate) fn ended(&mut self, end: End) {
            if let Some(since) = self.held_since.take() {
                self.meters.0.held.decrement(1);
                time(&self.meters.0.hold_duration, end as usize, since);
            }
        }

        pub(crate) fn sent(&mut self, command: &Command) {
            if let Some(node) = self.unanswered.get_mut(command.id.node().index()) {
                let unanswered = &mut node[command_of(&command.op)];
                *unanswered = unanswered.saturating_add(1);
            }
        }

        pub(crate) fn answered(&mut self, now: Instant, id: &CommandId, op: &Op, reply: &Reply) {
            let (index, command) = (id.node().index(), command_of(op));
            let Some(meter) = self.nodes.get(index).map(|node| &node.meter) else { return };
            if let Some(unanswered) = self.unanswered.get_mut(index) {
                unanswered[command] = unanswered[command].saturating_sub(1);
            }
            let outcome = match reply {
                Reply::Applied { .. } => 0,
                Reply::Refused { .. } => 1,
                Reply::Quarantined { .. } => 2,
                Reply::Unknown => 3,
            };
            if let Some(counters) = meter.commands.get(command) {
                count(counters, outcome);
            }
            if !matches!(reply, Reply::Unknown) {
                meter.round_trip.record(now.saturating_duration_since(id.sent()));
            }
        }
    }

    impl Drop for Meter {
        fn drop(&mut self) {
            if self.held_since.is_some() {
                self.meters.0.held.decrement(1);
            }
            for (node, unanswered) in self.nodes.iter().zip(&self.unanswered) {
                for (counters, unanswered) in node.meter.commands.iter().zip(unanswered) {
                    if let Some(silent) = counters.last().filter(|_| *unanswered > 0) {
                        silent.increment((*unanswered).into());
                    }
                }
            }
        }
    }

    /// The place of a cause among the outcomes of an acquire; that of a grant is 0.
    const fn cause_of(cause: &Cause) -> usize {
        match cause {
            Cause::Contended { .. } => 1,
            Cause::NoQuorum => 2,
            Cause::TooLate => 3,
            Cause::Quarantined { .. } => 4,
            Cause::DeadlineExceeded => 5,
            Cause::Cancelled => 6,
        }
    }

    const fn command_of(op: &Op) -> usize {
        match op {
            Op::Acquire { .. } => 0,
            Op::Seal { .. } => 1,
            Op::Extend { .. } => 2,
            Op::Release { .. } => 3,
        }
    }

    /// What one node counts.
    pub(crate) struct NodeMeter {
        state: AtomicU8,
        states: Vec<Gauge>,
        connections: Vec<Counter>,
        round_trip: Histogram,
        commands: Vec<Vec<Counter>>,
    }

    const UP: u8 = 0;
    const SUSPECT: u8 = 1;
    const DOWN: u8 = 2;
    /// Nobody has needed it yet.
    const UNSEEN: u8 = 3;

    impl NodeMeter {
        /// With the recorder that is there at this moment.
        pub(crate) fn new(node: &Arc<str>) -> Self {
            let states = values(&table::NODE_STATE, "state");
            let connections = values(&table::CONNECTIONS, "outcome");
            let commands = values(&table::COMMANDS, "command");
            let outcomes = values(&table::COMMANDS, "outcome");
            let state = |value| {
                let labels = [label("node", node.clone()), label("state", value)];
                metrics::gauge!(table::NODE_STATE.name, labels.to_vec())
            };
            let connection = |value| {
                let labels = [label("node", node.clone()), label("outcome", value)];
                metrics::counter!(table::CONNECTIONS.name, labels.to_vec())
            };
            let command = |command, outcome| {
                let labels = [
                    label("node", node.clone()),
                    label("command", command),
                    label("outcome", outcome),
                ];
                metrics::counter!(table::COMMANDS.name, labels.to_vec())
            };
            Self {
                state: AtomicU8::new(UNSEEN),
                states: states.iter().map(|value| state(*value)).collect(),
                connections: connections.iter().map(|value| connection(*value)).collect(),
                round_trip: metrics::histogram!(table::ROUND_TRIP.name, "node" => node.clone()),
                commands: commands
                    .iter()
                    .map(|of| outcomes.iter().map(|outcome| command(*of, *outcome)).collect())
                    .collect(),
            }
        }

        pub(crate) fn connected(&self) {
            count(&self.connections, 0);
            self.turn(UP);
        }

        pub(crate) fn not_connected(&self) {
            count(&self.connections, 1);
            self.turn(DOWN);
        }

        /// Its connection broke, or is that of a server that is not the node any more.
        pub(crate) fn disconnected(&self) {
            self.turn(DOWN);
        }

        /// It owes an answer whose time has come.
        pub(crate) fn suspected(&self) {
            if self.state.load(Ordering::Relaxed) == UP {
                self.turn(SUSPECT);
            }
        }

        /// It has answered something.
        pub(crate) fn heard(&self) {
            if self.state.load(Ordering::Relaxed) == SUSPECT {
                self.turn(UP);
            }
        }

        fn turn(&self, state: u8) {
            if self.state.swap(state, Ordering::Relaxed) == state {
                return;
            }
            for (gauge, of) in self.states.iter().zip([UP, SUSPECT, DOWN]) {
                gauge.set(if of == state { 1.0 } else { 0.0 });
            }
        }
    }

    fn values(metric: &Metric, label: &str) -> &'static [&'static str] {
        let mut labels = metric.labels.iter();
        labels.find(|known| known.name == label).map_or(&[], |label| label.values)
    }

    fn label(name: &'static str, value: impl Into<metrics::SharedString>) -> metrics::Label {
        metrics::Label::new(name, value)
    }
}

#[cfg(feature = "metrics")]
pub(crate) use on::{Meter, Meters, NodeMeter};

#[cfg(not(feature = "metrics"))]
mod off {
    use std::sync::Arc;

    use redlatch_core::{Command, CommandId, Event, Instant, Op, Reply};

    use super::End;
    use crate::node::Node;

    #[derive(Clone)]
    pub(crate) struct Meters;

    impl Meters {
        pub(crate) const fn new() -> Self {
            Self
        }
    }

    pub(crate) struct Meter;

    impl Meter {
        pub(crate) fn asked(_: &Meters, _: &Arc<[Arc<Node>]>, _: Instant) -> Self {
            Self
        }

        pub(crate) fn adopted(_: &Meters, _: &Arc<[Arc<Node>]>, _: Instant) -> Self {
            Self
        }

        pub(crate) fn event(&mut self, _: &Event) {}
        pub(crate) fn ended(&mut self, _: End) {}
        pub(crate) fn sent(&mut self, _: &Command) {}
        pub(crate) fn answered(&mut self, _: Instant, _: &CommandId, _: &Op, _: &Reply) {}
    }

    pub(crate) struct NodeMeter;

    impl NodeMeter {
        pub(crate) fn new(_: &Arc<str>) -> Self {
            Self
        }

        pub(crate) fn connected(&self) {}
        pub(crate) fn not_connected(&self) {}
        pub(crate) fn disconnected(&self) {}
        pub(crate) fn suspected(&self) {}
        pub(crate) fn heard(&self) {}
    }
}

#[cfg(not(feature = "metrics"))]
pub(crate) use off::{Meter, Meters, NodeMeter};

/// How a lock came to be held no longer, in the order of the values of
/// [`HOLD_DURATION`](crate::metrics)'s label.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Released,
    Lost,
    HandedOver,
}
