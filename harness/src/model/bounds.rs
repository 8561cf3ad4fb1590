//! What a run of the model ranges over, and what it demands.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use redlatch_core::{Config, ConfigError, Drift, Quorum, QuorumError, Retry, Ttl, TtlError};

use crate::check::Invariant;

/// The most nodes of a model.
pub const NODES_MAX: usize = 5;
/// The most clients of a model.
pub const CLIENTS_MAX: usize = 3;

/// A quarantine that does not end.
pub const FOR_GOOD: u8 = u8::MAX;
/// The most grants whose fences a model remembers.
pub(crate) const GRANTS_MAX: usize = 6;

/// A tick is a millisecond, the step of Redis's clock.
pub(crate) const TICK_MS: u64 = 1;
pub(crate) const TICK_NANOS: u64 = TICK_MS * 1_000_000;
/// What the protocol gives away for drift (with no allowance in proportion to the ttl), as the model
/// understands it. A key is asked for by this much longer than it is believed in, and the model lets
/// clocks eat all of it.
pub(crate) const MARGIN_MS: u64 = 2;

/// The size of a model: everything below is explored in every order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Nodes, 1 to [`NODES_MAX`].
    pub nodes: usize,
    /// Clients, 1 to [`CLIENTS_MAX`].
    pub clients: usize,
    /// How often each client may call `acquire`.
    pub acquires: [u8; CLIENTS_MAX],
    /// Attempts of one `acquire`, for each client.
    pub tries: [u8; CLIENTS_MAX],
    /// How often each client may call `extend`.
    pub extensions: u8,
    /// For how many ticks a promise is believed in, and at least kept.
    pub validity_ticks: u8,
    /// After how many ticks a silent node counts as unknown; `validity_ticks` if `None`.
    pub timeout_ticks: Option<u8>,
    /// What is known of time.
    pub time: Time,
    /// Whether fences are asked for, and from where they count.
    pub fences: Option<Fences>,
    /// How many nodes crash.
    pub crashes: u8,
    /// What a node has after a crash.
    pub keep: Keep,
    /// For how many ticks a node does not vote after a crash; `validity_ticks` is right, [`FOR_GOOD`]
    /// is for ever.
    pub quarantine_ticks: u8,
    /// How many requests are delivered twice.
    pub requests_twice: u8,
    /// How many replies are delivered twice.
    pub replies_twice: u8,
    /// How often a client is told that nothing is known of its command, though it may still arrive.
    pub unknowns: u8,
    /// Whether waiters queue in the nodes, and are called at any time (R18). All are in all queues from the
    /// beginning, and a release keeps a free key for any of them, or for nobody.
    pub queues: Choice,
    /// Whether a client may give up in the middle of an `acquire`.
    pub cancels: Choice,
    /// What is left out because it cannot change the verdict.
    pub reductions: Reductions,
    /// What must hold: some of [`MODELLED`].
    pub invariants: Vec<Invariant>,
}

/// What is known of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Clocks keep their bounds: a key lives for `validity_ticks` at least, and then for as long as it
    /// likes. A timer is looked at on its tick, but a retry may begin at any time.
    Timed,
    /// The same, and a client looks at its timers as late as it likes.
    TimedLate,
    /// Nothing is: any key may expire at any moment, and any timer fire.
    Untimed,
}

/// How fences count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fences {
    /// What each client proposes.
    pub proposals: [u64; CLIENTS_MAX],
    /// The number on each node at the beginning.
    pub initial: [u64; NODES_MAX],
}

/// What a node has after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Everything; it is kept from voting all the same.
    All,
    /// The fence numbers, but not the keys.
    Fences,
    /// Nothing.
    Nothing,
}

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It happens at any time.
    Allowed,
    /// It never happens.
    Never,
}

/// States that are not told apart, and steps that are not taken one by one. Each can be switched off,
/// to check that it changes no verdict; planted bugs may need that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reductions {
    /// Nodes are interchangeable. Wrong for machines that keep a table of nodes of their own.
    pub nodes: Switch,
    /// Clients are interchangeable.
    pub clients: Switch,
    /// A reply that the machine would take in silence is taken just before the next one it answers.
    pub lazy: Switch,
    /// A client that has used up its calls and lost its lease is forgotten, but for its requests in
    /// flight.
    pub retire: Switch,
    /// A request that can change no node, and whose reply can change no client, is dropped; so is a
    /// *no* that the machine ignores.
    pub dead: Switch,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// In force.
    On,
    /// Not in force.
    Off,
}

impl Switch {
    pub(crate) const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl Reductions {
    /// All of them: what the shipped machine is explored with.
    pub const ALL: Self = Self {
        nodes: Switch::On,
        clients: Switch::On,
        lazy: Switch::On,
        retire: Switch::On,
        dead: Switch::On,
    };
    /// None of them.
    pub const NONE: Self = Self {
        nodes: Switch::Off,
        clients: Switch::Off,
        lazy: Switch::Off,
        retire: Switch::Off,
        dead: Switch::Off,
    };
    /// Those that are right for any machine and any cell: silent replies are taken late.
    pub const CAUTIOUS: Self = Self { lazy: Switch::On, ..Self::NONE };
}

/// The invariants that the model knows. The others are about the machine's own clock, its answers, or
/// what a resource lets in; they are the simulator's.
pub const MODELLED: [Invariant; 8] = [
    Invariant::Witness,
    Invariant::Mutex,
    Invariant::FenceUnique,
    Invariant::FenceOrder,
    Invariant::HoldOrder,
    Invariant::NoGhost,
    // As far as it can be seen without time: a client without rivals is never refused.
    Invariant::Progress,
    Invariant::Termination,
];
/// Those about exclusion, which need clocks within bounds.
const EXCLUSION: [Invariant; 3] = [Invariant::Witness, Invariant::Mutex, Invariant::HoldOrder];
/// Those about fences, which need no clocks.
const FENCES: [Invariant; 2] = [Invariant::FenceUnique, Invariant::FenceOrder];

/// The bounds make no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundsError {
    /// Too many or too few nodes or clients, or too many calls.
    Size,
    /// No ticks of validity, or no attempt.
    Empty,
    /// The model does not know this invariant; it is not one of [`MODELLED`].
    Invariant(Invariant),
    /// The core refused the configuration.
    Config(ConfigError),
}

impl fmt::Display for BoundsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => {
                write!(
                    f,
                    "a model has 1 to {NODES_MAX} nodes, 1 to {CLIENTS_MAX} clients and at most \
                     {GRANTS_MAX} calls of acquire"
                )
            }
            Self::Empty => f.write_str("a model needs a tick of validity and an attempt each"),
            Self::Invariant(invariant) => {
                write!(f, "{invariant} cannot be seen in a model; the simulator checks it")
            }
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BoundsError {}

impl From<ConfigError> for BoundsError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<QuorumError> for BoundsError {
    fn from(_: QuorumError) -> Self {
        Self::Size
    }
}

impl From<TtlError> for BoundsError {
    fn from(_: TtlError) -> Self {
        Self::Empty
    }
}

impl Bounds {
    /// The timed model of `nodes` and `clients`, each with one attempt and two ticks of validity, in
    /// which exclusion must hold. Nothing fails but messages, which may be as late as they like.
    #[must_use]
    pub fn exclusion(nodes: usize, clients: usize) -> Self {
        Self {
            nodes,
            clients,
            acquires: [1; CLIENTS_MAX],
            tries: [1; CLIENTS_MAX],
            extensions: 0,
            validity_ticks: 2,
            timeout_ticks: None,
            time: Time::Timed,
            fences: None,
            crashes: 0,
            keep: Keep::Fences,
            quarantine_ticks: 2,
            requests_twice: 0,
            replies_twice: 0,
            unknowns: 0,
            queues: Choice::Never,
            cancels: Choice::Allowed,
            reductions: Reductions::ALL,
            invariants: EXCLUSION.to_vec(),
        }
    }

    /// The untimed model of `nodes` and `clients`, each with one attempt, in which fences must hold
    /// whatever clocks do.
    #[must_use]
    pub fn fencing(nodes: usize, clients: usize) -> Self {
        Self {
            time: Time::Untimed,
            fences: Some(Fences::COUNTED),
            cancels: Choice::Never,
            invariants: FENCES.to_vec(),
            ..Self::exclusion(nodes, clients)
        }
    }

    /// How many nodes make a majority.
    #[must_use]
    pub const fn majority(&self) -> usize {
        self.nodes / 2 + 1
    }

    /// What each machine is configured with.
    pub(crate) fn config(&self, client: usize) -> Result<Config, BoundsError> {
        let sizes = (1..=NODES_MAX).contains(&self.nodes)
            && (1..=CLIENTS_MAX).contains(&self.clients)
            && self.acquires[..self.clients].iter().map(|&calls| usize::from(calls)).sum::<usize>()
                <= GRANTS_MAX;
        if !sizes {
            return Err(BoundsError::Size);
        }
        if let Some(other) = self.invariants.iter().find(|asked| !MODELLED.contains(asked)) {
            return Err(BoundsError::Invariant(*other));
        }
        let tries = NonZeroU32::new(self.tries[client].into()).ok_or(BoundsError::Empty)?;
        let drift = Drift::from_ppm(0).ok_or(BoundsError::Empty)?;
        let timeout = u64::from(self.timeout_ticks.unwrap_or(self.validity_ticks)) * TICK_MS;
        let ttl = u64::from(self.validity_ticks) * TICK_MS + MARGIN_MS;
        let config = Config::new(Quorum::of(self.nodes)?, Ttl::from_millis(ttl)?)?
            .with_drift(drift)?
            .with_node_timeout(Duration::from_millis(timeout))?
            .with_retry(Retry::attempts(tries).with_delays(Duration::ZERO, Duration::ZERO));
        Ok(config)
    }

    /// What happens somewhere within these bounds, in the words of [`Sights`](super::Sights).
    pub(crate) fn expected(&self) -> impl Iterator<Item = &'static str> {
        let rivals = self.clients > 1;
        let fences = self.fences.is_some();
        let timed = self.time != Time::Untimed;
        [
            (true, "granted"),
            (rivals, "contended"),
            (self.tries[..self.clients].iter().any(|&tries| tries > 1), "retried"),
            (fences && rivals, "sealed"),
            (self.extensions > 0, "extended"),
            (timed, "lost"),
            (self.queues == Choice::Allowed, "reserved"),
            (self.crashes > 0, "crashed"),
            (self.requests_twice + self.replies_twice > 0, "twice"),
        ]
        .into_iter()
        .filter_map(|(is_expected, name)| is_expected.then_some(name))
    }

    /// The shape in a few words, for a line of a report.
    #[must_use]
    pub fn name(&self) -> String {
        let mut words = vec![format!("N{} K{}", self.nodes, self.clients)];
        let clients = ..self.clients;
        if self.acquires[clients].iter().any(|&acquires| acquires != 1) {
            words.push(format!("acquires {:?}", &self.acquires[clients]));
        }
        if self.tries[clients].iter().any(|&tries| tries != 1) {
            words.push(format!("attempts {:?}", &self.tries[clients]));
        }
        if self.queues == Choice::Allowed {
            words.push("queues".to_owned());
        }
        match self.time {
            Time::Timed => words.push(format!("validity {}", self.validity_ticks)),
            Time::TimedLate => words.push(format!("validity {}, late", self.validity_ticks)),
            Time::Untimed => words.push("untimed".to_owned()),
        }
        if let Some(fences) = &self.fences {
            let initial = &fences.initial[..self.nodes];
            match initial.iter().all(|number| *number == 0) {
                true => words.push("fence".to_owned()),
                false => words.push(format!("fence from {initial:?}")),
            }
        }
        let counts = [
            (self.extensions, "ext"),
            (self.crashes, "crash"),
            (self.requests_twice, "dup"),
            (self.replies_twice, "dup reply"),
            (self.unknowns, "unknown"),
        ];
        if self.crashes > 0 && self.keep != Keep::Fences {
            words.push(format!("keep {:?}", self.keep).to_lowercase());
        }
        for (count, name) in counts {
            if count > 0 {
                words.push(format!("{name} {count}"));
            }
        }
        words.join(", ")
    }
}

impl Fences {
    /// All nodes start without a number, and everybody proposes 1: numbers are counted one by one.
    pub const COUNTED: Self = Self { proposals: [1; CLIENTS_MAX], initial: [0; NODES_MAX] };
}
