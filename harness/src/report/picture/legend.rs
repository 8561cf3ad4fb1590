//! How to read the picture: a swatch and a line for each thing in it.

use std::fmt::Write;

use crate::report::words::escape;

/// A swatch of 56 by 20, and what it means.
const ENTRIES: [(&str, &str); 13] = [
    (
        r##"<rect class="k b c0" x="2" y="3" width="52" height="14"/>"##,
        "A client believes that it holds the lock.",
    ),
    (
        r##"<rect class="h c0" x="2" y="6" width="52" height="9"/>"##,
        "A majority of nodes keeps its key: what the belief rests on.",
    ),
    (
        r##"<rect class="not" x="2" y="6" width="52" height="9"/>"##,
        "It believes, and no majority keeps its key.",
    ),
    (
        r##"<line class="ask s c0" x1="5" y1="10" x2="54" y2="10"/><use href="#o" class="ring s c0" x="5" y="10"/><use href="#i" class="mark s c0" x="32" y="10"/>"##,
        "It asks for the lock; a tick is a lost attempt, ✕ the end without it.",
    ),
    (
        r##"<rect class="k c1" x="2" y="2" width="52" height="11"/><text class="n" x="2" y="20">…551</text>"##,
        "A node's key is a client's token; below, the node's fence number.",
    ),
    (
        r##"<line class="m c0" x1="6" y1="2" x2="22" y2="18"/><line class="m r c0" x1="30" y1="18" x2="46" y2="2"/>"##,
        "A message to a node, and a yes. A no ends in a ring.",
    ),
    (
        r##"<line class="m c0 dup" x1="6" y1="2" x2="22" y2="18"/><line class="m c0 old" x1="32" y1="2" x2="48" y2="18"/>"##,
        "Dashed: a duplicate. Grey: it comes too late to count.",
    ),
    (
        r##"<line class="m c0 cut" x1="18" y1="2" x2="30" y2="11"/><use href="#x" class="x" x="31" y="12"/>"##,
        "A message that is lost.",
    ),
    (
        r##"<rect class="down" x="14" y="1" width="40" height="18"/><use href="#x" class="crash" x="14" y="10"/>"##,
        "A process crashes, and is dead until it is started again.",
    ),
    (
        r##"<rect class="stop" x="2" y="2" width="52" height="16"/>"##,
        "A process stands still; messages wait for it.",
    ),
    (
        r##"<rect class="quarantine" x="2" y="2" width="52" height="16"/>"##,
        "A node that may have forgotten keys, and does not vote yet.",
    ),
    (
        r##"<polyline class="clock" points="2,16 22,12 22,5 54,3 "/>"##,
        "How far a clock is off; a step is a jump.",
    ),
    (
        r##"<rect class="veil" x="28" y="0" width="28" height="20"/><line class="red" x1="28" y1="0" x2="28" y2="20"/>"##,
        "The violation. What is right of it is what was still to come.",
    ),
];

/// For the page.
pub(in crate::report) fn legend() -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for (swatch, text) in ENTRIES {
        // Writing to memory does not fail.
        let _ = writeln!(
            out,
            "<li><svg width=\"56\" height=\"20\" aria-hidden=\"true\">{swatch}</svg><span>{}</span></li>",
            escape(text)
        );
    }
    out.push_str("</ul>");
    out
}

/// For the still picture; and how high it is.
pub(in crate::report) fn still_legend(width: f64) -> (String, f64) {
    const ROW: f64 = 28.0;
    let columns = 3;
    let rows = ENTRIES.len().div_ceil(columns);
    let apart = width / columns as f64;
    let mut out = String::new();
    for (index, (swatch, text)) in ENTRIES.iter().enumerate() {
        let x = (index / rows) as f64 * apart;
        let y = (index % rows) as f64 * ROW;
        let _ = writeln!(
            out,
            "<g transform=\"translate({x:.0} {y:.0})\">{swatch}<text class=\"key\" x=\"66\" y=\"14\">{}</text></g>",
            escape(text)
        );
    }
    (out, rows as f64 * ROW)
}
