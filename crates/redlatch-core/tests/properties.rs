//! Arbitrary stories: any inputs, in any order, at any time, against a slow oracle of R1 and of what
//! follows from it. A failure prints the story, shrunk, and its transcript.
//!
//! `PROPTEST_CASES` asks for more stories than usual, and most properties tell eight times as many.

use core::hash::Hash;
use core::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use redlatch_core::{Command, Event, Fence, Instant, Lease, Lock, Op, Reply, Token};

#[path = "properties/oracle.rs"]
mod oracle;
#[path = "properties/run.rs"]
mod run;
#[path = "properties/story.rs"]
mod story;
#[path = "properties/told.rs"]
mod told;

use run::{Input, Line, Run, play};
use story::{Answer, Drain, Number, Setup, Story, setups, stories, tidy_stories};

// What a model checker relies on: states can be copied, compared and hashed, and are small.
const _: () = {
    const fn is_a_value<T: Copy + Eq + Hash>() {}
    is_a_value::<Lock>();
    is_a_value::<Command>();
    is_a_value::<Event>();
    is_a_value::<Reply>();
    assert!(size_of::<Lock>() <= 528);
};

/// So many stories for each one that was asked for.
fn times(factor: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig {
        cases: usual.cases.saturating_mul(factor),
        failure_persistence: Some(Box::new(beside)),
        // A story has a hundred steps, and each is tried without the others.
        max_shrink_iters: 100_000,
        ..usual
    }
}

/// Plays the story twice: equal inputs in equal states give equal outputs.
fn check(story: &Story) -> Result<Vec<Line>, TestCaseError> {
    let told = |failure: run::Failure| TestCaseError::fail(failure.to_string());
    let (once, again) = (play(story).map_err(told)?, play(story).map_err(told)?);
    prop_assert_eq!(&once, &again);
    Ok(once)
}

proptest! {
    #![proptest_config(times(8))]

    #[test]
    fn a_driver_that_drains_gets_what_the_rules_promise(story in tidy_stories()) {
        check(&story)?;
    }

    #[test]
    fn no_driver_however_untidy_makes_the_lock_break_a_rule(story in stories()) {
        check(&story)?;
    }

    /// R8, R9, R13: silence is decided by deadlines, attempts are bounded, and nobody sleeps after the
    /// last one.
    #[test]
    fn an_acquire_without_answers_fails_within_its_bounds(
        setup in setups(),
        proposal in prop::option::of(1..100_u64),
    ) {
        let setup = Setup { adopted: None, ..setup };
        let steps = vec![story::Step {
            when: story::When::Now,
            what: story::What::Acquire { proposal },
            drain: Drain::Everything,
        }];
        let transcript = check(&Story { setup: setup.clone(), steps })?;
        let (mut now, mut deadline, mut failed) = (setup.origin, 0, None);
        for line in transcript {
            match line {
                Line::In(at, _, _) => now = at,
                Line::Command(Command { op: Op::Acquire { .. }, deadline: at, .. }) => {
                    deadline = at.as_nanos();
                }
                Line::Event(Event::Retrying { at, .. }) => {
                    let delay = at.as_nanos() - now;
                    prop_assert!(delay >= setup.delay_min);
                    prop_assert!(delay <= setup.delay_max.max(setup.delay_min));
                }
                Line::Event(Event::Failed { .. }) => {
                    prop_assert_eq!(now, deadline, "failed later than the last attempt (R13)");
                    prop_assert_eq!(failed.replace(now), None, "failed twice");
                }
                Line::Command(_) | Line::Event(_) | Line::Timeout(_) => {}
            }
        }
        let took = failed.map(|at| at - setup.origin);
        let attempts = u64::from(setup.attempts_max.unwrap_or(u32::from(setup.wait.is_none())));
        let delay = setup.delay_max.max(setup.delay_min);
        let by_attempts = (attempts > 0)
            .then(|| attempts * setup.attempt() + (attempts - 1) * delay);
        let by_wait = setup.wait.map(|wait| wait.max(setup.attempt()));
        let bound = by_attempts.into_iter().chain(by_wait).min();
        prop_assert!(took.is_some() && took <= bound, "took {took:?} of {bound:?}");
    }

}

proptest! {
    #![proptest_config(times(1))]

    /// 584 years after its origin the clock cannot go on; nothing is promised there but calm.
    #[test]
    fn at_the_end_of_time_nothing_panics(story in stories(), left in 0..u64::MAX / 1_000) {
        let setup = Setup { origin: u64::MAX - left, ..story.setup };
        let mut run = Run::new(&setup);
        for step in &story.steps {
            run.step(step).ok();
        }
    }
}

#[test]
fn stories_that_once_went_wrong_go_well() {
    for (finding, story) in told::told() {
        if let Err(failure) = play(&story) {
            panic!("{finding}: {failure}");
        }
    }
}

/// The canaries: an oracle that lets one of these pass sees nothing.
mod the_oracle_sees {
    use super::*;

    const YES: Answer = Answer::Applied(Number::Above(0));

    /// Three nodes, of which the first `answers.len()` have answered.
    fn after(proposal: Option<u64>, answers: &[Answer]) -> Run {
        let setup = Setup {
            nodes: 3,
            attempts_max: Some(9),
            delay_min: 10 * story::MILLI,
            delay_max: 10 * story::MILLI,
            ..Setup::default()
        };
        let proposal = proposal
            .map(|micros| redlatch_core::Proposal::from_unix_micros(micros).expect("in range"));
        let mut run = Run::new(&setup);
        let acquire = Input::Acquire([1; 16], proposal);
        run.input(Instant::ZERO, acquire, Drain::Everything).expect("nothing is wrong");
        for (index, answer) in answers.iter().enumerate() {
            run.answer(Instant::ZERO, index, *answer, Drain::Everything).expect("nothing is wrong");
        }
        run
    }

    fn held() -> (Run, Lease) {
        let run = after(None, &[YES, YES]);
        let lease = run.lock.lease().expect("a majority said yes");
        (run, lease)
    }

    #[track_caller]
    fn wrong(check: oracle::Check, rule: &str) {
        let why = check.expect_err("the oracle saw nothing");
        assert!(why.contains(rule), "{why}");
    }

    #[test]
    fn a_lease_that_is_longer_than_its_promises() {
        let (mut run, lease) = held();
        let valid_until = lease.valid_until.saturating_add(Duration::from_nanos(1));
        wrong(run.oracle.check_lease(0, Some(Lease { valid_until, ..lease }), true), "(R1)");
    }

    #[test]
    fn a_lease_that_is_shorter_than_its_promises() {
        let (mut run, lease) = held();
        let valid_until = lease.valid_until.saturating_sub(Duration::from_nanos(1));
        wrong(run.oracle.check_lease(0, Some(Lease { valid_until, ..lease }), true), "(R1)");
    }

    #[test]
    fn a_lease_that_outlives_its_end() {
        let (mut run, lease) = held();
        let end = lease.valid_until.as_nanos();
        wrong(run.oracle.check_lease(end, Some(lease), true), "(R11)");
    }

    #[test]
    fn a_lease_that_comes_back() {
        let (mut run, lease) = held();
        run.oracle.check_lease(0, None, true).expect("it may end");
        wrong(run.oracle.check_lease(0, Some(lease), true), "given up");
    }

    #[test]
    fn a_lease_out_of_nowhere() {
        let (mut run, lease) = held();
        let token = Token::new([9; 16], 1);
        wrong(run.oracle.check_lease(0, Some(Lease { token, ..lease }), true), "nowhere");
    }

    #[test]
    fn a_grant_by_a_minority() {
        let (_, lease) = held();
        let mut run = after(None, &[YES]);
        wrong(run.oracle.check_lease(0, Some(lease), true), "(R1)");
    }

    #[test]
    fn a_grant_with_the_number_of_a_minority() {
        let mut run = after(Some(5), &[YES, Answer::Applied(Number::Above(1))]);
        let (_, lease) = held();
        let lease = Lease { fence: Fence::new(6), ..lease };
        wrong(run.oracle.check_lease(0, Some(lease), true), "R15");
    }

    #[test]
    fn a_grant_too_late() {
        let mut run = after(None, &[]);
        let (_, lease) = held();
        for index in [0, 1] {
            run.oracle.on_reply(&run.handed[index], &Reply::Applied { fence: None });
        }
        run.oracle.check_lease(0, None, true).expect("not yet");
        let late = Lease { valid_until: Instant::MAX, ..lease };
        wrong(run.oracle.check_lease(lease.valid_until.as_nanos(), Some(late), true), "(R1)");
    }

    #[test]
    fn a_release_of_what_is_believed() {
        let (mut run, lease) = held();
        let mut other = run.lock;
        other.release(Instant::ZERO).expect("it is held");
        let release = other.poll_command().expect("three nodes have it");
        wrong(run.oracle.on_command(0, &release, Some(lease)), "(R12)");
    }

    #[test]
    fn an_attempt_that_is_lost_and_goes_on() {
        let mut run = after(None, &[]);
        for index in [0, 1] {
            let refused = Reply::Refused { remaining: None, fence: None };
            run.oracle.on_reply(&run.handed[index], &refused);
        }
        let token = run.oracle.attempt().expect("one is in progress").token;
        wrong(run.oracle.check_attempt(0, &token, false), "(R8)");
    }

    #[test]
    fn an_attempt_that_is_won_and_not_granted() {
        let mut run = after(None, &[]);
        for index in [0, 1] {
            run.oracle.on_reply(&run.handed[index], &Reply::Applied { fence: None });
        }
        let token = run.oracle.attempt().expect("one is in progress").token;
        wrong(run.oracle.check_attempt(0, &token, false), "(R8)");
    }

    #[test]
    fn a_lease_that_ends_without_releases() {
        let (run, _) = held();
        wrong(run.oracle.check_undone("lost"), "(R4)");
    }

    /// Three nodes, of which two refused, so that it waits in the queues.
    fn waiting() -> Run {
        let mut run = after(None, &[]);
        let place = Some(redlatch_core::Place::since_millis(1));
        run.input(Instant::ZERO, Input::Place(place), Drain::Everything).expect("nothing is wrong");
        for index in [0, 1] {
            let no = Answer::Refused(None, Number::None);
            run.answer(Instant::ZERO, index, no, Drain::Everything).expect("nothing is wrong");
        }
        run
    }

    #[test]
    fn a_wait_that_is_over_and_leaves_no_queue() {
        let run = waiting();
        wrong(run.oracle.check_left("over"), "(R18)");
    }

    #[test]
    fn a_call_that_nobody_hears() {
        let mut run = waiting();
        run.oracle.check_called().expect("nobody called");
        run.oracle.on_call(0);
        run.oracle.check_called().expect("a minority called");
        run.oracle.on_call(1);
        wrong(run.oracle.check_called(), "(R18)");
    }

    #[test]
    fn an_attempt_that_a_minority_called() {
        let mut run = waiting();
        run.oracle.on_call(0);
        let mut other = run.lock;
        other.handle_call(Instant::ZERO, node(0));
        other.handle_call(Instant::ZERO, node(1));
        let early = other.poll_command().expect("a majority called");
        wrong(run.oracle.on_command(0, &early, None), "(R18)");
    }

    #[test]
    fn attempts_that_spin_on_calls() {
        let mut run = waiting();
        for index in [0, 1] {
            let call = Input::Call(node(index));
            run.input(Instant::ZERO, call, Drain::Everything).expect("nothing is wrong");
        }
        let no = Answer::Refused(None, Number::None);
        for index in [6, 7] {
            run.answer(Instant::ZERO, index, no, Drain::Everything).expect("nothing is wrong");
        }
        let next = run.handed[6].command;
        let Op::Acquire { token, ttl, proposal } = next.op else { panic!("{next:?}") };
        let token = Token::new(token.nonce(), token.attempt() + 1);
        let spun = Command { op: Op::Acquire { token, ttl, proposal }, ..next };
        run.oracle.on_call(0);
        run.oracle.on_call(1);
        wrong(run.oracle.on_command(0, &spun, None), "(R18)");
    }

    #[test]
    fn a_place_of_a_waiter_that_is_gone() {
        let mut run = waiting();
        let queues = run.handed.last().expect("releases that queue").command;
        assert!(matches!(queues.op, Op::Release { place: Some(_), .. }), "{queues:?}");
        run.oracle.acquire_began(0, [2; 16]);
        wrong(run.oracle.on_command(0, &queues, None), "(R18)");
    }

    fn node(index: usize) -> redlatch_core::NodeId {
        redlatch_core::NodeId::new(index).expect("at most 16 nodes")
    }

    #[test]
    fn a_token_used_twice() {
        let (mut run, _) = held();
        let again = run.handed[2].command;
        wrong(run.oracle.on_command(0, &again, None), "(R3)");
    }
}
