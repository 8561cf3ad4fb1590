//! Small histories, made by hand, of which every word of a report can be foretold.

use redlatch_harness::check::{Invariant, Violation};
use redlatch_harness::history::{Answered, Asked, History, Process, TokenName, What};
use redlatch_harness::plan::Plan;
use redlatch_harness::plan::Profile;
use redlatch_harness::report::{Axis, Case, Effect, Fault, STEP, Shape};

/// Nanoseconds.
pub(crate) const MS: u64 = 1_000_000;

pub(crate) const C0: TokenName = TokenName { client: 0, acquire: 1, attempt: 1 };
pub(crate) const C1: TokenName = TokenName { client: 1, acquire: 1, attempt: 1 };

/// Writes a history.
pub(crate) struct Story {
    pub(crate) history: History,
    messages: u32,
}

impl Story {
    pub(crate) fn new() -> Self {
        let mut history = History::default();
        history.restart(true);
        Self { history, messages: 0 }
    }

    pub(crate) fn note(&mut self, at: u64, process: Process, what: What) -> &mut Self {
        self.history.note(at, process, what);
        self
    }

    pub(crate) fn client(&mut self, at: u64, client: u8, what: What) -> &mut Self {
        self.note(at, Process::Client(client), what)
    }

    pub(crate) fn node(&mut self, at: u64, node: u8, what: What) -> &mut Self {
        self.note(at, Process::Node(node), what)
    }

    /// A message leaves; its number.
    pub(crate) fn send(&mut self, at: u64, token: TokenName, asked: Asked, node: u8) -> u32 {
        self.messages += 1;
        let message = self.messages;
        let sent = What::Sent { message, node, asked, token, copy: 0 };
        self.client(at, token.client, sent);
        message
    }

    /// A node says yes to an acquire, and has the key until then.
    pub(crate) fn gives(&mut self, at: u64, node: u8, message: u32, token: TokenName, until: u64) {
        let fence = 1_790_000_000_000_500 + u64::from(token.client);
        self.node(at, node, What::Key { resource: 0, owner: Some(token), until })
            .node(at, node, What::Fence { resource: 0, fence })
            .node(at, node, executed(message, Asked::Acquire, Answered::Applied, fence));
    }

    pub(crate) fn answer(&mut self, at: u64, client: u8, message: u32, answered: Answered) {
        self.client(at, client, What::Answer { message, answered });
    }
}

pub(crate) fn executed(message: u32, asked: Asked, answered: Answered, fence: u64) -> What {
    What::Executed { message, asked, answered, fence }
}

pub(crate) fn shape(nodes: usize, clients: usize) -> Shape {
    let (resources, majority) = (1, nodes / 2 + 1);
    Shape { nodes, clients, resources, majority, guarded: false, faults: Vec::new() }
}

/// c1 holds the lock; n1 is flushed, and a release that is meant for somebody else's key takes c1's key
/// from n2: only n0 is left.
pub(crate) fn unbacked() -> Case {
    let mut story = Story::new();
    story.client(10 * MS, 0, What::Acquire { resource: 0, acquire: 1 });
    let late = story.send(10 * MS, C0, Asked::Release, 2);
    story.client(10 * MS, 0, What::Failed);
    story.client(12 * MS, 1, What::Acquire { resource: 0, acquire: 1 });
    let sent: Vec<u32> = (0..3).map(|node| story.send(12 * MS, C1, Asked::Acquire, node)).collect();
    for (node, message) in (0..).zip(&sent) {
        story.gives((16 + u64::from(node)) * MS, node, *message, C1, 420 * MS);
    }
    for message in &sent[..2] {
        story.answer(22 * MS, 1, *message, Answered::Applied);
    }
    let granted = What::Granted { token: C1, fence: 1_790_000_000_000_501, until: 412 * MS };
    story.client(22 * MS, 1, granted);
    story.node(60 * MS, 1, What::FaultBegan { fault: 0 });
    story.node(60 * MS, 1, What::Key { resource: 0, owner: None, until: 0 });
    story.node(80 * MS, 2, What::Key { resource: 0, owner: None, until: 0 });
    story.node(80 * MS, 2, executed(late, Asked::Release, Answered::Applied, 0));
    story.note(80 * MS, Process::Harness, What::Violated { invariant: Invariant::Witness });
    let mut shape = shape(3, 2);
    shape.faults.push(Fault {
        who: vec![Process::Node(1)],
        text: "n1: flushed".to_owned(),
        effect: Effect::Moment,
    });
    Case {
        tier: "sim".to_owned(),
        title: "a release that deletes anybody's key".to_owned(),
        seed: Some(0x2a),
        commit: Some("0123abc".to_owned()),
        replay: "redlatch-harness replay target/redlatch/unbacked".to_owned(),
        shape,
        plan: Some(Plan::calm(0x2a, Profile::Synchronous).to_json_pretty()),
        history: story.history,
        violation: Some(Violation {
            invariant: Invariant::Witness,
            time: 80 * MS,
            client: Some(1),
            story:
                "c1 believes until 412.000 ms that it holds c1.1/1, but only 1 of 3 nodes back it"
                    .to_owned(),
        }),
        ..Case::default()
    }
}

/// Something of everything that can be drawn.
pub(crate) fn everything() -> Case {
    let mut story = Story::new();
    let still = |process: Process| (process, What::Clock { ahead: 5_000 * MS as i64, ppm: 0 });
    for (process, what) in [still(Process::Node(0)), still(Process::Client(0))] {
        story.history.note_state(0, process, what);
    }
    story.client(MS, 0, What::Acquire { resource: 0, acquire: 1 });
    let first = story.send(MS, C0, Asked::Acquire, 0);
    let lost = story.send(MS, C0, Asked::Acquire, 1);
    story.client(MS, 0, What::Dropped { message: lost, answer: false });
    let mute = story.send(MS, C0, Asked::Acquire, 2);
    let again = What::Sent { message: 99, node: 0, asked: Asked::Acquire, token: C0, copy: 1 };
    story.client(MS, 0, again);
    story.gives(2 * MS, 0, first, C0, 52 * MS);
    story.gives(2 * MS, 2, mute, C0, 52 * MS);
    story.node(2 * MS, 2, What::Dropped { message: mute, answer: true });
    story.node(3 * MS, 0, executed(99, Asked::Acquire, Answered::Applied, 1_790_000_000_000_500));
    story.answer(3 * MS, 0, first, Answered::Applied);
    story.client(4 * MS, 0, What::Retrying);
    story.client(
        5 * MS,
        0,
        What::Granted { token: C0, fence: 1_790_000_000_000_500, until: 50 * MS },
    );
    story.client(6 * MS, 0, What::Extend);
    story.client(7 * MS, 0, What::Extended { token: C0, until: 60 * MS });
    story.client(8 * MS, 0, What::AtRisk);
    let resource = Process::Resource(0);
    let fence = 1_790_000_000_000_500;
    story.note(9 * MS, resource, What::Read { client: 0, fence, accepted: true, value: 3 });
    let (accepted, value, lost_update) = (true, 4, true);
    story.note(10 * MS, resource, What::Written { client: 0, fence, accepted, value, lost_update });
    let (accepted, lost_update) = (false, false);
    story.note(
        11 * MS,
        resource,
        What::Written { client: 1, fence: 0, accepted, value, lost_update },
    );
    story.note(12 * MS, Process::Harness, What::FaultBegan { fault: 0 });
    story.node(12 * MS, 1, What::Crashed);
    story.note(13 * MS, Process::Harness, What::FaultBegan { fault: 1 });
    story.node(14 * MS, 0, What::Clock { ahead: 5_020 * MS as i64, ppm: 0 });
    story.node(20 * MS, 1, What::Restarted);
    story.note(20 * MS, Process::Harness, What::FaultEnded { fault: 0 });
    story.node(21 * MS, 1, What::Quarantined { until: 40 * MS });
    story.node(22 * MS, 2, What::Key { resource: 0, owner: Some(C1), until: 70 * MS });
    story.node(22 * MS, 2, What::Fence { resource: 0, fence: 7 });
    story.note(25 * MS, Process::Harness, What::FaultEnded { fault: 1 });
    story.client(26 * MS, 0, What::Lost { token: C0 });
    story.answer(27 * MS, 0, 99, Answered::Applied);
    story.client(28 * MS, 1, What::Acquire { resource: 0, acquire: 1 });
    story.client(29 * MS, 1, What::Crashed);
    story.client(30 * MS, 1, What::Restarted);
    story.note(31 * MS, Process::Harness, What::Healed);
    story.client(60 * MS, 1, What::Release);
    story.client(61 * MS, 1, What::Released { confirmed: true });
    let mut shape = shape(3, 2);
    shape.guarded = true;
    shape.faults = vec![
        Fault {
            who: vec![Process::Node(1)],
            text: "n1: crash, all lost".to_owned(),
            effect: Effect::Lasts,
        },
        Fault {
            who: vec![Process::Client(1)],
            text: "c1: pause".to_owned(),
            effect: Effect::Stops,
        },
    ];
    Case {
        tier: "demo".to_owned(),
        title: "something of everything".to_owned(),
        replay: "redlatch-harness demo --seed 1".to_owned(),
        shape,
        history: story.history,
        ..Case::default()
    }
}

/// A story of the exhaustive model: steps instead of time.
pub(crate) fn untimed() -> Case {
    let mut story = Story::new();
    story.client(STEP, 0, What::Acquire { resource: 0, acquire: 1 });
    let message = story.send(STEP, C0, Asked::Acquire, 0);
    story.gives(2 * STEP, 0, message, C0, u64::MAX);
    story.answer(3 * STEP, 0, message, Answered::Applied);
    story.client(3 * STEP, 0, What::Granted { token: C0, fence: 1, until: u64::MAX });
    story.node(4 * STEP, 0, What::Key { resource: 0, owner: None, until: 0 });
    Case {
        tier: "model".to_owned(),
        title: "a key expires under its holder".to_owned(),
        replay: "redlatch-harness model --mutant x".to_owned(),
        shape: shape(1, 1),
        history: story.history,
        axis: Axis::Steps,
        violation: Some(Violation {
            invariant: Invariant::Witness,
            time: 4 * STEP,
            client: Some(0),
            story: "c0 believes, but no node keeps its key".to_owned(),
        }),
        story: [
            "c0 asks for the lock",
            "n0 carries out acquire of c0.1/1: yes (1)",
            "c0 hears yes (1) of n0; is granted the lock",
            "n0: the key of c0.1/1 expires",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Case::default()
    }
}

/// A history of a very long run: every client gets and releases the lock, again and again.
pub(crate) fn long(rounds: u64) -> Case {
    let mut story = Story::new();
    let nodes = 5;
    for round in 0..rounds {
        let client = (round % 6) as u8;
        let at = round * 10 * MS;
        let acquire = (round / 6 + 1) as u32;
        let token = TokenName { client, acquire, attempt: 1 };
        story.client(at, client, What::Acquire { resource: 0, acquire });
        let sent: Vec<u32> =
            (0..nodes).map(|node| story.send(at, token, Asked::Acquire, node)).collect();
        for (node, message) in (0..).zip(&sent) {
            story.gives(at + MS + u64::from(node), node, *message, token, at + 100 * MS);
        }
        for message in &sent {
            story.answer(at + 2 * MS, client, *message, Answered::Applied);
        }
        story.client(
            at + 2 * MS,
            client,
            What::Granted { token, fence: round + 1, until: at + 90 * MS },
        );
        story.client(at + 5 * MS, client, What::Release);
        let sent: Vec<u32> =
            (0..nodes).map(|node| story.send(at + 5 * MS, token, Asked::Release, node)).collect();
        for (node, message) in (0..).zip(&sent) {
            story.node(at + 6 * MS, node, What::Key { resource: 0, owner: None, until: 0 });
            let done = executed(*message, Asked::Release, Answered::Applied, 0);
            story.node(at + 6 * MS, node, done);
        }
    }
    Case {
        tier: "sim".to_owned(),
        title: format!("{rounds} rounds"),
        replay: "redlatch-harness replay".to_owned(),
        shape: shape(nodes.into(), 6),
        history: story.history,
        ..Case::default()
    }
}
