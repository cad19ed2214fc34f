//! Reads numbers from decimal text, as every SDK and the server read them.

/// Reads digits after an optional minus sign. Numbers beyond every integer type are refused.
///
/// One sum serves all widths: it holds every `i64` and every `u64`.
pub(super) fn integer(bytes: &[u8]) -> Option<i128> {
    const BEYOND: i128 = 1 << 64;
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut sum = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 || sum >= BEYOND {
            return None;
        }
        sum = sum * 10 + i128::from(digit);
    }
    Some(if negative { -sum } else { sum })
}

/// A float type.
pub(crate) trait Float: Copy + core::str::FromStr + PartialEq + Default {
    fn is_nan(self) -> bool;
    fn is_infinite(self) -> bool;
}

macro_rules! floats {
    ($($ty:ident)*) => {$(
        impl Float for $ty {
            fn is_nan(self) -> bool {
                self.is_nan()
            }

            fn is_infinite(self) -> bool {
                self.is_infinite()
            }
        }
    )*};
}

floats!(f32 f64);

/// Reads decimal digits with an optional sign, point and exponent, or an infinity by its name. Refuses
/// numbers that are too large or too small for the type.
pub(crate) fn float<F: Float>(bytes: &[u8]) -> Option<F> {
    let number: F = core::str::from_utf8(bytes).ok()?.parse().ok()?;
    let digits = bytes
        .strip_prefix(b"+")
        .or_else(|| bytes.strip_prefix(b"-"));
    let digits = digits.unwrap_or(bytes);
    if number.is_nan()
        || (number.is_infinite() && !digits.starts_with(b"i") && !digits.starts_with(b"I"))
    {
        return None;
    }
    let mut mantissa = digits
        .iter()
        .take_while(|byte| !matches!(byte, b'e' | b'E'));
    let vanished = number == F::default() && mantissa.any(|byte| matches!(byte, b'1'..=b'9'));
    (!vanished).then_some(number)
}
