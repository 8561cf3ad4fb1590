//! What is simpler than a plan, and may still show what it shows.

use crate::plan::{FaultKind, Plan, Shape};

/// Plans that are simpler than `plan` by one step, the largest steps first.
pub(crate) fn simpler(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    fewer_faults(plan, &mut candidates);
    simpler_shapes(plan, &mut candidates);
    shorter_faults(plan, &mut candidates);
    candidates
}

/// Halves of the faults left out, then quarters, and so on, then each.
fn fewer_faults(plan: &Plan, candidates: &mut Vec<Plan>) {
    let count = plan.faults.len();
    let mut chunk = count;
    while chunk > 0 {
        for start in (0..count).step_by(chunk) {
            let mut without = plan.clone();
            without.faults.drain(start..(start + chunk).min(count));
            candidates.push(without);
        }
        chunk /= 2;
    }
}

fn simpler_shapes(plan: &Plan, candidates: &mut Vec<Plan>) {
    let shape = &plan.shape;
    let mut add = |change: &dyn Fn(&mut Shape)| {
        let mut candidate = plan.clone();
        change(&mut candidate.shape);
        if candidate.shape != *shape && candidate.shape.checked().is_ok() {
            candidates.push(candidate);
        }
    };
    for eighths in [1, 2, 4, 6, 7] {
        add(&|shape| shape.horizon_ms = shape.horizon_ms * eighths / 8);
    }
    add(&|shape| shape.horizon_ms = shape.horizon_ms.saturating_sub(1).max(1));
    for nodes in 1..shape.nodes {
        add(&|shape| shape.nodes = nodes);
    }
    for clients in 1..shape.clients {
        add(&|shape| shape.clients = clients);
    }
    add(&|shape| shape.resources = 1);
    add(&|shape| shape.network.tail_permille = 0);
    add(&|shape| shape.network.loss_permille = 0);
    add(&|shape| shape.network.duplicate_permille = 0);
    add(&|shape| shape.network.ordered = true);
    add(&|shape| shape.clocks.rate_ppm = 0);
    add(&|shape| shape.clocks.wall_skew_ms = 0);
    add(&|shape| shape.renewal_ms = None);
    add(&|shape| shape.work.extend_permille = 0);
    add(&|shape| shape.work.access_permille = 0);
    add(&|shape| shape.work.lapse_permille = 0);
    add(&|shape| shape.work.cancel_permille = 0);
    add(&|shape| shape.retries.wait_ms = None);
    add(&|shape| shape.retries.attempts_max = 1);
    add(&|shape| shape.retries.attempts_max = shape.retries.attempts_max.min(3));
    add(&|shape| shape.fences_survive = true);
    add(&|shape| shape.restart_guard_ms = None);
    add(&|shape| shape.fenced = false);
    add(&|shape| shape.queues = false);
}

fn shorter_faults(plan: &Plan, candidates: &mut Vec<Plan>) {
    for number in 0..plan.faults.len() {
        let mut add = |change: &dyn Fn(&mut crate::plan::Fault)| {
            let mut candidate = plan.clone();
            change(&mut candidate.faults[number]);
            if candidate.faults != plan.faults {
                candidates.push(candidate);
            }
        };
        add(&|fault| fault.for_us /= 2);
        add(&|fault| fault.for_us -= fault.for_us % 1_000);
        add(&|fault| {
            fault.for_us += fault.at_us % 1_000;
            fault.at_us -= fault.at_us % 1_000;
        });
        add(&|fault| match &mut fault.kind {
            FaultKind::Jump { by_us } | FaultKind::WallSkew { by_us } => *by_us /= 2,
            FaultKind::Slow { by_us } | FaultKind::Reorder { by_us } => *by_us /= 2,
            FaultKind::Rate { ppm } => *ppm /= 2,
            FaultKind::Crash { .. }
            | FaultKind::Pause
            | FaultKind::Suspend
            | FaultKind::Cut { .. }
            | FaultKind::Split { .. }
            | FaultKind::Bridge { .. }
            | FaultKind::MajoritiesRing { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Duplicate { .. }
            | FaultKind::Freeze
            | FaultKind::Evict
            | FaultKind::Flush
            | FaultKind::Failover
            | FaultKind::HalfScripts { .. } => {}
        });
    }
}
