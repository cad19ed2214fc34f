//! The times at which a schedule is due.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use serde::{Deserialize, Serialize};

use crate::error::{CallError, Quoted};

/// Shortest period.
pub const EVERY_MIN: Duration = Duration::from_millis(10);

/// Longest period: a hundred years.
const EVERY_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Longest expression, in bytes.
const CRON_BYTES_MAX: usize = 256;

/// The times at which a schedule is due, all in milliseconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Every so many milliseconds, counted from the time at which the schedule was added.
    Every(i64),
    /// Once.
    At(i64),
    /// By an expression of cron.
    Cron(Box<str>),
}

/// The treatment of times that passed while the server did not run, or was still busy with the run
/// before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// They are left out.
    #[default]
    Skip,
    /// The function is called once for all of them, as soon as possible.
    Once,
}

impl Missed {
    /// Returns the word of the command.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
        }
    }
}

impl When {
    /// Parses a period.
    ///
    /// # Errors
    ///
    /// It is too short, or too long.
    pub fn every(period: Duration) -> Result<Self, CallError> {
        if period < EVERY_MIN {
            return Err(CallError::invalid(format!(
                "EVERY must be at least {} ms",
                EVERY_MIN.as_millis()
            )));
        }
        // Below a hundred years, so it fits.
        Ok(Self::Every(period.min(EVERY_MAX).as_millis() as i64))
    }

    /// Parses an expression of cron: five fields (minute, hour, day of the month, month, day of the
    /// week), or six with seconds before them, or a nickname such as `@daily`.
    ///
    /// # Errors
    ///
    /// It is none, or it never comes.
    pub fn cron(expression: &[u8], now: i64) -> Result<Self, CallError> {
        let wrong = |problem: &dyn fmt::Display| {
            // Those of the parser are sentences.
            let problem = problem.to_string();
            let problem = problem.trim_end_matches('.');
            CallError::invalid(format!(
                "CRON: {} is no expression of cron: {problem}; write five fields, such as \"0 3 * * *\" for 3 o'clock UTC each day",
                Quoted(expression)
            ))
        };
        if expression.len() > CRON_BYTES_MAX {
            return Err(CallError::invalid(format!(
                "CRON: the expression has {} bytes, the limit is {CRON_BYTES_MAX}",
                expression.len()
            )));
        }
        let text = std::str::from_utf8(expression).map_err(|error| wrong(&error))?;
        let cron = parse(text).map_err(|error| wrong(&error))?;
        if next_of(&cron, now).is_none() {
            return Err(wrong(&"no date matches it"));
        }
        Ok(Self::Cron(text.into()))
    }

    /// Returns the first due time after `time`; `None` if there is none. `added` is the time at which
    /// the schedule was added.
    #[must_use]
    pub fn next_after(&self, time: i64, added: i64) -> Option<i64> {
        match self {
            Self::Every(period) => {
                let period = (*period).max(1);
                let passed = time.saturating_sub(added).max(0);
                added.checked_add((passed / period + 1).checked_mul(period)?)
            }
            Self::At(at) => (*at > time).then_some(*at),
            Self::Cron(expression) => next_of(&parse(expression).ok()?, time),
        }
    }
}

/// The same as the words of the command.
impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(millis) => write!(out, "EVERY {millis}"),
            Self::At(millis) => write!(out, "AT {millis}"),
            Self::Cron(expression) => write!(out, "CRON {expression}"),
        }
    }
}

fn parse(expression: &str) -> Result<Cron, croner::errors::CronError> {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .build()
        .parse(expression)
}

fn next_of(cron: &Cron, after: i64) -> Option<i64> {
    let after: DateTime<Utc> = DateTime::from_timestamp_millis(after)?;
    let next = cron.find_next_occurrence(&after, false).ok()?;
    Some(next.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::When;

    /// 2026-01-01 00:00 UTC.
    const NEW_YEAR: i64 = 1_767_225_600_000;
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn a_period_counts_from_the_time_of_adding() {
        let every = When::every(Duration::from_millis(100)).expect("a period");
        for (time, next) in [
            (1000, 1100),
            (1099, 1100),
            (1100, 1200),
            (5050, 5100),
            (0, 1100),
        ] {
            assert_eq!(every.next_after(time, 1000), Some(next), "after {time}");
        }
        assert!(When::every(Duration::from_millis(9)).is_err());
        assert!(When::every(Duration::MAX).is_ok());
    }

    #[test]
    fn a_time_comes_once() {
        let at = When::At(1000);
        assert_eq!(at.next_after(999, 0), Some(1000));
        assert_eq!(at.next_after(1000, 0), None);
    }

    #[test]
    fn cron_goes_by_utc() {
        for (expression, next) in [
            ("0 3 * * *", NEW_YEAR + 3 * HOUR),
            ("0 0 * * *", NEW_YEAR + DAY),
            ("*/5 * * * *", NEW_YEAR + HOUR / 12),
            ("30 0 0 * * *", NEW_YEAR + 30_000),
            ("@hourly", NEW_YEAR + HOUR),
            ("0 0 1 * *", NEW_YEAR + 31 * DAY),
            // The first Monday after a Thursday.
            ("0 0 * * 1", NEW_YEAR + 4 * DAY),
            ("0 0 29 2 *", NEW_YEAR + (365 + 365 + 31 + 28) * DAY),
        ] {
            let when = When::cron(expression.as_bytes(), NEW_YEAR).expect(expression);
            assert_eq!(when.next_after(NEW_YEAR, 0), Some(next), "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_told() {
        for wrong in [
            "",
            "x",
            "61 * * * *",
            "* * *",
            "0 0 30 2 *",
            "\u{0}",
            "* * * * * * * *",
        ] {
            let error = When::cron(wrong.as_bytes(), NEW_YEAR)
                .expect_err(wrong)
                .to_string();
            assert!(error.contains("is no expression of cron"), "{error}");
        }
        assert!(When::cron(&[b'*'; 300], NEW_YEAR).is_err());
        assert!(When::cron(&[0xff], NEW_YEAR).is_err());
    }
}
