//! Colours, by day and by night, and how a stylesheet gets them.

use std::fmt::Write;

/// How many looks clients can have: six colours, each with two patterns.
pub(super) const LOOKS: usize = 12;

/// Name, by day, by night. The six of clients are told apart with any kind of colour vision (after Okabe
/// and Ito), and red is nobody's: it is the violation's.
const COLOURS: [(&str, &str, &str); 18] = [
    ("page", "#ffffff", "#14171a"),
    ("lane", "#f6f7f8", "#1b1f23"),
    ("panel", "#fafbfb", "#181c1f"),
    ("ink", "#1c2126", "#e8ebed"),
    ("soft", "#56616b", "#a7b0b8"),
    ("faint", "#8b959e", "#77828b"),
    ("line", "#dfe3e7", "#2d343a"),
    ("red", "#c40d2e", "#ff6b7a"),
    ("wash", "#fdecef", "#391b20"),
    ("down", "#c5cbd1", "#444c54"),
    ("focus", "#0b57d0", "#8ab4f8"),
    ("quiet", "#b5bcc3", "#59636c"),
    ("a0", "#3f73b8", "#78a6e4"),
    ("a1", "#d48806", "#efb04c"),
    ("a2", "#22896b", "#4cb898"),
    ("a3", "#ad5c97", "#d68fc4"),
    ("a4", "#3d9cc7", "#7fcbee"),
    ("a5", "#83751f", "#c6b758"),
];

/// The variables, for a page whose `data-theme` may say which ones.
pub(super) fn variables() -> String {
    let of = |pick: fn(&(&str, &str, &str)) -> String| COLOURS.iter().map(pick).collect::<String>();
    let day = of(|(name, day, _)| format!("--{name}:{day};"));
    let night = of(|(name, _, night)| format!("--{name}:{night};"));
    format!(
        ":root{{color-scheme:light;{day}}}\
         :root[data-theme=dark]{{color-scheme:dark;{night}}}\
         @media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{night}}}}}"
    )
}

/// `css` with the values in the place of the variables: for a picture that stands alone, and that may be
/// shown by something that knows no variables.
pub(super) fn inline(css: &str) -> String {
    let mut out = String::new();
    let (mut day, mut night) = (css.to_owned(), css.to_owned());
    for (name, by_day, by_night) in COLOURS {
        let variable = format!("var(--{name})");
        day = day.replace(&variable, by_day);
        night = night.replace(&variable, by_night);
    }
    // Writing to memory does not fail.
    let _ = write!(out, "{day}@media(prefers-color-scheme:dark){{{night}}}");
    out
}

/// Rules and patterns of `count` clients: `k…` is a solid bar, `h…` a hatched one, `o…` an outline.
pub(super) fn client_css(count: usize) -> String {
    let mut out = String::new();
    for look in 0..count.min(LOOKS) {
        let colour = look % 6;
        let _ = write!(
            out,
            ".c{look} .k,.k.c{look}{{fill:url(#k{look})}}\
             .c{look} .h,.h.c{look}{{fill:url(#h{look});stroke:var(--a{colour})}}\
             .k{look}{{fill:var(--a{colour})}}\
             .m.c{look}{{stroke:var(--a{colour});marker-end:url(#y{look})}}\
             .m.no.c{look}{{marker-end:url(#n{look})}}\
             .s.c{look}{{stroke:var(--a{colour})}}\
             .d.c{look}{{fill:var(--a{colour})}}"
        );
    }
    out
}

/// The patterns that the rules of [`client_css`] name.
pub(super) fn client_defs(count: usize) -> String {
    let mut out = String::new();
    for look in 0..count.min(LOOKS) {
        let pattern = (look + look / 6) % 6;
        let overlay = [
            "",
            r#"<circle cx="2" cy="2" r="1.1" class="v"/><circle cx="5" cy="5" r="1.1" class="v"/>"#,
            r#"<path d="M0 1.5h6M0 4.5h6" class="w"/>"#,
            r#"<path d="M1.5 0v6M4.5 0v6" class="w"/>"#,
            r#"<path d="M0 0h3v3h-3zM3 3h3v3h-3z" class="v"/>"#,
            r#"<path d="M1 1l4 4M5 1l-4 4" class="w"/>"#,
        ][pattern];
        let _ = write!(
            out,
            r#"<pattern id="k{look}" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M0 0h6v6h-6z" class="k{look}"/>{overlay}</pattern>
<pattern id="h{look}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0v5" class="s c{look}" stroke-width="2.4"/></pattern>
<marker id="y{look}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="6.5" markerHeight="6.5" orient="auto"><path d="M0 .8l8 3.2-8 3.2z" class="d c{look}"/></marker>
<marker id="n{look}" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="6" markerHeight="6"><circle cx="4" cy="4" r="2.6" class="ring s c{look}"/></marker>
"#
        );
    }
    out
}
