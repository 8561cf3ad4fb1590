//! Messages: arrows from a client to a node and back.

use super::ink::{Ink, Thing};
use super::{Layout, View, lanes, look};
use crate::history::Answered;
use crate::report::scene::{Late, Message};
use crate::report::words::{answered, asked, time};
use crate::sim::clock::TrueTime;

pub(super) fn draw(ink: &mut Ink<'_>, view: &View<'_>, layout: &Layout) {
    let usual = usual(view);
    for message in &view.scene.messages {
        if ink.scale.shows(message.sent, message.end()) {
            one(ink, view, layout, message, usual);
        }
    }
}

/// How long a message usually takes: how far an arrow goes that never arrives.
fn usual(view: &View<'_>) -> TrueTime {
    let window = view.window;
    let near = |message: &&Message| message.sent >= window.from && message.sent <= window.to;
    let messages = view.scene.messages.iter().filter(near);
    let mut taken: Vec<TrueTime> =
        messages.filter_map(|message| message.executed.map(|(at, ..)| at - message.sent)).collect();
    taken.sort_unstable();
    let middle = taken.get(taken.len() / 2).copied();
    middle.unwrap_or((window.to - window.from) / 40).max(1)
}

fn one(ink: &mut Ink<'_>, view: &View<'_>, layout: &Layout, message: &Message, usual: TrueTime) {
    let axis = view.case.axis;
    let (Some(top), Some(bottom)) = (
        layout.clients.get(usize::from(message.client)),
        layout.nodes.get(usize::from(message.node)),
    ) else {
        return;
    };
    let (top, bottom) = (top + lanes::ARROW_FROM, bottom + lanes::ARROW_TO);
    let Message { client, node, token, sent, .. } = *message;
    let what = asked(message.asked);
    let colour = look(client);
    let copy = if message.copy > 0 { " dup" } else { "" };
    let twice = if message.copy > 0 { ", a duplicate" } else { "" };
    let at = |at: TrueTime| time(axis, at);

    let (arrived, late) = match message.executed {
        Some((executed, ..)) => (Some(executed), message.late == Late::Both),
        None => (None, false),
    };
    match arrived {
        Some(executed) => {
            let grey = if late { " old" } else { "" };
            let why = if late { ", late: its attempt was over" } else { "" };
            let tip = format!(
                "{what} of {token}: c{client} {} → n{node} {}{twice}{why}",
                at(sent),
                at(executed)
            );
            let class = format!("m {colour}{copy}{grey}");
            let thing = Thing { class: &class, origin: message.origin, tip: &tip };
            ink.line(thing, (sent, top), (executed, bottom));
        }
        None => {
            let Some((lost, origin)) = message.lost else {
                // Still under way at the end.
                let tip = format!(
                    "{what} of {token}: c{client} {} → n{node}, under way{twice}",
                    at(sent)
                );
                let class = format!("m {colour}{copy} cut");
                let thing = Thing { class: &class, origin: message.origin, tip: &tip };
                return ink.line(
                    thing,
                    (sent, top),
                    part((sent, top), (sent + usual, bottom), 0.5),
                );
            };
            let tip = format!("{what} of {token}: c{client} {} → n{node}, lost{twice}", at(sent));
            let class = format!("m {colour}{copy} cut");
            let end = match lost > sent {
                true => (lost, bottom),
                false => part((sent, top), (sent + usual, bottom), 0.55),
            };
            let thing = Thing { class: &class, origin: message.origin, tip: &tip };
            ink.line(thing, (sent, top), end);
            let thing = Thing { class: "x", origin, tip: &tip };
            return ink.mark("x", thing, end.0, end.1);
        }
    }
    let Some((executed, answer, origin)) = message.executed else { return };
    let said = answered(answer);
    let no = if answer == Answered::Applied { "" } else { " no" };
    if let Some((heard, origin)) = message.answered {
        let late = message.late != Late::Nothing;
        let grey = if late { " old" } else { "" };
        let why = if late { ", late: its attempt was over" } else { "" };
        let tip = format!(
            "{said} to {what} of {token}: n{node} {} → c{client} {}{twice}{why}",
            at(executed),
            at(heard)
        );
        let class = format!("m r {colour}{copy}{no}{grey}");
        let thing = Thing { class: &class, origin, tip: &tip };
        ink.line(thing, (executed, bottom), (heard, top));
        return;
    }
    let (what_became, end) = match message.lost {
        Some((lost, _)) => {
            let end = match lost > executed {
                true => (lost, top),
                false => part((executed, bottom), (executed + usual, top), 0.55),
            };
            ("lost", end)
        }
        None => ("under way", part((executed, bottom), (executed + usual, top), 0.5)),
    };
    let tip = format!(
        "{said} to {what} of {token}: n{node} {} → c{client}, {what_became}{twice}",
        at(executed)
    );
    let class = format!("m r {colour}{copy}{no} cut");
    ink.line(Thing { class: &class, origin, tip: &tip }, (executed, bottom), end);
    if let Some((_, origin)) = message.lost {
        ink.mark("x", Thing { class: "x", origin, tip: &tip }, end.0, end.1);
    }
}

/// A point between two others.
fn part(from: (TrueTime, f64), to: (TrueTime, f64), much: f64) -> (TrueTime, f64) {
    let time = from.0 + ((to.0 - from.0) as f64 * much) as TrueTime;
    (time, from.1 + (to.1 - from.1) * much)
}
