//! Many workers on one lock, in virtual time: the same on every machine, so what is reached is asserted.

use redlatch_harness::sim::contention::{Crowd, Measured};

fn measured(crowd: Crowd) -> Measured {
    let measured = crowd.run().expect("a lock of ten seconds");
    let Measured { sections, share, longest_wait, evenness, commands } = measured;
    let (workers, hung) = (crowd.workers, crowd.hung);
    let how = if crowd.queues { "queues" } else { "polls " };
    println!(
        "{workers:2} workers, {how}, {hung} hung: {sections:6.1} sections/s ({share:.3}), longest wait \
         {longest_wait:5.2} shares, evenness {evenness:.2}, {commands:5.1} commands"
    );
    measured
}

/// Commands of a section when nobody is in the way: five acquire, five release.
const COMMANDS: f64 = 10.0;

/// As docs/protocol.md tells it: nothing is wasted, nobody waits longer than a round of all.
#[track_caller]
fn is_good(measured: &Measured, commands_max: f64) {
    let Measured { share, longest_wait, evenness, commands, .. } = *measured;
    assert!(share >= 0.995, "{measured:?}");
    assert!(longest_wait <= 1.005, "{measured:?}");
    assert!(evenness >= 0.975, "{measured:?}");
    assert!(commands <= commands_max, "{measured:?}");
}

#[test]
fn alone_nothing_is_in_the_way() {
    let alone = measured(Crowd::of(1));
    assert!((0.97..=1.03).contains(&alone.share), "{alone:?}");
    assert!((COMMANDS - 0.5..=COMMANDS + 0.5).contains(&alone.commands), "{alone:?}");
}

#[test]
fn a_crowd_that_queues_wastes_little_and_everybody_has_a_turn() {
    for workers in [2, 8, 16, 64] {
        is_good(&measured(Crowd::of(workers)), 2.01 * COMMANDS);
    }
}

#[test]
fn so_it_is_while_one_node_hangs() {
    for workers in [2, 8, 16, 64] {
        is_good(&measured(Crowd::of(workers).with_hung(1)), 2.25 * COMMANDS);
    }
}

/// What the queues are for, and the canary: in a crowd that only asks from time to time whoever releases
/// is back before all others, so there is no waste, and hardly anybody has a turn.
#[test]
fn a_crowd_that_polls_is_not_as_fair() {
    for workers in [8, 64] {
        let polls = measured(Crowd::of(workers).with_queues(false));
        assert!(polls.longest_wait > 3.0 && polls.evenness < 0.6, "{polls:?}");
    }
}

#[test]
fn equal_crowds_fare_equally() {
    let crowd = Crowd::of(8);
    assert_eq!(crowd.run(), crowd.run());
}
