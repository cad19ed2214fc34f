//! Sizes and times as people write them: `16MB`, `5s`.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// Reason why a size, time or count does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number, or an unknown unit.
    #[error("\"{text}\" is no {kind}; write {example}")]
    Malformed {
        /// The text, shortened.
        text: Box<str>,
        /// The expected kind of quantity.
        kind: &'static str,
        /// An example of that kind.
        example: &'static str,
    },
    /// Below zero.
    #[error("{text} is negative; a {kind} starts at 0")]
    Negative {
        /// The text, shortened.
        text: Box<str>,
        /// The expected kind of quantity.
        kind: &'static str,
    },
    /// Beyond 64 bits.
    #[error("{text} is too large for a {kind}")]
    TooLarge {
        /// The text, shortened.
        text: Box<str>,
        /// The expected kind of quantity.
        kind: &'static str,
    },
}

/// A kind of quantity.
struct Kind {
    name: &'static str,
    example: &'static str,
    /// Suffixes in lower case, with their factors.
    units: &'static [(&'static str, u64)],
}

const SIZE: Kind = Kind {
    name: "size",
    example: "16MB, 512KB or a number of bytes",
    units: &[
        ("", 1),
        ("b", 1),
        ("k", 1 << 10),
        ("kb", 1 << 10),
        ("kib", 1 << 10),
        ("m", 1 << 20),
        ("mb", 1 << 20),
        ("mib", 1 << 20),
        ("g", 1 << 30),
        ("gb", 1 << 30),
        ("gib", 1 << 30),
        ("t", 1 << 40),
        ("tb", 1 << 40),
        ("tib", 1 << 40),
    ],
};

/// Times are counted in microseconds.
const TIME: Kind = Kind {
    name: "time",
    example: "5s, 250ms or a number of milliseconds",
    units: &[
        ("", 1_000),
        ("us", 1),
        ("ms", 1_000),
        ("s", 1_000_000),
        ("m", 60_000_000),
        ("min", 60_000_000),
        ("h", 3_600_000_000),
        ("d", 86_400_000_000),
    ],
};

const COUNT: Kind = Kind {
    name: "count",
    example: "a whole number such as 10000000",
    units: &[("", 1)],
};

impl Kind {
    fn read(&self, text: &str) -> Result<u64, QuantityError> {
        let trimmed = text.trim();
        let malformed = || QuantityError::Malformed {
            text: shortened(text),
            kind: self.name,
            example: self.example,
        };
        if let Some(rest) = trimmed.strip_prefix('-')
            && rest.starts_with(|first: char| first.is_ascii_digit())
        {
            return Err(QuantityError::Negative {
                text: shortened(trimmed),
                kind: self.name,
            });
        }
        let digits = trimmed
            .find(|byte: char| !(byte.is_ascii_digit() || byte == '_'))
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        if !number.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(malformed());
        }
        let unit = unit.trim_start().to_ascii_lowercase();
        let (_, factor) = self
            .units
            .iter()
            .find(|(suffix, _)| *suffix == unit)
            .ok_or_else(malformed)?;
        // Only overflow can go wrong now: there is at least one digit and nothing else.
        number
            .bytes()
            .filter(|&byte| byte != b'_')
            .try_fold(0_u64, |sum, digit| {
                sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
            })
            .and_then(|number| number.checked_mul(*factor))
            .ok_or_else(|| QuantityError::TooLarge {
                text: shortened(trimmed),
                kind: self.name,
            })
    }
}

fn shortened(text: &str) -> Box<str> {
    const SHOWN_MAX: usize = 40;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// A number of bytes, written `512KB`, `16MB`, `1GB` or plain. Units are powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A time, written `250ms`, `5s`, `10m`, `1h` or as a plain number of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

/// A whole number, whose digits may be grouped by underscores in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Count(pub u64);

impl fmt::Display for ByteSize {
    /// Writes the size in the largest unit that divides it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)]
            .into_iter()
            .find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor))
            .unwrap_or(("", 1));
        write!(out, "{}{unit}", self.0 / factor)
    }
}

impl fmt::Display for HumanDuration {
    /// Writes the time in the largest of s, ms and us that divides it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let (unit, factor) = [("s", 1_000_000), ("ms", 1_000)]
            .into_iter()
            .find(|(_, factor)| micros.is_multiple_of(*factor))
            .unwrap_or(("us", 1));
        write!(out, "{}{unit}", micros / factor)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

macro_rules! quantity {
    ($type:ident, $kind:ident, $make:expr) => {
        impl std::str::FromStr for $type {
            type Err = QuantityError;

            fn from_str(text: &str) -> Result<Self, QuantityError> {
                $kind.read(text).map($make)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Reader(&$kind)).map($make)
            }
        }
    };
}

/// Serializes the quantity as text with its unit.
impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Serializes the quantity as text with its unit.
impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

quantity!(ByteSize, SIZE, Self);
quantity!(HumanDuration, TIME, |micros| Self(Duration::from_micros(
    micros
)));
quantity!(Count, COUNT, Self);

/// Reads a number or a text from JSON, TOML and the like.
struct Reader(&'static Kind);

impl Reader {
    fn text<E: de::Error>(&self, text: &str) -> Result<u64, E> {
        self.0.read(text).map_err(E::custom)
    }
}

impl Visitor<'_> for Reader {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a {}: {}", self.0.name, self.0.example)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        self.text(itoa::Buffer::new().format(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        self.text(itoa::Buffer::new().format(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<u64, E> {
        // Integers beyond 64 bits arrive here as well.
        Err(if value >= 18_446_744_073_709_551_616.0 {
            E::custom(QuantityError::TooLarge {
                text: shortened(&value.to_string()),
                kind: self.0.name,
            })
        } else if value <= -1.0 {
            E::custom(QuantityError::Negative {
                text: shortened(&value.to_string()),
                kind: self.0.name,
            })
        } else {
            E::custom(QuantityError::Malformed {
                text: shortened(&value.to_string()),
                kind: self.0.name,
                example: self.0.example,
            })
        })
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<u64, E> {
        self.text(value)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ByteSize, Count, HumanDuration};

    #[test]
    fn sizes_and_times_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1b", 1),
            ("16MB", 16 << 20),
            ("16 mb", 16 << 20),
            ("16MiB", 16 << 20),
            (" 1k ", 1024),
            ("2G", 2 << 30),
            ("1_000", 1000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for (text, micros) in [
            ("250", 250_000),
            ("5s", 5_000_000),
            ("250ms", 250_000),
            ("100us", 100),
            ("5m", 300_000_000),
            ("1h", 3_600_000_000),
        ] {
            assert_eq!(
                text.parse(),
                Ok(HumanDuration(Duration::from_micros(micros))),
                "{text}"
            );
        }
        assert_eq!("10_000_000".parse(), Ok(Count(10_000_000)));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, expected) in [
            (
                "",
                "\"\" is no size; write 16MB, 512KB or a number of bytes",
            ),
            (
                "MB",
                "\"MB\" is no size; write 16MB, 512KB or a number of bytes",
            ),
            (
                "1.5MB",
                "\"1.5MB\" is no size; write 16MB, 512KB or a number of bytes",
            ),
            (
                "16XB",
                "\"16XB\" is no size; write 16MB, 512KB or a number of bytes",
            ),
            ("-1MB", "-1MB is negative; a size starts at 0"),
            (
                "18446744073709551616",
                "18446744073709551616 is too large for a size",
            ),
            (
                "18014398509481984KB",
                "18014398509481984KB is too large for a size",
            ),
        ] {
            let error = text.parse::<ByteSize>().expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
        let long = "9"
            .repeat(1_000_000)
            .parse::<Count>()
            .expect_err("too long");
        assert!(long.to_string().len() < 100);
    }

    #[test]
    fn json_takes_numbers_and_texts() {
        let read = |text: &str| {
            serde_json::from_str::<ByteSize>(text).map_err(|error| {
                let text = error.to_string();
                text.split(" at line").next().unwrap_or_default().to_owned()
            })
        };
        assert_eq!(read("1024"), Ok(ByteSize(1024)));
        assert_eq!(read("\"1KB\""), Ok(ByteSize(1024)));
        for (text, expected) in [
            ("-5", "-5 is negative; a size starts at 0"),
            (
                "1.5",
                "\"1.5\" is no size; write 16MB, 512KB or a number of bytes",
            ),
            (
                "1e30",
                "1000000000000000000000000000000 is too large for a size",
            ),
            (
                "-1e30",
                "-1000000000000000000000000000000 is negative; a size starts at 0",
            ),
            (
                "true",
                "invalid type: boolean `true`, expected a size: 16MB, 512KB or a number of bytes",
            ),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for bytes in [
            0,
            1,
            1023,
            1024,
            1536,
            16 << 20,
            (16 << 20) + 1,
            3 << 30,
            u64::MAX,
        ] {
            let shown = ByteSize(bytes).to_string();
            assert_eq!(shown.parse(), Ok(ByteSize(bytes)), "{shown}");
        }
        for micros in [0, 1, 1_000, 1_500, 5_000_000, 300_000_000] {
            let span = HumanDuration(Duration::from_micros(micros));
            assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
