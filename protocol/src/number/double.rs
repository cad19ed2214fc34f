//! Formats doubles with the same digits as Redis and Valkey.

use std::fmt::{self, Display};

/// A double's digits as in Redis 7.2 and later and in Valkey: the shortest that read back as the
/// same number, `1e+21` if plain digits would be long, `inf`, `-inf`, `nan`, `-0`.
#[must_use]
pub fn format_double(value: f64) -> DoubleText {
    /// Whole numbers up to this, 2 to the power of 62, are written as integers.
    const INTEGER_MAX: f64 = 4_611_686_018_427_387_904.0;

    let mut text = DoubleText::default();
    if value.is_nan() {
        text.put(b"nan");
    } else if value.is_infinite() {
        text.put(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        text.put(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    } else if value.abs() <= INTEGER_MAX && value.fract() == 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number up to 2^62 is an i64"
        )]
        let integer = value as i64;
        text.put(itoa::Buffer::new().format(integer).as_bytes());
    } else {
        text.put_shortest(value);
    }
    text
}

/// Text of a double, without allocation.
#[derive(Clone, Copy, Default)]
pub struct DoubleText {
    bytes: [u8; 32],
    len: usize,
}

impl DoubleText {
    /// Returns the text's bytes, all of them ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, text: &[u8]) {
        let end = (self.len + text.len()).min(self.bytes.len());
        let fits = end - self.len;
        self.bytes[self.len..end].copy_from_slice(&text[..fits]);
        self.len = end;
    }

    fn put_zeros(&mut self, count: usize) {
        for _ in 0..count {
            self.put(b"0");
        }
    }

    /// Arranges the shortest digits like `fpconv`, the formatter in Redis and Valkey.
    fn put_shortest(&mut self, value: f64) {
        let mut scientific = Self::default();
        // At most 17 digits, two signs, a point and an exponent of three digits: always fits.
        let _ = fmt::Write::write_fmt(&mut scientific, format_args!("{value:e}"));
        let parts = scientific.as_bytes();
        let (mantissa, exponent) = match parts.iter().position(|&byte| byte == b'e') {
            Some(at) => (&parts[..at], parse_exponent(&parts[at + 1..])),
            None => (parts, 0),
        };
        let mut digits = Self::default();
        for &byte in mantissa {
            if byte.is_ascii_digit() {
                digits.put(&[byte]);
            }
        }
        let digits = digits.as_bytes();
        if value < 0.0 {
            self.put(b"-");
        }
        let count = digits.len();
        // `value` is `digits` read as an integer times ten to the power of `scale`.
        let scale = exponent - (count as i32 - 1);
        let magnitude = exponent.unsigned_abs() as usize;
        if scale >= 0 && magnitude < count + 7 {
            self.put(digits);
            self.put_zeros(scale as usize);
        } else if scale < 0 && (scale > -7 || magnitude < 4) {
            let places = scale.unsigned_abs() as usize;
            if count <= places {
                self.put(b"0.");
                self.put_zeros(places - count);
                self.put(digits);
            } else {
                self.put(&digits[..count - places]);
                self.put(b".");
                self.put(&digits[count - places..]);
            }
        } else {
            self.put(&digits[..1]);
            if count > 1 {
                self.put(b".");
                self.put(&digits[1..]);
            }
            self.put(if exponent < 0 { b"e-" } else { b"e+" });
            self.put(itoa::Buffer::new().format(magnitude).as_bytes());
        }
    }
}

fn parse_exponent(text: &[u8]) -> i32 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let magnitude = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    if negative { -magnitude } else { magnitude }
}

impl fmt::Write for DoubleText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

impl Display for DoubleText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|&byte| fmt::Write::write_char(formatter, char::from(byte)))
    }
}

impl fmt::Debug for DoubleText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::format_double;

    /// Answers of `ZSCORE` in Valkey 9.1.2.
    #[test]
    fn doubles_look_as_from_valkey() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (1234.5678, "1234.5678"),
            (0.0001, "0.0001"),
            (-3.53, "-3.53"),
            (1e17, "100000000000000000"),
            (4.7e18, "4.7e+18"),
            (0.00012, "0.00012"),
            (123_456_789.123, "123456789.123"),
            (0.000_001, "0.000001"),
            (0.000_000_1, "1e-7"),
            (0.000_123_456_7, "1.234567e-4"),
            (1.234_567_89e-5, "1.23456789e-5"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e18, "1000000000000000000"),
            (4_611_686_018_427_387_904.0, "4611686018427387904"),
            (-4_611_686_018_427_387_904.0, "-4611686018427387904"),
            (4_611_686_018_427_388_928.0, "4611686018427389000"),
            (5e18, "5e+18"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1.25e20, "1.25e+20"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_double(value).to_string(), text);
        }
        assert_eq!(format_double(f64::NAN).to_string(), "nan");
        assert_eq!(format_double(-0.0).to_string(), "-0");
    }

    #[test]
    fn doubles_read_back_as_the_same_number() {
        let mut bits: u64 = 0x9e37_79b9_7f4a_7c15;
        for _ in 0..20_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let read: f64 = format_double(value)
                    .to_string()
                    .parse()
                    .expect("a number was written");
                assert_eq!(read.to_bits(), value.to_bits());
            }
        }
    }
}
