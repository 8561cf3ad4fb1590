//! Waiting in the queues of the nodes, and being called.

use std::time::Duration;

use redlatch_core::{Cause, Command, Event, Instant, Op, Place, Reply, Retry};

use crate::support::*;

const SINCE: Place = Place::since_millis(1_700_000_000_000);
/// Delays far apart, so that what a call begins is not taken for what a timer began.
const DELAY_MIN: Duration = millis(300);
const DELAY_MAX: Duration = millis(800);

/// An idle lock on `nodes` nodes that waits in their queues.
fn queuing(nodes: usize, retry: Retry) -> Rig {
    let mut rig = Rig::new(config(nodes).with_retry(retry.with_delays(DELAY_MIN, DELAY_MAX)));
    rig.lock.set_place(Some(SINCE));
    rig
}

/// The same, refused by every node at 0 ms, which have not answered its releases yet.
fn waiting(nodes: usize) -> Rig {
    let mut rig = queuing(nodes, attempts(9));
    rig.acquire();
    rig.answers(0..nodes / 2 + 1, NO);
    retrying(&mut rig);
    rig.commands();
    rig
}

fn call(rig: &mut Rig, nodes: impl IntoIterator<Item = usize>) {
    for node in nodes {
        rig.call(node);
    }
}

fn retrying(rig: &mut Rig) -> Instant {
    match rig.event() {
        Some(Event::Retrying { at, .. }) => at,
        other => panic!("not retrying, but {other:?}"),
    }
}

/// The attempt that `commands` acquire, release with a place, or release without one.
fn told(commands: &[Command]) -> Vec<(&'static str, u32)> {
    let mut told: Vec<_> = commands
        .iter()
        .map(|command| match command.op {
            Op::Acquire { token, .. } => ("acquire", token.attempt()),
            Op::Release { token, place: None } => ("leave", token.attempt()),
            Op::Release { token, place: Some(SINCE) } => ("queue", token.attempt()),
            Op::Release { .. } | Op::Seal { .. } | Op::Extend { .. } => panic!("{command:?}"),
        })
        .collect();
    told.dedup();
    told
}

/// R18, R4: the releases of a lost attempt, which go to every node in any case, carry the place.
#[test]
fn a_lost_attempt_takes_its_place_in_every_queue() {
    let mut rig = queuing(3, attempts(2));
    rig.acquire();
    rig.answer(0, YES);
    rig.answers([1, 2], NO);
    let commands = rig.commands();
    assert_eq!(told(&commands), [("acquire", 1), ("queue", 1)]);
    assert_eq!(targets(&commands[3..]), set(0..3));
    assert_eq!(commands.len(), 6, "and nothing else is spent");
}

#[test]
fn without_a_place_nothing_is_queued() {
    let mut rig = queuing(3, attempts(2));
    rig.lock.set_place(None);
    rig.acquire();
    rig.answers([1, 2], NO);
    assert_eq!(told(&rig.commands()), [("acquire", 1), ("leave", 1)]);
}

/// R18: what no release mends is no reason to queue.
#[test]
fn only_a_contended_attempt_queues() {
    let mut silent = queuing(3, attempts(2));
    silent.acquire();
    silent.answers([0, 1], UNKNOWN);
    assert_eq!(told(&silent.commands()), [("acquire", 1), ("leave", 1)]);
    let mut closed = queuing(3, attempts(2));
    closed.acquire();
    closed.answers([0, 1], quarantined(50));
    assert_eq!(told(&closed.commands()), [("acquire", 1), ("leave", 1)]);
}

/// R12, R18: a holder has no place, and its release hands over.
#[test]
fn a_holder_and_whoever_gives_up_leave_the_queues() {
    let mut rig = queuing(3, attempts(1));
    rig.acquire();
    rig.answers([0, 1], YES);
    rig.commands();
    rig.release().unwrap();
    assert_eq!(told(&rig.commands()), [("leave", 1)]);

    let mut last = queuing(3, attempts(1));
    last.acquire();
    last.answers([0, 1], NO);
    assert_eq!(told(&last.commands()), [("acquire", 1), ("leave", 1)], "it was the last try");

    let mut cancelled = queuing(3, attempts(2));
    cancelled.acquire();
    cancelled.commands();
    cancelled.release().unwrap();
    assert_eq!(told(&cancelled.commands()), [("leave", 1)]);
}

/// R18: a majority of calls begins the next attempt, at once; a minority begins nothing.
#[test]
fn a_majority_of_calls_begins_an_attempt() {
    for nodes in 1..=16 {
        let mut rig = waiting(nodes);
        rig.at(20);
        let majority = nodes / 2 + 1;
        call(&mut rig, 0..majority - 1);
        // A node that calls twice is one node.
        call(&mut rig, 0..majority - 1);
        assert_eq!(rig.commands(), [], "{nodes} nodes, and one call too few");
        assert!(rig.lock.poll_timeout() > Some(ms(20)));
        rig.call(nodes - 1);
        let commands = rig.commands();
        assert_eq!(told(&commands), [("acquire", 2)]);
        assert_eq!((commands.len(), commands[0].deadline), (nodes, ms(20 + NODE_TIMEOUT)));
    }
}

/// R18: whoever could not be called so far need not wait for its time to take its place.
#[test]
fn a_waiter_that_is_heard_from_now_on_asks_again_at_once() {
    let mut rig = waiting(3);
    rig.listening();
    assert_eq!(told(&rig.commands()), [("acquire", 2)]);
    // It is no call: this attempt is lost as any other, and calls are heard after it.
    rig.answers(0..2, NO);
    assert_eq!(told(&rig.commands()), [("queue", 2)]);
    call(&mut rig, [0, 1]);
    assert_eq!(told(&rig.commands()), [("acquire", 3)]);
}

/// R13, R18: no place comes of the last attempt, so it is not made earlier than is useful.
#[test]
fn being_heard_does_not_hurry_the_last_attempt() {
    let mut rig = queuing(3, attempts(2));
    rig.acquire();
    rig.answers(0..2, NO);
    rig.commands();
    let before = rig.lock;
    rig.listening();
    assert_eq!(rig.lock, before);
}

#[test]
fn being_heard_changes_nothing_for_whoever_does_not_queue() {
    let mut rig = queuing(3, attempts(9));
    let unchanged = |rig: &mut Rig| {
        let before = rig.lock;
        rig.listening();
        assert_eq!(rig.lock, before);
    };
    unchanged(&mut rig);
    rig.acquire();
    rig.commands();
    unchanged(&mut rig);
    rig.answers(0..2, Reply::Unknown);
    rig.commands();
    unchanged(&mut rig);
}

/// R18: whatever was called, only votes grant.
#[test]
fn a_call_is_no_vote() {
    let mut rig = waiting(3);
    call(&mut rig, 0..3);
    assert_eq!((rig.is_valid(), rig.event()), (false, None));
    rig.answer(0, YES);
    call(&mut rig, 0..3);
    assert_eq!((rig.is_valid(), rig.event()), (false, None), "one yes and three calls");
    rig.answer(1, YES);
    assert_eq!(rig.lease_told().token, token(2));
}

/// R18: the node that calls after it has refused in this attempt keeps the key for the next one.
#[test]
fn calls_that_follow_refusals_begin_the_next_attempt_at_once() {
    let mut rig = queuing(3, attempts(9));
    rig.acquire();
    rig.at(5).answer(0, NO);
    call(&mut rig, [0, 1]);
    assert_eq!(told(&rig.commands()), [("acquire", 1)]);
    rig.at(6).answer(1, NO);
    assert_eq!(retrying(&mut rig), ms(6));
    assert_eq!(rig.sleep(), ms(6));
    assert_eq!(told(&rig.commands()), [("queue", 1), ("acquire", 2)]);
}

/// R18: a call of a node that said yes, or nothing, does not tell that it keeps the key now.
#[test]
fn calls_of_nodes_that_have_not_refused_count_for_nothing() {
    let mut rig = queuing(5, attempts(9));
    rig.acquire();
    rig.answers([0, 1], YES);
    call(&mut rig, 0..5);
    rig.at(5).answers([2, 3, 4], NO);
    assert!(retrying(&mut rig) <= ms(5), "three refused, and called");
    let mut rig = queuing(5, attempts(9));
    rig.acquire();
    rig.answers([0, 1], YES);
    call(&mut rig, [0, 1, 2, 3]);
    rig.at(5).answers([2, 3, 4], NO);
    assert!(retrying(&mut rig) >= ms(305), "two refused, and called");
}

/// R18: calls can never keep a waiter spinning.
#[test]
fn whoever_was_called_for_nothing_is_deaf_for_one_wait() {
    let mut rig = waiting(3);
    call(&mut rig, [0, 1]);
    assert_eq!(told(&rig.commands()), [("acquire", 2)]);
    call(&mut rig, 0..3);
    rig.at(10).answers([0, 1], NO);
    let at = retrying(&mut rig);
    assert!(at >= ms(310), "calls during the attempt count for nothing either");
    assert_eq!(told(&rig.commands()), [("queue", 2)], "but it queues");
    call(&mut rig, 0..3);
    assert_eq!(rig.commands(), []);
    rig.answers(0..3, YES);
    assert_eq!(rig.lock.poll_timeout(), Some(at), "and asks as often as if nobody called");
    assert_eq!(rig.sleep(), at);
    rig.answers([0, 1], NO);
    rig.commands();
    retrying(&mut rig);
    call(&mut rig, [0, 1]);
    assert_eq!(told(&rig.commands()), [("acquire", 4)], "it hears again");
}

/// R18: silence and quarantine are not ended by a release of the holder.
#[test]
fn whoever_lost_to_silence_is_deaf() {
    for reply in [UNKNOWN, quarantined(50)] {
        let mut rig = waiting(3);
        rig.answers(0..3, NO);
        rig.sleep();
        rig.answers([0, 1], reply);
        retrying(&mut rig);
        rig.commands();
        call(&mut rig, 0..3);
        assert_eq!(rig.commands(), [], "{reply:?}");
    }
}

/// R18: whoever is going to be called has no need to ask; but it does not rely on it.
#[test]
fn a_waiter_in_a_majority_of_queues_asks_seldom() {
    for told in 0..=5 {
        let mut rig = waiting(5);
        let before = rig.lock.poll_timeout();
        rig.answers(0..told, YES);
        rig.answers(told..5, NO);
        let at = rig.lock.poll_timeout().expect("polling is the safety net");
        if told < 3 {
            assert_eq!(before, Some(at.min(ms(NODE_TIMEOUT))), "{told} nodes have a place for it");
        } else {
            assert!((ms(400)..=ms(800)).contains(&at), "{at:?}");
        }
    }
}

/// R18: a queue that nobody joins is gone after a minute, so a waiter with longer delays renews its place.
#[test]
fn a_waiter_asks_before_its_place_is_gone() {
    let patient = attempts(20).with_delays(DELAY_MIN, Duration::from_secs(600));
    let mut rig = Rig::new(config(3).with_retry(patient));
    rig.lock.set_place(Some(SINCE));
    rig.acquire();
    for _ in 1..20 {
        let began = rig.now();
        rig.answers(0..2, NO);
        rig.answers(0..3, YES);
        let at = rig.sleep();
        let delay = at.saturating_duration_since(began);
        assert!((millis(15_000)..=millis(30_000)).contains(&delay), "{delay:?}");
    }
}

/// R18, R13: a place is no reason to wait for longer than was asked for.
#[test]
fn a_place_moves_no_limit() {
    let short = Retry::within(millis(350)).with_delays(millis(10), DELAY_MAX);
    let mut rig = Rig::new(config(3).with_retry(short));
    rig.lock.set_place(Some(SINCE));
    rig.acquire();
    rig.answers([0, 1], NO);
    let at = retrying(&mut rig);
    rig.answers(0..3, YES);
    assert_eq!(rig.lock.poll_timeout(), Some(at), "an attempt after 400 ms would come too late");

    // No attempt more than the bound says, whoever calls.
    let mut rig = queuing(3, attempts(2));
    rig.acquire();
    rig.answers([0, 1], NO);
    retrying(&mut rig);
    call(&mut rig, [0, 1]);
    call(&mut rig, 0..3);
    rig.answers([0, 1], NO);
    assert!(matches!(rig.event(), Some(Event::Failed { cause: Cause::Contended { .. }, .. })));
    rig.commands();
    call(&mut rig, 0..3);
    assert_eq!(rig.commands(), []);

    // Nor one after the wait.
    let mut rig = Rig::new(config(3).with_retry(short));
    rig.lock.set_place(Some(SINCE));
    rig.acquire();
    rig.answers([0, 1], NO);
    retrying(&mut rig);
    rig.commands();
    rig.at(350);
    call(&mut rig, 0..2);
    assert!(matches!(rig.event(), Some(Event::Failed { cause: Cause::Contended { .. }, .. })));
    assert_eq!(told(&rig.commands()), [("leave", 1)]);
}

/// R18: no node keeps a key for one that does not come, as far as it can be told.
#[test]
fn a_wait_that_ends_without_a_grant_leaves_every_queue() {
    let mut rig = waiting(5);
    rig.answers(0..5, YES);
    rig.release().unwrap();
    assert!(matches!(rig.event(), Some(Event::Failed { cause: Cause::Cancelled, .. })));
    let commands = rig.commands();
    assert_eq!((told(&commands), targets(&commands)), (vec![("leave", 1)], set(0..5)));
    rig.answers(0..5, NO);
    assert!(rig.lock.is_idle());
}

/// R18, R7: a node that confirms the place when the wait is over was not told that it is over.
#[test]
fn a_place_that_is_confirmed_too_late_is_left_all_the_same() {
    let mut rig = waiting(3);
    let queued: Vec<Command> = (0..3).map(|node| rig.last_to(node)).collect();
    rig.lock.release(rig.now()).unwrap();
    // The answers come before the driver has drained what follows from that.
    for command in &queued {
        rig.reply(command, YES);
    }
    let commands = rig.commands();
    assert_eq!((told(&commands), targets(&commands)), (vec![("leave", 1)], set(0..3)));
    assert!(!rig.lock.is_idle(), "each has yet to answer that");
    rig.answers(0..3, NO);
    assert!(rig.lock.is_idle());
}

/// R18, R6: nor does a late yes put it back there, once it has left.
#[test]
fn a_late_release_queues_as_its_waiter_does() {
    let mut rig = waiting(3);
    let late = rig.last_acquire(2);
    rig.answers(0..3, YES);
    rig.reply(&late, YES);
    assert_eq!(told(&rig.commands()), [("queue", 1)], "it waits");
    rig.answer(2, YES);
    rig.sleep();
    rig.commands();
    rig.reply(&late, YES);
    assert_eq!(told(&rig.commands()), [("queue", 1)], "it goes on waiting if this attempt is lost");
    rig.answers([0, 1], YES);
    rig.lease_told();
    rig.reply(&late, YES);
    assert_eq!(told(&rig.commands()), [("leave", 1)], "it holds the lock");
}

/// R18: a call finds a lock in any phase, or none that still wants it.
#[test]
fn calls_outside_a_wait_change_nothing() {
    let idle = Rig::new(config(3));
    let held = Rig::held(config(3));
    let mut releasing = Rig::held(config(3));
    releasing.release().unwrap();
    for mut rig in [idle, held, releasing] {
        let before = rig.lock;
        call(&mut rig, 0..3);
        assert_eq!(rig.lock, before);
    }
}

#[test]
fn calls_of_unknown_nodes_change_nothing() {
    let mut rig = waiting(3);
    let before = rig.lock;
    call(&mut rig, 3..16);
    assert_eq!(rig.lock, before);
}

/// R18: calls of one wait are none of the next.
#[test]
fn a_minority_of_calls_is_forgotten_with_its_wait() {
    let mut rig = waiting(3);
    rig.call(0);
    rig.answers(0..3, YES);
    rig.sleep();
    rig.answers([0, 1], NO);
    retrying(&mut rig);
    rig.commands();
    rig.call(1);
    assert_eq!(rig.commands(), [], "one in this wait");
    rig.call(0);
    assert_eq!(told(&rig.commands()), [("acquire", 3)]);
}

/// R18, R11: a call is an input like any other, and what is due is done first.
#[test]
fn a_call_is_a_chance_to_notice_the_time() {
    let mut rig = Rig::held(config(3));
    rig.at(VALIDITY).call(0);
    assert!(matches!(rig.event(), Some(Event::Lost { .. })));
    let mut rig = waiting(3);
    let at = rig.lock.poll_timeout().expect("a release to repeat");
    rig.at(at.as_nanos() / 1_000_000).call(0);
    assert_eq!(told(&rig.commands()), [("queue", 1)], "asked again");
}

#[test]
fn a_place_is_never_nothing() {
    assert_eq!(Place::since_millis(0), Place::since_millis(1));
    assert_eq!(SINCE.as_millis(), 1_700_000_000_000);
    assert!(Place::since_millis(5) < Place::since_millis(6));
}

/// The reply that puts a waiter into a queue is a yes, also where there was nothing to delete; and the
/// node owes nothing after it.
#[test]
fn a_node_that_has_a_place_owes_nothing() {
    let mut rig = waiting(3);
    rig.answers(0..3, Reply::Applied { fence: None });
    assert!(rig.lock.poll_timeout() >= Some(ms(400)), "nobody is asked again before");
}
