//! Sizes and times as people write them.

use std::time::Duration;

use super::setting::{Raw, Setting};

/// A number of bytes, written `16MB`. `KB`, `MB` and `GB` are powers of 1024, as in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A length of time, written `5s`, `250ms`, `1m`, `2h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const BYTE_UNITS: [(&str, u64); 4] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

const MILLI_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A whole number with one of the units; in the last resort without any, where that is allowed.
fn scaled(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let factor = match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => bare?,
        None => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The number with the largest unit that leaves it whole.
fn unscaled(value: u64, units: &[(&str, u64)]) -> String {
    let (name, factor) = units
        .iter()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        .or(units.last())
        .expect("there are units");
    format!("{}{name}", value / factor)
}

impl Setting for Bytes {
    const KIND: &'static str = "a size such as \"16MB\" or \"512KB\"";

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) | Raw::Number(text) => scaled(text, &BYTE_UNITS, Some(1)).map(Self),
            Raw::Boolean(_) | Raw::List(_) => None,
        }
    }

    fn write(&self) -> String {
        format!("\"{}\"", unscaled(self.0, &BYTE_UNITS))
    }
}

impl Setting for Span {
    const KIND: &'static str = "a time such as \"5s\", \"250ms\" or \"2h\"";

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) | Raw::Number(text) => scaled(text, &MILLI_UNITS, None)
                .or_else(|| (text.trim() == "0").then_some(0))
                .map(|millis| Self(Duration::from_millis(millis))),
            Raw::Boolean(_) | Raw::List(_) => None,
        }
    }

    fn write(&self) -> String {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        format!("\"{}\"", unscaled(millis, &MILLI_UNITS))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bytes, Raw, Setting, Span};

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("0", 0, "\"0B\""),
            ("16MB", 16 << 20, "\"16MB\""),
            ("16 mb", 16 << 20, "\"16MB\""),
            ("1536KB", 1536 << 10, "\"1536KB\""),
            ("1024", 1024, "\"1KB\""),
            ("7B", 7, "\"7B\""),
        ] {
            let size = Bytes::read(&Raw::Text(text.into())).expect(text);
            assert_eq!((size.0, size.write().as_str()), (bytes, written));
        }
        for text in ["", "MB", "-1", "1.5MB", "16MiB", "99999999999GB", "1 2"] {
            assert_eq!(Bytes::read(&Raw::Text(text.into())), None, "{text}");
        }
    }

    #[test]
    fn times_are_read_and_written() {
        for (text, millis, written) in [
            ("0", 0, "\"0ms\""),
            ("5s", 5_000, "\"5s\""),
            ("90s", 90_000, "\"90s\""),
            ("1500ms", 1_500, "\"1500ms\""),
            ("2h", 7_200_000, "\"2h\""),
        ] {
            let span = Span::read(&Raw::Text(text.into())).expect(text);
            assert_eq!((span.0, span.write().as_str()), (Duration::from_millis(millis), written));
        }
        for text in ["5", "5 years", "-5s", "s", "1.5s"] {
            assert_eq!(Span::read(&Raw::Text(text.into())), None, "{text}");
        }
    }
}
