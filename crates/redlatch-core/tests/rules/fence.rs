//! Fences: one number that a majority is registered for (R15).

use redlatch_core::{Cause, Command, Event, Fence, Lease, Op, Proposal, Reply, Tally};

use crate::support::*;

/// An acquire with proposal 100 on `nodes` nodes.
fn fenced(nodes: usize) -> Rig {
    let mut rig = Rig::new(config(nodes));
    rig.acquire_fenced(100);
    rig.commands();
    rig
}

fn granted(rig: &mut Rig) -> Lease {
    match rig.event() {
        Some(Event::Granted(lease)) => lease,
        other => panic!("not granted, but {other:?}"),
    }
}

fn failed(rig: &mut Rig) -> (Cause, Tally) {
    match rig.event() {
        Some(Event::Failed { cause, tally }) => (cause, tally),
        other => panic!("not failed, but {other:?}"),
    }
}

/// The nodes that were handed a seal to `number`, and nothing else was handed out.
fn assert_seals(rig: &mut Rig, number: u64, nodes: impl IntoIterator<Item = usize>) {
    let commands = rig.commands();
    assert_eq!(targets(&commands), set(nodes));
    for command in &commands {
        let Op::Seal { token: t, fence } = command.op else { panic!("{command:?}") };
        assert_eq!((t, fence.get()), (token(1), number));
    }
}

fn proposal(command: &Command) -> u64 {
    match command.op {
        Op::Acquire { proposal: Some(proposal), .. } => proposal.fence().get(),
        Op::Acquire { .. } | Op::Seal { .. } | Op::Extend { .. } | Op::Release { .. } => {
            panic!("nothing is proposed by {command:?}")
        }
    }
}

/// R15: the usual case.
#[test]
fn one_round_is_enough_when_a_majority_answers_one_number() {
    for nodes in 1..=16 {
        let mut rig = fenced(nodes);
        rig.answers(0..nodes / 2, yes(100));
        assert_eq!(rig.event(), None);
        rig.answer(nodes - 1, yes(100));
        assert_eq!(granted(&mut rig).fence, Fence::new(100));
        assert!(rig.commands().is_empty(), "{nodes} nodes");
    }
}

/// R15: which number that is, is free.
#[test]
fn the_number_of_a_majority_is_the_fence_whatever_others_answer() {
    let mut rig = fenced(5);
    rig.answer(0, yes(130));
    rig.answers([1, 2], yes(100));
    rig.commands();
    assert_eq!(rig.event(), None, "three hold it, but no three one number");
    rig.answer(3, yes(100));
    assert_eq!(granted(&mut rig).fence, Fence::new(100));
}

/// R15
#[test]
fn lower_numbers_are_sealed_to_the_largest() {
    let mut rig = fenced(3);
    rig.at(10).answer(0, yes(100));
    assert!(rig.commands().is_empty(), "there is no majority yet");
    rig.at(20).answer(1, yes(105));
    assert_seals(&mut rig, 105, [0]);
    assert_eq!(rig.event(), None);
    rig.at(30).answer(0, yes(105));
    let lease = granted(&mut rig);
    assert_eq!(lease.fence, Fence::new(105));
    assert_eq!(lease.valid_until, ms(VALIDITY), "R1: the seal promised nothing");
}

/// R15: only nodes with the token are sealed, and only those that are behind.
#[test]
fn only_nodes_that_hold_the_token_are_sealed() {
    let mut rig = fenced(5);
    rig.answer(0, Reply::Refused { remaining: None, fence: Fence::new(300) });
    rig.answer(1, yes(105));
    rig.answer(2, yes(100));
    rig.answer(3, yes(105));
    assert_seals(&mut rig, 105, [2]);
    // A node that answers later and is behind is sealed as well; the largest number of a refusal is
    // not ours to take.
    rig.answer(4, yes(101));
    assert_seals(&mut rig, 105, [4]);
    rig.answer(4, yes(105));
    assert_eq!(granted(&mut rig).fence, Fence::new(105));
}

/// R15: counting a node that answered more than m gave one fence twice.
#[test]
fn a_node_that_answers_more_raises_the_mark_for_the_others() {
    let mut rig = fenced(3);
    rig.answer(0, yes(100));
    rig.answer(1, yes(105));
    assert_seals(&mut rig, 105, [0]);
    rig.answer(0, yes(107));
    assert_eq!(rig.event(), None, "n0 is not registered for 105, and n1 not for 107");
    assert_seals(&mut rig, 107, [1]);
    rig.answer(1, yes(107));
    assert_eq!(granted(&mut rig).fence, Fence::new(107));
}

/// R15: also if it is a node that answers late.
#[test]
fn a_late_larger_number_raises_the_mark() {
    let mut rig = fenced(5);
    rig.answer(0, yes(100));
    rig.answer(1, yes(103));
    rig.answer(2, yes(105));
    assert_seals(&mut rig, 105, [0, 1]);
    rig.answer(3, yes(110));
    assert_seals(&mut rig, 110, [0, 1, 2]);
    rig.answers([0, 1], yes(110));
    assert_eq!(granted(&mut rig).fence, Fence::new(110));
}

/// R15: a registration that happened stays one, although the mark has been raised since.
#[test]
fn an_answer_to_an_earlier_mark_counts_for_that_mark() {
    let mut rig = fenced(3);
    rig.answer(0, yes(100));
    rig.answer(1, yes(105));
    let seal = rig.last_to(0);
    rig.answer(2, yes(110));
    rig.commands();
    rig.reply(&seal, yes(105));
    assert_eq!(granted(&mut rig).fence, Fence::new(105), "registered on 0 and 1");
}

/// R15, R7: nor does what came before the raise, if it tells nothing.
#[test]
fn an_old_unknown_does_not_answer_a_newer_seal() {
    let mut rig = fenced(3);
    rig.answer(0, yes(100));
    rig.answer(1, yes(105));
    let old = rig.last_to(0);
    rig.answer(2, yes(110));
    assert_seals_of(&rig.commands(), 110);
    rig.reply(&old, UNKNOWN);
    rig.answer(1, UNKNOWN);
    assert_eq!(rig.event(), None, "node 0 has not answered to 110 yet");
    rig.answer(0, yes(110));
    assert_eq!(granted(&mut rig).fence, Fence::new(110));
}

fn assert_seals_of(commands: &[Command], number: u64) {
    let newest = commands
        .iter()
        .filter(|command| matches!(command.op, Op::Seal { fence, .. } if fence.get() == number));
    assert_eq!(newest.count(), 2);
}

/// R15: the token is gone from that key; another majority may still do.
#[test]
fn a_node_that_refuses_a_seal_does_not_count_any_more() {
    let mut rig = fenced(3);
    rig.answer(0, yes(100));
    rig.answer(1, yes(105));
    rig.answer(0, NO);
    assert_eq!(rig.event(), None, "node 2 may make a majority");
    rig.answer(2, yes(105));
    assert_eq!(granted(&mut rig).fence, Fence::new(105));
}

/// R8, R15
#[test]
fn a_refused_seal_loses_the_attempt_if_no_other_majority_is_left() {
    let mut rig = fenced(3);
    rig.answer(2, NO);
    rig.answer(0, yes(100));
    rig.answer(1, yes(105));
    rig.commands();
    rig.answer(0, NO);
    failed(&mut rig);
    let commands = rig.commands();
    assert_eq!(targets(&commands), set(0..3), "R4");
    assert!(commands.iter().all(|command| released(command) == Some(token(1))));
}

/// R8: a majority of the rest can still be registered for a number above the mark.
#[test]
fn refused_seals_do_not_lose_an_attempt_that_can_still_be_won() {
    let mut rig = fenced(5);
    rig.answer(0, yes(100));
    rig.answer(1, yes(101));
    rig.answer(2, yes(102));
    rig.answers([0, 1], NO);
    assert_eq!(rig.event(), None, "2, 3 and 4 are a majority");
    rig.answer(3, yes(103));
    assert_eq!(rig.event(), None, "2 can be sealed to 103, and 4 as well");
    rig.answer(4, yes(103));
    rig.answer(2, yes(103));
    assert_eq!(granted(&mut rig).fence, Fence::new(103));
}

/// R9
#[test]
fn a_seal_that_is_not_answered_in_time_is_unknown() {
    let mut rig = fenced(3);
    rig.at(10).answer(0, yes(100));
    rig.at(20).answer(1, yes(105));
    rig.at(30).answer(2, NO);
    assert_eq!(rig.sleep(), ms(20 + NODE_TIMEOUT));
    let (_, tally) = failed(&mut rig);
    assert_eq!(tally.applied, set([0, 1]), "they have the token");
    assert_eq!(targets(&rig.commands()), set(0..3));
}

/// R9, R15: the attempt's own deadline does not cut a seal short, and the seal's not the attempt.
#[test]
fn a_seal_may_outlast_the_silence_of_other_nodes() {
    let mut rig = fenced(3);
    rig.at(10).answer(0, yes(100));
    rig.at(90).answer(1, yes(105));
    assert_eq!(rig.sleep(), ms(NODE_TIMEOUT));
    assert_eq!(rig.event(), None, "node 2 is unknown now, node 0 still being sealed");
    rig.at(180).answer(0, yes(105));
    assert_eq!(granted(&mut rig).fence, Fence::new(105));
}

/// R2, R15: sealing is a part of the attempt and of its budget.
#[test]
fn a_seal_that_ends_after_the_validity_is_too_late() {
    let config = config(2).with_validity_min(millis(VALIDITY - 50)).unwrap();
    let mut rig = Rig::new(config);
    rig.acquire_fenced(100);
    rig.at(20).answer(0, yes(100));
    rig.at(30).answer(1, yes(105));
    assert_eq!(rig.last_to(0).deadline, ms(50), "not 130");
    assert_eq!(rig.sleep(), ms(50));
    assert_eq!(failed(&mut rig).0, Cause::TooLate, "a majority had it, in vain");
}

/// R15, R5: an error in a seal is neither yes nor no.
#[test]
fn an_unknown_seal_waits_for_the_others() {
    let mut rig = fenced(5);
    rig.answer(0, yes(100));
    rig.answer(1, yes(105));
    rig.answer(2, yes(101));
    rig.answer(0, UNKNOWN);
    rig.answer(2, UNKNOWN);
    assert_eq!(rig.event(), None, "3 and 4 are silent");
    rig.answers([3, 4], yes(105));
    assert_eq!(granted(&mut rig).fence, Fence::new(105));
}

/// R15
#[test]
fn a_yes_without_a_number_is_no_vote_for_a_fenced_lock() {
    let mut rig = fenced(3);
    rig.answers(0..2, YES);
    let (cause, tally) = failed(&mut rig);
    assert_eq!(cause, Cause::NoQuorum);
    assert_eq!(tally.unknown, set([0, 1]));

    let mut rig = fenced(2);
    rig.answer(0, yes(100));
    rig.answer(1, yes(101));
    rig.answer(0, YES);
    failed(&mut rig);
}

/// R15: a number that nobody asked for is no fence.
#[test]
fn a_lock_without_a_proposal_has_no_fence() {
    let mut rig = Rig::new(config(3));
    rig.acquire();
    rig.answer(0, yes(5));
    rig.answer(1, yes(6));
    assert_eq!(granted(&mut rig).fence, None);
}

/// R15
#[test]
fn a_repeated_answer_registers_a_node_once() {
    let mut rig = fenced(3);
    for _ in 0..3 {
        rig.answer(0, yes(100));
    }
    assert_eq!(rig.event(), None);
    rig.answer(1, yes(105));
    for _ in 0..3 {
        let seal = rig.last_to(0);
        rig.reply(&seal, yes(104));
    }
    assert_eq!(rig.event(), None, "104 is neither");
}

/// R15: fences stay below 2^53, and proposals leave half of that to counting.
#[test]
fn a_proposal_above_2_to_the_52_is_refused() {
    assert!(Proposal::from_unix_micros(1 << 52).is_ok());
    for micros in [0, (1 << 52) + 1, 1 << 53, u64::MAX] {
        let error = Proposal::from_unix_micros(micros).unwrap_err().to_string();
        assert!(error.contains("set the clock"), "{error}");
    }
    assert_eq!(Fence::new(0), None);
    assert_eq!(Fence::new(1 << 53), None);
    assert!(Fence::new((1 << 53) - 1).is_some());
    assert!(Fence::new(7) < Fence::new(8));
}

/// An attempt that was lost, with its two releases answered, and the next one's proposal.
fn next_proposal(first: u64, replies: &[Reply], at: u64) -> u64 {
    let delay = millis(at);
    let retry = attempts(2).with_delays(delay, delay);
    let mut rig = Rig::new(config(3).with_retry(retry));
    rig.acquire_fenced(first);
    for (node, reply) in replies.iter().enumerate() {
        rig.answer(node, *reply);
    }
    rig.answers(0..3, YES);
    rig.sleep();
    assert_eq!(rig.now(), ms(at));
    proposal(&rig.last_to(0))
}

fn refused_at(fence: u64) -> Reply {
    Reply::Refused { remaining: None, fence: Fence::new(fence) }
}

/// R15: or nodes would answer different numbers again.
#[test]
fn the_next_attempt_proposes_more_than_any_number_heard() {
    let soon = 1;
    assert_eq!(next_proposal(100, &[NO, NO], soon), 1_100, "the clock went on");
    assert_eq!(next_proposal(100, &[refused_at(9_000), NO], soon), 9_001);
    assert_eq!(next_proposal(100, &[refused_at(9_000), refused_at(10_000)], soon), 10_001);
    assert_eq!(next_proposal(100, &[yes(20_000), refused_at(10_000), NO], soon), 20_001);
    assert_eq!(next_proposal(100, &[refused_at(9_000), NO], 50), 50_100);
}

/// R15
#[test]
fn no_proposal_grows_beyond_2_to_the_52() {
    let max = Proposal::MAX;
    assert_eq!(next_proposal(max, &[NO, NO], 1), max);
    assert_eq!(next_proposal(5, &[refused_at(Fence::MAX), NO], 1), max);
}

/// R15: the numbers heard belong to one acquire call.
#[test]
fn a_new_acquire_proposes_what_it_was_given() {
    let mut rig = fenced(1);
    rig.answer(0, refused_at(9_000));
    rig.answer(0, NO);
    rig.acquire_fenced(200);
    assert_eq!(proposal(&rig.last_to(0)), 200);
}

/// R15, R10
#[test]
fn a_lease_keeps_its_fence_through_extensions_and_late_answers() {
    let mut rig = fenced(3);
    rig.answers([0, 1], yes(100));
    assert_eq!(granted(&mut rig).fence, Fence::new(100));
    rig.answer(2, yes(170));
    assert_eq!(rig.lock.lease().unwrap().fence, Fence::new(100));
    rig.at(300).extend().unwrap();
    rig.answers([1, 2], YES);
    assert_eq!(rig.lease_told().fence, Fence::new(100));
}

/// R15, R1: what the node that refused its seal promised is worth nothing.
#[test]
fn a_refused_seal_takes_the_nodes_promise_back() {
    let mut rig = fenced(3);
    rig.answer(0, yes(100));
    rig.answer(1, yes(105));
    rig.answer(0, NO);
    rig.answer(2, yes(105));
    granted(&mut rig);
    // One of 1 and 2 is extended; 0 has no promise to make up for the other one.
    rig.at(300).extend().unwrap();
    rig.answer(1, YES);
    rig.answer(0, YES);
    assert_eq!(rig.lease_told().valid_until, ms(300 + VALIDITY), "a new yes is a new promise");
}

/// R6, R15: a number of a node that refused is heard, but it has no vote.
#[test]
fn a_quarantined_node_is_not_registered() {
    let mut rig = fenced(3);
    rig.answer(0, quarantined(500));
    rig.answer(1, yes(100));
    rig.answer(2, yes(104));
    assert_seals(&mut rig, 104, [1]);
    rig.answer(1, yes(104));
    assert_eq!(granted(&mut rig).fence, Fence::new(104));
}

/// R5, R15: nobody is said to hold what silence alone took away.
#[test]
fn seals_that_are_not_answered_are_no_contention() {
    let mut rig = fenced(3);
    rig.answer(0, yes(100));
    rig.answer(1, yes(105));
    rig.answer(2, yes(107));
    rig.answers([0, 1], Reply::Unknown);
    assert_eq!(failed(&mut rig).0, Cause::NoQuorum);
}
