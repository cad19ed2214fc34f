//! Statistics of repeated measurements: median and spread.

pub(super) mod cells;
pub(super) mod machine;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Repeated measurements of one thing, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures(Vec<f64>);

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Figures {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Durations, in milliseconds.
    pub(super) fn milliseconds(times: impl IntoIterator<Item = Duration>) -> Self {
        Self(
            times
                .into_iter()
                .map(|time| time.as_secs_f64() * 1e3)
                .collect(),
        )
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The latest of them; `None` before the first.
    pub(super) fn last(&self) -> Option<f64> {
        self.0.last().copied()
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The smallest value that at least this share of the values does not exceed. For an even
    /// number of values the median is the lower of the two in the middle.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub(super) fn low(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    pub(super) fn high(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// The ratio of this to `that`, turn by turn: noise that hit both in one turn cancels out.
    pub(super) fn over(&self, that: &Self) -> Self {
        Self(self.0.iter().zip(&that.0).map(|(a, b)| a / b).collect())
    }
}

/// A rate as a table shows it: `812K`.
pub(super) struct Rate(pub(super) f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate if rate >= 1e6 => write!(f, "{:.2}M", rate / 1e6),
            rate if rate >= 1e4 => write!(f, "{:.0}K", rate / 1e3),
            rate if rate >= 1e3 => write!(f, "{:.1}K", rate / 1e3),
            rate => write!(f, "{rate:.0}"),
        }
    }
}

/// A number with about three significant digits.
pub(super) struct Short(pub(super) f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        match value.abs() {
            size if size >= 100.0 => write!(f, "{value:.0}"),
            size if size >= 10.0 => write!(f, "{value:.1}"),
            size if size >= 1.0 => write!(f, "{value:.2}"),
            _ => write!(f, "{value:.3}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let figures = Figures(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(
            (figures.median(), figures.low(), figures.high()),
            (3.0, 1.0, 5.0)
        );
        assert_eq!(
            (
                figures.quantile(0.99),
                figures.quantile(0.2),
                figures.quantile(0.21)
            ),
            (5.0, 1.0, 2.0)
        );
        assert!(Figures::default().median().is_nan());
    }

    #[test]
    fn ratios_are_taken_turn_by_turn() {
        let ratio = Figures(vec![2.0, 8.0]).over(&Figures(vec![1.0, 2.0]));
        assert_eq!((ratio.low(), ratio.high()), (2.0, 4.0));
    }

    #[test]
    fn numbers_are_short() {
        let rates = [1_234_567.0, 812_345.0, 9_876.0, 19.7].map(|rate| Rate(rate).to_string());
        assert_eq!(rates, ["1.23M", "812K", "9.9K", "20"]);
        assert_eq!(
            [123.4, 12.34, 1.234, 0.1234].map(|value| Short(value).to_string()),
            ["123", "12.3", "1.23", "0.123"]
        );
    }
}
