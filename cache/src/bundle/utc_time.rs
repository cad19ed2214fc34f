//! A moment as people write it.

use std::fmt;

/// A moment, in seconds since 1970; prints as `2026-11-28 21:05:09 UTC`.
///
/// ```
/// use ferrite_cache::bundle::UtcTime;
///
/// assert_eq!(UtcTime(1_767_225_600).to_string(), "2026-01-01 00:00:00 UTC");
/// assert_eq!(UtcTime(1_767_225_600).day(), "2026-01-01");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtcTime(pub u64);

impl UtcTime {
    /// Returns its day alone.
    #[must_use]
    pub fn day(self) -> String {
        // Years begin in March here, so that the day that only some have is the last one. Eras of 400
        // years have as many days each.
        let days = self.0 / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = era * 400 + year + u64::from(month <= 2);
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        format!("{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.0 / 3_600 % 24, self.0 / 60 % 60, self.0 % 60);
        let day = self.day();
        write!(f, "{day} {hours:02}:{minutes:02}:{seconds:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::UtcTime;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13:20 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(UtcTime(seconds).to_string(), text);
        }
        // A bundle may claim any time.
        assert!(UtcTime(u64::MAX).to_string().ends_with(" UTC"));
    }
}
