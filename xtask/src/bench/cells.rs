//! Formats figures for table cells.

use super::figures::{Figures, Rate, Short};

/// A figure of a table with its spread.
pub(super) fn spread(figures: &Figures) -> String {
    format!(
        "{} ({}–{})",
        Short(figures.median()),
        Short(figures.low()),
        Short(figures.high())
    )
}

/// Replies a second.
pub(super) fn rates(figures: &Figures) -> String {
    format!(
        "{} ({}–{})",
        Rate(figures.median()),
        Rate(figures.low()),
        Rate(figures.high())
    )
}

/// A ratio of two figures, computed turn by turn.
pub(super) fn times(ratio: &Figures) -> String {
    format!(
        "{:.2} × ({:.2}–{:.2})",
        ratio.median(),
        ratio.low(),
        ratio.high()
    )
}

/// A dash for a contender that took no part.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}
