//! Drawing a plan from a seed.

use crate::plan::{
    Clocks, Direction, Fault, FaultKind, Keep, Network, Plan, Profile, ResourceMode, Retries,
    Shape, Sizes, VERSION, Who, Work, assume,
};
use crate::sim::dice::Dice;

/// How many kinds of fault [`fault`] knows.
const KINDS: u64 = 20;

pub(super) fn draw(plan: &mut Plan, seed: u64, profile: Profile, sizes: Sizes) {
    let dice = &mut Dice::new(seed ^ profile as u64);
    plan.version = VERSION;
    plan.seed = seed;
    plan.profile = profile;
    plan.shape = shape(dice, profile, sizes);
    // With dice of its own, so that all else in the plan of a seed stays as it always was.
    plan.shape.queues = Dice::new(!seed ^ profile as u64).chance(600);
    plan.faults.clear();
    // Swarm: each plan has its own few kinds, and many plans have few faults.
    let mut enabled = dice.next() & dice.next() | 1 << dice.between(0, KINDS - 1);
    enabled &= (1 << KINDS) - 1;
    for _ in 0..dice.pick(&[0, 1, 2, 3, 5, 8, 12]) {
        let number = any_bit(enabled, dice.between(0, u64::from(enabled.count_ones()) - 1));
        let Some((who, kind)) = fault(dice, &plan.shape, profile, number) else { continue };
        let (at_us, for_us) = when(dice, &plan.shape, &plan.faults);
        let for_us = if kind.is_instant() { 0 } else { for_us };
        add(plan, Fault { at_us, for_us, who, kind });
        if let FaultKind::Jump { by_us } = kind
            && profile == Profile::Asynchronous
            && dice.chance(500)
        {
            // Clocks that are set one after the other: keys expire under the feet of an attempt.
            for node in 0..dice.between(1, u64::from(plan.shape.nodes)) as u8 {
                let at_us = at_us + dice.between(0, u64::from(plan.shape.network.latency_us) * 4);
                add(
                    plan,
                    Fault { at_us, for_us, who: Who::Node(node), kind: FaultKind::Jump { by_us } },
                );
            }
        }
    }
}

/// Several faults of one kind may together be more than the profile admits.
fn add(plan: &mut Plan, fault: Fault) {
    plan.faults.push(fault);
    if assume::check(plan).is_err() {
        plan.faults.pop();
    }
}

/// The place of the `which`-th bit that is set.
fn any_bit(mut bits: u64, which: u64) -> u64 {
    for _ in 0..which {
        bits &= bits - 1;
    }
    bits.trailing_zeros().into()
}

fn shape(dice: &mut Dice, profile: Profile, sizes: Sizes) -> Shape {
    let ttl_ms = dice.pick(&[20, 50, 50, 100, 100, 200, 500]);
    // Only where time is no argument may a message usually take a good part of the ttl.
    let slowest = if profile == Profile::Asynchronous { 5 } else { 20 };
    let latency_us =
        dice.pick(&[100, 300, 1_000, 3_000, ttl_ms * 50]).min(ttl_ms * 1_000 / slowest);
    let node_timeout_ms = dice.pick(&[ttl_ms / 10, ttl_ms / 5, ttl_ms / 2, ttl_ms]);
    let node_timeout_ms = node_timeout_ms.max(latency_us * 4 / 1_000).max(2);
    let drift_ppm = dice.pick(&[10_000, 10_000, 0, 2_000, 50_000]);
    let guarded = profile != Profile::Lossy && dice.chance(600);
    let restart_guard_ms = guarded.then(|| dice.pick(&[ttl_ms, ttl_ms, ttl_ms * 2]));
    let fences_survive = profile != Profile::Synchronous || !guarded || dice.chance(300);
    let fenced = dice.chance(if profile == Profile::Synchronous { 700 } else { 950 });
    let delay_min_ms = dice.pick(&[1, 2, 10]);
    let attempts_max = dice.pick(&[1, 3, 10, 1_000]);
    let waits = attempts_max == 1_000 || dice.chance(300);
    let renewed = dice.chance(300);
    let mut shape = Shape {
        nodes: sizes.nodes(dice.pick(&[3, 3, 3, 5, 5, 1, 2, 4, 6, 7])),
        clients: sizes.clients(dice.pick(&[2, 2, 3, 3, 1, 4, 5])),
        resources: dice.pick(&[1, 1, 1, 2]),
        horizon_ms: 0,
        ttl_ms,
        node_timeout_ms,
        drift_ppm,
        retries: Retries {
            attempts_max,
            wait_ms: waits.then(|| range(dice, ttl_ms, ttl_ms * 5)),
            delay_min_ms,
            delay_max_ms: delay_min_ms.max(dice.pick(&[5, 20, 100])),
        },
        queues: false,
        renewal_ms: renewed.then(|| range(dice, ttl_ms / 2, ttl_ms * 4)),
        fenced,
        restart_guard_ms,
        fences_survive,
        sync_ms: dice.pick(&[ttl_ms / 4, ttl_ms, ttl_ms * 4]),
        resource: match dice.between(0, 3) {
            _ if !fenced => ResourceMode::Unfenced,
            0 => ResourceMode::Unfenced,
            1 => ResourceMode::FencedWrites,
            _ => ResourceMode::FencedReadsAndWrites,
        },
        clocks: Clocks { rate_ppm: 0, wall_skew_ms: 0 },
        network: network(dice, latency_us, ttl_ms),
        work: Work {
            think_ms: dice.pick(&[ttl_ms / 10, ttl_ms / 2, ttl_ms]),
            hold_ms: dice.pick(&[ttl_ms / 10, ttl_ms / 2, ttl_ms * 3 / 2, ttl_ms * 3]),
            extend_permille: dice.pick(&[0, 300, 700]),
            access_permille: dice.pick(&[0, 300, 700]),
            lapse_permille: dice.pick(&[0, 0, 100]),
            cancel_permille: dice.pick(&[0, 0, 50]),
        },
    };
    shape.horizon_ms = ttl_ms * dice.pick(&[6, 12, 20]);
    shape.clocks = Clocks {
        rate_ppm: dice.pick(&[0, rate_max(&shape, profile)]),
        wall_skew_ms: dice.pick(&[0, 1, (skew_max_us(&shape, profile) / 1_000) as u32]),
    };
    shape
}

fn network(dice: &mut Dice, latency_us: u32, ttl_ms: u32) -> Network {
    Network {
        latency_us,
        tail_permille: dice.pick(&[0, 0, 5, 50, 200]),
        tail_ms: dice.pick(&[ttl_ms / 10, ttl_ms, ttl_ms * 2]),
        loss_permille: dice.pick(&[0, 0, 10, 100]),
        duplicate_permille: dice.pick(&[0, 0, 20, 200]),
        ordered: dice.chance(400),
    }
}

/// The most that one clock may be off: two of them share the lock's allowance.
fn rate_max(shape: &Shape, profile: Profile) -> u32 {
    match profile {
        Profile::Synchronous | Profile::Lossy => shape.drift_ppm / 2,
        Profile::Asynchronous => 300_000,
    }
}

/// The most that one cause may put into a client's proposals.
fn skew_max_us(shape: &Shape, profile: Profile) -> u64 {
    let ttl_us = u64::from(shape.ttl_ms) * 1_000;
    match profile {
        Profile::Lossy | Profile::Asynchronous => ttl_us * 20,
        Profile::Synchronous if shape.fences_survive => ttl_us * 20,
        Profile::Synchronous => assume::skew_max_us(shape) / 8,
    }
}

/// When, and for how long: often while another fault goes on, and from a moment to several ttls.
fn when(dice: &mut Dice, shape: &Shape, others: &[Fault]) -> (u64, u64) {
    let ttl_us = u64::from(shape.ttl_ms) * 1_000;
    let horizon_us = u64::from(shape.horizon_ms) * 1_000;
    let longest = dice.pick(&[ttl_us / 20, ttl_us / 2, ttl_us, ttl_us * 3]);
    let for_us = dice.between(longest / 10, longest);
    let at_us = match others.last() {
        Some(other) if dice.chance(400) => {
            let near = other.at_us.saturating_sub(ttl_us / 4);
            dice.between(near, other.at_us + other.for_us + ttl_us / 4)
        }
        Some(_) | None => dice.between(0, horizon_us),
    };
    // What would begin too late comes at any time instead.
    let at_us = if at_us < horizon_us { at_us } else { dice.between(0, horizon_us * 9 / 10) };
    (at_us, for_us)
}

/// A fault of the `number`-th kind, if the profile admits it.
fn fault(
    dice: &mut Dice,
    shape: &Shape,
    profile: Profile,
    number: u64,
) -> Option<(Who, FaultKind)> {
    let synchronous = profile == Profile::Synchronous;
    let asynchronous = profile == Profile::Asynchronous;
    // Nodes may forget: because it is in the profile, or because a guard makes good for it.
    let forgetful = !synchronous || shape.restart_guard_ms.is_some();
    let ttl_us = u64::from(shape.ttl_ms) * 1_000;
    let node = Who::Node(dice.between(0, u64::from(shape.nodes) - 1) as u8);
    let client = Who::Client(dice.between(0, u64::from(shape.clients) - 1) as u8);
    let process = if dice.chance(500) { node } else { client };
    let links = links(dice, node, client);
    let masks = (dice.between(1, 126) as u8, dice.between(0, 31) as u8);
    Some(match number {
        0..=2 => {
            let keep = dice.pick(&[Keep::All, Keep::Synced, Keep::Nothing, Keep::Nothing]);
            let keep = if forgetful { keep } else { Keep::All };
            (if dice.chance(700) { node } else { client }, FaultKind::Crash { keep })
        }
        3 | 4 => (process, FaultKind::Pause),
        5 | 6 => {
            let all = [Direction::Both, Direction::Requests, Direction::Replies];
            (links, FaultKind::Cut { direction: dice.pick(&all) })
        }
        7 => (Who::All, FaultKind::Split { nodes: masks.0, clients: masks.1 }),
        8 => {
            let bridge = dice.between(0, u64::from(shape.nodes) - 1) as u8;
            (Who::All, FaultKind::Bridge { nodes: masks.0, clients: masks.1, node: bridge })
        }
        9 => (Who::All, FaultKind::MajoritiesRing { first: dice.between(0, 6) as u8 }),
        10 => (links, FaultKind::Slow { by_us: dice.between(100, ttl_us) as u32 }),
        11 => (links, FaultKind::Loss { permille: dice.pick(&[100, 500, 900]) }),
        12 => (links, FaultKind::Duplicate { permille: dice.pick(&[100, 500, 1_000]) }),
        13 => (links, FaultKind::Reorder { by_us: dice.between(100, ttl_us) as u32 }),
        14 => {
            let most = i64::from(rate_max(shape, profile));
            let most = if asynchronous { most * 3 } else { most };
            let ppm = dice.pick(&[-most, most, most / 2]).max(-999_999);
            (process, FaultKind::Rate { ppm: ppm as i32 })
        }
        15 if asynchronous => (process, FaultKind::Jump { by_us: signed(dice, ttl_us * 3) }),
        // A node's clock that jumps back and a client's that jumps ahead cost time, never safety.
        15 if process == node => (node, FaultKind::Jump { by_us: -range_i(dice, ttl_us / 2) }),
        15 => {
            let most = skew_max_us(shape, profile).min(ttl_us);
            (client, FaultKind::Jump { by_us: range_i(dice, most) })
        }
        16 if asynchronous => {
            let kind = dice.pick(&[FaultKind::Freeze, FaultKind::Suspend]);
            (process, kind)
        }
        17 => (client, FaultKind::WallSkew { by_us: signed(dice, skew_max_us(shape, profile)) }),
        18 if forgetful => {
            let all = [FaultKind::Flush, FaultKind::Failover, FaultKind::Evict];
            let kind = dice.pick(if synchronous { &all[..2] } else { &all[..] });
            (node, kind)
        }
        19 => (node, FaultKind::HalfScripts { permille: dice.pick(&[100, 500, 1_000]) }),
        _ => return None,
    })
}

fn links(dice: &mut Dice, node: Who, client: Who) -> Who {
    let (Who::Node(to), Who::Client(from)) = (node, client) else { return Who::All };
    dice.pick(&[node, client, Who::Link(from, to), Who::Link(from, to), Who::All])
}

fn range(dice: &mut Dice, low: u32, high: u32) -> u32 {
    dice.between(low.into(), high.into()) as u32
}

fn range_i(dice: &mut Dice, most: u64) -> i64 {
    dice.between(0, most) as i64
}

fn signed(dice: &mut Dice, most: u64) -> i64 {
    let by = range_i(dice, most);
    if dice.chance(500) { by } else { -by }
}
