//! Numbers as Redis reads and writes them.

/// The longest text of a 64-bit signed integer.
const INTEGER_LEN_MAX: usize = 20;

/// Reads a canonical 64-bit signed integer: no space, no `+`, no leading zero, no `-0`.
///
/// The meaning of `string2ll` in Redis, which decides what counts as an integer everywhere.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > INTEGER_LEN_MAX {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative {
        0_i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// Reads a double as `strtod` does: decimal with optional sign and exponent, or an infinity.
///
/// `None` for NaN, for anything else, and for numbers too large or too small to be represented.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    let spelled_out = text
        .trim_start_matches(['+', '-'])
        .starts_with(['i', 'I', 'n', 'N']);
    if value.is_nan() || (value.is_infinite() && !spelled_out) {
        return None;
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let vanished = value == 0.0 && mantissa.contains(|digit: char| ('1'..='9').contains(&digit));
    (!vanished).then_some(value)
}

/// Writes a double as Redis does in replies: an integer without a point or an exponent, anything
/// else with the fewest digits that read back the same, laid out as its `fpconv_dtoa` does it.
pub fn format_double(value: f64) -> String {
    /// Integers are written as such up to half the range of 64 bits.
    const INTEGER_MAX: f64 = (i64::MAX / 2) as f64;
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if value.abs() <= INTEGER_MAX && value.trunc() == value {
        return (value as i64).to_string();
    }
    let sign = if value < 0.0 { "-" } else { "" };
    let scientific = format!("{:e}", value.abs());
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // A double has at most 17 digits.
    let len = digits.len() as i32;
    // The power of ten of the last digit.
    let last = exponent - len + 1;
    let size = exponent.abs();
    if last >= 0 && size < len + 7 {
        return format!("{sign}{digits}{}", "0".repeat(last as usize));
    }
    if last < 0 && (last > -7 || size < 4) {
        let offset = len + last;
        return if offset <= 0 {
            format!(
                "{sign}0.{}{digits}",
                "0".repeat(offset.unsigned_abs() as usize)
            )
        } else {
            let (whole, decimals) = digits.split_at(offset as usize);
            format!("{sign}{whole}.{decimals}")
        };
    }
    let (first, more) = digits.split_at(1);
    let point = if more.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{more}e{exponent_sign}{size}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_laid_out_as_redis_does_it() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1e17, "100000000000000000"),
            (4.7e18, "4.7e+18"),
            (0.1, "0.1"),
            (-3.53, "-3.53"),
            (1e-7, "1e-7"),
            (0.00012, "0.00012"),
            (1.5e300, "1.5e+300"),
            (123_456_789.123, "123456789.123"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }

    #[test]
    fn only_canonical_integers_are_integers() {
        for text in [
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "10",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "123456789012345678901",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }
}
