//! Whether the faults of a plan break no more than its profile says.

use crate::plan::{Fault, FaultKind, Keep, Plan, PlanError, Profile, Shape, Who};

pub(super) fn check(plan: &Plan) -> Result<(), PlanError> {
    let Plan { profile, shape, faults, .. } = plan;
    if shape.restart_guard_ms.is_some_and(|ttl_max| ttl_max < shape.ttl_ms) {
        return Err(PlanError::new("the restart guard is shorter than the ttl"));
    }
    if *profile == Profile::Asynchronous {
        return Ok(());
    }
    if u64::from(shape.clocks.rate_ppm) * 2 > u64::from(shape.drift_ppm) {
        return Err(outside(*profile, "two clocks are further apart than the lock's drift"));
    }
    for fault in faults {
        if breaks_rate(shape, fault) {
            return Err(outside(*profile, format_args!("a clock is not as assumed: {fault}")));
        }
    }
    if *profile == Profile::Lossy {
        return Ok(());
    }
    let mut forgets = false;
    for fault in faults.iter().filter(|fault| is_forgetful(fault)) {
        forgets = true;
        if shape.restart_guard_ms.is_none() || fault.kind == FaultKind::Evict {
            return Err(outside(*profile, format_args!("a node forgets, unguarded: {fault}")));
        }
    }
    if forgets && !shape.fences_survive && 2 * skew_us(plan) > skew_max_us(shape) {
        return Err(outside(*profile, "wall clocks are further apart than the guard is long"));
    }
    Ok(())
}

fn outside(profile: Profile, what: impl std::fmt::Display) -> PlanError {
    PlanError::new(format!("outside the {profile} profile: {what}"))
}

/// Whether `fault` makes some clock run or jump to the lock's disadvantage: a node's ahead, or a
/// client's back.
fn breaks_rate(shape: &Shape, fault: &Fault) -> bool {
    match fault.kind {
        FaultKind::Rate { ppm } => 2 * u64::from(ppm.unsigned_abs()) > u64::from(shape.drift_ppm),
        FaultKind::Jump { by_us } => match fault.who {
            Who::Node(_) => by_us > 0,
            Who::Client(_) => by_us < 0,
            Who::All => by_us != 0,
            Who::Link(..) => false,
        },
        FaultKind::Freeze | FaultKind::Suspend => true,
        FaultKind::Crash { .. }
        | FaultKind::Pause
        | FaultKind::Cut { .. }
        | FaultKind::Split { .. }
        | FaultKind::Bridge { .. }
        | FaultKind::MajoritiesRing { .. }
        | FaultKind::Slow { .. }
        | FaultKind::Loss { .. }
        | FaultKind::Duplicate { .. }
        | FaultKind::Reorder { .. }
        | FaultKind::WallSkew { .. }
        | FaultKind::Evict
        | FaultKind::Flush
        | FaultKind::Failover
        | FaultKind::HalfScripts { .. } => false,
    }
}

/// Whether `fault` makes a node forget what it acknowledged.
pub(super) fn is_forgetful(fault: &Fault) -> bool {
    let of_a_node = matches!(fault.who, Who::Node(_) | Who::All);
    match fault.kind {
        FaultKind::Crash { keep: Keep::Synced | Keep::Nothing }
        | FaultKind::Evict
        | FaultKind::Flush
        | FaultKind::Failover => of_a_node,
        FaultKind::Crash { keep: Keep::All }
        | FaultKind::Pause
        | FaultKind::Suspend
        | FaultKind::Cut { .. }
        | FaultKind::Split { .. }
        | FaultKind::Bridge { .. }
        | FaultKind::MajoritiesRing { .. }
        | FaultKind::Slow { .. }
        | FaultKind::Loss { .. }
        | FaultKind::Duplicate { .. }
        | FaultKind::Reorder { .. }
        | FaultKind::Rate { .. }
        | FaultKind::Jump { .. }
        | FaultKind::Freeze
        | FaultKind::WallSkew { .. }
        | FaultKind::HalfScripts { .. } => false,
    }
}

/// How far ahead or behind the proposals of any client may be: its wall clock's error, and jumps of the
/// clock by which a later attempt advances its proposal.
fn skew_us(plan: &Plan) -> u64 {
    let of_client = |client: usize| -> u64 {
        let faults = plan.faults.iter().filter(|fault| fault.who.is_client(client));
        let by = faults.map(|fault| match fault.kind {
            FaultKind::WallSkew { by_us } | FaultKind::Jump { by_us } => by_us.unsigned_abs(),
            FaultKind::Crash { .. }
            | FaultKind::Pause
            | FaultKind::Suspend
            | FaultKind::Cut { .. }
            | FaultKind::Split { .. }
            | FaultKind::Bridge { .. }
            | FaultKind::MajoritiesRing { .. }
            | FaultKind::Slow { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Reorder { .. }
            | FaultKind::Rate { .. }
            | FaultKind::Freeze
            | FaultKind::Evict
            | FaultKind::Flush
            | FaultKind::Failover
            | FaultKind::HalfScripts { .. } => 0,
        });
        by.sum()
    };
    let worst = (0..usize::from(plan.shape.clients)).map(of_client).max().unwrap_or(0);
    u64::from(plan.shape.clocks.wall_skew_ms) * 1_000 + worst
}

/// How far apart the proposals of two clients may be where a node may lose its fence numbers: less than
/// its quarantine, and less by the time that one attempt takes, because its proposal is as old as it is
/// (R15, R16).
pub(super) fn skew_max_us(shape: &Shape) -> u64 {
    let attempt = (u64::from(shape.node_timeout_ms) * 3_000).min(u64::from(shape.ttl_ms) * 1_000);
    let guard = u64::from(shape.restart_guard_ms.unwrap_or(0)) * 1_000;
    guard.saturating_sub(attempt)
}
