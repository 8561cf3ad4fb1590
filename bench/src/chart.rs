//! The README's chart: how fast each client is with all nodes well, and with one that hangs.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::record::Run;
use crate::report::{Figure, Ratio, figure, figures};
use crate::scenario::Scenario;
use crate::subject;

type Outcome = Result<(), String>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const SIZE: (u32, u32) = (960, 440);
const LABELS: i32 = 270;
const BAR: i32 = 16;
const ROW: i32 = 34;
const TOP: i32 = 64;
const INK: RGBColor = RGBColor(60, 66, 74);
const FAINT: RGBColor = RGBColor(150, 156, 164);
const OURS: RGBColor = RGBColor(214, 92, 40);
const FLOOR: RGBColor = RGBColor(120, 134, 150);
const PEER: RGBColor = RGBColor(86, 140, 190);

/// Whom it shows, from top to bottom.
const SHOWN: [&str; 10] = [
    "raw-1t",
    "raw-2t",
    "ours-plain-here",
    "ours-plain",
    "ours-fenced",
    "rslock",
    "node-redlock",
    "redlock-py",
    "redlock-rs",
    "pottery",
];

/// One half of the chart.
struct Panel {
    title: &'static str,
    scenario: &'static str,
    figure: Figure,
    unit: &'static str,
    /// Whether there are orders of magnitude between them.
    scale: Scale,
}

#[derive(Clone, Copy)]
enum Scale {
    Linear,
    Logarithmic,
}

const PANELS: [Panel; 2] = [
    Panel {
        title: "64 workers: locks and unlocks a second",
        scenario: "many",
        figure: figures::rate,
        unit: "/s",
        scale: Scale::Linear,
    },
    Panel {
        title: "One of five nodes hangs: lock and unlock, median",
        scenario: "hung1",
        figure: figures::p50,
        unit: " ms",
        scale: Scale::Logarithmic,
    },
];

/// The chart, as SVG.
///
/// # Errors
/// If it cannot be drawn.
pub fn svg(run: &Run) -> Result<String, String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2 + LABELS as u32 / 2);
        panel(&left, run, &PANELS[0], LABELS)?;
        panel(&right, run, &PANELS[1], 16)?;
        let note = format!("{}. Made by `just bench`.", run.machine);
        write(&root, &note, (20, SIZE.1 as i32 - 22), 12, FAINT)?;
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn panel(area: &Area<'_>, run: &Run, panel: &Panel, left: i32) -> Outcome {
    let scenario: Scenario = panel.scenario.parse()?;
    let (width, _) = area.dim_in_pixel();
    write(area, panel.title, (left, 24), 16, INK)?;
    let values: Vec<_> = SHOWN
        .iter()
        .map(|subject| {
            figure(run, scenario, subject, panel.figure).map(|Ratio { median, .. }| median)
        })
        .collect();
    let most = values.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let least = values.iter().flatten().copied().fold(most, f64::min);
    let room = f64::from(width as i32 - left - 90);
    for (row, (subject, value)) in SHOWN.iter().zip(values).enumerate() {
        let y = TOP + ROW * row as i32;
        if left == LABELS {
            write(area, subject::about(subject), (20, y), 14, INK)?;
        }
        let Some(value) = value else {
            write(area, &format!("none in {} s", run.seconds), (left, y), 13, FAINT)?;
            continue;
        };
        let share = match panel.scale {
            Scale::Linear => value / most,
            // The shortest bar is seen as well.
            Scale::Logarithmic => 0.05 + 0.95 * (value / least).ln() / (most / least).ln().max(1.0),
        };
        let end = left + (room * share) as i32;
        let bar =
            Rectangle::new([(left, y), (end.max(left + 1), y + BAR)], color(subject).filled());
        area.draw(&bar).map_err(|error| error.to_string())?;
        write(area, &label(value, panel.unit), (end + 6, y + 1), 13, INK)?;
    }
    Ok(())
}

/// Latencies are in microseconds, and long ones are read better in milliseconds.
fn label(value: f64, unit: &str) -> String {
    match unit {
        " ms" if value < 10_000.0 => format!("{:.2} ms", value / 1_000.0),
        " ms" => format!("{:.0} ms", value / 1_000.0),
        _ => format!("{value:.0}{unit}"),
    }
}

fn color(subject: &str) -> RGBColor {
    match subject {
        ours if ours.starts_with("ours-") => OURS,
        raw if raw.starts_with("raw-") => FLOOR,
        _ => PEER,
    }
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, color: RGBColor) -> Outcome {
    let style = ("sans-serif", size).into_font().color(&color);
    area.draw_text(text, &style, at).map_err(|error| error.to_string())
}
