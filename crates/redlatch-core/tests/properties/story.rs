//! What may happen to a lock: any configuration, any inputs, in any order, at any time.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use redlatch_core::{
    Config, Drift, Fence, Instant, NODES_MAX, Op, Quorum, Renewal, Reply, Retry, Ttl,
};

pub(crate) const MILLI: u64 = 1_000_000;

/// A lock's life.
#[derive(Clone)]
pub(crate) struct Story {
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
}

/// One line per step, however it is asked for.
impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format_args!("{:?}", self.setup))?;
        self.steps.iter().try_for_each(|step| write!(f, "\n    {}", format_args!("{step:?}")))
    }
}

/// What the lock is configured with, in plain numbers: the oracle does not ask the machine for them.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    pub(crate) ttl_ms: u64,
    pub(crate) drift_ppm: u64,
    pub(crate) validity_min: u64,
    pub(crate) node_timeout: u64,
    pub(crate) attempts_max: Option<u32>,
    pub(crate) wait: Option<u64>,
    pub(crate) delay_min: u64,
    pub(crate) delay_max: u64,
    pub(crate) hold_max: Option<u64>,
    /// What the clock reads when the story begins.
    pub(crate) origin: u64,
    /// A lease that is good for so long is taken over at the start.
    pub(crate) adopted: Option<u64>,
    /// Since when it waits in the queues, if it does.
    pub(crate) place: Option<u64>,
}

/// The simplest.
impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 1,
            ttl_ms: 1_000,
            drift_ppm: 10_000,
            validity_min: 0,
            node_timeout: 100 * MILLI,
            attempts_max: None,
            wait: None,
            delay_min: 0,
            delay_max: 0,
            hold_max: None,
            origin: 0,
            adopted: None,
            place: None,
        }
    }
}

impl Setup {
    pub(crate) fn majority(&self) -> usize {
        self.nodes / 2 + 1
    }

    /// The ttl less its drift: `⌈ttl · rate⌉ + 2 ms`.
    pub(crate) fn validity(&self) -> u64 {
        self.ttl_ms * MILLI - (self.ttl_ms * self.drift_ppm + 2 * MILLI)
    }

    /// The longest time that one attempt may take.
    pub(crate) fn attempt(&self) -> u64 {
        self.node_timeout.min(self.validity() - self.validity_min)
    }

    pub(crate) fn config(&self) -> Result<Config, Box<dyn core::error::Error>> {
        self.config_of(self.nodes)
    }

    /// The same for another number of nodes.
    pub(crate) fn config_of(&self, nodes: usize) -> Result<Config, Box<dyn core::error::Error>> {
        let attempts_max = self.attempts_max.and_then(NonZeroU32::new);
        let retry = match (attempts_max, self.wait.map(Duration::from_nanos)) {
            (Some(max), Some(wait)) => Retry::within(wait).with_attempts_max(max),
            (Some(max), None) => Retry::attempts(max),
            (None, Some(wait)) => Retry::within(wait),
            (None, None) => Retry::never(),
        };
        let retry = retry.with_delays(
            Duration::from_nanos(self.delay_min),
            Duration::from_nanos(self.delay_max),
        );
        let drift = Drift::from_ppm(self.drift_ppm.try_into()?).ok_or("drift")?;
        let config = Config::new(Quorum::of(nodes)?, Ttl::from_millis(self.ttl_ms)?)?
            .with_drift(drift)?
            .with_validity_min(Duration::from_nanos(self.validity_min))?
            .with_node_timeout(Duration::from_nanos(self.node_timeout))?
            .with_retry(retry);
        Ok(match self.hold_max {
            Some(hold_max) => config.with_renewal(Renewal::up_to(Duration::from_nanos(hold_max))),
            None => config,
        })
    }
}

/// One thing that happens, when, and whether the driver then does its duty.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) when: When,
    pub(crate) what: What,
    pub(crate) drain: Drain,
}

/// How well the driver does its duty after an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    Everything,
    /// So many commands, and then it goes to sleep.
    Commands(u8),
    /// A majority of the commands, just enough for a grant.
    Majority,
}

/// What the clock does before the input. Times of one story have many scales, so they are told in the
/// lock's own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Now,
    /// So many nanoseconds later.
    Later(u64),
    /// So many thousandths of the validity later.
    Share(u64),
    /// So many nanoseconds before (−) or after `poll_timeout`.
    Timeout(i8),
    /// So many nanoseconds before (−) or after `valid_until`.
    Expiry(i8),
    /// So many thousandths of the validity earlier: a clock that goes backwards (R17).
    Earlier(u64),
    /// So many ttls later.
    MuchLater(u64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Acquire {
        /// The proposal, if a fence is wanted.
        proposal: Option<u64>,
    },
    Extend,
    Release,
    Timeout,
    /// The driver says since when the lock waits, or that it polls.
    Place {
        since: Option<u64>,
    },
    /// A node calls, which the lock may not have.
    Call {
        node: u8,
    },
    /// All of these nodes call.
    Calls {
        nodes: u16,
    },
    /// Calls are heard from now on.
    Listening,
    /// The answer to one command, one that has not been answered if there is one.
    Answer {
        which: u8,
        answer: Answer,
    },
    /// The answer to any command handed out so far, answered or not, however old.
    Repeat {
        which: u16,
        answer: Answer,
    },
    /// The same answer to every unanswered command to these nodes.
    Answers {
        nodes: u16,
        answer: Answer,
    },
    /// An answer of a node that the lock does not have, to a command with its latest token.
    Stranger {
        which: u8,
        answer: Answer,
    },
}

/// What a node says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Applied(Number),
    Refused(Option<u64>, Number),
    Unknown,
    Quarantined(u64),
}

/// The fence number in an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    None,
    /// As many more than the command asked for.
    Above(u64),
    /// Any.
    Any(u64),
}

impl Answer {
    /// The reply to `op`.
    pub(crate) fn reply(self, op: &Op) -> Reply {
        match self {
            Self::Applied(number) => Reply::Applied { fence: number.fence(op) },
            Self::Refused(remaining, number) => Reply::Refused {
                remaining: remaining.map(Duration::from_nanos),
                fence: number.fence(op),
            },
            Self::Unknown => Reply::Unknown,
            Self::Quarantined(left) => Reply::Quarantined { remaining: Duration::from_nanos(left) },
        }
    }
}

impl Number {
    fn fence(self, op: &Op) -> Option<Fence> {
        match (self, op) {
            (Self::None, _) => None,
            (Self::Any(number), _) => Fence::new(number),
            (Self::Above(more), Op::Acquire { proposal: Some(proposal), .. }) => {
                Fence::new(proposal.fence().get() + more)
            }
            (Self::Above(more), Op::Seal { fence, .. }) => Fence::new(fence.get() + more),
            (Self::Above(_), Op::Acquire { .. } | Op::Extend { .. } | Op::Release { .. }) => None,
        }
    }
}

/// Any story. Each has a mood, and half of them begin with a grant, because what takes many likely
/// steps in a row is reached by no single mixture.
pub(crate) fn stories() -> impl Strategy<Value = Story> {
    let steps = prop_oneof![
        vec(steps(6, 1, answers()), 0..80),
        vec(steps(1, 1, answers()), 0..80),
        vec(steps(1, 1, friendly_answers()), 0..40),
    ];
    (setups(), openings(1), steps).prop_map(told)
}

/// Any story of a driver that drains after each input, as it ought to.
pub(crate) fn tidy_stories() -> impl Strategy<Value = Story> {
    let steps = prop_oneof![
        vec(steps(1, 0, answers()), 0..80),
        vec(steps(1, 0, friendly_answers()), 0..80),
    ];
    (setups(), openings(0), steps).prop_map(told)
}

fn told((setup, opening, steps): (Setup, Vec<Step>, Vec<Step>)) -> Story {
    Story { setup, steps: [opening, steps].concat() }
}

/// Nothing, or an acquire that every node that was asked agrees to.
fn openings(untidy: u32) -> impl Strategy<Value = Vec<Step>> {
    let agreed =
        (drains(1, untidy), drains(1, untidy), proposals()).prop_map(|(one, two, proposal)| {
            let all = What::Answers { nodes: u16::MAX, answer: Answer::Applied(Number::Above(0)) };
            let acquire = Step { when: When::Now, what: What::Acquire { proposal }, drain: one };
            vec![acquire, Step { when: When::Now, what: all, drain: two }]
        });
    prop_oneof![Just(Vec::new()), agreed]
}

pub(crate) fn setups() -> impl Strategy<Value = Setup> {
    let limits = (
        prop_oneof![4 => 1_usize..=5, 1 => 6..=NODES_MAX],
        prop_oneof![Just(5_u64), Just(100), Just(30_000), 5_u64..86_400_001],
        prop_oneof![3 => Just(10_000_u64), 1 => 0..=500_000_u64],
        prop_oneof![3 => Just(0_u64), 1 => 0..1_000_u64],
        prop_oneof![6 => 1..=1_000_u64, 1 => Just(u64::MAX)],
        prop_oneof![4 => Just(0_u64), 1 => 0..u64::MAX / 2],
    );
    let retry = (
        option::of(1_u32..5),
        option::of(0..5_000_u64),
        0..300_u64,
        0..500_u64,
        option::of(1..5_000_u64),
        option::weighted(0.1, 0..1_000_u64),
        option::of(any::<u64>()),
    );
    (limits, retry).prop_map(|(limits, retry)| {
        let (nodes, ttl_ms, drift_ppm, validity_min, node_timeout, origin) = limits;
        let (attempts_max, wait, delay_min, delay_max, hold_max, adopted, place) = retry;
        let mut setup = Setup {
            nodes,
            ttl_ms,
            drift_ppm,
            attempts_max,
            delay_min: delay_min * MILLI,
            delay_max: delay_max * MILLI,
            origin,
            place,
            ..Setup::default()
        };
        let thousandths = |of: u64, part: u64| (u128::from(of) * u128::from(part) / 1_000) as u64;
        let validity = setup.validity();
        setup.validity_min = thousandths(validity - 1, validity_min);
        let longest = setup.ttl_ms * MILLI * 2;
        setup.node_timeout = match node_timeout {
            u64::MAX => u64::MAX,
            part => thousandths(longest, part).max(1),
        };
        // Unbounded attempts last as long as the wait, which is 20 of them: stories stay short.
        setup.wait = wait.map(|part| thousandths(setup.attempt().saturating_mul(4), part));
        // A hold that ends before the least validity is over contradicts itself.
        setup.hold_max =
            hold_max.map(|part| thousandths(validity, part).max(setup.validity_min + 1));
        setup.adopted = adopted.map(|part| thousandths(validity, part));
        setup
    })
}

fn steps(
    tidy: u32,
    untidy: u32,
    answers: impl Strategy<Value = Answer> + Clone + 'static,
) -> impl Strategy<Value = Step> {
    let drain = drains(tidy, untidy);
    (whens(), whats(answers), drain).prop_map(|(when, what, drain)| Step { when, what, drain })
}

fn drains(tidy: u32, untidy: u32) -> impl Strategy<Value = Drain> {
    prop_oneof![
        tidy => Just(Drain::Everything).boxed(),
        untidy => Just(Drain::Commands(0)).boxed(),
        untidy => (1..9_u8).prop_map(Drain::Commands).boxed(),
        untidy => Just(Drain::Majority).boxed(),
    ]
}

fn whens() -> impl Strategy<Value = When> {
    prop_oneof![
        40 => Just(When::Now),
        5 => (0..3_u64).prop_map(When::Later),
        5 => (0..100_u64).prop_map(When::Share),
        10 => (-1..2_i8).prop_map(When::Timeout),
        2 => (-1..2_i8).prop_map(When::Expiry),
        1 => (0..2_000_u64).prop_map(When::Earlier),
        1 => (0..10_u64).prop_map(When::MuchLater),
    ]
}

fn whats(answers: impl Strategy<Value = Answer> + Clone + 'static) -> impl Strategy<Value = What> {
    prop_oneof![
        6 => Just(What::Timeout),
        6 => proposals().prop_map(|proposal| What::Acquire { proposal }),
        4 => Just(What::Extend),
        1 => Just(What::Release),
        1 => option::weighted(0.8, any::<u64>()).prop_map(|since| What::Place { since }),
        2 => (0..NODES_MAX as u8).prop_map(|node| What::Call { node }),
        2 => any::<u16>().prop_map(|nodes| What::Calls { nodes }),
        1 => Just(What::Listening),
        10 => (any::<u8>(), answers.clone()).prop_map(|(which, answer)| What::Answer { which, answer }),
        4 => (any::<u16>(), answers.clone()).prop_map(|(which, answer)| What::Repeat { which, answer }),
        8 => (any::<u16>(), answers.clone()).prop_map(|(nodes, answer)| What::Answers { nodes, answer }),
        1 => (any::<u8>(), answers.clone()).prop_map(|(which, answer)| What::Stranger { which, answer }),
    ]
}

fn proposals() -> impl Strategy<Value = Option<u64>> {
    option::of(prop_oneof![1..4_u64, Just(1 << 52), Just(1_700_000_000_000_000)])
}

fn answers() -> impl Strategy<Value = Answer> + Clone {
    let number = || {
        prop_oneof![
            6 => Just(Number::Above(0)),
            3 => (0..4_u64).prop_map(Number::Above),
            1 => (1..4_u64).prop_map(Number::Any),
            1 => Just(Number::Any(Fence::MAX)),
            1 => Just(Number::None),
        ]
    };
    let left = || prop_oneof![0..10 * MILLI, 0..100_000 * MILLI, any::<u64>()];
    prop_oneof![
        8 => number().prop_map(Answer::Applied),
        3 => (option::of(left()), number()).prop_map(|(left, number)| Answer::Refused(left, number)),
        2 => Just(Answer::Unknown),
        1 => left().prop_map(Answer::Quarantined),
    ]
}

fn friendly_answers() -> impl Strategy<Value = Answer> + Clone {
    prop_oneof![
        6 => Just(Answer::Applied(Number::Above(0))),
        1 => Just(Answer::Unknown),
    ]
}

impl When {
    /// What the clock reads, from what it read last.
    pub(crate) fn read(
        self,
        setup: &Setup,
        last: Instant,
        timeout: Option<Instant>,
        valid_until: Option<Instant>,
    ) -> Instant {
        let about = |at: Option<Instant>, by: i8| {
            let at = at.unwrap_or(last).as_nanos();
            Instant::from_nanos(at.saturating_add_signed(by.into()))
        };
        let share = |part: u64| setup.validity() / 1_000 * part;
        let (last_nanos, ttl) = (last.as_nanos(), setup.ttl_ms * MILLI);
        match self {
            Self::Now => last,
            Self::Later(nanos) => Instant::from_nanos(last_nanos.saturating_add(nanos)),
            Self::Share(part) => Instant::from_nanos(last_nanos.saturating_add(share(part))),
            Self::Timeout(by) => about(timeout, by),
            Self::Expiry(by) => about(valid_until, by),
            Self::Earlier(part) => Instant::from_nanos(last_nanos.saturating_sub(share(part))),
            Self::MuchLater(ttls) => Instant::from_nanos(last_nanos.saturating_add(ttls * ttl)),
        }
    }
}
