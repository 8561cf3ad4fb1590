//! The picture as a page and as a file of its own.

use std::fmt::Write;

use super::explain;
use super::palette;
use super::picture::{self, CSS, GUTTER, Medium, PLOT_WIDTH, View, legend};
use super::scene::{self, Scene};
use super::steps::Steps;
use super::window::{Window, Windows};
use super::words::{Fences, about, cut, escape, grouped, time};
use super::{Axis, Case};

/// No page is larger.
pub const PAGE_BYTES_MAX: usize = 300_000;

/// So many things are drawn at most, and fewer where the page would become too large.
const THINGS_MAX: usize = 2_400;
/// So many steps are told at most, likewise.
const STEPS_MAX: usize = 700;
/// Bytes of a page without things and steps, roughly: only how fast the right number of them is found
/// depends on it.
const BARE: usize = 45_000;
/// How often another number is tried.
const TRIES_MAX: u32 = 24;

const PAGE_CSS: &str = include_str!("timeline.css");
const SCRIPT: &str = include_str!("timeline.js");

pub(super) fn svg(case: &Case) -> String {
    let scene = scene::build(case);
    let window = Windows::of(case, &scene).choose(THINGS_MAX);
    let steps = Steps::default();
    let fences = Fences::of(&scene);
    let view = View { case, scene: &scene, window: &window, steps: &steps, fences };
    picture::still(&view, THINGS_MAX)
}

pub(super) fn html(case: &Case) -> String {
    let scene = scene::build(case);
    let windows = Windows::of(case, &scene);
    let (mut things, mut told) = (THINGS_MAX, STEPS_MAX);
    for _ in 0..TRIES_MAX {
        let page = compose(case, &scene, &windows.choose(things), (things, told));
        if page.len() <= PAGE_BYTES_MAX {
            return page;
        }
        let fewer = |count: usize| count * (PAGE_BYTES_MAX - BARE) / (page.len() - BARE) * 15 / 16;
        (things, told) = (fewer(things), fewer(told));
    }
    compose(case, &scene, &windows.choose(0), (0, 0))
}

fn compose(
    case: &Case,
    scene: &Scene,
    window: &Window,
    (things_max, steps_max): (usize, usize),
) -> String {
    let steps = Steps::tell(case, scene, window, steps_max);
    let view = View { case, scene, window, steps: &steps, fences: Fences::of(scene) };
    let mut out = String::new();
    // Writing to memory does not fail, here and below.
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}</title>\n<style>\n{}\n{CSS}{}\n{PAGE_CSS}</style>\n</head>\n<body>\n",
        escape(&cut(&format!("{} · {}", case.title, case.tier), 160)),
        palette::variables(),
        palette::client_css(scene.looks),
    );
    header(&mut out, &view);
    out.push_str("<main>\n");
    // Where nothing is known but the story, there is nothing to draw.
    if scene.events > 0 {
        chart(&mut out, &view, things_max);
    }
    list(&mut out, &view);
    if scene.events > 0 {
        let _ = writeln!(
            out,
            "<details id=\"how\" open><summary>How to read this</summary>\n<p>{HOW} {}</p>\n{}<p>{KEYS}</p></details>",
            view.fences.note().unwrap_or_default(),
            legend()
        );
    }
    out.push_str("</main>\n");
    if scene.events > 0 {
        let tip = "<div id=\"tip\" role=\"tooltip\" hidden></div>";
        let _ = writeln!(out, "{tip}\n<script>\n{SCRIPT}</script>");
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn chart(out: &mut String, view: &View<'_>, things_max: usize) {
    let case = view.case;
    let picture = picture::draw(view, Medium::Live, things_max);
    let focus = view.window.focus;
    let violated = case.violation.as_ref().map_or(-1.0, |violation| violation.time as f64);
    let _ = write!(
        out,
        "<section id=\"chart\" aria-label=\"Timeline\">\n{TOOLBAR}\n<div id=\"stage\" tabindex=\"0\" role=\"application\" \
         aria-label=\"Timeline. Left and right move, plus and minus zoom, 0 shows all, v goes to the violation, up and down go from thing to thing.\">\
         <svg id=\"timeline\" width=\"{}\" height=\"{}\" data-gutter=\"{GUTTER}\" data-plot=\"{PLOT_WIDTH}\" data-knots=\"{}\" \
         data-focus=\"{},{}\" data-violation=\"{violated}\" data-axis=\"{}\">{}</svg></div>\n",
        picture.width,
        picture.height,
        picture.knots,
        focus.0,
        focus.1,
        match case.axis {
            Axis::Time => "time",
            Axis::Steps => "steps",
        },
        picture.body
    );
    if let Some(part) = picture::part(view) {
        let _ = writeln!(out, "<p class=\"part\" id=\"part\">{}</p>", escape(&part));
    }
    out.push_str("</section>\n");
}

const TOOLBAR: &str = r#"<div id="tools" role="toolbar" aria-label="Timeline">
<button id="in" title="Zoom in (+)" aria-label="Zoom in">+</button><button id="out" title="Zoom out (−)" aria-label="Zoom out">−</button>
<button id="left" title="Earlier (←)" aria-label="Earlier">←</button><button id="right" title="Later (→)" aria-label="Later">→</button>
<button id="fit" title="All (0)">Fit</button><button id="jump" title="To the violation (v)">Violation</button>
<button id="theme" title="Dark or light" aria-label="Dark or light">◐</button>
</div>"#;

const KEYS: &str = "Wheel, + and − zoom; drag, ← and → move; 0 shows all; v goes to the violation; ↑ and ↓ go \
                    from thing to thing. A click on a step or a thing keeps what belongs to it lit.";

const HOW: &str = "Time goes from left to right. A lock is held by whoever has its token in the key of \
                   a majority of nodes; each client has a colour and a pattern, and a token such as \
                   <b>c1.3/2</b> is client c1's, from the 2nd attempt of its 3rd request. A fence is the \
                   number that comes with a grant, by which a resource can refuse a holder that is too \
                   late.";

fn header(out: &mut String, view: &View<'_>) {
    let case = view.case;
    let _ = write!(
        out,
        "<header>\n<p class=\"what\"><b>{}</b> {}",
        escape(&cut(&case.tier, 40)),
        escape(&cut(&case.title, 160))
    );
    let _ = writeln!(out, "</p>");
    match &case.violation {
        Some(violation) => {
            let sentence = explain::told(case, view.scene, violation);
            let _ = write!(
                out,
                "<h1 class=\"bad\" id=\"sentence\">{}</h1>\n<p class=\"rule\"><b>{}</b> {}</p>\n",
                escape(&cut(&sentence, 600)),
                escape(&violation.invariant.to_string()),
                explain::rule(violation.invariant),
            );
            if sentence != violation.story {
                let _ = writeln!(
                    out,
                    "<p class=\"checker\">The checker: {}</p>",
                    escape(&cut(&violation.story, 1_000))
                );
            }
        }
        None => out.push_str("<h1 id=\"sentence\">Nothing is violated.</h1>\n"),
    }
    let shape = &case.shape;
    let mut facts = vec![format!(
        "{}, {} a majority · {} · {}",
        counted(shape.nodes, "node"),
        shape.majority,
        counted(shape.clients, "client"),
        counted(shape.resources, "resource")
    )];
    if let Some(violation) = &case.violation {
        facts.push(format!("violated at {}", about(case.axis, violation.time)));
    }
    facts.push(format!("{} events", grouped(view.scene.events)));
    if let Some(seed) = case.seed {
        facts.push(format!("seed {seed:#x}"));
    }
    if let Some(commit) = &case.commit {
        facts.push(format!("commit {}", cut(commit, 48)));
    }
    let _ = write!(
        out,
        "<p class=\"facts\">{}</p>\n<p class=\"replay\"><code id=\"replay\">{}</code><button id=\"copy\" title=\"Copy the command\">Copy</button></p>\n</header>\n",
        escape(&facts.join(" · ")),
        escape(&cut(&case.replay, 2_000))
    );
}

fn list(out: &mut String, view: &View<'_>) {
    let steps = view.steps;
    out.push_str("<section id=\"steps\" aria-label=\"Steps\">\n<h2>Step by step</h2>\n");
    if steps.left_out > 0 {
        let _ = writeln!(
            out,
            "<p class=\"part\">{} earlier steps are not told.</p>",
            grouped(steps.left_out)
        );
    }
    // A story without a history has no other times than the numbers of its steps.
    let axis = if view.scene.events == 0 { Axis::Steps } else { view.case.axis };
    out.push_str("<ol>\n");
    for step in &steps.list {
        let like = step.like.map(|like| format!(" data-l=\"{like}\"")).unwrap_or_default();
        let class = if step.is_violation { " class=\"bad\"" } else { "" };
        // No line ends after the ellipsis that begins a number.
        let text = escape(&cut(&step.text, 500)).replace('…', "…\u{2060}");
        let _ = writeln!(
            out,
            "<li data-t=\"{}\"{like}{class}><button><i>{}</i><b>{}</b> <span>{text}</span></button></li>",
            step.time,
            escape(time(axis, step.time).trim_end_matches(" ms")),
            escape(&step.who)
        );
    }
    out.push_str("</ol>\n</section>\n");
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
