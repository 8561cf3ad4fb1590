//! Several attempts: how many, how long, and when the next one begins.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use redlatch_core::{Cause, Config, Event, Instant, Lock, Reply, Retry};

use crate::support::*;

/// Loses the attempt under way, and frees every node of its token.
fn refuse(rig: &mut Rig) {
    let nodes = rig.lock.config().quorum().nodes().len();
    for node in 0..nodes {
        if released(&rig.last_to(node)).is_none() {
            rig.answer(node, NO);
        }
    }
    rig.answers(0..nodes, NO);
}

fn retrying(rig: &mut Rig) -> (Instant, Cause) {
    match rig.event() {
        Some(Event::Retrying { at, cause, .. }) => (at, cause),
        other => panic!("not retrying, but {other:?}"),
    }
}

fn failed(rig: &mut Rig) -> Cause {
    match rig.event() {
        Some(Event::Failed { cause, .. }) => cause,
        other => panic!("not failed, but {other:?}"),
    }
}

/// R13
#[test]
fn attempts_bound_the_retries() {
    for count in 1..=5 {
        let mut rig = Rig::new(config(3).with_retry(attempts(count)));
        rig.acquire();
        for _ in 1..count {
            refuse(&mut rig);
            retrying(&mut rig);
            rig.sleep();
        }
        refuse(&mut rig);
        assert!(matches!(failed(&mut rig), Cause::Contended { .. }));
        assert_eq!(
            rig.last_to(0).op,
            redlatch_core::Op::Release { token: token(count), place: None }
        );
        assert!(rig.lock.is_idle());
    }
}

/// R13: a count of one means that nothing is tried again, which is also the default.
#[test]
fn never_means_one_attempt() {
    assert_eq!(config(3).retry(), Retry::never());
    assert_eq!(attempts(1), Retry::never());
}

/// R13
#[test]
fn a_wait_bounds_the_retries() {
    let mut rig = Rig::new(config(3).with_retry(Retry::within(millis(1_500))));
    rig.at(100).acquire();
    let mut last = 1;
    loop {
        refuse(&mut rig);
        match rig.event() {
            Some(Event::Retrying { at, .. }) => assert!(at < ms(1_600)),
            Some(Event::Failed { cause: Cause::Contended { .. }, .. }) => break,
            other => panic!("unexpected {other:?}"),
        }
        rig.sleep();
        last += 1;
        assert!(last < 200, "the wait does not end");
    }
    assert!(last > 6, "delays of 200 ms at most fit 1,500 ms seven times");
    assert!(rig.now() < ms(1_600));
}

/// R13: whichever is exhausted first.
#[test]
fn a_wait_and_attempts_bound_the_retries_together() {
    let mut few = Rig::new(
        config(1).with_retry(Retry::within(millis(60_000)).with_attempts_max(NonZeroU32::MIN)),
    );
    few.acquire();
    refuse(&mut few);
    failed(&mut few);

    let hurried = Retry::within(millis(5)).with_attempts_max(NonZeroU32::MAX);
    let mut short = Rig::new(config(1).with_retry(hurried));
    short.acquire();
    refuse(&mut short);
    failed(&mut short);
}

/// R13: the failure is told in the very call that makes it certain.
#[test]
fn there_is_no_sleep_after_the_last_try() {
    let slow = millis(400);
    let mut rig = Rig::new(config(1).with_retry(attempts(2).with_delays(slow, slow)));
    rig.acquire();
    refuse(&mut rig);
    retrying(&mut rig);
    assert_eq!(rig.sleep(), ms(400));
    rig.answer(0, NO);
    failed(&mut rig);
    assert_eq!(rig.now(), ms(400));

    // Likewise if the next try would begin when the wait is over.
    let mut rig = Rig::new(config(1).with_retry(Retry::within(slow).with_delays(slow, slow)));
    rig.acquire();
    rig.answer(0, NO);
    failed(&mut rig);
}

/// R13
#[test]
fn the_last_cause_is_the_one_reported() {
    let mut rig = Rig::new(config(3).with_retry(attempts(3)));
    rig.acquire();
    refuse(&mut rig);
    assert!(matches!(retrying(&mut rig).1, Cause::Contended { .. }));
    rig.sleep();
    rig.answers([0, 1], quarantined(80));
    assert!(matches!(retrying(&mut rig).1, Cause::Quarantined { .. }));
    rig.answers(0..3, YES);
    rig.sleep();
    rig.answers([0, 1], UNKNOWN);
    assert_eq!(failed(&mut rig), Cause::NoQuorum);
}

/// R13
#[test]
fn the_first_attempt_is_made_in_full_however_short_the_wait() {
    for wait in [0, 1, 30] {
        let mut rig = Rig::new(config(3).with_retry(Retry::within(millis(wait))));
        rig.acquire();
        assert_eq!(rig.last_to(0).deadline, ms(NODE_TIMEOUT));
        rig.at(NODE_TIMEOUT - 1).answers([0, 1], YES);
        assert!(matches!(rig.event(), Some(Event::Granted(_))), "a wait of {wait} ms");
    }
}

/// R13
#[test]
fn a_later_attempt_ends_with_the_wait() {
    let step = millis(40);
    let mut rig =
        Rig::new(config(3).with_retry(Retry::within(millis(100)).with_delays(step, step)));
    rig.acquire();
    rig.answers([0, 1], NO);
    rig.answers([0, 1, 2], YES);
    assert_eq!(rig.sleep(), ms(40));
    assert_eq!(rig.last_to(0).deadline, ms(100), "not 140");
    rig.answer(0, YES);
    assert_eq!(rig.sleep(), ms(100));
    retrying(&mut rig);
    assert_eq!(failed(&mut rig), Cause::DeadlineExceeded);
    assert_eq!(targets(&rig.commands()[6..]), set(0..3), "and is undone");
}

/// R13: a majority at the very end of the wait is no grant; nobody waits for it any more.
#[test]
fn a_grant_at_the_end_of_the_wait_is_none() {
    let step = millis(40);
    for (reply_at, granted) in [(99, true), (100, false)] {
        let retry = Retry::within(millis(100)).with_delays(step, step);
        let mut rig = Rig::new(config(1).with_retry(retry));
        rig.acquire();
        refuse(&mut rig);
        rig.sleep();
        rig.at(reply_at).answer(0, YES);
        assert_eq!(rig.is_valid(), granted, "at {reply_at} ms");
    }
}

/// R13: if the timer starves, no attempt is begun that nobody waits for.
#[test]
fn a_timer_that_fires_after_the_wait_begins_no_attempt() {
    let mut rig = Rig::new(config(1).with_retry(Retry::within(millis(300))));
    rig.acquire();
    refuse(&mut rig);
    assert!(matches!(retrying(&mut rig).1, Cause::Contended { .. }));
    rig.commands();
    rig.timeout_at(300);
    assert!(matches!(failed(&mut rig), Cause::Contended { .. }), "the last cause");
    assert!(rig.commands().is_empty());
    assert!(rig.lock.is_idle());
}

/// R13: the ceiling doubles with every try, up to the longest delay.
#[test]
fn delays_are_a_random_share_of_a_growing_ceiling() {
    let (min, max) = (10, 160);
    let mut seen = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for nonce in 0..=255 {
        let mut lock =
            Lock::new(config(1).with_retry(attempts(8).with_delays(millis(min), millis(max))));
        let mut now = ms(0);
        lock.acquire(now, nonce_of(nonce), None).unwrap();
        for tries in 1..8_u32 {
            let at = lose(&mut lock, now, NO).expect("a further try");
            let delay = at.saturating_duration_since(now);
            let ceiling = millis((min << tries).min(max));
            assert!((millis(min)..=ceiling).contains(&delay), "{delay:?} after {tries} tries");
            if let Some(seen) = seen.get_mut(tries as usize - 1) {
                seen.insert(delay);
            }
            now = at;
            lock.handle_timeout(now);
        }
    }
    for (delays, ceiling) in seen.iter().zip([20, 40, 80]) {
        assert!(delays.len() > 200, "waiters do not wake together");
        assert!(delays.last() > Some(&millis(ceiling * 9 / 10)), "the whole ceiling is used");
    }
}

/// R13: delays that begin at nothing grow as well.
#[test]
fn a_ceiling_of_nothing_grows() {
    let retry = attempts(12).with_delays(Duration::ZERO, millis(200));
    let mut lock = Lock::new(config(1).with_retry(retry));
    let mut now = ms(0);
    lock.acquire(now, nonce_of(1), None).unwrap();
    let mut longest = Duration::ZERO;
    for tries in 1..12_u32 {
        let at = lose(&mut lock, now, NO).expect("a further try");
        let delay = at.saturating_duration_since(now);
        assert!(delay <= millis((1 << tries).min(200)), "{delay:?} after {tries} tries");
        longest = longest.max(delay);
        now = at;
        lock.handle_timeout(now);
    }
    assert!(longest > millis(50), "{longest:?}");
}

/// R13: the first attempt is made in full, however short the wait, unless it was asked to end in time.
#[test]
fn a_first_attempt_that_ends_in_time_grants_nothing_after_it() {
    for (retry, ends) in [
        (Retry::within(millis(40)), ms(NODE_TIMEOUT)),
        (Retry::within(millis(40)).ending_in_time(), ms(40)),
    ] {
        let mut rig = Rig::new(config(3).with_retry(retry));
        rig.acquire();
        assert_eq!(rig.last_acquire(0).deadline, ends);
        rig.answer(0, YES);
        rig.timeout_at(40);
        rig.answer(1, YES);
        assert_eq!(rig.lock.lease().is_some(), ends > ms(40));
    }
}

/// R13: a refusal tells how long the key still lives, and the wait is no shorter than useful; but
/// holders mostly release early, so the waiter's own delay caps it.
#[test]
fn a_waiter_waits_until_a_majority_can_be_free() {
    let config = config(1).with_retry(attempts(2).with_delays(millis(10), millis(200)));
    let mut earlier = BTreeSet::new();
    for nonce in 0..=255 {
        let delay = |reply| {
            let mut lock = Lock::new(config);
            lock.acquire(ms(0), nonce_of(nonce), None).unwrap();
            lose(&mut lock, ms(0), reply).unwrap().saturating_duration_since(ms(0))
        };
        let own = delay(NO);
        for useful in [1, 12, 15, 19, 300] {
            let told = delay(no(useful));
            if millis(useful) < own {
                assert!((millis(useful)..=own).contains(&told), "{told:?} of {own:?}");
                if useful == 12 && told < own {
                    earlier.insert(told);
                }
            } else {
                assert_eq!(told, own, "capped");
            }
        }
    }
    assert!(earlier.len() > 150, "what is told is used, and shared out");
}

/// R13: the q-th smallest of what the nodes told is when a majority can be free.
#[test]
fn the_useful_time_is_the_qth_smallest_of_what_was_told() {
    // Replies of nodes in order, until the attempt is lost; then what is told.
    let stories: [(usize, &[Reply], Option<u64>); 9] = [
        (1, &[no(70)], Some(70)),
        (3, &[no(70), no(30)], Some(70)),
        (5, &[no(90), no(30), no(60)], Some(90)),
        // A key that this attempt got is free as soon as it is given back.
        (3, &[YES, no(70), no(30)], Some(30)),
        (5, &[YES, YES, no(90), no(30), no(60)], Some(30)),
        (4, &[YES, no(20), no(80)], Some(80)),
        // A node in quarantine told as well.
        (5, &[quarantined(40), no(90), no(30)], Some(90)),
        // Whoever did not tell may be free at any time, or never: two of three are needed.
        (3, &[NO, no(30)], None),
        (5, &[UNKNOWN, no(90), no(30)], None),
    ];
    for (nodes, replies, useful) in stories {
        let mut rig = Rig::new(config(nodes));
        rig.acquire();
        for (node, reply) in replies.iter().enumerate() {
            assert_eq!(rig.event(), None, "{replies:?} lost early");
            rig.answer(node, *reply);
        }
        let retry_after = useful.map(millis);
        assert_eq!(failed(&mut rig), Cause::Contended { retry_after }, "{replies:?}");
    }
}

/// R13: a wait that is a fraction too short is a wasted try.
#[test]
fn a_remaining_time_is_rounded_up_to_whole_milliseconds() {
    let mut rig = Rig::new(config(1));
    rig.acquire();
    rig.answer(0, Reply::Refused { remaining: Some(Duration::from_nanos(2_000_001)), fence: None });
    assert_eq!(failed(&mut rig), Cause::Contended { retry_after: Some(millis(3)) });
}

/// R13: a time that is beyond all reason is no reason to wait for it.
#[test]
fn an_endless_remaining_time_is_as_good_as_none() {
    let mut rig = Rig::new(config(1).with_retry(attempts(2)));
    rig.acquire();
    rig.answer(0, Reply::Refused { remaining: Some(Duration::MAX), fence: None });
    let (at, cause) = retrying(&mut rig);
    assert_eq!(cause, Cause::Contended { retry_after: None });
    assert!(at <= ms(2 * 10));
}

/// R13: zero delays are a busy wait, but each attempt is still undone before the next one.
#[test]
fn delays_of_zero_still_undo_first() {
    let retry = attempts(3).with_delays(Duration::ZERO, Duration::ZERO);
    let mut rig = Rig::new(config(1).with_retry(retry));
    rig.acquire();
    rig.answer(0, NO);
    assert_eq!(retrying(&mut rig).0, ms(0));
    assert_eq!(rig.lock.poll_timeout(), Some(ms(0)));
    rig.sleep();
    let told: Vec<_> = rig.commands().iter().map(released).collect();
    assert_eq!(told, [None, Some(token(1)), None], "acquire, release, acquire");
}

/// R13: a max below the min counts as the min.
#[test]
fn delays_that_are_the_wrong_way_round_are_the_shortest() {
    let retry = attempts(2).with_delays(millis(50), millis(7));
    let mut rig = Rig::new(config(1).with_retry(retry));
    rig.acquire();
    rig.answer(0, NO);
    assert_eq!(retrying(&mut rig).0, ms(50));
}

/// R4, R13: what one attempt took is given back before the next one asks.
#[test]
fn a_lost_attempt_is_undone_before_the_next_one_begins() {
    let mut rig = Rig::new(config(3).with_retry(attempts(2)));
    rig.acquire();
    rig.commands();
    rig.answer(0, YES);
    rig.answers([1, 2], NO);
    let undone = rig.commands();
    assert_eq!(targets(&undone), set(0..3));
    assert!(undone.iter().all(|command| released(command) == Some(token(1))));
    rig.answers(0..3, YES);
    rig.sleep();
    rig.answers(0..2, YES);
    retrying(&mut rig);
    assert_eq!(rig.lease_told().token, token(2));
}

/// R13: the state between two attempts is neither held nor idle.
#[test]
fn a_waiting_lock_is_busy_and_not_held() {
    let mut rig = Rig::new(config(3).with_retry(attempts(2)));
    rig.acquire();
    refuse(&mut rig);
    assert!(!rig.is_valid());
    assert!(!rig.lock.is_idle());
    assert!(rig.lock.acquire(rig.now(), [1; 16], None).is_err());
    assert!(rig.extend().is_err());
    assert_eq!(rig.lock.poll_timeout(), Some(retrying(&mut rig).0));
}

/// R13, R4: cancelled while waiting, the lock has nothing left but what it is already undoing.
#[test]
fn a_release_while_waiting_ends_the_retries() {
    let mut rig = Rig::new(config(3).with_retry(attempts(9)));
    rig.acquire();
    rig.answers([0, 1], NO);
    rig.commands();
    retrying(&mut rig);
    rig.release().unwrap();
    assert_eq!(failed(&mut rig), Cause::Cancelled);
    assert!(rig.commands().is_empty(), "its releases were handed out before");
    rig.answers(0..3, NO);
    assert!(rig.lock.is_idle());
    assert_eq!(rig.lock.poll_timeout(), None);
}

/// Lets the one node of `lock` give `reply`, drains, and tells when the next attempt begins.
fn lose(lock: &mut Lock, now: Instant, reply: Reply) -> Option<Instant> {
    let command = lock.poll_command().expect("an acquire");
    lock.handle_reply(now, command.id, reply);
    let release = lock.poll_command().expect("its release");
    let event = lock.poll_event();
    lock.handle_reply(now, release.id, NO);
    let Some(Event::Retrying { at, .. }) = event else { return None };
    Some(at)
}

/// Nonces of 256 callers.
const fn nonce_of(caller: u8) -> [u8; 16] {
    [caller, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// What is configured is what is kept.
#[test]
fn a_configuration_reads_back() {
    let retry = attempts(3).with_delays(millis(1), millis(2));
    let config: Config = config(3).with_retry(retry);
    assert_eq!(config.retry(), retry);
    assert_ne!(Retry::within(millis(1)), Retry::within(millis(2)));
}
