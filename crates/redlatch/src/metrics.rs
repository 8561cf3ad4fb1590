//! What a client counts and measures, for recorders of the [`metrics`](https://docs.rs/metrics) facade.
//!
//! A client reports to the recorder that is there when it is built: install yours first. To give one
//! client a recorder of its own, build it within `metrics::with_local_recorder`. Without a recorder,
//! counting costs next to nothing; without the feature `metrics`, nothing.
//!
//! Labels are few and bounded: a node's name, which is its address unless
//! [`named_node`](crate::Builder::named_node) says otherwise, and words of the table in [`ALL`]. The
//! names of resources are none of them, because there is no bound on how many an application has; the
//! spans of the feature `tracing` tell those. Fences and tokens are not told either.
//!
//! Recorders that are to fill histograms, as that for Prometheus, need to be told their bounds:
//!
//! ```no_run
//! # /*
//! let builder = metrics_exporter_prometheus::PrometheusBuilder::new()
//!     .set_buckets_for_metric(Matcher::Prefix("redlatch_".into()), &redlatch::metrics::BUCKETS)?;
//! builder.install()?;
//! # */
//! let redlatch = redlatch::Redlatch::new(["redis://10.0.0.1"])?;
//! # Ok::<(), redlatch::BuildError>(())
//! ```

/// Something that is counted or measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// As recorders are told it, by the conventions of Prometheus: with its unit, if it has one.
    pub name: &'static str,
    /// What is done with it.
    pub kind: Kind,
    /// Its labels and what each may be, of which every combination exists from the first.
    pub labels: &'static [Label],
    /// What it is, in one sentence.
    pub help: &'static str,
}

/// What is done with a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution of durations, in seconds.
    Seconds,
}

/// A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// The words that it may be; none for the names of nodes.
    pub values: &'static [&'static str],
}

/// Upper bounds for histograms of all durations here: from a round trip within a machine to a lock that
/// is held for an hour.
pub const BUCKETS: [f64; 20] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0, 600.0, 3_600.0,
];

/// All that is counted and measured.
pub const ALL: [Metric; 13] = [
    ACQUIRES,
    ACQUIRE_DURATION,
    RETRIES,
    HELD,
    HOLD_DURATION,
    RENEWALS,
    AT_RISK,
    LOST,
    RELEASES,
    COMMANDS,
    ROUND_TRIP,
    NODE_STATE,
    CONNECTIONS,
];

/// Tells the recorder what each metric is. Clients do that when they are built; only a recorder that is
/// installed later needs it, and it gets nothing of the clients that are older.
pub fn describe() {
    for Metric { name, kind, help, .. } in ALL {
        match kind {
            Kind::Counter => ::metrics::describe_counter!(name, ::metrics::Unit::Count, help),
            Kind::Gauge => ::metrics::describe_gauge!(name, help),
            Kind::Seconds => ::metrics::describe_histogram!(name, ::metrics::Unit::Seconds, help),
        }
    }
}

pub(crate) const ACQUIRES: Metric = Metric {
    name: "redlatch_acquires_total",
    kind: Kind::Counter,
    labels: &[OUTCOME],
    help: "Acquires that have ended, by how",
};

pub(crate) const ACQUIRE_DURATION: Metric = Metric {
    name: "redlatch_acquire_duration_seconds",
    kind: Kind::Seconds,
    labels: &[OUTCOME],
    help: "From the call of acquire until it ended, retries and waiting included",
};

pub(crate) const RETRIES: Metric = Metric {
    name: "redlatch_retries_total",
    kind: Kind::Counter,
    labels: &[Label {
        name: "cause",
        values: &["contended", "no_quorum", "too_late", "quarantined"],
    }],
    help: "Attempts that another one followed, by why they were lost",
};

pub(crate) const HELD: Metric = Metric {
    name: "redlatch_held_locks",
    kind: Kind::Gauge,
    labels: &[],
    help: "Locks that are held at this moment",
};

pub(crate) const HOLD_DURATION: Metric = Metric {
    name: "redlatch_hold_duration_seconds",
    kind: Kind::Seconds,
    labels: &[Label { name: "end", values: &["released", "lost", "handed_over"] }],
    help: "From the grant of a lock, or its adoption, until it was held no longer",
};

pub(crate) const RENEWALS: Metric = Metric {
    name: "redlatch_renewals_total",
    kind: Kind::Counter,
    labels: &[Label { name: "outcome", values: &["extended", "missed"] }],
    help: "Extensions, asked for or by themselves, by whether a majority agreed",
};

pub(crate) const AT_RISK: Metric = Metric {
    name: "redlatch_at_risk_total",
    kind: Kind::Counter,
    labels: &[],
    help: "Held locks that came to be at risk: an extension missed its majority after one that did not",
};

pub(crate) const LOST: Metric = Metric {
    name: "redlatch_lost_total",
    kind: Kind::Counter,
    labels: &[Label { name: "loss", values: &["expired", "hold_max"] }],
    help: "Locks that were lost while they were held, by why",
};

pub(crate) const RELEASES: Metric = Metric {
    name: "redlatch_releases_total",
    kind: Kind::Counter,
    labels: &[Label { name: "outcome", values: &["confirmed", "unconfirmed"] }],
    help: "Releases of held locks, by whether a majority confirmed in time that the lock is free",
};

pub(crate) const COMMANDS: Metric = Metric {
    name: "redlatch_node_commands_total",
    kind: Kind::Counter,
    labels: &[
        NODE,
        Label { name: "command", values: &["acquire", "seal", "extend", "release"] },
        Label {
            name: "outcome",
            values: &["applied", "refused", "quarantined", "failed", "silent"],
        },
    ],
    help: "Commands of locks to each node, by what came of them",
};

pub(crate) const ROUND_TRIP: Metric = Metric {
    name: "redlatch_node_round_trip_seconds",
    kind: Kind::Seconds,
    labels: &[NODE],
    help: "From handing out a command until the node's answer to it, making a connection included",
};

pub(crate) const NODE_STATE: Metric = Metric {
    name: "redlatch_node_state",
    kind: Kind::Gauge,
    labels: &[NODE, Label { name: "state", values: &["up", "suspect", "down"] }],
    help: "1 for the state that each node was last seen in, 0 for the others",
};

pub(crate) const CONNECTIONS: Metric = Metric {
    name: "redlatch_node_connections_total",
    kind: Kind::Counter,
    labels: &[NODE, Label { name: "outcome", values: &["made", "failed"] }],
    help: "Connections to each node that were made, or could not be",
};

const OUTCOME: Label = Label {
    name: "outcome",
    values: &[
        "granted",
        "contended",
        "no_quorum",
        "too_late",
        "quarantined",
        "deadline_exceeded",
        "cancelled",
    ],
};

const NODE: Label = Label { name: "node", values: &[] };
