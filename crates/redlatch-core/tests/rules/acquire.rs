//! One attempt: promises, votes, and the decision.

use redlatch_core::{
    Cause, Drift, Event, Lock, Loss, NodeId, Op, Proposal, Quorum, Reply, Retry, Tally, Verdict,
};

use crate::support::*;

/// R1
#[test]
fn validity_counts_from_the_sending_not_from_the_reply() {
    let mut rig = Rig::new(config(3));
    rig.at(40).acquire();
    rig.at(130).answers([0, 1], YES);
    assert_eq!(rig.lease_told().valid_until, ms(40 + VALIDITY));
}

/// R1: a transport may send a command again, but it was handed out once.
#[test]
fn a_reply_to_a_repeated_command_counts_from_the_first_sending() {
    let mut rig = Rig::new(config(1));
    rig.acquire();
    let command = rig.last_to(0);
    rig.at(90).reply(&command, YES);
    assert_eq!(rig.lease_told().valid_until, ms(VALIDITY));
    rig.at(99).reply(&command, YES);
    assert_eq!(rig.lock.lease().unwrap().valid_until, ms(VALIDITY));
}

/// R1: the margin is ⌈ttl · 1 %⌉ + 2 ms.
#[test]
fn drift_is_taken_off_and_rounded_up() {
    assert_eq!(config(3).validity(), millis(1_000 - 10 - 2));
    let odd = Drift::from_ppm(1).unwrap();
    let config = config(3).with_drift(odd).unwrap();
    assert_eq!(config.validity().as_nanos(), 1_000_000_000 - 1_000 - 2_000_000);
}

/// R2
#[test]
fn a_grant_that_comes_at_the_end_of_its_validity_is_none() {
    let config = config(1).with_node_timeout(millis(5_000)).unwrap();
    for (reply_at, granted) in [(VALIDITY - 1, true), (VALIDITY, false), (VALIDITY + 1, false)] {
        let mut rig = Rig::new(config);
        rig.acquire();
        rig.at(reply_at).answer(0, YES);
        assert_eq!(matches!(rig.event(), Some(Event::Granted(_))), granted, "at {reply_at} ms");
        assert_eq!(rig.lock.lease().is_some(), granted);
    }
}

/// R2
#[test]
fn a_grant_leaves_more_than_the_least_validity() {
    let config = config(1).with_node_timeout(millis(5_000)).unwrap();
    let config = config.with_validity_min(millis(700)).unwrap();
    for (reply_at, granted) in [(VALIDITY - 701, true), (VALIDITY - 700, false)] {
        let mut rig = Rig::new(config);
        rig.acquire();
        rig.at(reply_at).answer(0, YES);
        assert_eq!(matches!(rig.event(), Some(Event::Granted(_))), granted, "at {reply_at} ms");
    }
}

/// R2, R8: no time is wasted on an attempt that cannot be granted any more.
#[test]
fn an_attempt_ends_when_too_little_validity_would_be_left() {
    let config = config(3).with_validity_min(millis(VALIDITY - 30)).unwrap();
    let mut rig = Rig::new(config);
    rig.acquire();
    assert!(rig.commands().iter().all(|command| command.deadline == ms(30)));
    assert_eq!(rig.sleep(), ms(30));
    assert!(matches!(rig.event(), Some(Event::Failed { cause: Cause::TooLate, .. })));
}

/// R3
#[test]
fn every_attempt_has_a_token_of_its_own() {
    let mut rig = Rig::new(config(1).with_retry(Retry::within(millis(60_000))));
    let mut tokens = Vec::new();
    rig.acquire();
    for _ in 0..10 {
        let Op::Acquire { token, .. } = rig.last_to(0).op else { panic!("not asked to acquire") };
        assert!(!tokens.contains(&token));
        tokens.push(token);
        rig.answer(0, NO);
        rig.answer(0, NO);
        rig.sleep();
    }
    assert!(tokens.iter().all(|token| token.nonce() == Rig::NONCE), "one nonce per acquire");
}

/// R3: not even if the caller breaks its promise and uses a nonce again.
#[test]
fn a_second_acquire_does_not_repeat_the_tokens_of_the_first() {
    let mut rig = Rig::held(config(1));
    rig.release().unwrap();
    rig.answer(0, YES);
    rig.acquire();
    let Op::Acquire { token: second, .. } = rig.last_to(0).op else { panic!("not asked") };
    assert_eq!(second, token(2));
}

/// R3: what the first attempt left behind is undone by the release of any later one, and not the
/// other way round, because the attempt is a part of the token.
#[test]
fn attempts_are_numbered_upwards() {
    assert_eq!(token(7).attempt(), 7);
    assert!(token(7).to_hex() < token(8).to_hex());
    assert_eq!(token(7).to_hex()[..32], token(8).to_hex()[..32]);
}

/// R4: one yes, one no, one that errs, two that are silent.
#[test]
fn a_lost_attempt_is_undone_on_every_node_whatever_it_answered() {
    let mut rig = Rig::new(config(5));
    rig.acquire();
    rig.commands();
    rig.answer(0, YES);
    rig.answer(1, no(300));
    rig.answer(2, UNKNOWN);
    rig.timeout_at(NODE_TIMEOUT);
    assert!(matches!(rig.event(), Some(Event::Failed { .. })));
    let commands = rig.commands();
    assert_eq!(targets(&commands), set(0..5));
    assert!(commands.iter().all(|command| released(command) == Some(token(1))));
}

/// R4: the ways out of acquiring, one by one.
#[test]
fn every_way_out_of_acquiring_releases() {
    let ways: [(&str, Step); 4] = [
        ("refused", |rig| rig.answers(0..2, NO)),
        ("unknown", |rig| rig.answers(0..2, UNKNOWN)),
        ("silent", |rig| rig.timeout_at(NODE_TIMEOUT)),
        ("cancelled", |rig| rig.release().unwrap()),
    ];
    for (name, leave) in ways {
        let mut rig = Rig::new(config(3));
        rig.acquire();
        rig.commands();
        leave(&mut rig);
        let commands = rig.commands();
        assert_eq!(targets(&commands), set(0..3), "{name}");
        assert!(commands.iter().all(|command| released(command) == Some(token(1))), "{name}");
        assert!(!rig.is_valid(), "{name}");
    }
}

/// R4: a command that was never handed out left nothing behind.
#[test]
fn a_node_that_was_never_asked_is_not_asked_to_release() {
    let mut lock = Lock::new(config(5));
    lock.acquire(ms(0), Rig::NONCE, None).unwrap();
    let first = lock.poll_command().unwrap();
    let second = lock.poll_command().unwrap();
    lock.release(ms(1)).unwrap();
    let released: Vec<_> = core::iter::from_fn(|| lock.poll_command()).collect();
    assert_eq!(targets(&released), targets(&[first, second]));
}

/// R5
#[test]
fn unknown_is_not_a_yes() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answer(0, YES);
    rig.answer(1, UNKNOWN);
    assert_eq!(rig.event(), None);
    rig.answer(2, UNKNOWN);
    assert!(matches!(rig.event(), Some(Event::Failed { cause: Cause::NoQuorum, .. })));
}

/// R5
#[test]
fn unknown_is_not_a_no() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answers([0, 1, 2], UNKNOWN);
    let Some(Event::Failed { cause, tally }) = rig.event() else { panic!("not failed") };
    assert_eq!(cause, Cause::NoQuorum, "nobody is said to hold it");
    // Two of three decide, so the third reply was not waited for.
    assert_eq!(tally, Tally { unknown: set([0, 1]), ..Tally::default() });
}

/// R5: a driver may report an error and then, from a command that it repeated, an answer.
#[test]
fn not_knowing_ends_when_an_answer_comes() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answer(0, UNKNOWN);
    rig.answer(0, YES);
    rig.answer(1, YES);
    assert!(matches!(rig.event(), Some(Event::Granted(_))));
}

/// R7
#[test]
fn a_repeated_yes_counts_once() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    for _ in 0..5 {
        rig.answer(0, YES);
    }
    assert_eq!(rig.event(), None);
    assert_eq!(rig.lock.lease(), None);
    rig.answer(1, YES);
    assert!(matches!(rig.event(), Some(Event::Granted(_))));
}

/// R7
#[test]
fn a_repeated_no_counts_once() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    for _ in 0..5 {
        rig.answer(0, NO);
    }
    assert_eq!(rig.event(), None);
}

/// R7: a yes or a no stands, whatever comes after it.
#[test]
fn an_answer_is_not_taken_back() {
    for (first, second) in [(YES, NO), (YES, UNKNOWN), (NO, YES), (NO, UNKNOWN)] {
        let mut rig = Rig::new(config(3));
        rig.acquire();
        rig.answer(0, first);
        rig.answer(0, second);
        rig.answer(1, first);
        let granted = matches!(rig.event(), Some(Event::Granted(_)));
        assert_eq!(granted, first == YES, "{first:?}, then {second:?}");
    }
}

/// R7: a reply to attempt 1 is no vote in attempt 2.
#[test]
fn a_yes_to_an_earlier_attempt_is_no_vote() {
    let mut rig = Rig::new(config(3).with_retry(Retry::within(millis(9_000))));
    rig.acquire();
    let first = rig.commands();
    rig.answers([0, 1], NO);
    rig.answers([0, 1, 2], NO);
    rig.sleep();
    let second = rig.commands();
    assert!(matches!(second.last().unwrap().op, Op::Acquire { token: t, .. } if t == token(2)));
    for command in &first {
        rig.reply(command, YES);
    }
    assert!(!rig.is_valid());
    assert!(matches!(rig.event(), Some(Event::Retrying { .. })));
    assert_eq!(rig.event(), None);
}

/// R7: nor does an earlier attempt's no harm.
#[test]
fn a_no_to_an_earlier_attempt_is_no_vote() {
    let mut rig = Rig::new(config(3).with_retry(Retry::within(millis(9_000))));
    rig.acquire();
    let first = rig.commands();
    rig.answers([0, 1], NO);
    rig.answers([0, 1, 2], NO);
    rig.sleep();
    for command in &first {
        rig.reply(command, NO);
    }
    rig.answers([0, 1], YES);
    assert!(rig.is_valid());
}

/// R7: commands of another lock with more nodes stand for replies of nobody we know.
#[test]
fn a_reply_of_an_unknown_node_changes_nothing() {
    let mut many = Rig::new(config(16));
    many.acquire();
    let mut rig = Rig::new(config(3));
    rig.acquire();
    let before = rig.lock;
    for node in 3..16 {
        let stray = many.last_to(node);
        for reply in [YES, NO, UNKNOWN, quarantined(9)] {
            rig.reply(&stray, reply);
            assert_eq!(rig.lock, before);
        }
    }
    assert_eq!(NodeId::new(16), None);
}

/// R8
#[test]
fn a_majority_is_granted_without_waiting_for_the_rest() {
    for nodes in 1..=16 {
        let mut rig = Rig::new(config(nodes));
        rig.acquire();
        for node in 0..=nodes / 2 {
            assert_eq!(rig.event(), None, "{node} of {nodes} are no majority");
            rig.answer(node, YES);
        }
        assert!(matches!(rig.event(), Some(Event::Granted(_))), "{nodes} nodes");
    }
}

/// R8
#[test]
fn an_attempt_is_lost_as_soon_as_a_majority_is_out_of_reach() {
    for nodes in 1..=16 {
        let blocking = nodes - (nodes / 2 + 1) + 1;
        let mut rig = Rig::new(config(nodes));
        rig.acquire();
        for node in 0..blocking {
            assert_eq!(rig.event(), None, "{node} of {nodes} do not block");
            rig.answer(node, NO);
        }
        assert!(matches!(rig.event(), Some(Event::Failed { .. })), "{nodes} nodes");
    }
}

/// R8
#[test]
fn a_tie_is_lost() {
    for nodes in (2..=16).step_by(2) {
        let half = nodes / 2;
        let tally = Tally { applied: set(0..half), refused: set(half..nodes), ..Tally::default() };
        assert_eq!(Quorum::of(nodes).unwrap().verdict(&tally), Verdict::Lost);

        let mut rig = Rig::new(config(nodes));
        rig.acquire();
        rig.answers(0..half, YES);
        rig.answers(half..nodes, NO);
        assert!(
            matches!(rig.event(), Some(Event::Failed { cause: Cause::Contended { .. }, .. })),
            "{half} of {nodes}"
        );
        assert!(!rig.is_valid());
    }
}

/// R8, R9
#[test]
fn if_every_node_is_silent_the_attempt_ends_at_its_deadline() {
    for nodes in 1..=16 {
        let mut rig = Rig::new(config(nodes));
        rig.acquire();
        assert_eq!(rig.sleep(), ms(NODE_TIMEOUT));
        let Some(Event::Failed { cause, tally }) = rig.event() else { panic!("not failed") };
        assert_eq!(cause, Cause::NoQuorum);
        assert_eq!(tally, Tally { unknown: set(0..nodes), ..Tally::default() });
    }
}

/// R8, R9: the majority decides; a node that hangs costs no time at all.
#[test]
fn one_node_that_hangs_delays_nothing() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.at(1).answer(0, YES);
    rig.at(2).answer(2, YES);
    assert_eq!(rig.lease_told().valid_until, ms(VALIDITY));
}

/// R8: a grant needs the reply, a loss the deadline; nothing else ends an attempt.
#[test]
fn an_early_timeout_changes_nothing() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answer(0, YES);
    for early in 0..NODE_TIMEOUT {
        rig.timeout_at(early);
        assert_eq!(rig.event(), None);
        assert_eq!(rig.lock.poll_timeout(), Some(ms(NODE_TIMEOUT)));
    }
}

/// R9, on each kind of command.
#[test]
fn every_kind_of_command_has_the_node_timeout() {
    let config = config(2).with_node_timeout(millis(70)).unwrap();
    let mut rig = Rig::new(config);
    rig.at(10).acquire_fenced(500);
    let acquire = rig.last_to(0);
    assert_eq!((acquire.deadline, acquire.op), (ms(80), acquire_op(1, Some(500))));
    rig.at(20).answer(0, yes(500));
    rig.at(30).answer(1, yes(501));
    let seal = rig.last_to(0);
    assert!(matches!(seal.op, Op::Seal { .. }));
    assert_eq!(seal.deadline, ms(100));
    rig.at(40).answer(0, yes(501));
    rig.at(50).extend().unwrap();
    let extend = rig.last_to(0);
    assert!(matches!(extend.op, Op::Extend { .. }));
    assert_eq!(extend.deadline, ms(120));
    rig.at(60).release().unwrap();
    let release = rig.last_to(0);
    assert_eq!(released(&release), Some(token(1)));
    assert_eq!(release.deadline, ms(130));
}

/// R9: the machine keeps the deadline by itself, and what comes after it is no vote.
#[test]
fn a_yes_at_the_deadline_is_too_late() {
    for (reply_at, granted) in [(NODE_TIMEOUT - 1, true), (NODE_TIMEOUT, false)] {
        let mut rig = Rig::new(config(3));
        rig.acquire();
        rig.answer(0, YES);
        rig.at(reply_at).answer(1, YES);
        assert_eq!(rig.is_valid(), granted, "at {reply_at} ms");
    }
}

/// R9: the round's budget bounds a command that is longer.
#[test]
fn no_deadline_is_beyond_what_the_round_is_good_for() {
    let config = config(1).with_node_timeout(millis(30_000)).unwrap();
    let mut rig = Rig::new(config);
    rig.acquire();
    assert_eq!(rig.last_to(0).deadline, ms(VALIDITY));
    rig.answer(0, YES);
    rig.at(500).extend().unwrap();
    assert_eq!(rig.last_to(0).deadline, ms(VALIDITY), "Lost is told then");
    rig.timeout_at(VALIDITY);
    rig.event();
    assert!(matches!(rig.event(), Some(Event::Lost { loss: Loss::Expired, .. })));
}

/// R16
#[test]
fn a_node_in_quarantine_counts_as_unknown() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answer(0, YES);
    rig.answer(1, quarantined(700));
    assert_eq!(rig.event(), None, "neither yes nor no");
    rig.answer(2, quarantined(400));
    let Some(Event::Failed { cause, tally }) = rig.event() else { panic!("not failed") };
    assert_eq!(cause, Cause::Quarantined { remaining: millis(400) }, "until the first votes again");
    assert_eq!(tally.unknown, set([1, 2]));
    assert_eq!(tally.quarantined, set([1, 2]), "by name");
}

/// R16: while enough others vote, it is only noted.
#[test]
fn a_majority_that_votes_is_granted_beside_a_quarantine() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answer(0, quarantined(700));
    rig.answers([1, 2], YES);
    assert!(matches!(rig.event(), Some(Event::Granted(_))));
}

/// R16: a holder is the cause while there would be a majority without it; else the quarantine is.
#[test]
fn a_quarantine_does_not_hide_a_holder() {
    let stories: [(&[Reply], bool); 4] = [
        (&[quarantined(700), no(50)], true),
        (&[no(50), no(60)], true),
        (&[no(50), UNKNOWN], true),
        (&[UNKNOWN, quarantined(700)], false),
    ];
    for (replies, contended) in stories {
        let mut rig = Rig::new(config(3));
        rig.acquire();
        for (node, reply) in replies.iter().enumerate() {
            rig.answer(node, *reply);
        }
        let Some(Event::Failed { cause, .. }) = rig.event() else { panic!("not failed") };
        assert_eq!(matches!(cause, Cause::Contended { .. }), contended, "{replies:?}: {cause:?}");
    }
}

/// R16: nor is a quarantine the cause where there would be no majority without it either.
#[test]
fn a_quarantine_does_not_explain_the_silence_of_all_others() {
    let mut rig = Rig::new(config(5));
    rig.acquire();
    rig.answer(0, quarantined(700));
    rig.sleep();
    let Some(Event::Failed { cause, .. }) = rig.event() else { panic!("not failed") };
    assert_eq!(cause, Cause::NoQuorum);
}

/// R16: a node in quarantine may have taken the key before it restarted, so it is released as well.
#[test]
fn a_node_in_quarantine_is_released_too() {
    let mut rig = Rig::new(config(2));
    rig.acquire();
    rig.commands();
    rig.answer(0, quarantined(700));
    assert_eq!(targets(&rig.commands()), set(0..2));
}

/// R17
#[test]
fn an_earlier_now_counts_as_the_latest_seen() {
    let mut back = Rig::new(config(3));
    back.timeout_at(5_000);
    let mut straight = back.clone();
    straight.acquire();
    back.at(10).acquire();
    assert_eq!(back.lock, straight.lock);
    assert_eq!(back.commands(), straight.commands());

    for now in [4_000, 0, 4_999] {
        back.at(now).answer(0, YES);
    }
    back.at(0).answer(1, YES);
    assert_eq!(back.lease_told().valid_until, ms(5_000 + VALIDITY));
}

/// R17: a deadline that was passed stays passed.
#[test]
fn time_that_goes_backwards_revives_nothing() {
    let mut rig = Rig::held(config(3));
    rig.timeout_at(VALIDITY);
    assert!(matches!(rig.event(), Some(Event::Lost { .. })));
    rig.at(0);
    assert!(!rig.is_valid());
    assert!(rig.extend().is_err());

    let mut rig = Rig::held(config(3));
    rig.timeout_at(VALIDITY - 1);
    assert!(rig.at(0).is_valid());
    assert!(!rig.lock.is_valid(ms(VALIDITY)));
}

/// R17: `is_valid` believes the latest instant, whoever told it.
#[test]
fn an_old_now_does_not_make_a_lease_valid() {
    let mut rig = Rig::held(config(1));
    assert!(rig.is_valid());
    let _ = rig.lock.extend(ms(VALIDITY - 1));
    assert!(rig.lock.is_valid(ms(0)));
    let _ = rig.lock.extend(ms(VALIDITY));
    assert!(!rig.lock.is_valid(ms(0)));
}

fn acquire_op(attempt: u32, proposal_micros: Option<u64>) -> Op {
    Op::Acquire {
        token: token(attempt),
        ttl: config(1).ttl(),
        proposal: proposal_micros.and_then(|micros| Proposal::from_unix_micros(micros).ok()),
    }
}

/// The tallies say who answered what.
#[test]
fn a_failure_names_the_nodes() {
    let mut rig = Rig::new(config(5));
    rig.acquire();
    rig.answer(4, YES);
    rig.answer(0, no(80));
    rig.answer(3, Reply::Unknown);
    rig.answer(1, quarantined(60));
    let Some(Event::Failed { tally, .. }) = rig.event() else { panic!("not failed") };
    assert_eq!(
        tally,
        Tally { applied: set([4]), refused: set([0]), unknown: set([1, 3]), quarantined: set([1]) }
    );
    assert_eq!(tally.answered(), set([0, 1, 3, 4]));
}
