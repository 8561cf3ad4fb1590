//! A few planted bugs: the checker sees them, for the right reason, and shows a simple plan.

use redlatch_core::{
    Command, CommandId, Config, Drift, Event, Fence, Instant, Lease, Lock, Op, Proposal, Reply,
    Token, WrongPhase,
};
use redlatch_harness::check::{Invariant, Invariants};
use redlatch_harness::node::{Cell, WallMillis};
use redlatch_harness::plan::{Plan, Profile};
use redlatch_harness::sim::{
    AfterViolation, Campaign, Counterexample, Failure, Shipped, System, check_only,
};
use redlatch_harness::system::{Machine, NodeCell};

/// Runs seeds until `invariant` (and only that is looked at) is violated, and makes the plan simple.
fn caught<S: System + Sync>(
    system: &S,
    profile: Profile,
    invariant: Invariant,
    seeds: u64,
) -> Counterexample {
    let checked = Invariants::NONE.with(invariant);
    let campaign = Campaign { checked, ..Campaign::new(profile, seeds) };
    assert_eq!(campaign.after_violation, AfterViolation::Stop);
    let report = campaign.run(system, |_| {});
    let Some((seed, violation)) = report.failures.first() else { panic!("it survived") };
    assert_eq!(violation.invariant, invariant);
    let plan = Plan::draw(*seed, profile);
    let Err(Failure::Violated(found)) = check_only(&plan, system, checked) else {
        panic!("seed {seed:#x} fails only sometimes")
    };
    assert_eq!(&found.violation, violation);
    let shrunk = found.shrunk(system, checked);
    assert_eq!(shrunk.violation.invariant, invariant);
    assert!(shrunk.plan.faults.len() <= found.plan.faults.len().min(3), "{}", shrunk.plan);
    shrunk
}

macro_rules! cell {
    ($name:ident, |$cell:ident, $now:ident, $op:ident| $body:expr) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        struct $name(Cell);

        impl NodeCell for $name {
            fn apply(&mut self, $now: WallMillis, $op: &Op) -> Reply {
                let $cell = &mut self.0;
                $body
            }
            fn owner(&self, now: WallMillis) -> Option<Token> {
                self.0.owner(now)
            }
            fn fence(&self) -> u64 {
                self.0.fence
            }
            fn drop_key(&mut self) {
                self.0.key = None;
            }
            fn drop_all(&mut self) {
                self.0 = Cell::default();
            }
        }
    };
}

cell!(DeletesAnybodysKey, |cell, now, op| {
    if let Op::Release { .. } = op {
        cell.key = None;
        return Reply::Applied { fence: None };
    }
    cell.apply(now, op)
});

cell!(RefusesItsOwnToken, |cell, now, op| {
    if let Op::Acquire { token, .. } = op
        && cell.owner(now) == Some(*token)
    {
        return Reply::Refused { remaining: None, fence: None };
    }
    cell.apply(now, op)
});

cell!(SealsAnybodysKey, |cell, now, op| {
    if let Op::Seal { fence, .. } = op {
        cell.fence = cell.fence.max(fence.get());
        return Reply::Applied { fence: Fence::new(cell.fence) };
    }
    cell.apply(now, op)
});

cell!(ForgetsItsNumber, |cell, now, op| {
    if cell.owner(now).is_none() {
        cell.fence = 0;
    }
    cell.apply(now, op)
});

cell!(KeepsTheKey, |cell, now, op| {
    let before = cell.key;
    let reply = cell.apply(now, op);
    if let Op::Release { .. } = op {
        cell.key = before;
    }
    reply
});

cell!(SealsNothing, |cell, now, op| {
    if let Op::Seal { token, fence } = op
        && cell.owner(now) == Some(*token)
    {
        return Reply::Applied { fence: Some(*fence) };
    }
    cell.apply(now, op)
});

cell!(NeverRaisesItsNumber, |cell, now, op| {
    let before = cell.fence;
    let reply = cell.apply(now, op);
    if before > 0
        && let Reply::Applied { fence: Some(_) } = reply
    {
        cell.fence = before;
        return Reply::Applied { fence: Fence::new(before) };
    }
    reply
});

/// A lock with one thing wrong.
trait Flaw: Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static {
    fn config(config: Config) -> Config {
        config
    }
    fn sends(_: &Command) -> bool {
        true
    }
    fn wakes(at: Instant) -> Option<Instant> {
        Some(at)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flawed<F>(Lock, std::marker::PhantomData<F>);

impl<F: Flaw> Machine for Flawed<F> {
    fn new(config: Config) -> Self {
        Self(Lock::new(F::config(config)), std::marker::PhantomData)
    }
    fn acquire(
        &mut self,
        now: Instant,
        nonce: [u8; 16],
        proposal: Option<Proposal>,
    ) -> Result<(), WrongPhase> {
        self.0.acquire(now, nonce, proposal)
    }
    fn extend(&mut self, now: Instant) -> Result<(), WrongPhase> {
        self.0.extend(now)
    }
    fn release(&mut self, now: Instant) -> Result<(), WrongPhase> {
        self.0.release(now)
    }
    fn handle_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        self.0.handle_reply(now, id, reply);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }
    fn poll_command(&mut self) -> Option<Command> {
        loop {
            let command = self.0.poll_command()?;
            if F::sends(&command) {
                return Some(command);
            }
        }
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout().and_then(F::wakes)
    }
    fn lease(&self) -> Option<Lease> {
        self.0.lease()
    }
    fn is_idle(&self) -> bool {
        self.0.is_idle()
    }
}

/// A lock that still says to hold what it has begun to release.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HoldsOn(Lock, Option<Lease>);

impl Machine for HoldsOn {
    fn new(config: Config) -> Self {
        Self(Lock::new(config), None)
    }
    fn acquire(
        &mut self,
        now: Instant,
        nonce: [u8; 16],
        proposal: Option<Proposal>,
    ) -> Result<(), WrongPhase> {
        self.0.acquire(now, nonce, proposal)
    }
    fn extend(&mut self, now: Instant) -> Result<(), WrongPhase> {
        self.0.extend(now)
    }
    fn release(&mut self, now: Instant) -> Result<(), WrongPhase> {
        self.1 = self.0.lease();
        self.0.release(now)
    }
    fn handle_reply(&mut self, now: Instant, id: CommandId, reply: Reply) {
        self.1 = None;
        self.0.handle_reply(now, id, reply);
    }
    fn handle_timeout(&mut self, now: Instant) {
        self.1 = None;
        self.0.handle_timeout(now);
    }
    fn poll_command(&mut self) -> Option<Command> {
        self.0.poll_command()
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }
    fn lease(&self) -> Option<Lease> {
        self.0.lease().or(self.1)
    }
    fn is_idle(&self) -> bool {
        self.0.is_idle()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NoMargin;
impl Flaw for NoMargin {
    fn config(config: Config) -> Config {
        let none = Drift::from_ppm(0).unwrap_or_default();
        config.with_drift(none).unwrap_or(config)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct GivesUpEarly;
impl Flaw for GivesUpEarly {
    fn config(config: Config) -> Config {
        let half = Drift::from_ppm(500_000).unwrap_or_default();
        config.with_drift(half).unwrap_or(config)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NeverReleases;
impl Flaw for NeverReleases {
    fn sends(command: &Command) -> bool {
        !matches!(command.op, Op::Release { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SleepsForEver;
impl Flaw for SleepsForEver {
    fn wakes(_: Instant) -> Option<Instant> {
        None
    }
}

#[test]
fn a_release_that_deletes_anybodys_key_leaves_a_believer_without_a_witness() {
    let found = caught(
        &Shipped::<Lock, DeletesAnybodysKey>::new(),
        Profile::Synchronous,
        Invariant::Witness,
        200,
    );
    assert!(found.plan.faults.is_empty() && found.plan.shape.clients <= 3, "{}", found.plan);
    assert!(found.violation.story.contains("nodes back it, n0 has"), "{}", found.violation);
}

#[test]
fn a_release_that_deletes_anybodys_key_makes_two_holders() {
    let system = Shipped::<Lock, DeletesAnybodysKey>::new();
    caught(&system, Profile::Synchronous, Invariant::Mutex, 500);
}

#[test]
fn a_lock_without_a_margin_promises_more_than_a_fast_node_keeps() {
    let system = Shipped::<Flawed<NoMargin>, Cell>::new();
    let found = caught(&system, Profile::Synchronous, Invariant::LeaseSound, 2_000);
    assert!(found.plan.shape.clocks.rate_ppm > 0, "{}", found.plan);
}

#[test]
fn the_same_is_seen_when_the_key_is_gone() {
    let system = Shipped::<Flawed<NoMargin>, Cell>::new();
    caught(&system, Profile::Synchronous, Invariant::Witness, 5_000);
}

#[test]
fn a_node_that_refuses_its_own_token_withholds_a_free_lock() {
    let system = Shipped::<Lock, RefusesItsOwnToken>::new();
    caught(&system, Profile::Synchronous, Invariant::Progress, 50);
}

#[test]
fn a_lock_that_never_releases_is_not_done_when_it_should_be() {
    let system = Shipped::<Flawed<NeverReleases>, Cell>::new();
    caught(&system, Profile::Synchronous, Invariant::Termination, 50);
}

#[test]
fn a_lock_that_sleeps_for_ever_is_not_done_either() {
    let system = Shipped::<Flawed<SleepsForEver>, Cell>::new();
    caught(&system, Profile::Synchronous, Invariant::Termination, 50);
}

#[test]
fn a_node_that_forgets_its_number_gives_fences_out_of_order() {
    let system = Shipped::<Lock, ForgetsItsNumber>::new();
    for profile in Profile::ALL {
        caught(&system, profile, Invariant::FenceOrder, 500);
    }
    caught(&system, Profile::Synchronous, Invariant::HoldOrder, 500);
}

/// Needs keys that vanish between the two rounds of an acquire: no timing, no chance.
#[test]
fn a_seal_without_a_look_at_the_key_gives_one_fence_twice() {
    let system = Shipped::<Lock, SealsAnybodysKey>::new();
    let found = caught(&system, Profile::Asynchronous, Invariant::FenceUnique, 40_000);
    assert!(found.plan.shape.nodes <= 5, "{}", found.plan);
}

#[test]
fn a_lock_that_gives_up_early_loses_what_still_stands() {
    let system = Shipped::<Flawed<GivesUpEarly>, Cell>::new();
    caught(&system, Profile::Synchronous, Invariant::NoFalseLoss, 100);
}

#[test]
fn a_lock_that_believes_while_its_keys_are_being_released_is_wrong_about_itself() {
    let system = Shipped::<HoldsOn, Cell>::new();
    let found = caught(&system, Profile::Synchronous, Invariant::Api, 50);
    assert!(found.violation.story.contains("sends releases"), "{}", found.violation);
}

#[test]
fn a_node_that_keeps_the_key_it_was_told_to_delete_has_a_ghost() {
    let system = Shipped::<Lock, KeepsTheKey>::new();
    caught(&system, Profile::Synchronous, Invariant::NoGhost, 50);
}

#[test]
fn a_node_that_only_says_that_it_has_sealed_is_no_witness_of_the_fence() {
    let system = Shipped::<Lock, SealsNothing>::new();
    caught(&system, Profile::Lossy, Invariant::FenceWitness, 2_000);
}

#[test]
fn a_node_that_never_raises_its_number_lets_two_holders_use_the_resource() {
    let system = Shipped::<Lock, NeverRaisesItsNumber>::new();
    for profile in Profile::ALL {
        caught(&system, profile, Invariant::FenceUnique, 200);
        caught(&system, profile, Invariant::Resource, 500);
    }
}
