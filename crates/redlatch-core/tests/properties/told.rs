//! Stories that once went wrong, at their shortest.

use crate::story::{Answer, Drain, MILLI, Number, Setup, Step, Story, What, When};

const YES: Answer = Answer::Applied(Number::Above(0));
const NO: Answer = Answer::Refused(None, Number::None);
const ACQUIRE: What = What::Acquire { proposal: None };

/// Each with what went wrong.
pub(crate) fn told() -> [(&'static str, Story); 8] {
    [
        ("the failure of one acquire was told as the answer to the next", another_acquire()),
        ("a lease was told to be at risk after its release", at_risk_after_release()),
        ("a node whose vote came late was never asked again, the lock never idle", late_vote()),
        ("an extension waited for a node that it had not asked", node_not_asked()),
        ("the oracle took a call for older than the attempt that was due before it", late_call()),
        ("a waiter that was gone was put into a queue, where nobody took it out", gone_waiter()),
        ("whoever gave up at the moment of a refusal was put into the queues", late_release()),
        ("whoever gave up when the next attempt was due left a node alone", release_when_due()),
    ]
}

/// The wait of the first acquire is over when the second one begins.
fn another_acquire() -> Story {
    let setup = Setup { wait: Some(200 * MILLI), ..Setup::default() };
    let steps = vec![
        step(When::Now, ACQUIRE),
        step(When::Timeout(0), What::Timeout),
        step(When::MuchLater(2), ACQUIRE),
    ];
    Story { setup, steps }
}

/// An extension misses at the very moment of the release.
fn at_risk_after_release() -> Story {
    let steps = vec![
        step(When::Now, ACQUIRE),
        step(When::Now, all(YES)),
        step(When::Now, What::Extend),
        step(When::Timeout(0), What::Release),
    ];
    Story { setup: Setup::default(), steps }
}

/// The node timeout is longer than the keys live. One of two nodes refuses, both confirm the release,
/// then the other one's yes arrives, and the application gives up.
fn late_vote() -> Story {
    let setup = Setup {
        nodes: 2,
        node_timeout: u64::MAX,
        attempts_max: Some(2),
        delay_min: 10 * MILLI,
        ..Setup::default()
    };
    let steps = vec![
        step(When::Now, ACQUIRE),
        step(When::Now, What::Answers { nodes: 1, answer: NO }),
        step(When::Now, What::Answer { which: 0, answer: YES }),
        step(When::Now, What::Answer { which: 0, answer: YES }),
        step(When::Now, all(YES)),
        step(When::Now, What::Release),
    ];
    Story { setup, steps }
}

/// A grant before the third acquire was handed out, and an extension to two nodes, one of them silent.
fn node_not_asked() -> Story {
    let setup = Setup { nodes: 3, ..Setup::default() };
    let steps = vec![
        Step { drain: Drain::Majority, ..step(When::Now, ACQUIRE) },
        Step { drain: Drain::Commands(0), ..step(When::Now, all(YES)) },
        step(When::Now, What::Extend),
        step(When::Now, What::Answers { nodes: 1, answer: YES }),
    ];
    Story { setup, steps }
}

/// A call comes when the next attempt is due anyway, and that attempt is refused.
fn late_call() -> Story {
    let setup = Setup { attempts_max: Some(3), delay_min: 10 * MILLI, ..Setup::default() };
    let steps = vec![
        step(When::Now, What::Place { since: Some(1) }),
        step(When::Now, ACQUIRE),
        step(When::Now, all(NO)),
        step(When::Timeout(0), What::Calls { nodes: 1 }),
        step(When::Now, all(NO)),
        step(When::Timeout(0), What::Timeout),
    ];
    Story { setup, steps }
}

/// The yes of an acquire that was given up arrives while the next one is under way.
fn gone_waiter() -> Story {
    let steps = vec![
        step(When::Now, What::Place { since: Some(1) }),
        step(When::Now, ACQUIRE),
        step(When::Timeout(0), What::Timeout),
        step(When::Now, all(NO)),
        step(When::Now, ACQUIRE),
        step(When::Now, What::Repeat { which: 2, answer: YES }),
    ];
    Story { setup: Setup::default(), steps }
}

/// The attempt has run out of time when the application gives up, and no timer has fired.
fn late_release() -> Story {
    let setup = Setup { attempts_max: Some(2), nodes: 3, ..Setup::default() };
    let steps = vec![
        step(When::Now, What::Place { since: Some(1) }),
        step(When::Now, ACQUIRE),
        step(When::Now, What::Answers { nodes: 1, answer: NO }),
        step(When::Now, What::Answers { nodes: 2, answer: YES }),
        step(When::Timeout(0), What::Release),
    ];
    Story { setup, steps }
}

/// One node of three has the key, none has confirmed that it is gone.
fn release_when_due() -> Story {
    let setup =
        Setup { attempts_max: Some(2), nodes: 3, delay_min: 10 * MILLI, ..Setup::default() };
    let steps = vec![
        step(When::Now, ACQUIRE),
        step(When::Now, What::Answers { nodes: 1, answer: YES }),
        step(When::Timeout(0), What::Timeout),
        step(When::Timeout(0), What::Release),
    ];
    Story { setup, steps }
}

fn step(when: When, what: What) -> Step {
    Step { when, what, drain: Drain::Everything }
}

fn all(answer: Answer) -> What {
    What::Answers { nodes: u16::MAX, answer }
}
