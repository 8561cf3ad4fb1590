//! Tables in Markdown, aligned for people who read them on a terminal.

use std::fmt;

use super::Ratio;

/// Cells in rows.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let cell = format!("| {cell}");
                let width = width + 2;
                // Names to the left, figures to the right.
                if column == 0 {
                    write!(f, "{cell:<width$} ")?;
                } else {
                    write!(f, "| {:>width$} ", cell.trim_start_matches("| "), width = width - 2)?;
                }
            }
            writeln!(f, "|")?;
            if index == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let colon = if column == 0 { "-" } else { ":" };
                    write!(f, "| {}{colon} ", "-".repeat(width - 1))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// A figure, or a dash where there is none.
pub(super) fn number(figure: Option<f64>, digits: usize) -> String {
    match figure {
        Some(figure) if figure.is_finite() => format!("{figure:.digits$}"),
        Some(_) | None => "–".to_owned(),
    }
}

/// A ratio with its range.
pub(super) fn ratio(ratio: Option<Ratio>) -> String {
    match ratio {
        Some(Ratio { median, min, max }) if min == max => format!("{median:.2}"),
        Some(Ratio { median, min, max }) => format!("{median:.2} ({min:.2}–{max:.2})"),
        None => "–".to_owned(),
    }
}
