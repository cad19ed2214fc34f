//! Ziplists, in which servers before Redis 7.0 kept small collections. They are only read.
//!
//! The head is the number of all bytes, the place of the last element (u32 each) and the number of
//! elements (u16; 65535 if there are more); the end is a byte 255. Before each element stands the
//! length of the one before it.

use std::borrow::Cow;

use super::listpack::integer;

const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;
/// The first byte of a length of five bytes.
const LONG: u8 = 0xfe;

/// The elements of a ziplist; `None` if it is malformed.
pub(super) fn parse(bytes: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let (total, rest) = bytes.split_first_chunk()?;
    let (_last, rest) = rest.split_first_chunk::<4>()?;
    let (count, mut rest) = rest.split_first_chunk()?;
    if u32::from_le_bytes(*total) as usize != bytes.len() {
        return None;
    }
    let mut elements = Vec::new();
    let mut previous = 0;
    while rest != [END] {
        let start = rest.len();
        let (&first, after) = rest.split_first()?;
        let (before, after) = match first {
            LONG => {
                let (len, after) = after.split_first_chunk()?;
                (u32::from_le_bytes(*len) as usize, after)
            }
            END => return None,
            len => (usize::from(len), after),
        };
        if before != previous {
            return None;
        }
        let (element, after) = parse_one(after)?;
        elements.push(element);
        previous = start - after.len();
        rest = after;
    }
    let count = u16::from_le_bytes(*count);
    (count == COUNT_UNKNOWN || usize::from(count) == elements.len()).then_some(elements)
}

fn parse_one(bytes: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (len, rest) = match first {
        0..0x40 => (usize::from(first), rest),
        0x40..0x80 => {
            let (&low, rest) = rest.split_first()?;
            (usize::from(first & 0x3f) << 8 | usize::from(low), rest)
        }
        0x80 => {
            // Unlike all other numbers, with the highest byte first.
            let (len, rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes(*len) as usize, rest)
        }
        0xc0 => {
            let (number, rest) = rest.split_first_chunk()?;
            return Some((integer(i16::from_le_bytes(*number).into()), rest));
        }
        0xd0 => {
            let (number, rest) = rest.split_first_chunk()?;
            return Some((integer(i32::from_le_bytes(*number).into()), rest));
        }
        0xe0 => {
            let (number, rest) = rest.split_first_chunk()?;
            return Some((integer(i64::from_le_bytes(*number)), rest));
        }
        0xf0 => {
            let ([low, middle, high], rest) = rest.split_first_chunk()?;
            let number = i32::from_le_bytes([0, *low, *middle, *high]) >> 8;
            return Some((integer(number.into()), rest));
        }
        0xfe => {
            let (&number, rest) = rest.split_first()?;
            return Some((integer(number.cast_signed().into()), rest));
        }
        0xf1..=0xfd => return Some((integer(i64::from(first & 0x0f) - 1), rest)),
        _ => return None,
    };
    let (element, rest) = rest.split_at_checked(len)?;
    Some((Cow::Borrowed(element), rest))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_ziplist_is_read() {
        let elements: &[u8] = &[
            0, 2, b'a', b'b', // "ab"
            4, 0xf4, // 3
            2, 0xfe, 0xff, // -1
            3, 0xc0, 0x00, 0x02, // 512
            4, 0xf0, 0x00, 0x00, 0x80, // -2^23
        ];
        let total = 10 + elements.len() + 1;
        let mut bytes = (total as u32).to_le_bytes().to_vec();
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(5_u16.to_le_bytes());
        bytes.extend_from_slice(elements);
        bytes.push(0xff);
        let found = parse(&bytes).expect("well formed");
        let found: Vec<&[u8]> = found.iter().map(|element| &**element).collect();
        assert_eq!(found, [&b"ab"[..], b"3", b"-1", b"512", b"-8388608"]);
        bytes[14] = 9;
        assert!(parse(&bytes).is_none());
    }
}
