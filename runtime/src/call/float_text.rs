//! Floats as scalar entries take and give them: every value has a text, each NaN included.
//!
//! | text | value |
//! |---|---|
//! | `0.5`, `-1e9`, `inf`, `-infinity` | decimal numbers and infinities |
//! | `0x1.8p3` | hexadecimal ones, as in the text format of WebAssembly |
//! | `nan`, `-nan` | the canonical NaN of either sign: only the highest bit of the payload is set |
//! | `nan:0x1`, `-nan:0x400001` | a NaN with this payload |

use std::fmt::{self, Display};

/// The layout of a type of floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Bits of the fraction, which is the payload of a NaN.
    fraction_bits: u32,
    /// Bits of the exponent.
    exponent_bits: u32,
}

pub(crate) const F32: Layout = Layout {
    fraction_bits: 23,
    exponent_bits: 8,
};

pub(crate) const F64: Layout = Layout {
    fraction_bits: 52,
    exponent_bits: 11,
};

impl Layout {
    fn fraction_mask(self) -> u64 {
        (1 << self.fraction_bits) - 1
    }

    /// Returns the bits of positive infinity.
    fn infinity(self) -> u64 {
        ((1 << self.exponent_bits) - 1) << self.fraction_bits
    }

    fn sign(self) -> u64 {
        1 << (self.fraction_bits + self.exponent_bits)
    }

    /// Returns the payload of the canonical NaN.
    fn canonical(self) -> u64 {
        1 << (self.fraction_bits - 1)
    }

    /// Returns the exponent of the smallest normal number.
    fn exponent_min(self) -> i64 {
        2 - (1 << (self.exponent_bits - 1))
    }
}

/// Reads the bits of an `f32`.
pub(crate) fn read_f32(text: &str) -> Option<u32> {
    match special(text, F32) {
        // The bits of this layout end at 32.
        Some(bits) => bits.map(|bits| bits as u32),
        None => text.parse::<f32>().ok().map(f32::to_bits),
    }
}

/// Reads the bits of an `f64`.
pub(crate) fn read_f64(text: &str) -> Option<u64> {
    match special(text, F64) {
        Some(bits) => bits,
        None => text.parse::<f64>().ok().map(f64::to_bits),
    }
}

/// Reads a NaN or a hexadecimal number. The outer `None` says that the text is neither.
fn special(text: &str, layout: Layout) -> Option<Option<u64>> {
    let (negative, number) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let sign = if negative { layout.sign() } else { 0 };
    let begins = |prefix: &str| {
        number
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let magnitude = if begins("nan") {
        payload(&number[3..], layout).map(|payload| layout.infinity() | payload)
    } else if begins("0x") {
        hexadecimal(&number[2..], layout)
    } else {
        return None;
    };
    Some(magnitude.map(|magnitude| sign | magnitude))
}

/// Reads what follows `nan`.
fn payload(text: &str, layout: Layout) -> Option<u64> {
    if text.is_empty() {
        return Some(layout.canonical());
    }
    let digits = text.strip_prefix(":0x")?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let payload = u64::from_str_radix(digits, 16).ok()?;
    (1..=layout.fraction_mask())
        .contains(&payload)
        .then_some(payload)
}

/// Reads hexadecimal digits with a point and a binary exponent, rounded to the nearest number, to the
/// even one of two. Numbers that are too large are none.
fn hexadecimal(text: &str, layout: Layout) -> Option<u64> {
    /// More digits only say if something is left over.
    const KEPT: u64 = 1 << 58;
    let (digits, exponent) = match text.split_once(['p', 'P']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (mut value, mut exponent, mut rest) = (0_u64, exponent, false);
    let (mut any, mut after_point) = (false, false);
    for character in digits.chars() {
        if character == '.' && !after_point {
            after_point = true;
            continue;
        }
        let digit = u64::from(character.to_digit(16)?);
        any = true;
        if value < KEPT {
            value = value * 16 + digit;
            exponent = exponent.checked_sub(if after_point { 4 } else { 0 })?;
        } else {
            rest |= digit != 0;
            exponent = exponent.checked_add(if after_point { 0 } else { 4 })?;
        }
    }
    if !any {
        return None;
    }
    round(value, exponent, rest, layout)
}

/// Returns the bits of about `value` times two to the power of `exponent`; a little more if there is a
/// `rest`.
fn round(value: u64, exponent: i64, rest: bool, layout: Layout) -> Option<u64> {
    if value == 0 {
        return Some(0);
    }
    let length = i64::from(u64::BITS - value.leading_zeros());
    let fraction_bits = i64::from(layout.fraction_bits);
    // The exponent of the last bit that is kept; larger for a subnormal number than for others.
    let normal = exponent
        .checked_add(length - 1)?
        .checked_sub(fraction_bits)?;
    let least = layout.exponent_min() - fraction_bits;
    let last = normal.max(least);
    let cut = last.checked_sub(exponent)?;
    let mut kept = match cut {
        ..=0 => value << cut.unsigned_abs(),
        1..=63 => value >> cut,
        _ => 0,
    };
    let half = match cut {
        1..=64 => {
            let below = u128::from(value) & ((1 << cut) - 1);
            Some((below, 1_u128 << (cut - 1)))
        }
        _ => None,
    };
    if let Some((below, half)) = half {
        let odd = kept & 1 == 1;
        if below > half || (below == half && (rest || odd)) {
            kept += 1;
        }
    }
    // A carry out of the fraction raises the exponent, as it should.
    let exponent_field = u64::try_from(last.checked_sub(least)?).ok()?;
    let bits = if exponent_field == 0 {
        kept
    } else {
        exponent_field
            .checked_mul(1 << layout.fraction_bits)?
            .checked_add(kept)?
    };
    (bits < layout.infinity()).then_some(bits)
}

/// The text of a NaN, as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NanText {
    negative: bool,
    /// The payload, if it is not the canonical one.
    payload: Option<u64>,
}

impl NanText {
    /// Returns the text of the NaN with these bits; `None` for a number.
    pub(crate) fn of(bits: u64, layout: Layout) -> Option<Self> {
        let payload = bits & layout.fraction_mask();
        let is_nan = bits & layout.infinity() == layout.infinity() && payload != 0;
        is_nan.then_some(Self {
            negative: bits & layout.sign() != 0,
            payload: (payload != layout.canonical()).then_some(payload),
        })
    }

    /// Returns true if this is `nan`: the canonical one, without a sign.
    pub(crate) fn is_plain(self) -> bool {
        !self.negative && self.payload.is_none()
    }
}

impl Display for NanText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.negative { "-nan" } else { "nan" })?;
        match self.payload {
            Some(payload) => write!(formatter, ":{payload:#x}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{F32, F64, NanText, read_f32, read_f64};

    #[test]
    fn every_nan_is_read_and_written() {
        for (text, single, double) in [
            ("nan", 0x7fc0_0000, 0x7ff8_0000_0000_0000),
            ("-nan", 0xffc0_0000, 0xfff8_0000_0000_0000),
            ("nan:0x1", 0x7f80_0001, 0x7ff0_0000_0000_0001),
            ("-nan:0x7fffff", 0xffff_ffff, 0xfff0_0000_007f_ffff),
        ] {
            assert_eq!(read_f32(text), Some(single), "{text}");
            assert_eq!(read_f64(text), Some(double), "{text}");
            let written = NanText::of(u64::from(single), F32).expect("a NaN");
            assert_eq!(written.to_string(), text);
            let written = NanText::of(double, F64).expect("a NaN");
            assert_eq!(written.to_string(), text);
        }
        assert_eq!(read_f32("NaN"), Some(0x7fc0_0000));
        assert_eq!(read_f32("+nan:0x400000"), Some(0x7fc0_0000));
        assert_eq!(read_f64("nan:0xfffffffffffff"), Some(0x7fff_ffff_ffff_ffff));
        for text in [
            "nan:canonical",
            "nan:arithmetic",
            "nan:",
            "nan:0x",
            "nan:0x0",
            "nan:1",
            "nan:0x+1",
            "nan1",
            "--nan",
            "nan:0x10000000000000",
        ] {
            assert_eq!(read_f32(text), None, "{text}");
            assert_eq!(read_f64(text), None, "{text}");
        }
        assert_eq!(read_f32("nan:0x800000"), None, "a bit too long");
        assert_eq!(read_f64("nan:0x800000"), Some(0x7ff0_0000_0080_0000));
        for bits in [0, f64::INFINITY.to_bits(), 1.5_f64.to_bits()] {
            assert_eq!(NanText::of(bits, F64), None);
        }
    }

    #[test]
    fn hexadecimal_numbers_are_rounded_to_the_nearest() {
        for (text, expected) in [
            ("0x0", 0.0),
            ("-0x0p5", -0.0),
            ("0x1", 1.0),
            ("0x1.8p3", 12.0),
            ("-0X.8P-1", -0.25),
            ("0xA.Bp+4", 171.0),
            ("0x1p-1074", f64::from_bits(1)),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", f64::from_bits(1)),
            ("0x1.0000000000001p-1022", f64::from_bits((1 << 52) + 1)),
            ("0x0.fffffffffffffp-1022", f64::from_bits((1 << 52) - 1)),
            ("0x0.fffffffffffff8p-1022", f64::MIN_POSITIVE),
            ("0x1.fffffffffffffp1023", f64::MAX),
            // Two halves: to the even one, and up if a later digit is not zero.
            ("0x1.00000000000008p0", 1.0),
            ("0x1.00000000000018p0", 1.0 + 2.0 * f64::EPSILON),
            ("0x1.000000000000080000000000001p0", 1.0 + f64::EPSILON),
            ("0x10000000000000000000000000000000p-124", 1.0),
            ("0x1p-999999999", 0.0),
        ] {
            let bits = read_f64(text).unwrap_or_else(|| panic!("{text} is a number"));
            assert_eq!(bits, f64::to_bits(expected), "{text}");
        }
        assert_eq!(read_f32("0x1.fffffep127"), Some(f32::MAX.to_bits()));
        assert_eq!(read_f32("0x1p-149"), Some(1));
        assert_eq!(read_f32("0x1.000001p0"), Some(1.0_f32.to_bits()));
        assert_eq!(read_f32("0x1.000003p0"), Some(1.0_f32.to_bits() + 2));
        for text in [
            "0x",
            "0x.",
            "0xp1",
            "0x1p",
            "0x1.1.1",
            "0xg",
            "0x1p9223372036854775808",
            "0x1p1024",
            "0x1.fffffffffffff8p1023",
            "0x1p9223372036854775807",
        ] {
            assert_eq!(read_f64(text), None, "{text}");
        }
        assert_eq!(read_f32("0x1p128"), None);
    }
}
