//! Giving a lock up: on purpose, and what follows.

use redlatch_core::{Cause, Event, Instant, Released, WrongPhase};

use crate::support::*;

fn outcome(rig: &mut Rig) -> Released {
    match rig.event() {
        Some(Event::Released(released)) => released,
        other => panic!("not released, but {other:?}"),
    }
}

/// R12: nothing has been handed out yet.
#[test]
fn a_release_drops_the_lease_before_its_first_command() {
    let mut lock = Rig::held(config(3)).lock;
    assert!(lock.is_valid(ms(10)));
    lock.release(ms(10)).unwrap();
    assert!(!lock.is_valid(ms(10)));
    assert_eq!(lock.lease(), None);
    let first = lock.poll_command().unwrap();
    assert_eq!(released(&first), Some(token(1)));
}

/// R12: not even a majority that swears to have it gives it back.
#[test]
fn nothing_that_nodes_answer_undoes_a_release() {
    for reply in [YES, NO, UNKNOWN, quarantined(10)] {
        let mut rig = Rig::held(config(3));
        rig.at(100).extend().unwrap();
        let extension = rig.commands();
        rig.release().unwrap();
        for command in &extension {
            rig.reply(command, YES);
        }
        rig.answers(0..3, reply);
        assert!(!rig.is_valid(), "{reply:?}");
        assert_eq!(rig.lock.lease(), None, "{reply:?}");
    }
}

/// R12, R4: whether or not the node is believed to have the key.
#[test]
fn a_release_goes_to_refused_and_silent_nodes_too() {
    let mut rig = Rig::new(config(5));
    rig.acquire();
    rig.answer(0, NO);
    rig.answers([1, 2, 3], YES);
    rig.commands();
    rig.release().unwrap();
    let commands = rig.commands();
    assert_eq!(targets(&commands), set(0..5));
    assert!(commands.iter().all(|command| released(command) == Some(token(1))));
}

/// R12: "was not there" is as good as "is deleted".
#[test]
fn a_majority_that_is_free_of_the_token_confirms_the_release() {
    for replies in [[YES, YES], [YES, NO], [NO, NO]] {
        let mut rig = Rig::held(config(3));
        rig.release().unwrap();
        rig.answer(2, replies[0]);
        assert_eq!(rig.event(), None, "one is no majority");
        rig.answer(0, replies[1]);
        assert_eq!(outcome(&mut rig), Released::Confirmed);
        assert!(!rig.lock.is_idle(), "one node still owes an answer");
        rig.answer(1, YES);
        assert!(rig.lock.is_idle());
        assert_eq!(rig.event(), None, "told once");
        assert_eq!(rig.lock.poll_timeout(), None);
    }
}

/// R5: told as soon as a majority can no longer confirm.
#[test]
fn unknown_is_never_counted_as_released() {
    let mut rig = Rig::held(config(3));
    rig.at(50).release().unwrap();
    rig.answer(0, YES);
    rig.answer(1, UNKNOWN);
    assert_eq!(rig.event(), None);
    rig.answer(2, quarantined(30));
    assert_eq!(outcome(&mut rig), Released::Unconfirmed { expires_at: ms(EXPIRY) });
}

/// R5, R7: nor does it take back what the same node said before.
#[test]
fn an_unknown_after_a_yes_changes_nothing() {
    let mut rig = Rig::held(config(3));
    rig.release().unwrap();
    rig.answer(0, YES);
    rig.answer(0, UNKNOWN);
    rig.answer(1, YES);
    assert_eq!(outcome(&mut rig), Released::Confirmed);
}

/// R9: release waits no longer for a node than any other command.
#[test]
fn a_release_that_is_not_answered_is_unconfirmed_at_its_deadline() {
    for nodes in 1..=16 {
        let mut rig = Rig::held(config(nodes));
        rig.at(50).release().unwrap();
        rig.answers(0..nodes / 2, YES);
        assert_eq!(rig.event(), None);
        assert_eq!(rig.sleep(), ms(50 + NODE_TIMEOUT));
        assert_eq!(outcome(&mut rig), Released::Unconfirmed { expires_at: ms(EXPIRY) });
    }
}

/// R12
#[test]
fn nodes_that_did_not_confirm_are_asked_again_at_growing_intervals_until_their_keys_expired() {
    let mut rig = Rig::held(config(3));
    rig.at(50).release().unwrap();
    rig.answer(0, YES);
    rig.answer(1, UNKNOWN);
    rig.commands();
    let mut asked = vec![ms(50)];
    loop {
        let at = rig.sleep();
        let commands = rig.commands();
        if commands.is_empty() {
            assert_eq!(at, ms(EXPIRY), "the token would have expired by itself");
            break;
        }
        assert_eq!(targets(&commands), set([1, 2]), "the error and the silence, not the yes");
        assert!(commands.iter().all(|command| released(command) == Some(token(1))));
        asked.push(at);
        rig.answer(1, UNKNOWN);
    }
    let intervals: Vec<_> = asked.windows(2).map(|pair| since(pair[0], pair[1])).collect();
    assert_eq!(intervals, [100, 200, 400].map(millis));
    assert!(rig.lock.is_idle());
    assert_eq!(rig.lock.poll_timeout(), None);
}

fn since(earlier: Instant, later: Instant) -> std::time::Duration {
    later.saturating_duration_since(earlier)
}

/// R12: an answer ends the asking.
#[test]
fn a_node_that_confirms_later_is_not_asked_again() {
    let mut rig = Rig::held(config(3));
    rig.release().unwrap();
    rig.answer(0, YES);
    rig.answers([1, 2], UNKNOWN);
    assert!(matches!(outcome(&mut rig), Released::Unconfirmed { .. }));
    rig.sleep();
    rig.commands();
    rig.answer(1, NO);
    rig.sleep();
    assert_eq!(targets(&rig.commands()), set([2]));
    rig.answer(2, YES);
    assert!(rig.lock.is_idle());
    assert_eq!(rig.event(), None, "the application was told already");
}

/// R12: an answer to the first release that comes after the second was sent is as good.
#[test]
fn a_late_confirmation_counts() {
    let mut rig = Rig::held(config(1));
    rig.release().unwrap();
    let first = rig.last_to(0);
    rig.sleep();
    assert!(matches!(outcome(&mut rig), Released::Unconfirmed { .. }));
    rig.reply(&first, YES);
    assert!(rig.lock.is_idle());
}

/// R5, R7: an unknown that comes after the node's yes takes nothing back.
#[test]
fn a_confirmation_is_not_taken_back() {
    let mut rig = Rig::held(config(3));
    rig.release().unwrap();
    rig.answer(0, YES);
    rig.answer(0, UNKNOWN);
    rig.answer(0, YES);
    assert_eq!(rig.event(), None, "one node, however often");
    rig.answer(1, YES);
    assert_eq!(outcome(&mut rig), Released::Confirmed);
}

/// R12: the last extension that may have been carried out counts.
#[test]
fn an_unconfirmed_release_names_when_the_last_key_expires() {
    let mut rig = Rig::held(config(3));
    rig.at(300).extend().unwrap();
    rig.at(310).release().unwrap();
    rig.answers([0, 1], UNKNOWN);
    assert_eq!(outcome(&mut rig), Released::Unconfirmed { expires_at: ms(300 + EXPIRY) });
}

/// R12: a ttl that is shorter than the node timeout bounds the asking.
#[test]
fn no_release_is_awaited_longer_than_the_key_lives() {
    let config = config(1).with_node_timeout(millis(5_000)).unwrap();
    let mut rig = Rig::held(config);
    rig.release().unwrap();
    rig.commands();
    assert_eq!(rig.sleep(), ms(EXPIRY));
    assert_eq!(outcome(&mut rig), Released::Unconfirmed { expires_at: ms(EXPIRY) });
    assert!(rig.commands().is_empty());
    assert!(rig.lock.is_idle());
}

/// R12: a release is possible once.
#[test]
fn only_what_is_held_or_being_acquired_is_released() {
    let mut rig = Rig::new(config(1));
    assert_eq!(rig.release(), Err(WrongPhase::Idle));
    rig.acquire();
    rig.answer(0, YES);
    rig.release().unwrap();
    assert_eq!(rig.release(), Err(WrongPhase::Idle));
    rig.answer(0, YES);
    assert_eq!(rig.release(), Err(WrongPhase::Idle));
    assert!(rig.commands().len() == 2, "one acquire and one release");
}

/// R4: in the middle of an attempt, with a yes on its way.
#[test]
fn a_release_while_acquiring_cancels_and_undoes() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answer(0, YES);
    rig.commands();
    rig.release().unwrap();
    let Some(Event::Failed { cause, tally }) = rig.event() else { panic!("not failed") };
    assert_eq!((cause, tally.applied), (Cause::Cancelled, set([0])));
    assert_eq!(targets(&rig.commands()), set(0..3));
    rig.answers(0..3, YES);
    assert!(rig.lock.is_idle());
    assert_eq!(rig.event(), None);
}

/// R12: a lock can be used again as soon as all nodes are free of the token.
#[test]
fn a_released_lock_is_acquired_again() {
    let mut rig = Rig::held(config(3));
    rig.release().unwrap();
    rig.answers([0, 1], YES);
    outcome(&mut rig);
    assert_eq!(
        rig.lock.acquire(rig.now(), [9; 16], None),
        Err(WrongPhase::NotIdle),
        "node 2 may still have the token"
    );
    rig.answer(2, YES);
    rig.acquire();
    rig.answers([1, 2], YES);
    assert_eq!(rig.lease_told().token, token(2));
}

/// The phase that was wrong is named.
#[test]
fn a_wrong_phase_says_what_is_the_matter() {
    for (error, word) in [
        (WrongPhase::NotIdle, "wait until it is idle"),
        (WrongPhase::NotHeld, "not held"),
        (WrongPhase::Idle, "nothing to release"),
    ] {
        assert!(error.to_string().contains(word), "{error}");
    }
}
