//! Numbers as bits: as arguments, in replies, and as wasmtime has them.

use std::fmt::{self, Display};

use wasmtime::Val;

/// A number as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
}

pub(crate) const F32_CANONICAL: u32 = 0x7fc0_0000;
pub(crate) const F64_CANONICAL: u64 = 0x7ff8_0000_0000_0000;

impl Number {
    /// Returns a value as wasmtime has it.
    pub(crate) fn of_val(value: &Val) -> Self {
        match *value {
            Val::I32(value) => Self::I32(value.cast_unsigned()),
            Val::I64(value) => Self::I64(value.cast_unsigned()),
            Val::F32(bits) => Self::F32(bits),
            Val::F64(bits) => Self::F64(bits),
            _ => panic!("entries return numbers alone"),
        }
    }

    pub(crate) fn to_val(self) -> Val {
        match self {
            Self::I32(value) => Val::I32(value.cast_signed()),
            Self::I64(value) => Val::I64(value.cast_signed()),
            Self::F32(bits) => Val::F32(bits),
            Self::F64(bits) => Val::F64(bits),
        }
    }

    /// Reads a result of the same type as `self`.
    fn read(self, text: &str) -> Option<Self> {
        Some(match self {
            Self::I32(_) => Self::I32(text.parse::<i32>().ok()?.cast_unsigned()),
            Self::I64(_) => Self::I64(text.parse::<i64>().ok()?.cast_unsigned()),
            Self::F32(_) => Self::F32(match nan(text, u64::from(F32_CANONICAL & 0x7f_ffff))? {
                Ok((sign, payload)) => (u32::from(sign) << 31) | 0x7f80_0000 | payload as u32,
                Err(text) => text.parse::<f32>().ok()?.to_bits(),
            }),
            Self::F64(_) => Self::F64(match nan(text, F64_CANONICAL << 12 >> 12)? {
                Ok((sign, payload)) => (u64::from(sign) << 63) | (0x7ff << 52) | payload,
                Err(text) => text.parse::<f64>().ok()?.to_bits(),
            }),
        })
    }

    pub(crate) fn is_nan(self) -> bool {
        match self {
            Self::F32(bits) => f32::from_bits(bits).is_nan(),
            Self::F64(bits) => f64::from_bits(bits).is_nan(),
            Self::I32(_) | Self::I64(_) => false,
        }
    }
}

/// Reads a NaN's sign and payload; the inner error is the text of another number.
fn nan(text: &str, canonical: u64) -> Option<Result<(bool, u64), &str>> {
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    match magnitude.strip_prefix("nan") {
        None => Some(Err(text)),
        Some("") => Some(Ok((sign, canonical))),
        Some(rest) => {
            let payload = u64::from_str_radix(rest.strip_prefix(":0x")?, 16).ok()?;
            Some(Ok((sign, payload)))
        }
    }
}

/// The text of a number as an argument.
impl Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nan = |formatter: &mut fmt::Formatter<'_>, sign, payload: u64| {
            write!(formatter, "{}nan:{payload:#x}", if sign { "-" } else { "" })
        };
        match *self {
            Self::I32(value) => write!(formatter, "{}", value.cast_signed()),
            Self::I64(value) => write!(formatter, "{}", value.cast_signed()),
            Self::F32(bits) if self.is_nan() => {
                nan(formatter, bits >> 31 == 1, u64::from(bits & 0x7f_ffff))
            }
            Self::F64(bits) if self.is_nan() => {
                nan(formatter, bits >> 63 == 1, bits & ((1 << 52) - 1))
            }
            Self::F32(bits) => write!(formatter, "{}", f32::from_bits(bits)),
            Self::F64(bits) => write!(formatter, "{}", f64::from_bits(bits)),
        }
    }
}

/// Reads the numbers of a reply, whose types are those of `expected`; `None` if it has others.
pub(crate) fn numbers(reply: &str, expected: &[Number]) -> Option<Vec<Number>> {
    if expected.is_empty() {
        return (reply == "+OK").then(Vec::new);
    }
    let mut words = reply.split(' ');
    if expected.len() > 1 {
        let count = words.next()?.strip_prefix('*')?;
        if count != expected.len().to_string() {
            return None;
        }
    }
    let numbers = expected
        .iter()
        .map(|like| {
            let word = words.next()?;
            let text = match word.split_at_checked(1)? {
                (":" | ",", text) => text,
                // The text of a string follows its length.
                ("$", _) => words.next()?,
                _ => return None,
            };
            like.read(text)
        })
        .collect::<Option<Vec<_>>>()?;
    words.next().is_none().then_some(numbers)
}
