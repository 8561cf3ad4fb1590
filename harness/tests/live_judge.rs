//! The judge of live runs, on records written by hand: for each finding one that shows it, and one that is just
//! not it.

use std::ops::Range;
use std::time::Duration;

use redlatch_harness::check::Invariant;
use redlatch_harness::live::judge::{Word, judge};
use redlatch_harness::live::record::{
    Access, AccessKind, Acquire, Caps, Demand, End, Extension, Hold, Kept, Operation, Record,
    Strike, Token, What, Why,
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn span(from: u64, to: u64) -> Range<Duration> {
    ms(from)..ms(to)
}

/// Three nodes, two clients, one resource; locks that live for 400 ms.
fn calm() -> Record {
    Record {
        nodes: 3,
        clients: 2,
        resources: 1,
        ttl: ms(400),
        keep_max: ms(400),
        caps: Caps { extend: true, fence: true, lost_event: true, guard: true },
        ended: ms(10_000),
        ..Record::default()
    }
}

/// A lock that was granted at `at`, is good until `until`, and was given up at `over`.
fn granted(client: usize, at: u64, until: u64, over: u64) -> Acquire {
    let hold = Hold {
        at: ms(at),
        until: ms(until),
        given_up: Some(ms(over)),
        released: Some((ms(over + 1), true)),
        ..Hold::default()
    };
    Acquire { client, number: 1, resource: 0, asked: ms(at - 5), end: End::Granted(hold) }
}

fn with(mut acquire: Acquire, change: impl FnOnce(&mut Hold)) -> Acquire {
    if let End::Granted(hold) = &mut acquire.end {
        change(hold);
    }
    acquire
}

fn refused(client: usize, asked: u64, at: u64, why: Why) -> Acquire {
    let end = End::Refused { at: ms(at), why, text: "no".to_owned() };
    Acquire { client, number: 1, resource: 0, asked: ms(asked), end }
}

fn kept(node: usize, from: u64, to: u64, what: What) -> Kept {
    Kept { node, resource: 0, during: span(from, to), what }
}

fn key(value: &str) -> What {
    What::Key { value: value.into(), until: None }
}

fn token(client: usize, value: &str) -> Token {
    Token { value: value.into(), client, acquire: 1, attempt: 1, last: ms(0) }
}

fn access(client: usize, at: u64, fence: Option<u64>, accepted: bool, kind: AccessKind) -> Access {
    Access { at: ms(at), client, acquire: 1, resource: 0, fence, accepted, value: 1, kind }
}

/// What is found, without its story.
fn found(record: &Record) -> Vec<(Invariant, Word)> {
    judge(record).findings.iter().map(|finding| (finding.invariant, finding.word)).collect()
}

const NOTHING: [(Invariant, Word); 0] = [];

#[test]
fn who_relies_on_a_lock_that_too_few_nodes_keep_has_no_witness() {
    let held = |nodes_without: &[usize]| {
        let mut record = calm();
        record.acquires = vec![granted(0, 100, 480, 400)];
        record.tokens = vec![token(0, "mine")];
        record.kept = nodes_without
            .iter()
            .map(|node| kept(*node, 200, 300, What::Nothing))
            .chain([kept(2, 90, 401, key("mine"))])
            .collect();
        record
    };
    assert_eq!(found(&held(&[0, 1])), [(Invariant::Witness, Word::Violated)]);
    assert_eq!(found(&held(&[0])), NOTHING, "two of three are a majority");
}

#[test]
fn nodes_that_lost_the_key_one_after_the_other_are_not_too_many_at_once() {
    let mut record = calm();
    record.acquires = vec![granted(0, 100, 480, 400)];
    record.kept = vec![kept(0, 200, 250, What::Nothing), kept(1, 250, 300, What::Nothing)];
    assert_eq!(found(&record), NOTHING);
    record.kept[1].during = span(240, 300);
    assert_eq!(found(&record), [(Invariant::Witness, Word::Violated)]);
}

#[test]
fn a_node_that_gives_its_key_to_nobody_backs_whoever_believes() {
    let mut record = calm();
    record.acquires = vec![granted(0, 100, 480, 400)];
    record.tokens = vec![token(0, "mine"), token(1, "other")];
    let keeps = |what| vec![kept(0, 200, 300, what), kept(1, 200, 300, What::Nothing)];
    record.kept = keeps(What::Withheld);
    assert_eq!(found(&record), NOTHING);
    record.kept = keeps(key("other"));
    assert_eq!(found(&record), [(Invariant::Witness, Word::Violated)]);
}

#[test]
fn a_key_that_came_back_with_its_node_is_nobodys_vote() {
    let set_at = |last| {
        let mut record = calm();
        record.acquires = vec![granted(0, 100, 480, 400)];
        record.tokens = vec![Token { last: ms(last), ..token(1, "old") }];
        record.kept = vec![kept(0, 200, 300, key("old")), kept(1, 200, 300, What::Nothing)];
        record.restored = vec![0];
        found(&record)
    };
    assert_eq!(set_at(90), NOTHING);
    assert_eq!(set_at(195), [(Invariant::Witness, Word::Violated)]);
}

#[test]
fn nothing_is_believed_after_the_release_was_asked_for() {
    let mut record = calm();
    record.acquires = vec![granted(0, 100, 480, 200)];
    record.kept = vec![kept(0, 201, 300, What::Nothing), kept(1, 201, 300, What::Nothing)];
    assert_eq!(found(&record), NOTHING);
}

#[test]
fn two_at_once_are_too_many() {
    let second_at = |at| {
        let mut record = calm();
        record.acquires = vec![granted(0, 100, 480, 400), granted(1, at, 880, 800)];
        found(&record)
    };
    assert_eq!(second_at(300), [(Invariant::Mutex, Word::Violated)]);
    assert_eq!(second_at(401), NOTHING);
}

#[test]
fn a_line_may_have_been_waiting_in_a_pipe() {
    let second_at = |at| {
        let mut record = calm();
        // Nobody gave the first one up: it ends by itself, 20 ms before it says so at the latest.
        let first = with(granted(0, 100, 480, 900), |hold| hold.lost = Some(ms(500)));
        record.acquires = vec![first, granted(1, at, 880, 800)];
        found(&record)
    };
    assert_eq!(second_at(440), [(Invariant::Mutex, Word::Violated)]);
    assert_eq!(second_at(465), NOTHING);
}

#[test]
fn whoever_stood_still_while_it_answered_believes_for_less_long() {
    let mut record = calm();
    let first = with(granted(0, 100, 480, 900), |hold| hold.lost = Some(ms(500)));
    record.acquires = vec![Acquire { asked: ms(10), ..first }, granted(1, 300, 880, 800)];
    assert_eq!(found(&record), [(Invariant::Mutex, Word::Violated)]);
    record.stalls = vec![span(20, 98), span(50, 98)];
    assert_eq!(found(&record).len(), 1, "126 ms do not matter");
    record.pauses = vec![(0, span(15, 95))];
    assert_eq!(found(&record), NOTHING, "206 ms do");
}

#[test]
fn a_claim_counts_from_when_a_majority_had_answered() {
    let knew_at = |knew| {
        let mut record = calm();
        let first = with(granted(0, 100, 480, 900), |hold| {
            hold.knew = knew;
            hold.lost = Some(ms(500));
        });
        record.acquires = vec![first, granted(1, 440, 880, 800)];
        found(&record)
    };
    assert_eq!(knew_at(Some(ms(99))), [(Invariant::Mutex, Word::Violated)]);
    assert_eq!(knew_at(Some(ms(50))), NOTHING, "the process waited for 50 ms before it said so");
}

#[test]
fn a_fence_is_granted_once_and_grows() {
    let fences = |first, second, asked| {
        let mut record = calm();
        let first = with(granted(0, 100, 480, 200), |hold| hold.fence = Some(first));
        let second = with(granted(1, 300, 680, 400), |hold| hold.fence = Some(second));
        record.acquires = vec![first, Acquire { asked: ms(asked), ..second }];
        found(&record)
    };
    assert_eq!(fences(7, 7, 290), [(Invariant::FenceUnique, Word::Violated)]);
    assert_eq!(fences(7, 6, 290), [(Invariant::FenceOrder, Word::Violated)]);
    assert_eq!(fences(7, 6, 90), [(Invariant::HoldOrder, Word::Violated)], "asked for before");
    assert_eq!(fences(7, 8, 290), NOTHING);
}

#[test]
fn a_late_write_is_let_in_or_not() {
    let written = |fence, accepted, kind| {
        let mut record = calm();
        record.acquires = vec![granted(0, 100, 480, 200)];
        record.accesses = vec![access(0, 900, fence, accepted, kind)];
        found(&record)
    };
    let lost = AccessKind::LostUpdate;
    assert_eq!(written(Some(1), true, lost), [(Invariant::Resource, Word::Violated)]);
    assert_eq!(written(None, true, lost), [(Invariant::Resource, Word::LateWrite)]);
    assert_eq!(written(Some(1), false, lost), NOTHING);
    assert_eq!(written(Some(1), true, AccessKind::Write), NOTHING);
}

#[test]
fn a_holder_is_not_refused_by_the_resource() {
    let refused_at = |at| {
        let mut record = calm();
        record.acquires = vec![granted(0, 100, 480, 300)];
        record.accesses = vec![access(0, at, Some(1), false, AccessKind::Write)];
        found(&record)
    };
    assert_eq!(refused_at(200), [(Invariant::HoldOrder, Word::Violated)]);
    assert_eq!(refused_at(301), NOTHING);
}

#[test]
fn what_has_ended_cannot_be_extended() {
    let extended_at = |at| {
        let mut record = calm();
        record.acquires = vec![with(granted(0, 100, 480, 900), |hold| {
            let until = Some(ms(at + 380));
            hold.extensions = vec![Extension { asked: ms(at - 1), at: ms(at), until, knew: None }];
            hold.lost = Some(ms(at + 400));
        })];
        found(&record)
    };
    assert_eq!(extended_at(500), [(Invariant::Api, Word::Violated)]);
    assert_eq!(extended_at(470), NOTHING);
}

#[test]
fn an_operation_that_does_not_end_hangs() {
    let mut record = calm();
    record.acquires = vec![Acquire {
        client: 0,
        number: 1,
        resource: 0,
        asked: ms(100),
        end: End::Hung { at: ms(3_000) },
    }];
    assert_eq!(found(&record), [(Invariant::Termination, Word::Hung)]);
    record.acquires[0].end = End::Killed { at: ms(3_000) };
    assert_eq!(found(&record), NOTHING);
    record.acquires = vec![with(granted(0, 100, 480, 200), |hold| {
        hold.released = None;
        hold.hung = Some((Operation::Release, ms(3_000)));
    })];
    assert_eq!(found(&record), [(Invariant::Termination, Word::Hung)]);
}

#[test]
fn a_key_that_outlives_its_ttl_is_a_ghost_and_one_that_nobody_removes_is_left() {
    let seen_until = |to| {
        let mut record = calm();
        record.acquires = vec![refused(0, 100, 200, Why::Contended)];
        record.tokens = vec![token(0, "dead")];
        record.kept = vec![kept(1, 150, to, key("dead"))];
        found(&record)
    };
    assert_eq!(seen_until(800), [(Invariant::NoGhost, Word::KeyBeyondTtl)]);
    assert_eq!(seen_until(550), [(Invariant::NoGhost, Word::KeyLeft)]);
    assert_eq!(seen_until(390), NOTHING, "it is given some time to clean up");
}

/// R18: a key that is kept for a waiter is nobody's lock, and goes by itself.
#[test]
fn a_key_that_is_kept_for_a_waiter_is_no_ghost_for_as_long_as_that_may_take() {
    let nonce = "0123456789abcdef".repeat(2);
    let (attempt, kept_for_it) = (format!("{nonce}00000003"), format!("{nonce}00000000"));
    let seen_until = |to| {
        let mut record = calm();
        record.acquires = vec![refused(0, 100, 200, Why::Contended)];
        record.tokens = vec![token(0, &attempt)];
        record.kept = vec![kept(1, 300, to, key(&kept_for_it))];
        found(&record)
    };
    assert_eq!(seen_until(640), NOTHING);
    assert_eq!(seen_until(660), [(Invariant::NoGhost, Word::KeyBeyondTtl)]);
    // Nor does it back its heir, should that believe.
    let backed_by = |value: &str| {
        let mut record = calm();
        record.acquires = vec![granted(0, 100, 500, 400)];
        record.tokens = vec![token(0, &attempt)];
        record.kept = (0..3).map(|node| kept(node, 90, 290, key(value))).collect();
        found(&record)
    };
    assert_eq!(backed_by(&attempt), NOTHING);
    assert_eq!(backed_by(&kept_for_it), [(Invariant::Witness, Word::Violated)]);
}

#[test]
fn a_key_lives_from_the_last_command_that_set_it() {
    let sent_at = |last| {
        let mut record = calm();
        record.acquires = vec![refused(0, 100, 200, Why::Contended)];
        record.tokens = vec![Token { last: ms(last), ..token(0, "dead") }];
        record.kept = vec![kept(1, 150, 800, key("dead"))];
        found(&record)
    };
    assert_eq!(sent_at(220), [(Invariant::NoGhost, Word::KeyBeyondTtl)]);
    assert_eq!(sent_at(300), [(Invariant::NoGhost, Word::KeyLeft)]);
    assert_eq!(sent_at(590), NOTHING);
}

#[test]
fn the_key_of_a_client_that_died_may_stay_for_a_ttl() {
    let seen_until = |to| {
        let mut record = calm();
        record.acquires = vec![Acquire {
            client: 0,
            number: 1,
            resource: 0,
            asked: ms(100),
            end: End::Killed { at: ms(200) },
        }];
        record.killed = vec![(0, ms(200))];
        record.tokens = vec![token(0, "dead")];
        record.kept = vec![kept(1, 150, to, key("dead"))];
        found(&record)
    };
    assert_eq!(seen_until(600), NOTHING);
    assert_eq!(seen_until(800), [(Invariant::NoGhost, Word::KeyBeyondTtl)]);
}

#[test]
fn a_fault_may_keep_a_release_from_its_node() {
    let mut record = calm();
    record.acquires = vec![refused(0, 100, 200, Why::Unavailable)];
    record.tokens = vec![token(0, "dead")];
    record.kept = vec![kept(1, 150, 550, key("dead"))];
    assert_eq!(found(&record), [(Invariant::NoGhost, Word::KeyLeft)]);
    let strike = Strike { began: Some(ms(90)), ended: Some(ms(400)), ..Strike::default() };
    let disturbed = Record { strikes: vec![strike], ..record.clone() };
    assert_eq!(found(&disturbed), NOTHING);
    record.restored = vec![1];
    assert_eq!(found(&record), NOTHING, "the node came back with what it had had");
}

#[test]
fn a_free_lock_is_granted() {
    let granted_at = |granted| {
        let mut record = calm();
        record.demands = vec![Demand {
            client: 0,
            resource: 0,
            asked: ms(1_000),
            due: ms(3_000),
            granted,
            last: "no".to_owned(),
        }];
        found(&record)
    };
    assert_eq!(granted_at(None), [(Invariant::Progress, Word::Stuck)]);
    assert_eq!(granted_at(Some(ms(3_001))), [(Invariant::Progress, Word::Stuck)]);
    assert_eq!(granted_at(Some(ms(2_999))), NOTHING);
}

#[test]
fn locks_are_granted_as_long_as_a_majority_is_well() {
    let mut record = calm();
    record.goes_on = Some(span(100, 700));
    record.acquires = vec![refused(0, 110, 400, Why::Unavailable)];
    assert_eq!(found(&record), [(Invariant::Progress, Word::Stuck)]);
    record.acquires.push(granted(1, 300, 680, 400));
    assert_eq!(found(&record), NOTHING);
    record.acquires = vec![Acquire { asked: ms(90), ..granted(0, 750, 1_130, 800) }];
    assert_eq!(found(&record), [(Invariant::Progress, Word::Stuck)], "it had to wait for the end");
    record.acquires.clear();
    assert_eq!(found(&record), NOTHING, "nobody asked");
}

#[test]
fn a_loss_is_told_in_time() {
    let told = |lost, caps| {
        let mut record = Record { caps, ..calm() };
        record.acquires = vec![with(granted(0, 100, 480, 900), |hold| hold.lost = lost)];
        let judgement = judge(&record);
        (found(&record), judgement.counts.losses, judgement.counts.losses_in_time)
    };
    let caps = calm().caps;
    let late = vec![(Invariant::Termination, Word::LossLate)];
    assert_eq!(told(None, caps), (late.clone(), 1, 0));
    assert_eq!(told(Some(ms(800)), caps), (late, 1, 0));
    assert_eq!(told(Some(ms(500)), caps), (NOTHING.to_vec(), 1, 1));
    let mute = Caps { lost_event: false, ..caps };
    assert_eq!(told(None, mute), (NOTHING.to_vec(), 0, 0), "it never said that it tells");
}

#[test]
fn whoever_stands_still_tells_a_loss_afterwards() {
    let told_at = |lost| {
        let mut record = calm();
        record.acquires = vec![with(granted(0, 100, 480, 2_000), |hold| hold.lost = lost)];
        record.pauses = vec![(0, span(150, 1_500))];
        found(&record)
    };
    assert_eq!(told_at(Some(ms(1_700))), NOTHING);
    assert_eq!(told_at(Some(ms(1_800))), [(Invariant::Termination, Word::LossLate)]);
}

#[test]
fn a_loss_is_not_told_while_a_majority_keeps_the_key() {
    let keeping = |nodes: &[usize]| {
        let mut record = calm();
        record.acquires = vec![with(granted(0, 100, 480, 300), |hold| hold.lost = Some(ms(250)))];
        record.tokens = vec![token(0, "mine")];
        let seen = nodes.iter().map(|node| kept(*node, 90, 302, key("mine")));
        record.kept = seen.collect();
        found(&record)
    };
    assert_eq!(keeping(&[0, 2]), [(Invariant::NoFalseLoss, Word::Violated)]);
    assert_eq!(keeping(&[0]), NOTHING);
}

#[test]
fn an_error_tells_an_outage_from_a_lock_that_is_taken() {
    let told = |why| {
        let mut record = calm();
        record.outage = Some(span(100, 700));
        record.acquires = vec![refused(0, 110, 400, why), refused(1, 120, 420, why)];
        found(&record)
    };
    let unclear = [(Invariant::Api, Word::ErrorUnclear)];
    assert_eq!(told(Why::Contended), unclear);
    assert_eq!(told(Why::Other), unclear);
    assert_eq!(told(Why::Unavailable), NOTHING);
    assert_eq!(told(Why::Timeout), NOTHING);
}

#[test]
fn findings_come_in_order_of_time_and_counts_say_how_much_there_was() {
    let mut record = calm();
    record.acquires = vec![
        granted(0, 500, 880, 700),
        granted(1, 600, 980, 650),
        refused(1, 100, 200, Why::Contended),
    ];
    record.accesses = vec![
        access(0, 510, Some(1), true, AccessKind::Write),
        access(0, 50, None, true, AccessKind::LostUpdate),
        access(1, 520, Some(1), false, AccessKind::Write),
        access(1, 520, Some(1), true, AccessKind::Read),
    ];
    let judgement = judge(&record);
    let words: Vec<Word> = judgement.findings.iter().map(|finding| finding.word).collect();
    assert_eq!(words, [Word::LateWrite, Word::Violated]);
    let counts = judgement.counts;
    assert_eq!(
        (counts.grants, counts.refusals, counts.writes, counts.refused_writes),
        (2, 1, 2, 1)
    );
}
