//! Sizes and times as text for people.

use std::fmt;

/// A number of bytes; prints as `1.5 KiB`.
#[derive(Clone, Copy)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for larger in ["KiB", "MiB", "GiB", "TiB"] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = larger;
        }
        if unit == "B" {
            write!(f, "{} B", self.0)
        } else {
            write!(f, "{value:.1} {unit}")
        }
    }
}

/// A number of microseconds; prints as `1.5 ms`.
#[derive(Clone, Copy)]
pub(crate) struct Micros(pub(crate) u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            micros @ ..1_000 => write!(f, "{micros} µs"),
            micros @ ..1_000_000 => write!(f, "{:.1} ms", micros as f64 / 1e3),
            micros => write!(f, "{:.2} s", micros as f64 / 1e6),
        }
    }
}

/// A number of nanoseconds; prints as `1.5 µs`.
#[derive(Clone, Copy)]
pub(crate) struct Nanos(pub(crate) u64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            nanos @ ..1_000 => write!(f, "{nanos} ns"),
            nanos @ ..1_000_000 => write!(f, "{:.1} µs", nanos as f64 / 1e3),
            nanos => Micros(nanos / 1_000).fmt(f),
        }
    }
}

/// A day; prints as `2026-11-28`, in universal time.
#[derive(Clone, Copy)]
pub(crate) struct Date {
    year: u64,
    month: u64,
    day: u64,
}

impl Date {
    /// The day of a time in seconds since 1970.
    pub(crate) fn of_unix(seconds: u64) -> Self {
        // Years begin in March here, so that the day that only some have is the last one. Eras of 400
        // years have as many days each.
        let days = seconds / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: era * 400 + year + u64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Date, Micros, Nanos};

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_700_000_000, "2023-11-14"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(Date::of_unix(seconds).to_string(), date);
        }
    }

    #[test]
    fn units_grow_with_the_number() {
        let bytes = |number| Bytes(number).to_string();
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        let micros = |number| Micros(number).to_string();
        assert_eq!(Nanos(999).to_string(), "999 ns");
        assert_eq!(Nanos(1_500).to_string(), "1.5 µs");
        assert_eq!(Nanos(2_500_000).to_string(), "2.5 ms");
        assert_eq!(micros(999), "999 µs");
        assert_eq!(micros(1_500), "1.5 ms");
        assert_eq!(micros(2_345_678), "2.35 s");
    }
}
