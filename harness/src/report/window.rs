//! Which part of a history is drawn: all of it, or what leads to the violation.

use super::scene::{Belief, Scene, Span};
use super::{Axis, Case, STEP};
use crate::check::{Invariant, Violation};
use crate::history::TokenName;
use crate::sim::clock::TrueTime;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: TrueTime,
    pub(super) to: TrueTime,
    /// What is to be looked at first.
    pub(super) focus: (TrueTime, TrueTime),
    /// Whether something that happened is not drawn.
    pub(super) is_part: bool,
}

/// The windows that there are to choose from: all end with the violation, or with the history.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    to: TrueTime,
    focus: (TrueTime, TrueTime),
    /// When the things end that would be drawn, in order.
    ends: Vec<TrueTime>,
    last_beginning: TrueTime,
}

impl Windows {
    pub(super) fn of(case: &Case, scene: &Scene) -> Self {
        let focus = focus(case, scene);
        let to = focus.1.max(scene.end);
        let things = things(scene).into_iter().filter(|(begin, _)| *begin <= to);
        let mut ends: Vec<TrueTime> = things.map(|(_, end)| end).collect();
        ends.sort_unstable();
        let seen = case.violation.as_ref().map_or(scene.end, |violation| violation.time);
        Self { to, focus, ends, last_beginning: seen }
    }

    /// The largest window in which there are about `things_max` things at most: more only where many
    /// end at the same moment.
    pub(super) fn choose(&self, things_max: usize) -> Window {
        let (focus, to) = (self.focus, self.to);
        let Some(left_out) = self.ends.len().checked_sub(things_max).filter(|left| *left > 0)
        else {
            return Window { from: 0, to, focus, is_part: false };
        };
        let from = self.ends.get(left_out).copied().unwrap_or(to).min(self.last_beginning);
        Window { from, to, focus: (focus.0.max(from), focus.1), is_part: true }
    }
}

/// From the beginning of everything that is still at play when the violation is seen, until somewhat
/// later.
fn focus(case: &Case, scene: &Scene) -> (TrueTime, TrueTime) {
    let Some(violation) = &case.violation else { return (0, scene.end) };
    let at = violation.time;
    let begin = at_play(scene, violation).min(at);
    let least = match case.axis {
        Axis::Time => 1_000_000,
        Axis::Steps => 3 * STEP,
    };
    let length = (at - begin).max(least);
    let lasts = beliefs_at(scene, at).map(|belief| belief.until);
    let lasts = lasts.filter(|until| *until != TrueTime::MAX).max().unwrap_or(at);
    let to = lasts.clamp(at, at + length / 4) + length / 12;
    (begin.saturating_sub(length / 24), to)
}

fn beliefs_at(scene: &Scene, at: TrueTime) -> impl Iterator<Item = &Belief> {
    let beliefs = scene.clients.iter().flat_map(|lane| &lane.beliefs);
    beliefs.filter(move |belief| belief.span.contains(at) || belief.span.from == at)
}

fn at_play(scene: &Scene, violation: &Violation) -> TrueTime {
    let at = violation.time;
    let mut begin = at;
    let mut add = |time: TrueTime| begin = begin.min(time);
    for belief in beliefs_at(scene, at) {
        add(asked_at(scene, belief.token).unwrap_or(belief.span.from));
    }
    for key in scene.nodes.iter().flat_map(|lane| lane.keys.iter().flatten()) {
        if key.span.contains(at) {
            add(asked_at(scene, key.owner).unwrap_or(key.span.from));
        }
    }
    for fault in scene.faults.iter().filter(|fault| fault.span.contains(at)) {
        // One that goes on for long says nothing by its beginning.
        if at - fault.span.from < at / 4 {
            add(fault.span.from);
        }
    }
    let Some(lane) = violation.client.and_then(|client| scene.clients.get(client)) else {
        return begin;
    };
    if let Some(ask) = lane.asks.last().filter(|ask| ask.span.to >= at) {
        add(ask.span.from);
    }
    let Some(own) = lane.beliefs.last() else { return begin };
    add(asked_at(scene, own.token).unwrap_or(own.span.from));
    match violation.invariant {
        Invariant::FenceUnique
        | Invariant::FenceOrder
        | Invariant::HoldOrder
        | Invariant::Resource => {
            if let Some(other) = overtaken(scene, own) {
                add(asked_at(scene, other.token).unwrap_or(other.span.from));
            }
        }
        Invariant::Witness
        | Invariant::Mutex
        | Invariant::FenceWitness
        | Invariant::LeaseSound
        | Invariant::NoGhost
        | Invariant::Progress
        | Invariant::Termination
        | Invariant::NoFalseLoss
        | Invariant::Api => {}
    }
    begin
}

/// The last other belief in the same resource with a fence that is as large.
pub(super) fn overtaken<'a>(scene: &'a Scene, own: &Belief) -> Option<&'a Belief> {
    let beliefs = scene.clients.iter().flat_map(|lane| &lane.beliefs);
    beliefs
        .filter(|belief| {
            belief.resource == own.resource
                && belief.token != own.token
                && belief.fence >= own.fence
                && belief.span.from <= own.span.from
        })
        .max_by_key(|belief| belief.span.from)
}

/// When the acquire was asked for that `token` is of.
pub(super) fn asked_at(scene: &Scene, token: TokenName) -> Option<TrueTime> {
    let lane = scene.clients.get(usize::from(token.client))?;
    lane.asks.iter().rev().find(|ask| ask.acquire == token.acquire).map(|ask| ask.span.from)
}

/// From when to when everything is that would be drawn.
fn things(scene: &Scene) -> Vec<(TrueTime, TrueTime)> {
    let mut things = Vec::new();
    let span = |span: &Span| (span.from, span.to);
    for lane in &scene.clients {
        things.extend(lane.asks.iter().map(|ask| span(&ask.span)));
        things.extend(lane.beliefs.iter().map(|belief| span(&belief.span)));
        things.extend(lane.promises.iter().map(|promise| span(&promise.span)));
        things.extend(lane.notes.iter().map(|note| (note.at, note.at)));
    }
    for lane in &scene.nodes {
        things.extend(lane.keys.iter().flatten().map(|key| span(&key.span)));
        things.extend(lane.fences.iter().flatten().map(|change| (change.at, change.at)));
        things.extend(lane.quarantines.iter().map(span));
    }
    let clients = scene.clients.iter().map(|lane| &lane.common);
    for common in clients.chain(scene.nodes.iter().map(|lane| &lane.common)) {
        things.extend(common.downs.iter().chain(&common.stops).map(span));
        things.extend(common.clock.iter().map(|reading| (reading.at, reading.at)));
    }
    things.extend(scene.accesses.iter().flatten().map(|access| (access.at, access.at)));
    things.extend(scene.faults.iter().map(|fault| span(&fault.span)));
    for message in &scene.messages {
        let end = message.end();
        // Two arrows.
        things.extend([(message.sent, end), (message.sent, end)]);
    }
    things
}

/// When something happens in `window`, or would have happened after the violation.
pub(super) fn times(case: &Case, scene: &Scene, window: &Window) -> Vec<TrueTime> {
    let events = case.history.events();
    let first = events.partition_point(|event| event.time < window.from);
    let mut times: Vec<TrueTime> = events[first..].iter().map(|event| event.time).collect();
    times.extend(case.violation.as_ref().map(|violation| violation.time));
    let beliefs = scene.clients.iter().flat_map(|lane| &lane.beliefs);
    times.extend(beliefs.map(|belief| belief.span.to));
    let keys = scene.nodes.iter().flat_map(|lane| lane.keys.iter().flatten());
    times.extend(keys.map(|key| key.span.to));
    times
}
