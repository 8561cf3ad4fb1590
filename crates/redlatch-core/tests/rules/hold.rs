//! A lock that is held: promises, extension, renewal, loss, and adoption.

use redlatch_core::{
    Command, Config, Event, Instant, Lease, Lock, Loss, Op, Quorum, Released, Renewal, Tally, Ttl,
    WrongPhase,
};

use crate::support::*;

fn valid_until(rig: &Rig) -> Instant {
    rig.lock.lease().expect("held").valid_until
}

fn is_extend(command: &Command) -> bool {
    matches!(command.op, Op::Extend { .. })
}

fn lost(rig: &mut Rig) -> (Lease, Loss) {
    match rig.event() {
        Some(Event::Lost { lease, loss }) => (lease, loss),
        other => panic!("not lost, but {other:?}"),
    }
}

/// R1: a node that answers after the grant promises as well, which an extension can build on.
#[test]
fn a_late_yes_raises_its_nodes_promise_after_the_grant() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answers([0, 1], YES);
    rig.lease_told();
    rig.at(50).answer(2, YES);
    assert_eq!(valid_until(&rig), ms(VALIDITY), "the second largest of three equal promises");
    // Two of the three old promises back the lease; with one new one, it takes two new ones.
    rig.at(200).extend().unwrap();
    rig.answer(0, YES);
    assert_eq!(valid_until(&rig), ms(VALIDITY));
    rig.answer(2, YES);
    assert_eq!(rig.lease_told().valid_until, ms(200 + VALIDITY));
}

/// R1: also a yes that comes after its own command's deadline, and with no vote left to give.
#[test]
fn a_yes_after_its_deadline_is_still_a_promise() {
    let mut rig = Rig::held(config(3));
    rig.at(200).extend().unwrap();
    let round = rig.commands();
    rig.timeout_at(200 + NODE_TIMEOUT);
    assert!(matches!(rig.event(), Some(Event::AtRisk { .. })));
    rig.at(400).reply(&round[0], YES);
    assert_eq!(valid_until(&rig), ms(VALIDITY));
    rig.at(401).reply(&round[1], YES);
    assert_eq!(valid_until(&rig), ms(200 + VALIDITY), "counted from its own sending");
}

/// R1: one node that promises for longer than the rest does not make the lease longer.
#[test]
fn validity_is_the_qth_largest_promise_not_the_qth_in_time() {
    let mut rig = Rig::held(config(5));
    // Nodes answer three extensions: 4 all of them, 3 and 2 two, 1 one, 0 none.
    let mut rounds: Vec<Vec<Command>> = Vec::new();
    for at in [100, 200, 300] {
        rig.at(at).extend().unwrap();
        rounds.push(rig.commands());
        if at < 300 {
            rig.timeout_at(at + 100);
            rig.event();
        }
    }
    let mut say = |round: usize, node: usize| {
        rig.reply(&rounds[round].clone()[node], YES);
        valid_until(&rig)
    };
    let (first, second, third) = (ms(100 + VALIDITY), ms(200 + VALIDITY), ms(300 + VALIDITY));
    assert_eq!(say(2, 4), ms(VALIDITY), "one");
    assert_eq!(say(1, 3), ms(VALIDITY), "two");
    assert_eq!(say(0, 1), first, "300, 200, 100: the third largest is the smallest");
    assert_eq!(say(1, 4), first, "an older promise of a node shortens nothing");
    assert_eq!(say(1, 2), second, "300, 200, 200");
    assert_eq!(say(2, 3), second, "300, 300, 200");
    assert_eq!(say(2, 0), third, "300, 300, 300");
}

/// R1, R10: promises of two rounds that each missed add up to a longer lease.
#[test]
fn partial_extensions_add_up() {
    let mut rig = Rig::held(config(3));
    rig.at(200).extend().unwrap();
    rig.answer(0, YES);
    rig.answers([1, 2], UNKNOWN);
    let at_risk = rig.lease_told();
    assert_eq!(at_risk.valid_until, ms(VALIDITY));
    rig.at(300).extend().unwrap();
    rig.answer(1, YES);
    rig.answers([0, 2], UNKNOWN);
    assert_eq!(rig.lease_told().valid_until, ms(200 + VALIDITY), "of 200 and 300");
}

/// R7: it is a promise of its node, but the round that it answers is over.
#[test]
fn an_answer_of_an_earlier_round_is_a_promise_and_no_vote() {
    let mut rig = Rig::held(config(3));
    rig.at(200).extend().unwrap();
    let first = rig.commands();
    rig.timeout_at(200 + NODE_TIMEOUT);
    assert!(matches!(rig.event(), Some(Event::AtRisk { .. })));
    rig.at(400).extend().unwrap();
    rig.reply(&first[0], YES);
    rig.reply(&first[1], YES);
    assert_eq!(rig.event(), None, "no vote");
    assert_eq!(valid_until(&rig), ms(200 + VALIDITY), "but promises");
    rig.reply(&first[2], NO);
    rig.answer(0, YES);
    assert_eq!(rig.event(), None);
    rig.answer(1, YES);
    assert_eq!(rig.lease_told().valid_until, ms(400 + VALIDITY));
}

/// R7
#[test]
fn a_repeated_answer_to_an_extension_counts_once() {
    let mut rig = Rig::held(config(3));
    rig.at(200).extend().unwrap();
    for _ in 0..4 {
        rig.answer(0, YES);
    }
    assert_eq!(rig.event(), None);
    assert_eq!(valid_until(&rig), ms(VALIDITY));
}

/// R8: extension by extension, for every n.
#[test]
fn an_extension_takes_a_majority_and_no_more() {
    for nodes in 1..=16 {
        let mut rig = Rig::held(config(nodes));
        rig.at(300).extend().unwrap();
        for node in 0..=nodes / 2 {
            assert_eq!(rig.event(), None);
            rig.answer(node, YES);
        }
        assert_eq!(rig.lease_told().valid_until, ms(300 + VALIDITY), "{nodes} nodes");
    }
}

/// R8
#[test]
fn a_tied_extension_is_a_miss() {
    for nodes in (2..=16).step_by(2) {
        let mut rig = Rig::held(config(nodes));
        rig.at(300).extend().unwrap();
        rig.answers(0..nodes / 2, YES);
        rig.answers(nodes / 2..nodes, NO);
        assert!(matches!(rig.event(), Some(Event::AtRisk { .. })), "{nodes} nodes");
        assert_eq!(valid_until(&rig), ms(VALIDITY), "{nodes} nodes");
    }
}

/// R8: a round ends at its deadline even if the driver did not hand all commands of the attempt out
/// before the majority answered.
#[test]
fn an_extension_is_decided_at_its_deadline_if_some_nodes_were_never_asked() {
    let mut lock = Lock::new(config(5));
    lock.acquire(ms(0), Rig::NONCE, None).unwrap();
    let asked: Vec<_> = (0..3).filter_map(|_| lock.poll_command()).collect();
    for command in &asked {
        lock.handle_reply(ms(1), command.id, YES);
    }
    let mut rig = Rig::of(lock, ms(1));
    assert!(matches!(rig.event(), Some(Event::Granted(_))));
    rig.at(200).extend().unwrap();
    rig.answer(0, YES);
    assert_eq!(rig.sleep(), ms(200 + NODE_TIMEOUT));
    assert!(matches!(rig.event(), Some(Event::AtRisk { .. })));
    assert!(rig.lock.poll_timeout() > Some(ms(200 + NODE_TIMEOUT)), "nothing more is due");
}

/// R10
#[test]
fn an_extension_keeps_the_token_and_the_fence() {
    let mut rig = Rig::new(config(1));
    rig.acquire_fenced(40);
    rig.answer(0, yes(41));
    let before = rig.lease_told();
    rig.at(100).extend().unwrap();
    let Op::Extend { token, ttl, fence } = rig.last_to(0).op else { panic!("not extended") };
    assert_eq!((token, ttl, fence), (before.token, config(1).ttl(), before.fence));
    rig.answer(0, YES);
    let after = rig.lease_told();
    assert_eq!((after.token, after.fence), (before.token, before.fence));
}

/// R10: whatever is answered, nodes are only ever asked to extend.
#[test]
fn a_miss_releases_nothing_and_shortens_nothing() {
    for reply in [NO, UNKNOWN, quarantined(50)] {
        let mut rig = Rig::held(config(3));
        rig.at(200).extend().unwrap();
        rig.answers(0..3, reply);
        let Some(Event::AtRisk { lease, tally }) = rig.event() else { panic!("no miss") };
        assert_eq!(lease.valid_until, ms(VALIDITY));
        assert_eq!(tally.applied, set([]));
        assert!(rig.is_valid());
        assert!(rig.commands().iter().all(is_extend), "{reply:?}");
    }
}

/// R10: tried again by itself, without renewal, and each miss is told.
#[test]
fn an_extension_that_missed_is_tried_again_until_it_succeeds() {
    let mut rig = Rig::held(config(3));
    rig.at(200).extend().unwrap();
    rig.answers([0, 1], UNKNOWN);
    assert!(matches!(rig.event(), Some(Event::AtRisk { .. })));
    rig.commands();
    for _ in 0..3 {
        let at = rig.sleep();
        assert!(at < ms(VALIDITY));
        let commands = rig.commands();
        assert!(commands.iter().all(is_extend));
        assert_eq!(targets(&commands), set(0..3));
        rig.answers([0, 1], UNKNOWN);
        assert!(matches!(rig.event(), Some(Event::AtRisk { .. })));
    }
    let at = rig.sleep();
    rig.answers([0, 1], YES);
    assert_eq!(rig.lease_told().valid_until, at.saturating_add(millis(VALIDITY)));
    assert_eq!(rig.lock.poll_timeout(), Some(valid_until(&rig)), "asked for once, extended once");
}

/// R10, R11: tries come closer as the deadline does, are bounded, and end in the loss.
#[test]
fn an_extension_that_always_misses_is_tried_until_the_loss() {
    let mut rig = Rig::held(config(3));
    rig.at(200).extend().unwrap();
    rig.answers([0, 1], NO);
    let mut tries: Vec<Instant> = Vec::new();
    loop {
        match rig.event() {
            Some(Event::AtRisk { .. }) => {}
            Some(Event::Lost { lease, loss }) => {
                assert_eq!((lease.valid_until, loss), (ms(VALIDITY), Loss::Expired));
                break;
            }
            other => panic!("unexpected {other:?}"),
        }
        tries.push(rig.sleep());
        if rig.lock.lease().is_some() {
            rig.answers([0, 1], NO);
        }
    }
    assert_eq!(tries.last(), Some(&ms(VALIDITY)), "no later");
    assert!((4..=64).contains(&tries.len()), "{} tries", tries.len());
}

/// R10: what is asked for while an extension runs is that extension.
#[test]
fn an_extension_joins_the_one_under_way() {
    let mut rig = Rig::held(config(3));
    rig.at(200).extend().unwrap();
    assert_eq!(rig.commands().len(), 3);
    rig.at(210).extend().unwrap();
    assert!(rig.commands().is_empty());
    rig.answers([0, 1], YES);
    assert_eq!(rig.lease_told().valid_until, ms(200 + VALIDITY));
    assert_eq!(rig.event(), None);
}

/// R7: a driver can tell the commands of one extension from those of the next.
#[test]
fn the_commands_of_an_extension_have_one_number_and_the_next_has_another() {
    let mut rig = Rig::held(config(3));
    let mut rounds = Vec::new();
    for at in [200, 300] {
        rig.at(at).extend().unwrap();
        rounds.push(rig.commands().iter().map(|command| command.id.round()).collect::<Vec<_>>());
        rig.answers(0..3, YES);
    }
    let [first, second] = [rounds[0][0], rounds[1][0]];
    assert_ne!(first, second);
    assert_eq!(rounds, [[first; 3], [second; 3]]);
}

/// R10
#[test]
fn only_a_held_lock_is_extended() {
    let mut rig = Rig::new(config(3));
    assert_eq!(rig.extend(), Err(WrongPhase::NotHeld));
    rig.acquire();
    assert_eq!(rig.extend(), Err(WrongPhase::NotHeld));
    rig.answers([0, 1], YES);
    assert_eq!(rig.extend(), Ok(()));
    rig.release().unwrap();
    assert_eq!(rig.extend(), Err(WrongPhase::NotHeld));
}

/// R11: with no network at all.
#[test]
fn a_loss_is_told_at_valid_until_even_if_nothing_was_ever_answered() {
    let mut rig = Rig::held(config(3));
    assert_eq!(rig.lock.poll_timeout(), Some(ms(VALIDITY)));
    rig.at(VALIDITY - 50).extend().unwrap();
    assert_eq!(rig.sleep(), ms(VALIDITY));
    let (lease, loss) = lost(&mut rig);
    assert_eq!((lease.valid_until, loss), (ms(VALIDITY), Loss::Expired));
    assert_eq!(rig.event(), None, "once");
}

/// R11: whichever input comes first at or after the deadline finds the lease gone.
#[test]
fn every_input_tells_the_loss_before_it_does_anything_else() {
    let inputs: [(&str, Step); 4] = [
        ("timeout", |rig| rig.timeout_at(VALIDITY)),
        ("reply", |rig| rig.answers([0, 1, 2], YES)),
        ("extend", |rig| assert_eq!(rig.extend(), Err(WrongPhase::NotHeld))),
        ("release", |rig| assert_eq!(rig.release(), Err(WrongPhase::Idle))),
    ];
    for (name, input) in inputs {
        let mut rig = Rig::held(config(3));
        rig.at(VALIDITY - 5).extend().unwrap();
        rig.at(VALIDITY);
        assert!(!rig.is_valid(), "{name}: even before the input");
        input(&mut rig);
        let (lease, _) = lost(&mut rig);
        assert_eq!(lease.valid_until, ms(VALIDITY), "{name}");
        assert!(!rig.is_valid(), "{name}");
        assert_eq!(rig.lock.lease(), None, "{name}");
    }
}

/// R11: the answers that would have extended it come a moment later.
#[test]
fn an_extension_never_revives_a_lost_lease() {
    let mut rig = Rig::held(config(3));
    rig.at(VALIDITY - 5).extend().unwrap();
    let round = rig.commands();
    rig.at(VALIDITY - 1).reply(&round[0], YES);
    rig.at(VALIDITY);
    for command in &round {
        rig.reply(command, YES);
    }
    lost(&mut rig);
    assert!(!rig.is_valid());
    assert_eq!(rig.event(), None);
    assert_eq!(rig.extend(), Err(WrongPhase::NotHeld));
    assert!(!rig.lock.is_valid(ms(VALIDITY - 1)), "not even for an earlier now");
}

/// R11: computed, never stored; no input has told the machine what time it is.
#[test]
fn validity_needs_no_timer() {
    let rig = Rig::held(config(3));
    assert!(rig.lock.is_valid(ms(VALIDITY - 1)));
    assert!(!rig.lock.is_valid(ms(VALIDITY)));
    assert!(!rig.lock.is_valid(Instant::MAX));
    assert!(rig.lock.lease().is_some(), "as far as the last input knew");
}

/// R11, R12: the keys may outlive the lease, so they are released.
#[test]
fn a_lost_lease_is_released_on_every_node() {
    let mut rig = Rig::held(config(3));
    rig.timeout_at(VALIDITY);
    let commands = rig.commands();
    assert_eq!(targets(&commands), set(0..3));
    assert!(commands.iter().all(|command| released(command) == Some(token(1))));
    rig.answers(0..3, YES);
    assert!(rig.lock.is_idle());
    lost(&mut rig);
    assert_eq!(rig.event(), None, "the application asked for no release");
}

fn renewed(nodes: usize, hold_max: u64) -> Config {
    config(nodes).with_renewal(Renewal::up_to(millis(hold_max)))
}

/// R14
#[test]
fn nothing_is_renewed_that_was_not_asked_to_be() {
    let mut rig = Rig::held(config(3));
    assert_eq!(rig.sleep(), ms(VALIDITY));
    assert!(rig.commands().iter().all(|command| released(command).is_some()));
}

/// R14: two thirds of the validity are left for tries that miss.
#[test]
fn renewal_starts_early_enough_for_several_tries() {
    let mut rig = Rig::held(renewed(3, 3_600_000));
    let at = rig.sleep();
    assert!(at >= ms(VALIDITY / 3) && at <= ms(VALIDITY / 3 + 1), "{at:?}");
    assert!(rig.commands().iter().all(is_extend));
    let mut tries = 1;
    loop {
        // All nodes hang, so that each try costs a whole node timeout.
        rig.sleep();
        match rig.event() {
            Some(Event::AtRisk { .. }) => tries += 1,
            Some(Event::Lost { .. }) => break,
            None => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(tries >= 4, "{tries} tries");
}

/// R14: renewal goes on by itself from one extension to the next.
#[test]
fn a_lease_is_renewed_again_and_again() {
    let mut rig = Rig::held(renewed(3, 3_600_000));
    for _ in 0..100 {
        let at = rig.sleep();
        assert!(rig.is_valid());
        rig.answers([0, 2], YES);
        assert_eq!(rig.lease_told().valid_until, at.saturating_add(millis(VALIDITY)));
    }
    assert!(rig.now() > ms(100 * VALIDITY / 3));
}

/// R14: however willing the nodes.
#[test]
fn renewal_is_bounded_by_the_longest_hold() {
    let mut rig = Rig::new(renewed(3, 2_500));
    rig.at(100).acquire();
    rig.at(140).answers(0..3, YES);
    rig.lease_told();
    let end = ms(140 + 2_500);
    loop {
        rig.sleep();
        assert!(valid_until_or(&rig, end) <= end);
        if rig.lock.lease().is_none() {
            break;
        }
        rig.answers(0..3, YES);
        assert!(rig.lease_told().valid_until <= end);
    }
    assert_eq!(rig.now(), end, "not a moment earlier, either");
    let (lease, loss) = lost(&mut rig);
    assert_eq!((lease.valid_until, loss), (end, Loss::HoldMax));
    assert!(targets(&rig.commands()).contains(node(0)));
}

fn valid_until_or(rig: &Rig, default: Instant) -> Instant {
    rig.lock.lease().map_or(default, |lease| lease.valid_until)
}

/// R14: a hold that is shorter than the first validity.
#[test]
fn a_hold_that_ends_before_the_ttl_is_not_renewed() {
    let mut rig = Rig::new(renewed(3, 300));
    rig.acquire();
    rig.answers(0..3, YES);
    assert_eq!(rig.lease_told().valid_until, ms(300));
    rig.commands();
    assert_eq!(rig.sleep(), ms(300));
    assert_eq!(lost(&mut rig).1, Loss::HoldMax);
}

/// R14: no extension is asked for that the hold cannot use.
#[test]
fn the_last_renewal_is_the_one_that_reaches_the_longest_hold() {
    let mut rig = Rig::held(renewed(1, 1_200));
    rig.sleep();
    rig.answer(0, YES);
    assert_eq!(rig.lease_told().valid_until, ms(1_200));
    rig.commands();
    assert_eq!(rig.sleep(), ms(1_200), "and none after it");
}

/// R14: also an extension that the application asks for.
#[test]
fn an_extension_does_not_reach_beyond_the_longest_hold() {
    let mut rig = Rig::held(renewed(1, 1_200));
    rig.at(900).extend().unwrap();
    rig.answer(0, YES);
    assert_eq!(rig.lease_told().valid_until, ms(1_200));
}

/// R14
#[test]
fn a_lease_that_ends_with_the_longest_hold_is_not_renewed() {
    let rig = Rig::held(renewed(3, VALIDITY));
    assert_eq!(rig.lock.poll_timeout(), Some(ms(VALIDITY)));
}

/// R14: missed renewals are tried again like any other extension.
#[test]
fn a_renewal_that_misses_puts_the_lease_at_risk_and_then_succeeds() {
    let mut rig = Rig::held(renewed(3, 60_000));
    rig.sleep();
    rig.answers([1, 2], UNKNOWN);
    let Some(Event::AtRisk { lease, tally }) = rig.event() else { panic!("no miss") };
    assert_eq!(lease.valid_until, ms(VALIDITY));
    assert_eq!(tally, Tally { unknown: set([1, 2]), ..Tally::default() });
    let at = rig.sleep();
    assert!(at < ms(VALIDITY));
    rig.answers([1, 2], YES);
    assert_eq!(rig.lease_told().valid_until, at.saturating_add(millis(VALIDITY)));
}

/// A lease as another holder was granted it.
fn handed_over() -> Lease {
    Lease { token: token(4), fence: redlatch_core::Fence::new(77), valid_until: ms(VALIDITY) }
}

/// R10: the new holder goes on with the same token, and the same fence.
#[test]
fn an_adopted_lease_is_held_and_extends() {
    let mut rig = Rig::of(Lock::adopt(config(3), ms(300), &handed_over()), ms(300));
    assert!(rig.is_valid());
    assert_eq!(rig.lock.lease(), Some(handed_over()));
    assert_eq!(rig.event(), None);
    rig.extend().unwrap();
    let commands = rig.commands();
    assert_eq!(targets(&commands), set(0..3));
    assert!(commands.iter().all(|command| matches!(
        command.op,
        Op::Extend { token: t, fence, .. } if t == token(4) && fence == handed_over().fence
    )));
    rig.answers([0, 1], YES);
    assert_eq!(rig.lease_told().valid_until, ms(300 + VALIDITY));
}

/// R1: nobody knows which majority promised, so any minority's extension adds nothing.
#[test]
fn a_partial_extension_of_an_adopted_lease_adds_nothing() {
    let mut rig = Rig::of(Lock::adopt(config(5), ms(300), &handed_over()), ms(300));
    rig.extend().unwrap();
    rig.answers([0, 1], YES);
    rig.answers([2, 3, 4], UNKNOWN);
    assert_eq!(rig.lease_told().valid_until, ms(VALIDITY));
    rig.sleep();
    rig.answer(2, YES);
    assert_eq!(valid_until(&rig), ms(300 + VALIDITY), "three in all");
}

/// R11
#[test]
fn a_lapsed_lease_that_is_adopted_is_lost_at_once() {
    for now in [VALIDITY, VALIDITY + 1, 10 * VALIDITY] {
        let mut rig = Rig::of(Lock::adopt(config(3), ms(now), &handed_over()), ms(now));
        let (lease, loss) = lost(&mut rig);
        assert_eq!((lease, loss), (handed_over(), Loss::Expired));
        assert!(!rig.is_valid());
        assert_eq!(targets(&rig.commands()), set(0..3), "and released, in case it is there");
    }
}

/// R12: its keys may live as long as its lease, and as long as one ttl of the new holder.
#[test]
fn an_adopted_lease_is_released_for_as_long_as_its_keys_may_live() {
    for valid_until in [ms(VALIDITY), ms(60_000)] {
        let lease = Lease { valid_until, ..handed_over() };
        let mut rig = Rig::of(Lock::adopt(config(3), ms(300), &lease), ms(300));
        rig.release().unwrap();
        rig.answers(0..3, UNKNOWN);
        let Some(Event::Released(Released::Unconfirmed { expires_at })) = rig.event() else {
            panic!("it is not known to be released");
        };
        assert!(expires_at > valid_until.max(ms(300 + VALIDITY)), "{expires_at:?}");
    }
}

/// R11, R12, R14
#[test]
fn an_adopted_lease_ends_like_any_other() {
    let adopt = |config| Rig::of(Lock::adopt(config, ms(300), &handed_over()), ms(300));
    let mut rig = adopt(config(3));
    assert_eq!(rig.sleep(), ms(VALIDITY));
    assert_eq!(lost(&mut rig).1, Loss::Expired);

    let mut rig = adopt(config(3));
    rig.release().unwrap();
    assert!(!rig.is_valid());
    rig.answers([0, 1], YES);
    assert_eq!(rig.event(), Some(Event::Released(Released::Confirmed)));

    let mut rig = adopt(renewed(3, 400));
    assert_eq!(rig.sleep(), ms(700), "the hold counts from the adoption");
    assert_eq!(lost(&mut rig).1, Loss::HoldMax);
}

/// R3: tokens of the new holder come after the one it adopted.
#[test]
fn an_acquire_after_an_adoption_has_a_token_of_its_own() {
    let mut rig = Rig::of(Lock::adopt(config(1), ms(0), &handed_over()), ms(0));
    rig.release().unwrap();
    rig.answer(0, YES);
    rig.acquire();
    assert!(matches!(rig.last_to(0).op, Op::Acquire { token: t, .. } if t == token(5)));
}

/// R1: subtraction saturates; a lease near the origin of time is no trap.
#[test]
fn arithmetic_at_the_ends_of_time_saturates() {
    let ttl = Ttl::MAX;
    let config = Config::new(Quorum::of(1).unwrap(), ttl).unwrap();
    let end = Instant::from_nanos(u64::MAX - 5);
    let mut rig = Rig::of(Lock::new(config), end);
    rig.acquire();
    rig.answer(0, YES);
    assert_eq!(rig.lease_told().valid_until, Instant::MAX);
    rig.extend().unwrap();
    rig.answer(0, YES);
    rig.release().unwrap();
    rig.answer(0, YES);
    assert!(rig.lock.is_idle());
}
