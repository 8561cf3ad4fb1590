//! What is in the lanes.

use super::ink::{Ink, Medium, Thing};
use super::{View, look};
use crate::check::Invariant;
use crate::report::scene::{
    AccessKind, AskEnd, Belief, BeliefEnd, Common, KeyEnd, NoteKind, Reading, Span,
};
use crate::report::words::{clock_change, stretch, time};
use crate::sim::clock::TrueTime;

const PAD: f64 = 6.0;
const BELIEF: f64 = 18.0;
const PROMISE: f64 = 10.0;
const CLIENT: f64 = PAD + BELIEF + PROMISE + 2.0 + PAD;
const KEY: f64 = 16.0;
const NUMBER: f64 = 14.0;
const CLOCK: f64 = 20.0;
pub(super) const RESOURCE_HEIGHT: f64 = 28.0;

/// Where arrows leave a client's lane, and where they reach a node's.
pub(super) const ARROW_FROM: f64 = PAD + BELIEF / 2.0;
pub(super) const ARROW_TO: f64 = PAD;

pub(super) fn client_height(view: &View<'_>, client: usize) -> f64 {
    CLIENT + clock_height(view, &view.scene.clients[client].common)
}

pub(super) fn node_height(view: &View<'_>, node: usize) -> f64 {
    let lane = &view.scene.nodes[node];
    let rows: f64 = (0..lane.keys.len()).map(|row| row_height(view, row)).sum();
    PAD + rows + clock_height(view, &lane.common) + 3.0
}

/// A row for the key, and one for its number, if there are numbers.
fn row_height(view: &View<'_>, resource: usize) -> f64 {
    let numbers = |lane: &crate::report::scene::NodeLane| {
        lane.fences.get(resource).is_some_and(|fences| !fences.is_empty())
    };
    KEY + 2.0 + if view.scene.nodes.iter().any(numbers) { NUMBER } else { 0.0 }
}

pub(super) fn client(ink: &mut Ink<'_>, view: &View<'_>, client: usize) {
    let lane = &view.scene.clients[client];
    let axis = view.case.axis;
    let colour = look(client as u8);
    let height = client_height(view, client);
    common(ink, view, &lane.common, &format!("c{client}"), height);
    for ask in &lane.asks {
        let Span { from, to, origin } = ask.span;
        let end = match ask.end {
            AskEnd::Granted => "granted",
            AskEnd::Failed => "not granted",
            AskEnd::CalledOff => "called off",
            AskEnd::Open => "not decided",
        };
        let tries = match ask.retries.len() {
            0 => String::new(),
            retries => format!(", {} attempts", retries + 1),
        };
        let when = stretch(axis, from, to);
        let tip = format!("c{client} asks for the lock: {when}, {end}{tries}");
        let y = PAD + BELIEF / 2.0;
        let class = format!("ask s {colour}");
        let top = ink.top;
        ink.line(Thing { class: &class, origin, tip: &tip }, (from, top + y), (to, top + y));
        let class = format!("ring s {colour}");
        ink.mark("o", Thing { class: &class, origin, tip: &tip }, from, y);
        for (at, origin) in &ask.retries {
            let tip = format!("c{client} lost an attempt, {}, and tries again", time(axis, *at));
            let class = format!("mark s {colour}");
            ink.mark("i", Thing { class: &class, origin: *origin, tip: &tip }, *at, y);
        }
        if ask.end == AskEnd::Failed || ask.end == AskEnd::CalledOff {
            let class = format!("mark s {colour}");
            ink.mark("x", Thing { class: &class, origin, tip: &tip }, to, y);
        }
    }
    for belief in &lane.beliefs {
        believed(ink, view, client, belief);
    }
    for promise in &lane.promises {
        let Span { from, to, origin } = promise.span;
        let when = stretch(axis, from, to);
        let tip = format!("A majority of nodes keeps the key of {}: {when}", promise.token);
        let class = format!("h {colour}");
        ink.bar(
            Thing { class: &class, origin, tip: &tip },
            (from, to),
            PAD + BELIEF + 1.5,
            PROMISE - 1.0,
        );
    }
    for note in &lane.notes {
        let (shape, what) = match note.kind {
            NoteKind::AtRisk => ("t", "is told that an extension missed"),
            NoteKind::Lost => ("q", "is told that the lock is lost"),
        };
        let tip = format!("c{client} {what}: {}", time(axis, note.at));
        ink.mark(
            shape,
            Thing { class: "note", origin: note.origin, tip: &tip },
            note.at,
            PAD - 1.0,
        );
    }
    clock(ink, view, &lane.common.clock, height, &format!("c{client}"));
}

fn believed(ink: &mut Ink<'_>, view: &View<'_>, client: usize, belief: &Belief) {
    let axis = view.case.axis;
    let Span { from, to, origin } = belief.span;
    let end = match belief.end {
        BeliefEnd::Released => "then gives it up",
        BeliefEnd::Lost => "then is told that it is lost",
        BeliefEnd::Lapsed => "then its time is over",
        BeliefEnd::Crashed => "then crashes",
        BeliefEnd::Open => "as things stand at the end",
    };
    let fence = match belief.fence {
        0 => String::new(),
        fence => format!(", fence {fence}"),
    };
    let when = stretch(axis, from, to);
    let tip =
        format!("c{client} believes it holds the lock ({}{fence}): {when}, {end}", belief.token);
    let class = format!("k b {}", look(client as u8));
    ink.bar(Thing { class: &class, origin, tip: &tip }, (from, to), PAD, BELIEF);
    for (at, origin) in &belief.extended {
        let tip = format!("c{client} now believes for longer: {}", time(axis, *at));
        ink.mark(
            "i",
            Thing { class: "notch", origin: *origin, tip: &tip },
            *at,
            PAD + BELIEF - 5.0,
        );
    }
    if let Some(from) = unbacked(view, client, belief) {
        let when = stretch(axis, from, to);
        let tip =
            format!("c{client} believes, but fewer than a majority of nodes keep its key: {when}");
        ink.bar(
            Thing { class: "not", origin, tip: &tip },
            (from, to),
            PAD + BELIEF + 1.5,
            PROMISE - 1.0,
        );
    }
    let text = match belief.fence {
        0 => belief.token.to_string(),
        fence => format!("{} · fence {}", belief.token, view.fences.short(fence)),
    };
    ink.label("lb", (from, to), PAD + 13.0, &text);
}

/// From when on a belief has less than a majority behind it, if the violation is about that.
fn unbacked(view: &View<'_>, client: usize, belief: &Belief) -> Option<TrueTime> {
    let violation = view.case.violation.as_ref()?;
    let is_about_backing = matches!(
        violation.invariant,
        Invariant::Witness | Invariant::Mutex | Invariant::LeaseSound
    );
    // Of two holders it is the first that has lost its majority.
    let concerns = is_about_backing
        && (violation.client == Some(client) || violation.invariant == Invariant::Mutex);
    if !concerns || !(belief.span.contains(violation.time) || belief.span.from == violation.time) {
        return None;
    }
    let promises = view.scene.clients[client].promises.iter();
    let own = promises.filter(|promise| promise.token == belief.token);
    let end = own.map(|promise| promise.span.to).max().unwrap_or(belief.span.from);
    (end < belief.span.to).then_some(end.max(belief.span.from))
}

pub(super) fn node(ink: &mut Ink<'_>, view: &View<'_>, node: usize) {
    let lane = &view.scene.nodes[node];
    let axis = view.case.axis;
    let height = node_height(view, node);
    common(ink, view, &lane.common, &format!("n{node}"), height);
    for span in &lane.quarantines {
        let when = stretch(axis, span.from, span.to);
        let tip = format!("n{node} may have forgotten keys and does not vote: {when}");
        let thing = Thing { class: "quarantine", origin: span.origin, tip: &tip };
        ink.bar(thing, (span.from, span.to), 2.0, height - 4.0);
        ink.label("ql", (span.from, span.to), PAD + 12.0, "does not vote");
    }
    let mut y = PAD;
    for (resource, keys) in lane.keys.iter().enumerate() {
        let of = if lane.keys.len() > 1 { format!(" of r{resource}") } else { String::new() };
        for key in keys {
            let Span { from, to, origin } = key.span;
            let end = match key.end {
                KeyEnd::Expired => "then expires",
                KeyEnd::Removed => "then is gone",
                KeyEnd::Open => "as things stand at the end",
            };
            let when = stretch(axis, from, to);
            let tip = format!("n{node}: the key{of} is {}: {when}, {end}", key.owner);
            let class = format!("k {}", look(key.owner.client));
            ink.bar(Thing { class: &class, origin, tip: &tip }, (from, to), y, KEY);
            if ink.medium == Medium::Still {
                // The page's script makes them of the bars.
                ink.label("lb", (from, to), y + 12.0, &key.owner.to_string());
            }
        }
        let row = row_height(view, resource);
        let mut free = 0.0;
        for change in &lane.fences[resource] {
            let fell = if change.fell { " — it fell" } else { "" };
            let tip = format!(
                "n{node}: the number{of} is {}: {}{fell}",
                change.fence,
                time(axis, change.at)
            );
            let text = format!(
                "{}{}",
                if change.fell { "↓" } else { "" },
                view.fences.short(change.fence)
            );
            let class = if change.fell { "n fell" } else { "n" };
            let thing = Thing { class, origin: change.origin, tip: &tip };
            ink.number(thing, change.at, y + KEY + 11.5, &text, &mut free);
        }
        y += row;
    }
    clock(ink, view, &lane.common.clock, height, &format!("n{node}"));
}

pub(super) fn resource(ink: &mut Ink<'_>, view: &View<'_>, resource: usize) {
    for access in &view.scene.accesses[resource] {
        let (shape, what) = match access.kind {
            AccessKind::Read => ("o", "reads"),
            AccessKind::Write => ("q", "writes"),
            AccessKind::LostUpdate => ("q", "overwrites what it had not read"),
        };
        let decided = if access.accepted { "accepted" } else { "refused" };
        let fence = match access.fence {
            0 => String::new(),
            fence => format!(" with fence {fence}"),
        };
        let client = access.client;
        let tip =
            format!("c{client} {what}{fence}: {decided}, {}", time(view.case.axis, access.at));
        let colour = look(client);
        let class = match (access.kind, access.accepted) {
            (AccessKind::Read, _) => format!("ring s {colour}"),
            (AccessKind::Write, true) => format!("d {colour}"),
            (AccessKind::LostUpdate, true) => format!("d lost {colour}"),
            (AccessKind::Write | AccessKind::LostUpdate, false) => format!("ring s {colour}"),
        };
        let thing = Thing { class: &class, origin: access.origin, tip: &tip };
        ink.mark(shape, thing, access.at, RESOURCE_HEIGHT / 2.0);
        if !access.accepted {
            ink.mark("x", Thing { class: "x", ..thing }, access.at, RESOURCE_HEIGHT / 2.0);
        }
    }
}

/// Where a process was dead, and where it did not run.
fn common(ink: &mut Ink<'_>, view: &View<'_>, common: &Common, who: &str, height: f64) {
    let axis = view.case.axis;
    for span in &common.stops {
        let tip = format!("{who} does not run: {}", stretch(axis, span.from, span.to));
        let thing = Thing { class: "stop", origin: span.origin, tip: &tip };
        ink.bar(thing, (span.from, span.to), 0.0, height);
    }
    for span in &common.downs {
        let tip = format!("{who} is dead: {}", stretch(axis, span.from, span.to));
        let thing = Thing { class: "down", origin: span.origin, tip: &tip };
        ink.bar(thing, (span.from, span.to), 0.0, height);
        let tip = format!("{who} crashes: {}", time(axis, span.from));
        let thing = Thing { class: "crash", origin: span.origin, tip: &tip };
        ink.mark("x", thing, span.from, height / 2.0);
    }
}

fn clock_height(view: &View<'_>, common: &Common) -> f64 {
    if clock_points(view, &common.clock).is_some() { CLOCK } else { 0.0 }
}

/// How far a clock is ahead, in nanoseconds, at the ends of its straight parts; `None` if it changes by
/// so little that nothing would be seen, or not at all while the window is open.
fn clock_points(view: &View<'_>, clock: &[Reading]) -> Option<Vec<(TrueTime, f64)>> {
    let (from, to) = (view.window.from, view.window.to.min(view.scene.end));
    let mut points = Vec::new();
    for (index, reading) in clock.iter().enumerate() {
        let end = clock.get(index + 1).map_or(to, |next| next.at);
        let (begin, end) = (reading.at.max(from), end.min(to));
        if begin > end {
            continue;
        }
        for at in [begin, end] {
            let gained = i128::from(at - reading.at) * i128::from(reading.ppm) / 1_000_000;
            points.push((at, self::gained(clock, reading) + gained as f64));
        }
    }
    let changes = clock.iter().skip(1).any(|reading| reading.at >= from && reading.at <= to);
    let (least, most) = extent(&points);
    (changes && most - least > 1_000.0).then_some(points)
}

/// How far a clock was ahead when it changed, compared with the beginning: how far it was ahead then
/// says nothing.
fn gained(clock: &[Reading], reading: &Reading) -> f64 {
    let base = clock.first().map_or(0, |first| first.ahead);
    (i128::from(reading.ahead) - i128::from(base)) as f64
}

fn extent(points: &[(TrueTime, f64)]) -> (f64, f64) {
    let least = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    (least, most)
}

/// The line of a clock, at the bottom of its lane.
fn clock(ink: &mut Ink<'_>, view: &View<'_>, clock: &[Reading], height: f64, who: &str) {
    let Some(points) = clock_points(view, clock) else { return };
    let (least, most) = extent(&points);
    let (top, room) = (height - CLOCK + 3.0, CLOCK - 7.0);
    let y = |ahead: f64| top + room - (ahead - least) / (most - least) * room;
    let placed: Vec<_> = points.iter().map(|(at, ahead)| (*at, y(*ahead))).collect();
    let tip =
        format!("How far the clock of {who} is off: by {:.3} ms, all in all", (most - least) / 1e6);
    let origin = clock.first().map_or(usize::MAX, |reading| reading.origin);
    ink.polyline(Thing { class: "clock", origin, tip: &tip }, &placed);
    for reading in clock.iter().skip(1) {
        let at = time(view.case.axis, reading.at);
        let tip = format!("The clock of {who} {}: {at}", clock_change(reading));
        let thing = Thing { class: "tock", origin: reading.origin, tip: &tip };
        ink.mark("i", thing, reading.at, y(gained(clock, reading)));
    }
}

/// Where each resource's row is in a node's lane: the middle of its key.
pub(super) fn row_middles(view: &View<'_>, node: usize) -> Vec<f64> {
    let mut y = PAD;
    let rows = 0..view.scene.nodes[node].keys.len();
    rows.map(|row| {
        let middle = y + KEY / 2.0;
        y += row_height(view, row);
        middle
    })
    .collect()
}
