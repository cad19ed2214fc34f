//! Floating point with the 64-bit mantissa of the x87, as `INCRBYFLOAT` computes.
//!
//! Redis adds and prints C's `long double`, so `0.1 + 0.2` is `0.3` there. `f64` would give other
//! replies, so sums are computed exactly and rounded once to 64 bits, as the hardware does. Numbers
//! are printed with 17 decimals, without trailing zeros.

use num_bigint::BigUint;

/// Bits of the mantissa.
const PRECISION: u64 = 64;
/// Values are below 2 to the power of this.
const EXPONENT_MAX: i64 = 16_384;
/// The smallest value above zero is 2 to the power of this.
const EXPONENT_MIN: i64 = -16_445;
/// Longest text that is read as a number, in bytes; the size of a buffer in Redis.
const TEXT_LEN_MAX: usize = 5 * 1024;
/// Decimals that are printed.
const DECIMALS: u32 = 17;

/// `mantissa * 2^exponent`, with a sign. Zero has a mantissa of zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LongDouble {
    negative: bool,
    mantissa: BigUint,
    exponent: i64,
}

/// A parsed text: a finite number or an infinity.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Finite(LongDouble),
    Infinite,
}

impl LongDouble {
    /// Units of work for reading two numbers, adding and printing them: numbers with some 5000 digits
    /// take some hundred microseconds.
    pub(crate) const ADD_UNITS: u64 = 50_000;

    pub(crate) fn zero() -> Self {
        Self {
            negative: false,
            mantissa: BigUint::ZERO,
            exponent: 0,
        }
    }

    /// Reads a decimal number or an infinity; `None` for anything else, such as NaN or a number
    /// that is too large or too small to be represented.
    pub(crate) fn parse(text: &[u8]) -> Option<Parsed> {
        if text.len() >= TEXT_LEN_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Parsed::Infinite);
        }
        if let [b'0', b'x' | b'X', rest @ ..] = unsigned {
            return Self::hexadecimal(negative, rest).map(Parsed::Finite);
        }
        let (digits, exponent) = scan(unsigned, u8::is_ascii_digit, [b'e', b'E'])?;
        let exponent = exponent - digits.decimals;
        let digits = BigUint::parse_bytes(&digits.digits, 10)?;
        if digits == BigUint::ZERO {
            return Some(Parsed::Finite(Self {
                negative,
                ..Self::zero()
            }));
        }
        let ten = BigUint::from(10_u32);
        // The text bounds the number of digits, so the value is out of range beyond this.
        if exponent.unsigned_abs() > 20_000 {
            return None;
        }
        let scale = ten.pow(exponent.unsigned_abs() as u32);
        let (mantissa, exponent) = if exponent >= 0 {
            round(&(digits * scale), &BigUint::from(1_u32))
        } else {
            round(&digits, &scale)
        };
        let value = Self {
            negative,
            mantissa,
            exponent,
        };
        value.is_in_range().then_some(Parsed::Finite(value))
    }

    fn hexadecimal(negative: bool, text: &[u8]) -> Option<Self> {
        let (digits, exponent) = scan(text, u8::is_ascii_hexdigit, [b'p', b'P'])?;
        let exponent = exponent - 4 * digits.decimals;
        let digits = BigUint::parse_bytes(&digits.digits, 16)?;
        if digits == BigUint::ZERO {
            return Some(Self {
                negative,
                ..Self::zero()
            });
        }
        let (mantissa, more) = round(&digits, &BigUint::from(1_u32));
        let value = Self {
            negative,
            mantissa,
            exponent: exponent.checked_add(more)?,
        };
        value.is_in_range().then_some(value)
    }

    fn is_in_range(&self) -> bool {
        let top = self.exponent.saturating_add(self.mantissa.bits() as i64);
        (EXPONENT_MIN..=EXPONENT_MAX).contains(&top)
    }

    /// The sum, rounded once; `None` if it is too large.
    pub(crate) fn add(&self, other: &Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let at = |value: &Self| value.mantissa.clone() << (value.exponent - exponent) as u64;
        let (left, right) = (at(self), at(other));
        let (negative, sum) = match (self.negative == other.negative, left >= right) {
            (true, _) => (self.negative, left + right),
            (false, true) => (self.negative, left - right),
            (false, false) => (other.negative, right - left),
        };
        if sum == BigUint::ZERO {
            return Some(Self::zero());
        }
        let (mantissa, more) = round(&sum, &BigUint::from(1_u32));
        let sum = Self {
            negative,
            mantissa,
            exponent: exponent + more,
        };
        sum.is_in_range().then_some(sum)
    }

    /// A thousand times the number, rounded up to an integer; `None` if that is above 64 bits, and
    /// the lowest integer if it is below them.
    pub(crate) fn thousandfold_rounded_up(&self) -> Option<i64> {
        let (mantissa, more) = round(&(&self.mantissa * 1000_u32), &BigUint::from(1_u32));
        let exponent = self.exponent.saturating_add(more);
        let magnitude = if exponent >= 0 {
            // Beyond this, the lowest mantissa is out of range already.
            mantissa << exponent.min(64).unsigned_abs()
        } else {
            let whole = &mantissa >> exponent.unsigned_abs();
            let exact = &whole << exponent.unsigned_abs() == mantissa;
            // Up is towards zero below zero.
            whole + u32::from(!exact && !self.negative)
        };
        let magnitude = i64::try_from(magnitude).ok();
        if self.negative {
            Some(magnitude.map_or(i64::MIN, |magnitude| -magnitude))
        } else {
            magnitude
        }
    }

    /// The number in decimal, without an exponent.
    pub(crate) fn format(&self) -> String {
        let scaled = &self.mantissa * BigUint::from(10_u32).pow(DECIMALS);
        let scaled = if self.exponent >= 0 {
            scaled << self.exponent.unsigned_abs()
        } else {
            divide_rounding(
                &scaled,
                &(BigUint::from(1_u32) << self.exponent.unsigned_abs()),
            )
        };
        let digits = format!("{scaled:0>width$}", width = DECIMALS as usize + 1);
        let (whole, decimals) = digits.split_at(digits.len() - DECIMALS as usize);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        let sign = if self.negative && scaled != BigUint::ZERO {
            "-"
        } else {
            ""
        };
        format!("{sign}{whole}{point}{decimals}")
    }
}

/// The digits of a number without its point.
struct Digits {
    digits: Vec<u8>,
    /// Number of digits after the point.
    decimals: i64,
}

/// Splits a number into its digits and its exponent, which follows one of the two marks.
fn scan(text: &[u8], is_digit: impl Fn(&u8) -> bool, marks: [u8; 2]) -> Option<(Digits, i64)> {
    let mut digits = Digits {
        digits: Vec::with_capacity(text.len()),
        decimals: 0,
    };
    let mut rest = text;
    let mut after_point = false;
    while let [byte, more @ ..] = rest {
        if is_digit(byte) {
            digits.digits.push(*byte);
            digits.decimals += i64::from(after_point);
        } else if *byte == b'.' && !after_point {
            after_point = true;
        } else {
            break;
        }
        rest = more;
    }
    if digits.digits.is_empty() {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [mark, power @ ..] if marks.contains(mark) => {
            let power = power.strip_prefix(b"+").unwrap_or(power);
            let unsigned = power.strip_prefix(b"-").unwrap_or(power);
            if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
                return None;
            }
            // An exponent beyond 64 bits is out of range for any digits.
            std::str::from_utf8(power)
                .ok()?
                .parse()
                .unwrap_or(i64::MAX / 2)
        }
        _ => return None,
    };
    Some((digits, exponent))
}

/// `numerator / denominator` as a mantissa of at most 64 bits and an exponent, rounded to even.
fn round(numerator: &BigUint, denominator: &BigUint) -> (BigUint, i64) {
    let wanted = PRECISION as i64 - (numerator.bits() as i64 - denominator.bits() as i64);
    // The quotient has 64 or 65 bits at this scale.
    let mut exponent = -wanted;
    let scaled = |exponent: i64| {
        if exponent <= 0 {
            (
                numerator.clone() << exponent.unsigned_abs(),
                denominator.clone(),
            )
        } else {
            (
                numerator.clone(),
                denominator.clone() << exponent.unsigned_abs(),
            )
        }
    };
    let (mut above, mut below) = scaled(exponent);
    if (&above / &below).bits() > PRECISION {
        exponent += 1;
        (above, below) = scaled(exponent);
    }
    (divide_rounding(&above, &below), exponent)
}

/// The quotient, rounded to the nearest, and to even in the middle.
fn divide_rounding(above: &BigUint, below: &BigUint) -> BigUint {
    let (quotient, rest) = (above / below, above % below);
    let twice = rest << 1_u32;
    if twice > *below || (twice == *below && quotient.bit(0)) {
        quotient + 1_u32
    } else {
        quotient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(left: &str, right: &str) -> String {
        let read = |text: &str| match LongDouble::parse(text.as_bytes()) {
            Some(Parsed::Finite(value)) => value,
            other => panic!("{text} is {other:?}"),
        };
        read(left)
            .add(&read(right))
            .map_or("overflow".into(), |sum| sum.format())
    }

    #[test]
    fn sums_are_those_of_redis() {
        // Taken from Redis and Valkey on x86-64.
        for (left, right, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-1", "0"),
            ("0", "1.23", "1.23"),
            ("3", "1.1", "4.1"),
            ("-0.0", "0", "0"),
            ("17179869184", "1.5", "17179869185.5"),
            ("0x10", "10.50", "26.5"),
            ("0x1.8p1", "0", "3"),
            ("1e18", "1", "1000000000000000001"),
            ("1e20", "1", "100000000000000000000"),
            ("0", "1e-17", "0.00000000000000001"),
            ("0", "1e-18", "0"),
            ("3.1415926535897932384", "0", "3.14159265358979324"),
        ] {
            assert_eq!(sum(left, right), expected, "{left} + {right}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", " 1", "1 ", "abc", "1e", "1e+", ".", "e5", "1.2.3", "nan", "1e5000", "--1",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(LongDouble::parse(b"-inf"), Some(Parsed::Infinite));
    }
}
