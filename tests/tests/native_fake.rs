//! The nodes in memory that `Redlatch::fake` has answer as Redis does: one story, told to both.

use std::time::Duration;

use redlatch::{AcquireError, Guard, LockState, NodeState, Options, Redlatch};
use redlatch_tests::{Cluster, PATIENCE};

/// Longer than any test runs.
const FOREVER: Duration = Duration::from_secs(600);
/// What the story locks: two that share a key with a third, and one that no fence can belong to.
const SUBJECTS: [&[&str]; 4] = [&["{a}:1"], &["{a}:2"], &["{a}:1", "{a}:2"], &["a}b"]];
const STEPS: usize = 400;

/// What came of one step, as far as it must be the same everywhere.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Whether its fence, if it has one, is larger than all before it for one of its resources.
    Granted(Option<bool>),
    Refused {
        tells_when: bool,
    },
    Invalid,
    Extended(bool),
    Released(bool),
    /// What a majority says, and how many nodes know of a fence.
    Seen {
        held: bool,
        fences: usize,
    },
    Nothing,
}

/// A small generator, so that both are told the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

/// One who takes part in the story.
struct Teller {
    redlatch: Redlatch,
    held: Vec<(usize, Guard)>,
    /// The largest fence so far of each resource.
    fences: [u64; 2],
}

impl Teller {
    fn new(redlatch: Redlatch) -> Self {
        Self { redlatch, held: Vec::new(), fences: [0; 2] }
    }

    async fn step(&mut self, dice: &mut Dice) -> Outcome {
        let (action, subject, fenced) = (dice.roll(8), dice.roll(SUBJECTS.len()), dice.roll(3));
        let which = dice.roll(self.held.len().max(1));
        match action {
            0..=3 => self.acquire(subject, fenced > 0).await,
            4 => match self.held.get(which) {
                Some((_, guard)) => Outcome::Extended(guard.extend().await.is_ok()),
                None => Outcome::Nothing,
            },
            5 | 6 if which < self.held.len() => {
                let (_, guard) = self.held.remove(which);
                Outcome::Released(guard.release().await.is_ok())
            }
            _ => self.look(subject).await,
        }
    }

    async fn acquire(&mut self, subject: usize, fenced: bool) -> Outcome {
        let options = Options::new(FOREVER).node_timeout(PATIENCE);
        let options = if fenced { options } else { options.without_fence() };
        match self.redlatch.try_acquire(SUBJECTS[subject].to_vec(), options).await {
            Ok(guard) => {
                let grows = guard.fence().map(|fence| self.note(subject, fence));
                self.held.push((subject, guard));
                Outcome::Granted(grows)
            }
            Err(AcquireError::Contended { retry_after, .. }) => {
                Outcome::Refused { tells_when: retry_after.is_some() }
            }
            Err(AcquireError::Invalid(_)) => Outcome::Invalid,
            Err(error) => panic!("{error}"),
        }
    }

    /// Notes a fence; whether it is larger than all before it.
    fn note(&mut self, subject: usize, fence: u64) -> bool {
        let resources: &[usize] = [&[0][..], &[1], &[0, 1], &[]][subject];
        let is_larger = resources.iter().all(|&resource| fence > self.fences[resource]);
        for &resource in resources {
            self.fences[resource] = fence;
        }
        is_larger
    }

    async fn look(&self, subject: usize) -> Outcome {
        let inspection = self.redlatch.inspect(SUBJECTS[subject].to_vec()).await.expect("names");
        let fence_of = |state: &NodeState| match state {
            NodeState::Free { fence } | NodeState::Taken { fence, .. } => *fence,
            other => panic!("{other:?}"),
        };
        let sightings = inspection.nodes.iter();
        let fences = sightings
            .filter_map(|node| fence_of(node.sighting.as_ref().expect("an answer")))
            .count();
        Outcome::Seen { held: matches!(inspection.state, LockState::Held { .. }), fences }
    }
}

#[tokio::test]
async fn the_nodes_of_a_fake_answer_as_redis_does() {
    for seed in [1, 2, 3] {
        let cluster = Cluster::start(3);
        let builder = Redlatch::builder().connect_timeout(PATIENCE);
        let builder = cluster.urls().into_iter().fold(builder, |builder, url| builder.node(url));
        let (fake, _commands) = Redlatch::fake().expect("a fake");
        let mut real = Teller::new(builder.build().expect("a client"));
        // Otherwise the first steps may be over before the last node is connected.
        real.redlatch.inspect("connected").await.expect("a name");
        let mut fake = Teller::new(fake);
        let mut dice = (Dice(seed), Dice(seed));
        let (mut grants, mut refusals) = (0, 0);
        for step in 0..STEPS {
            let expected = real.step(&mut dice.0).await;
            let outcome = fake.step(&mut dice.1).await;
            assert_eq!(outcome, expected, "seed {seed}, step {step}");
            grants += usize::from(matches!(outcome, Outcome::Granted(_)));
            refusals += usize::from(matches!(outcome, Outcome::Refused { .. }));
            assert_ne!(outcome, Outcome::Granted(Some(false)), "seed {seed}, step {step}");
        }
        assert!(grants > STEPS / 20 && refusals > STEPS / 20, "{grants} and {refusals}");
    }
}

/// R18. Who waits asks once an hour, unless it is called.
#[tokio::test]
async fn the_nodes_of_a_fake_call_those_who_wait() {
    const HOUR: Duration = Duration::from_secs(3600);
    const WAITERS: usize = 4;
    let (redlatch, _commands) = Redlatch::fake().expect("a fake");
    let guard = redlatch.acquire("job", FOREVER).await.expect("a free lock");
    let options = Options::new(FOREVER).wait(10 * HOUR).retry_delay(HOUR, HOUR);
    let waiting: Vec<_> = (0..WAITERS)
        .map(|_| {
            let (redlatch, options) = (redlatch.clone(), options.clone());
            tokio::spawn(async move {
                let guard = redlatch.acquire("job", options).await.expect("the lock");
                guard.release().await.expect("a release");
            })
        })
        .collect();
    // Each has asked, and been refused.
    tokio::task::yield_now().await;
    redlatch.try_acquire("job", FOREVER).await.expect_err("it is taken");
    guard.release().await.expect("a release");
    for waiting in waiting {
        tokio::time::timeout(PATIENCE, waiting).await.expect("it is called").expect("no panic");
    }
}
