//! Listpacks: elements in a row, each an integer or a string, with its length behind it.
//!
//! The head is the number of all bytes (u32) and of elements (u16; 65535 if there are more); the end
//! is a byte 255. The first bits of an element tell what it is.

use std::borrow::Cow;

use ferrite_protocol::number::parse_integer;

/// Bytes before the first element.
const HEAD_LEN: usize = 6;
/// The byte after the last element.
const END: u8 = 0xff;
/// The number of elements, if it does not fit.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// A listpack under construction.
pub(super) struct Listpack {
    bytes: Vec<u8>,
    count: usize,
}

impl Listpack {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; HEAD_LEN],
            count: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn push(&mut self, element: &[u8]) {
        let start = self.bytes.len();
        match parse_integer(element) {
            Some(number) => self.push_integer(number),
            None => {
                let len = element.len();
                // Elements are bounded by the length of a request's argument, 512 MB.
                match len {
                    ..64 => self.bytes.push(0x80 | len as u8),
                    64..4096 => self.bytes.extend([0xe0 | (len >> 8) as u8, len as u8]),
                    _ => {
                        self.bytes.push(0xf0);
                        self.bytes.extend((len as u32).to_le_bytes());
                    }
                }
                self.bytes.extend_from_slice(element);
            }
        }
        let (back, used) = back_length(self.bytes.len() - start);
        self.bytes.extend_from_slice(&back[..used]);
        self.count += 1;
    }

    fn push_integer(&mut self, number: i64) {
        let bytes = number.to_le_bytes();
        let [low, high, ..] = bytes;
        match number {
            0..128 => self.bytes.push(low),
            -4096..4096 => self.bytes.extend([0xc0 | (high & 0x1f), low]),
            -0x8000..0x8000 => self.bytes.extend([0xf1, low, high]),
            -0x80_0000..0x80_0000 => {
                self.bytes.push(0xf2);
                self.bytes.extend_from_slice(&bytes[..3]);
            }
            -0x8000_0000..0x8000_0000 => {
                self.bytes.push(0xf3);
                self.bytes.extend_from_slice(&bytes[..4]);
            }
            _ => {
                self.bytes.push(0xf4);
                self.bytes.extend_from_slice(&bytes);
            }
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let total = self.bytes.len() as u32;
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..HEAD_LEN].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}

/// The length of an element as it stands behind it: groups of 7 bits, the lowest last, each but the
/// first with the top bit set.
fn back_length(len: usize) -> ([u8; 5], usize) {
    let used = match len {
        ..128 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let mut groups = [0; 5];
    for (at, group) in groups[..used].iter_mut().enumerate() {
        let bits = (len >> (7 * (used - 1 - at))) as u8 & 0x7f;
        *group = if at == 0 { bits } else { bits | 0x80 };
    }
    (groups, used)
}

/// The elements of a listpack; `None` if it is malformed.
pub(super) fn parse(bytes: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let (total, rest) = bytes.split_first_chunk()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    if u32::from_le_bytes(*total) as usize != bytes.len() {
        return None;
    }
    let mut elements = Vec::new();
    while rest != [END] {
        let before = rest.len();
        let (element, more) = parse_one(rest)?;
        let (back, used) = back_length(before - more.len());
        rest = more.strip_prefix(&back[..used])?;
        elements.push(element);
    }
    let count = u16::from_le_bytes(*count);
    (count == COUNT_UNKNOWN || usize::from(count) == elements.len()).then_some(elements)
}

fn parse_one(bytes: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let string =
        |len: usize, rest: &'_ [u8]| -> Option<usize> { (len <= rest.len()).then_some(len) };
    let (len, rest) = match first {
        0..0x80 => return Some((integer(first.into()), rest)),
        0x80..0xc0 => (usize::from(first & 0x3f), rest),
        0xc0..0xe0 => {
            let (&low, rest) = rest.split_first()?;
            let bits = i64::from(first & 0x1f) << 8 | i64::from(low);
            let number = if bits < 4096 { bits } else { bits - 8192 };
            return Some((integer(number), rest));
        }
        0xe0..0xf0 => {
            let (&low, rest) = rest.split_first()?;
            (usize::from(first & 0x0f) << 8 | usize::from(low), rest)
        }
        0xf0 => {
            let (len, rest) = rest.split_first_chunk()?;
            (u32::from_le_bytes(*len) as usize, rest)
        }
        0xf1 => {
            let (number, rest) = rest.split_first_chunk()?;
            return Some((integer(i16::from_le_bytes(*number).into()), rest));
        }
        0xf2 => {
            let ([low, middle, high], rest) = rest.split_first_chunk()?;
            let number = i32::from_le_bytes([0, *low, *middle, *high]) >> 8;
            return Some((integer(number.into()), rest));
        }
        0xf3 => {
            let (number, rest) = rest.split_first_chunk()?;
            return Some((integer(i32::from_le_bytes(*number).into()), rest));
        }
        0xf4 => {
            let (number, rest) = rest.split_first_chunk()?;
            return Some((integer(i64::from_le_bytes(*number)), rest));
        }
        0xf5.. => return None,
    };
    let (element, rest) = rest.split_at(string(len, rest)?);
    Some((Cow::Borrowed(element), rest))
}

/// An integer in decimal.
pub(super) fn integer(number: i64) -> Cow<'static, [u8]> {
    Cow::Owned(itoa::Buffer::new().format(number).as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::{Listpack, parse};

    #[test]
    fn every_size_of_integer_and_string_comes_back() {
        let edges = [7, 12, 13, 15, 16, 23, 24, 31, 32, 63];
        let numbers = edges.into_iter().flat_map(|bits| {
            let edge = 1_i128 << bits;
            [edge - 1, edge, -edge, -edge - 1].map(|number| number.to_string())
        });
        let lens = [
            0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16_377, 16_380, 2_097_146, 2_097_150,
        ];
        let strings = lens.into_iter().map(|len| "x".repeat(len));
        let elements: Vec<String> = numbers.chain(strings).collect();
        let mut pack = Listpack::new();
        elements
            .iter()
            .for_each(|element| pack.push(element.as_bytes()));
        let bytes = pack.finish();
        let parsed = parse(&bytes).expect("well formed");
        let parsed: Vec<String> = parsed
            .iter()
            .map(|element| String::from_utf8_lossy(element).into_owned())
            .collect();
        assert_eq!(parsed, elements);
        assert!(parse(&bytes[..bytes.len() - 1]).is_none());
    }
}
