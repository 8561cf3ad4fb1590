//! What each scenario puts to its clients.
//!
//! Node 0 is always one of those that a fault befalls: a client that uses one node only uses that. A fault
//! that has to meet a holder waits for one, and the votes that the holder needs are made to be those that
//! it has: a stranger has the key on the other nodes until then.

use fastrand::Rng;

use super::Stage;
use crate::live::plan::{Cue, Fault, Kind, LiveKind};
use crate::live::workload::PATIENCE;
use crate::plan::{Direction, FaultKind, Keep, Who};

/// How much longer than its wait and its ttl an operation may take, in the workload.
const PATIENCE_MS: u32 = PATIENCE.as_millis() as u32;

impl Stage {
    const fn nodes(&self) -> u8 {
        self.shape.nodes
    }

    const fn majority(&self) -> u8 {
        self.shape.nodes / 2 + 1
    }

    /// A fault that begins with the others, more or less, and lasts.
    fn lasting(&self, rng: &mut Rng, who: Who, kind: Kind) -> Fault {
        let at_ms = rng.u32(0..=self.shape.ttl_ms / 8);
        Fault { when: Cue::Start, at_ms, for_ms: self.lasts_ms, who, kind }
    }

    /// One node beside node 0.
    fn another(&self, rng: &mut Rng) -> u8 {
        rng.u8(1..self.nodes().max(2))
    }

    /// A stranger has the key on as many nodes as leave a majority without one to spare.
    fn no_vote_to_spare(&self) -> Vec<Fault> {
        let nodes = self.majority()..self.nodes();
        nodes
            .map(|node| Fault {
                when: Cue::Asking,
                at_ms: 0,
                for_ms: self.shape.ttl_ms * 2,
                who: Who::Node(node),
                kind: Kind::Live(LiveKind::Occupied),
            })
            .collect()
    }

    /// What befalls node 0 when the holder needs it.
    fn at_grant(&self, rng: &mut Rng, for_ms: u32, kind: FaultKind) -> Vec<Fault> {
        let mut faults = self.no_vote_to_spare();
        faults.push(Fault {
            when: Cue::Granted,
            at_ms: rng.u32(1..=10),
            for_ms,
            who: Who::Node(0),
            kind: Kind::Known(kind),
        });
        faults
    }

    /// What befalls the next command of client 0 that takes the lock, on a majority of nodes.
    fn at_asking(&self, for_ms: u32, kind: LiveKind) -> Vec<Fault> {
        let fault = |node| Fault {
            when: Cue::Asking,
            at_ms: 0,
            for_ms,
            who: Who::Link(0, node),
            kind: Kind::Live(kind),
        };
        (0..self.majority()).map(fault).collect()
    }
}

const fn cut(direction: Direction) -> Kind {
    Kind::Known(FaultKind::Cut { direction })
}

pub(super) fn nothing(_: &Stage, _: &mut Rng) -> Vec<Fault> {
    Vec::new()
}

pub(super) fn node_down(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let kind = Kind::Known(FaultKind::Crash { keep: Keep::All });
    vec![stage.lasting(rng, Who::Node(0), kind)]
}

pub(super) fn node_hung(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    // For longer than any operation may take: whoever waits for this node is seen to hang.
    let shape = stage.shape;
    let patience = shape.wait_ms + shape.ttl_ms + PATIENCE_MS + shape.ttl_ms;
    let fault = stage.lasting(rng, Who::Node(0), Kind::Known(FaultKind::Pause));
    vec![Fault { for_ms: patience, ..fault }]
}

pub(super) fn two_hung(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let nodes = [0, stage.another(rng)];
    nodes.map(|node| stage.lasting(rng, Who::Node(node), Kind::Known(FaultKind::Pause))).into()
}

pub(super) fn partition_minority(stage: &Stage, _: &mut Rng) -> Vec<Fault> {
    let fault = |node| Fault {
        when: Cue::Granted,
        at_ms: 0,
        for_ms: stage.lasts_ms,
        who: Who::Link(0, node),
        kind: cut(Direction::Both),
    };
    (0..stage.majority()).map(fault).collect()
}

pub(super) fn partition_majority(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let direction = match rng.u8(..3) {
        0 => Direction::Both,
        1 => Direction::Requests,
        _ => Direction::Replies,
    };
    let fault = |node| Fault {
        when: Cue::Start,
        at_ms: 0,
        for_ms: stage.lasts_ms,
        who: Who::Node(node),
        kind: cut(direction),
    };
    (0..stage.majority()).map(fault).collect()
}

pub(super) fn slow_link(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let nodes = [0, stage.another(rng)];
    let nodes = &nodes[..usize::from(stage.nodes().min(2))];
    nodes
        .iter()
        .map(|node| {
            // There and back: below the time that a node is given.
            let by_us = rng.u32(10..=20) * 1_000;
            stage.lasting(rng, Who::Node(*node), Kind::Known(FaultKind::Slow { by_us }))
        })
        .collect()
}

pub(super) fn late_set(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    // Longer than all that the client does to clean up, shorter than the ttl.
    let shape = stage.shape;
    let for_ms = shape.node_timeout_ms * 3 + rng.u32(0..=shape.ttl_ms / 8);
    stage.at_asking(for_ms, LiveKind::Overtaken)
}

pub(super) fn duplicate(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    vec![stage.lasting(rng, Who::All, Kind::Live(LiveKind::Duplicated))]
}

pub(super) fn reply_lost(stage: &Stage, _: &mut Rng) -> Vec<Fault> {
    stage.at_asking(stage.shape.node_timeout_ms * 2, LiveKind::ReplyLost)
}

pub(super) fn reset_after(stage: &Stage, _: &mut Rng) -> Vec<Fault> {
    stage.at_asking(stage.shape.node_timeout_ms * 2, LiveKind::ResetAfter)
}

pub(super) fn even_split(stage: &Stage, _: &mut Rng) -> Vec<Fault> {
    let half = stage.nodes() / 2;
    let mut faults = Vec::new();
    for client in 0..stage.shape.clients {
        // One half for the even ones, the other for the odd ones.
        let refused = match client % 2 {
            0 => half..stage.nodes(),
            _ => 0..half,
        };
        faults.extend(refused.map(|node| Fault {
            when: Cue::Start,
            at_ms: 0,
            for_ms: stage.lasts_ms,
            who: Who::Link(client, node),
            kind: Kind::Live(LiveKind::Refused),
        }));
    }
    faults
}

pub(super) fn restart_with_data(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let mut faults = stage.at_grant(rng, 0, FaultKind::Crash { keep: Keep::All });
    let one = faults.last().copied();
    faults.extend(one.map(|one| Fault { who: Who::Node(stage.majority() - 1), ..one }));
    faults
}

pub(super) fn restart_without_data(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    stage.at_grant(rng, 0, FaultKind::Crash { keep: Keep::Nothing })
}

pub(super) fn restart_everysec(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    stage.at_grant(rng, 0, FaultKind::Crash { keep: Keep::Synced })
}

pub(super) fn flush(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    stage.at_grant(rng, 0, FaultKind::Flush)
}

pub(super) fn eviction(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    stage.at_grant(rng, 0, FaultKind::Evict)
}

pub(super) fn failover(stage: &Stage, _: &mut Rng) -> Vec<Fault> {
    let mut faults = stage.no_vote_to_spare();
    // The replica stops to follow right before the lock is taken.
    faults.push(Fault {
        when: Cue::Asking,
        at_ms: 0,
        for_ms: 0,
        who: Who::Node(0),
        kind: Kind::Known(FaultKind::Failover),
    });
    faults
}

pub(super) fn scripts_flushed(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    vec![stage.lasting(rng, Who::All, Kind::Live(LiveKind::ScriptsForgotten))]
}

/// The clocks of a majority of nodes, of which node 0 is one, run at another rate.
fn clocks(stage: &Stage, for_ms: u32, ppm: i32) -> Vec<Fault> {
    let fault = |node| Fault {
        when: Cue::Start,
        at_ms: 0,
        for_ms,
        who: Who::Node(node),
        kind: Kind::Known(FaultKind::Rate { ppm }),
    };
    (0..stage.majority()).map(fault).collect()
}

pub(super) fn clock_fast(stage: &Stage, _: &mut Rng) -> Vec<Fault> {
    clocks(stage, stage.shape.ttl_ms * 3, 1_000_000)
}

pub(super) fn clock_slow(stage: &Stage, _: &mut Rng) -> Vec<Fault> {
    clocks(stage, stage.lasts_ms, -500_000)
}

pub(super) fn clock_jump(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let by_us = i64::from(stage.shape.ttl_ms) * 1_000 * rng.i64(2..=10);
    let at_ms = rng.u32(1..=10);
    let fault = |node| Fault {
        when: Cue::Granted,
        at_ms,
        for_ms: 0,
        who: Who::Node(node),
        kind: Kind::Known(FaultKind::Jump { by_us }),
    };
    (0..stage.majority()).map(fault).collect()
}

pub(super) fn client_paused(stage: &Stage, rng: &mut Rng) -> Vec<Fault> {
    let ttl = stage.shape.ttl_ms;
    vec![Fault {
        when: Cue::Granted,
        at_ms: rng.u32(1..=10),
        for_ms: ttl + ttl / 2,
        who: Who::Client(0),
        kind: Kind::Known(FaultKind::Pause),
    }]
}

pub(super) fn client_killed(_: &Stage, rng: &mut Rng) -> Vec<Fault> {
    vec![Fault {
        when: Cue::Granted,
        at_ms: rng.u32(1..=10),
        for_ms: 0,
        who: Who::Client(0),
        kind: Kind::Known(FaultKind::Crash { keep: Keep::Nothing }),
    }]
}
