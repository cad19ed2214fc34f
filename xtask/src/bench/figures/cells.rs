//! Formats figures for table cells.

use super::{Figures, Rate, Short};

/// A figure of a table with its spread.
pub(in crate::bench) fn spread(figures: &Figures) -> String {
    format!(
        "{} ({}–{})",
        Short(figures.median()),
        Short(figures.low()),
        Short(figures.high())
    )
}

/// Replies a second.
pub(in crate::bench) fn rates(figures: &Figures) -> String {
    format!(
        "{} ({}–{})",
        Rate(figures.median()),
        Rate(figures.low()),
        Rate(figures.high())
    )
}

/// A ratio of two figures, computed turn by turn.
pub(in crate::bench) fn times(ratio: &Figures) -> String {
    format!(
        "{:.2} × ({:.2}–{:.2})",
        ratio.median(),
        ratio.low(),
        ratio.high()
    )
}

/// A dash for a contender that took no part.
pub(in crate::bench) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}
