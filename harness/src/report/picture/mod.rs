//! The picture: lanes from top to bottom, time from left to right.
//!
//! One renderer for the still picture and for the page. It writes things whose horizontal places are
//! attributes (`x`, `width`, `x1`, `x2`, `points`) below one element `#plot`, so that a script can zoom
//! by multiplying them; nothing is scaled by a transformation, and text and patterns keep their size.

mod arrows;
mod axis;
mod faults;
mod ink;
mod lanes;
mod legend;
mod scale;

use std::fmt::Write;

use self::ink::Ink;
use self::scale::Scale;
use super::explain;
use super::palette::{self, LOOKS};
use super::scene::{Message, Scene};
use super::steps::Steps;
use super::window::{self, Window};
use super::words::{Fences, about, cut, escape};
use super::{Case, palette::client_defs};

pub(super) use ink::Medium;
pub(super) use legend::{legend, still_legend};

/// Width of the time axis as it is written.
pub(super) const PLOT_WIDTH: f64 = 1_240.0;
/// Width of the names of lanes.
pub(super) const GUTTER: f64 = 84.0;
/// What is above the lanes: the times, and the flag of the violation.
const HEAD: f64 = 40.0;
const GAP: f64 = 10.0;

/// How the picture looks; its colours are variables.
pub(super) const CSS: &str = include_str!("picture.css");

/// Shapes of marks, around their middle.
const SHAPES: &str = r#"<path id="x" d="M-3.5 -3.5L3.5 3.5M3.5 -3.5L-3.5 3.5"/><circle id="o" r="3"/><path id="q" d="M-3 -3h6v6h-6z"/><path id="i" d="M0 -5v10"/><path id="t" d="M0 -4.5L4.5 3.5h-9z"/><path id="l" d="M-4 0h8M-4 -4v8"/>
"#;

/// What every part of the picture is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) case: &'a Case,
    pub(super) scene: &'a Scene,
    pub(super) window: &'a Window,
    pub(super) steps: &'a Steps,
    pub(super) fences: Fences,
}

/// The picture, to be put into an `<svg>` element.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) body: String,
    /// Where times are, for the script.
    pub(super) knots: String,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Where each lane is.
#[derive(Debug, Default)]
struct Layout {
    faults: f64,
    clients: Vec<f64>,
    nodes: Vec<f64>,
    resources: Vec<f64>,
    bottom: f64,
}

/// A lane's background and name.
#[derive(Debug)]
struct Band {
    y: f64,
    height: f64,
    name: String,
    tip: String,
}

/// The class of a client's colour and pattern.
fn look(client: u8) -> String {
    format!("c{}", usize::from(client) % LOOKS)
}

pub(super) fn draw(view: &View<'_>, medium: Medium, things_max: usize) -> Picture {
    let times = window::times(view.case, view.scene, view.window);
    let scale = Scale::of(view.window, view.case.axis, times, PLOT_WIDTH);
    let knots = scale.knots().iter().map(|knot| format!("{}:{:.2}", knot.at, knot.x));
    let knots = knots.collect::<Vec<_>>().join(" ");
    let rows = faults::Rows::of(view, &scale);
    let (layout, bands) = lay_out(view, rows.height());
    let mut ink = Ink {
        out: String::new(),
        scale,
        medium,
        steps: view.steps,
        top: 0.0,
        left: things_max * 2 + 100,
    };
    ink.top = layout.faults;
    faults::draw(&mut ink, view, &rows);
    ink.top = 0.0;
    arrows::draw(&mut ink, view, &layout);
    for (client, y) in layout.clients.iter().enumerate() {
        ink.top = *y;
        lanes::client(&mut ink, view, client);
    }
    for (node, y) in layout.nodes.iter().enumerate() {
        ink.top = *y;
        lanes::node(&mut ink, view, node);
    }
    for (resource, y) in layout.resources.iter().enumerate() {
        ink.top = *y;
        lanes::resource(&mut ink, view, resource);
    }
    ink.top = 0.0;
    let plot = std::mem::take(&mut ink.out);
    axis::violation(&mut ink, view, layout.bottom);
    let flag = std::mem::take(&mut ink.out);
    axis::ticks(&mut ink, view, layout.bottom);
    let ticks = ink.out;

    let clients = view.scene.looks;
    let (width, height) = (GUTTER + PLOT_WIDTH + 8.0, layout.bottom + 8.0);
    let mut body = String::new();
    let patterns = client_defs(clients);
    // Writing to memory does not fail.
    let _ = writeln!(
        body,
        "<defs>{SHAPES}{patterns}{}<clipPath id=\"clip\"><rect id=\"hole\" x=\"0\" y=\"-60\" width=\"{PLOT_WIDTH}\" height=\"{}\"/></clipPath></defs>",
        DEFS,
        height + 60.0
    );
    let is_split = |name: &str| view.scene.accesses.len() > 1 && name.starts_with('n');
    for Band { y, height, name, tip } in &bands {
        let _ = writeln!(
            body,
            "<rect class=\"lane\" x=\"{GUTTER}\" y=\"{y}\" width=\"{PLOT_WIDTH}\" height=\"{height}\"/>\
             <text class=\"name\" x=\"{}\" y=\"{}\">{}<title>{}</title></text>",
            GUTTER - if is_split(name) { 30.0 } else { 10.0 },
            y + height / 2.0 + 4.5,
            escape(name),
            escape(tip)
        );
    }
    if view.scene.accesses.len() > 1 {
        for (node, y) in layout.nodes.iter().enumerate() {
            for (resource, middle) in lanes::row_middles(view, node).iter().enumerate() {
                let _ = write!(
                    body,
                    "<text class=\"row\" x=\"{}\" y=\"{}\">r{resource}</text>",
                    GUTTER - 6.0,
                    y + middle + 3.5
                );
            }
        }
    }
    let _ = write!(
        body,
        "<g transform=\"translate({GUTTER} 0)\"><g id=\"ticks\">{ticks}</g><g clip-path=\"url(#clip)\">\
         <g id=\"plot\">\n{plot}</g><g id=\"flag\">{flag}</g></g></g>\n"
    );
    Picture { body, knots, width, height }
}

/// Patterns and arrow heads that are nobody's.
const DEFS: &str = r#"<pattern id="down" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><path d="M0 0h6v6h-6z" class="dn"/><path d="M0 1h6" class="w"/></pattern>
<pattern id="stop" width="8" height="8" patternUnits="userSpaceOnUse"><path d="M2.5 1v6M5.5 1v6" class="st"/></pattern>
<pattern id="not" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><path d="M0 0h7" class="nt"/></pattern>
<marker id="yl" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="6.5" markerHeight="6.5" orient="auto"><path d="M0 .8l8 3.2-8 3.2z" class="late"/></marker>
"#;

fn lay_out(view: &View<'_>, faults: f64) -> (Layout, Vec<Band>) {
    let mut layout = Layout::default();
    let mut bands = Vec::new();
    let mut y = HEAD;
    if faults > 0.0 {
        layout.faults = y;
        let height = faults;
        let tip = "What goes wrong, as planned".to_owned();
        bands.push(Band { y, height, name: "faults".to_owned(), tip });
        y += height + GAP;
    }
    for client in 0..view.scene.clients.len() {
        let height = lanes::client_height(view, client);
        layout.clients.push(y);
        let tip = format!("Client {client}: what it believes, over what the nodes promise");
        bands.push(Band { y, height, name: format!("c{client}"), tip });
        y += height + 2.0;
    }
    y += GAP;
    for node in 0..view.scene.nodes.len() {
        let height = lanes::node_height(view, node);
        layout.nodes.push(y);
        let tip = format!("Node {node}: whose token is in its key, and its fence number");
        bands.push(Band { y, height, name: format!("n{node}"), tip });
        y += height + 2.0;
    }
    let Window { from, to, .. } = *view.window;
    let mut accesses = view.scene.accesses.iter().flatten();
    if accesses.any(|access| access.at >= from && access.at <= to) {
        y += GAP;
        for resource in 0..view.scene.accesses.len() {
            layout.resources.push(y);
            let tip = format!("Resource {resource}: who reads and writes it");
            let name = if view.scene.accesses.len() == 1 {
                "resource".to_owned()
            } else {
                format!("r{resource}")
            };
            bands.push(Band { y, height: lanes::RESOURCE_HEIGHT, name, tip });
            y += lanes::RESOURCE_HEIGHT + 2.0;
        }
    }
    layout.bottom = y + 4.0;
    (layout, bands)
}

/// The picture as a file of its own, with its sentence above and its legend below.
pub(super) fn still(view: &View<'_>, things_max: usize) -> String {
    let picture = draw(view, Medium::Still, things_max);
    let case = view.case;
    let mut head = format!("{} · {}", case.tier, case.title);
    if let Some(violation) = &case.violation {
        head = format!("{head} · violated at {}", about(case.axis, violation.time));
    }
    let said = match &case.violation {
        Some(violation) => explain::told(case, view.scene, violation),
        None => "Nothing is violated.".to_owned(),
    };
    let lines = broken(&cut(&said, 400), 130);
    let top = 44.0 + lines.len() as f64 * 20.0 + if view.window.is_part { 18.0 } else { 0.0 };
    let (legend, legend_height) = still_legend(picture.width);
    let (width, height) = (picture.width + 24.0, top + picture.height + legend_height + 40.0);
    let css = palette::inline(&format!("{CSS}{}", palette::client_css(view.scene.looks)));
    let mut out = String::new();
    let dense = if is_dense(view) { " class=\"dense\"" } else { "" };
    let _ = write!(
        out,
        "<svg{dense} xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>{}</title>\n<style>{css}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"head\" x=\"16\" y=\"28\">{}</text>\n",
        escape(&said),
        escape(&cut(&head, 160))
    );
    for (number, line) in (1..).zip(&lines) {
        let y = 30 + number * 20;
        let class = if case.violation.is_some() { "said bad" } else { "said" };
        let _ = writeln!(out, "<text class=\"{class}\" x=\"16\" y=\"{y}\">{}</text>", escape(line));
    }
    if let Some(part) = part(view) {
        let _ = writeln!(
            out,
            "<text class=\"part\" x=\"16\" y=\"{}\">{}</text>",
            top - 12.0,
            escape(&part)
        );
    }
    let _ = write!(
        out,
        "<g transform=\"translate(8 {top})\">{}</g>\n<g transform=\"translate(16 {})\">{legend}</g>\n</svg>\n",
        picture.body,
        top + picture.height + 24.0
    );
    out
}

/// Whether there are so many arrows that they would hide the rest.
fn is_dense(view: &View<'_>) -> bool {
    let Window { from, to, .. } = *view.window;
    let seen = |message: &&Message| message.sent <= to && message.end() >= from;
    let messages = view.scene.messages.iter().filter(seen).count();
    messages as f64 * 2.0 > PLOT_WIDTH * 0.25
}

/// What is not drawn, if something is not.
pub(super) fn part(view: &View<'_>) -> Option<String> {
    if !view.window.is_part {
        return None;
    }
    let axis = view.case.axis;
    let from = about(axis, view.window.from);
    let to = about(axis, view.scene.end);
    let events = super::words::grouped(view.scene.events);
    Some(format!(
        "This run is long: only {from} to {to} is drawn. All {events} events are in history.jsonl."
    ))
}

/// `text` in lines of at most `most` characters.
fn broken(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < most => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}
