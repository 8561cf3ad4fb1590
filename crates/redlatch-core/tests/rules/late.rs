//! Answers that come after their attempt was given up: in every phase, one more release (R6).

use redlatch_core::{Command, Config, Event, Op, Released};

use crate::support::*;

fn retrying() -> Config {
    let delay = millis(50);
    config(3).with_retry(attempts(5).with_delays(delay, delay))
}

/// An attempt of which node 2 has not answered; it was refused by nodes 0 and 1, which are undone.
/// Gives node 2's command.
fn lost_but_for_node_2(rig: &mut Rig) -> Command {
    rig.acquire();
    let late = rig.last_to(2);
    rig.answers([0, 1], NO);
    rig.answers([0, 1], NO);
    late
}

/// What was handed out last is one release of `attempt` to node 2.
fn assert_one_release(rig: &mut Rig, attempt: u32) {
    let commands = rig.commands();
    assert_eq!(commands.len(), 1, "{commands:?}");
    assert_eq!(targets(&commands), set([2]));
    assert_eq!(released(&commands[0]), Some(token(attempt)));
}

/// R6
#[test]
fn a_late_yes_is_released_when_idle() {
    let mut rig = Rig::new(config(3));
    let late = lost_but_for_node_2(&mut rig);
    rig.answer(2, NO);
    assert!(rig.lock.is_idle());
    rig.commands();
    rig.at(70).reply(&late, YES);
    assert_one_release(&mut rig, 1);
    assert!(!rig.lock.is_idle(), "until the node confirms");
    rig.answer(2, YES);
    assert!(rig.lock.is_idle());
}

/// R6
#[test]
fn a_late_yes_is_released_while_waiting() {
    let mut rig = Rig::new(retrying());
    let late = lost_but_for_node_2(&mut rig);
    rig.answer(2, NO);
    rig.commands();
    rig.at(20).reply(&late, YES);
    assert_one_release(&mut rig, 1);
}

/// R6: the node has a release on its way, which the acquire may have overtaken.
#[test]
fn a_late_yes_is_released_once_more_while_the_first_release_is_on_its_way() {
    let mut rig = Rig::new(retrying());
    let late = lost_but_for_node_2(&mut rig);
    rig.commands();
    rig.at(20).reply(&late, YES);
    assert_one_release(&mut rig, 1);
}

/// R6, R3: the release of the earlier token cannot take what the next attempt gets.
#[test]
fn a_late_yes_is_released_during_the_next_attempt() {
    let mut rig = Rig::new(retrying());
    let late = lost_but_for_node_2(&mut rig);
    rig.sleep();
    assert!(matches!(rig.last_to(2).op, Op::Acquire { .. }));
    rig.commands();
    rig.reply(&late, YES);
    assert_one_release(&mut rig, 1);
    rig.answers([0, 1], YES);
    assert!(rig.is_valid(), "the attempt goes on");
}

/// R6: of an attempt that came after it, or of a later `acquire`.
#[test]
fn a_late_yes_is_released_while_a_later_attempt_holds() {
    let mut rig = Rig::new(retrying());
    let late = lost_but_for_node_2(&mut rig);
    rig.sleep();
    rig.answers(0..3, YES);
    rig.commands();
    rig.reply(&late, YES);
    assert_one_release(&mut rig, 1);
    assert!(rig.is_valid());
    assert_eq!(rig.lock.lease().unwrap().token, token(2));
}

/// R6: the attempt after it is waiting for the third.
#[test]
fn a_late_yes_is_released_while_waiting_for_a_third_attempt() {
    let mut rig = Rig::new(retrying());
    let late = lost_but_for_node_2(&mut rig);
    rig.sleep();
    rig.answers([0, 1], NO);
    rig.commands();
    rig.reply(&late, YES);
    assert_one_release(&mut rig, 1);
}

/// R6
#[test]
fn a_late_yes_is_released_while_releasing() {
    let mut rig = Rig::new(config(3));
    let late = lost_but_for_node_2(&mut rig);
    rig.commands();
    assert!(!rig.lock.is_idle());
    rig.at(40).reply(&late, YES);
    assert_one_release(&mut rig, 1);
}

/// R6: what is being released is a later attempt's.
#[test]
fn a_late_yes_is_released_while_a_later_attempt_is_released() {
    let mut rig = Rig::new(retrying());
    let late = lost_but_for_node_2(&mut rig);
    rig.sleep();
    rig.answers(0..3, YES);
    rig.release().unwrap();
    rig.commands();
    rig.reply(&late, YES);
    assert_one_release(&mut rig, 1);
    rig.answers([0, 1], YES);
    assert!(!rig.lock.is_idle());
}

/// R6: whatever the late command did, it found the token in the key.
#[test]
fn a_late_yes_to_an_extension_is_released() {
    let mut rig = Rig::held(config(3));
    rig.at(100).extend().unwrap();
    let late = rig.last_to(2);
    rig.release().unwrap();
    rig.answers(0..3, YES);
    assert!(rig.lock.is_idle());
    rig.commands();
    rig.at(180).reply(&late, YES);
    assert_one_release(&mut rig, 1);
}

/// R6
#[test]
fn a_late_yes_to_a_seal_is_released() {
    let mut rig = Rig::new(config(3));
    rig.acquire_fenced(10);
    rig.answer(0, yes(20));
    rig.answer(2, yes(10));
    let late = rig.last_to(2);
    assert!(matches!(late.op, Op::Seal { .. }));
    rig.release().unwrap();
    rig.answers(0..3, YES);
    rig.commands();
    rig.reply(&late, yes(20));
    assert_one_release(&mut rig, 1);
}

/// R6: only a yes says that the token may still be there.
#[test]
fn a_late_no_or_unknown_needs_no_release() {
    for reply in [NO, no(50), UNKNOWN, quarantined(10)] {
        for settle in [true, false] {
            let mut rig = Rig::new(retrying());
            let late = lost_but_for_node_2(&mut rig);
            if settle {
                rig.answer(2, NO);
            }
            rig.commands();
            rig.reply(&late, reply);
            assert!(rig.commands().is_empty(), "{reply:?}");
        }
    }
}

/// R6: a late yes to a release is good news only.
#[test]
fn a_late_yes_to_a_release_needs_no_release() {
    let mut rig = Rig::new(retrying());
    let _ = lost_but_for_node_2(&mut rig);
    let late = rig.last_to(2);
    assert_eq!(released(&late), Some(token(1)));
    rig.sleep();
    rig.commands();
    rig.reply(&late, YES);
    assert!(rig.commands().is_empty());
}

/// R6, R11: after a loss as after a lost attempt.
#[test]
fn a_late_yes_after_a_loss_is_released_and_revives_nothing() {
    let mut rig = Rig::held(config(3));
    rig.at(VALIDITY - 10).extend().unwrap();
    let late = rig.last_to(2);
    rig.timeout_at(VALIDITY);
    assert!(matches!(rig.event(), Some(Event::Lost { .. })));
    rig.answers(0..3, NO);
    rig.commands();
    rig.at(VALIDITY + 5).reply(&late, YES);
    assert_one_release(&mut rig, 1);
    assert!(!rig.is_valid());
}

/// R6, R12: the one more release is asked for again if it is not answered, while nothing else goes on.
#[test]
fn a_late_release_is_repeated_until_the_node_answers() {
    let mut rig = Rig::new(config(3));
    let late = lost_but_for_node_2(&mut rig);
    rig.answer(2, NO);
    rig.at(70).reply(&late, YES);
    rig.commands();
    rig.answer(2, UNKNOWN);
    assert_eq!(rig.sleep(), ms(70 + NODE_TIMEOUT));
    assert_one_release(&mut rig, 1);
    rig.answer(2, YES);
    assert!(rig.lock.is_idle());
    assert_eq!(rig.event().map(|event| matches!(event, Event::Failed { .. })), Some(true));
    assert_eq!(rig.event(), None, "the application was not waiting for it");
}

/// R6: an acquire that is answered at the last moment kept its key until its ttl from then on.
#[test]
fn a_late_yes_is_worth_a_release_for_a_whole_ttl() {
    let mut rig = Rig::new(config(3));
    let late = lost_but_for_node_2(&mut rig);
    rig.answer(2, NO);
    rig.at(5_000).reply(&late, YES);
    let mut last = ms(5_000);
    while !rig.lock.is_idle() {
        last = rig.sleep();
    }
    assert_eq!(last, ms(5_000 + EXPIRY));
}

/// R6, R9: a release that is sent late has as much time as any other.
#[test]
fn a_late_release_has_the_whole_node_timeout() {
    let slow = millis(800);
    let retry = attempts(2).with_delays(slow, slow);
    let mut rig = Rig::new(config(3).with_retry(retry));
    let late = lost_but_for_node_2(&mut rig);
    rig.answer(2, NO);
    rig.commands();
    rig.at(500).reply(&late, YES);
    let commands = rig.commands();
    assert_eq!(commands[0].deadline, ms(500 + NODE_TIMEOUT));
}

/// R6, R7: no transport keeps commands in order, so a release that overtook its acquire found
/// nothing; its answer, coming last of all, says nothing of what the acquire did after it.
#[test]
fn an_old_no_to_a_release_does_not_answer_the_one_more() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answers([0, 1], YES);
    let acquire = rig.last_to(2);
    rig.release().unwrap();
    let first = rig.last_to(2);
    rig.answer(0, YES);
    rig.answer(1, UNKNOWN);
    assert!(matches!(rig.event(), Some(Event::Granted(_))));
    rig.reply(&acquire, YES);
    assert_eq!(released(&rig.last_to(2)), Some(token(1)));

    rig.reply(&first, NO);
    assert_ne!(rig.event(), Some(Event::Released(Released::Confirmed)), "node 2 has the token");
    rig.timeout_at(NODE_TIMEOUT);
    assert!(targets(&rig.commands()[6..]).contains(node(2)), "and is asked again");
}

/// R6: a lock that is idle can be told of one late node after another.
#[test]
fn two_late_nodes_are_both_released() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    let late = rig.commands();
    rig.answers([0, 1], UNKNOWN);
    rig.answers([0, 1, 2], NO);
    rig.commands();
    rig.reply(&late[1], YES);
    rig.reply(&late[2], YES);
    let commands = rig.commands();
    assert_eq!(targets(&commands), set([1, 2]));
    assert!(commands.iter().all(|command| released(command) == Some(token(1))));
}

/// R6, R7: the release of one late node is answered, whatever becomes of another one.
#[test]
fn two_late_nodes_confirm_in_any_order() {
    for order in [[1, 2], [2, 1]] {
        let mut rig = Rig::new(config(5));
        rig.acquire();
        let late = rig.commands();
        rig.answers([0, 3, 4], NO);
        rig.answers([0, 3, 4], NO);
        rig.at(10).reply(&late[1], YES);
        rig.at(20).reply(&late[2], YES);
        assert!(!rig.lock.is_idle());
        rig.at(30).answers(order, YES);
        assert!(rig.lock.is_idle(), "both said that they are free of it");
    }
}
