//! Reads a payload back to a value. Payloads may come from anyone.

use std::borrow::Cow;

use super::crc64::crc64;
use super::reader::Reader;
use super::{FOOTER_LEN, FOREIGN_VERSIONS, VERSION_OF_DEADLINES, listpack, nodes, types, ziplist};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::list::List;
use crate::value::zset::Zset;
use crate::value::{Hash, Set, Value};
use ferrite_protocol::number::parse_double;

/// Reason why a payload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestoreError {
    /// It is of another version, was changed, or is none.
    Footer,
    /// Its content makes no sense, or is of a type that this store lacks.
    Content,
}

type Elements<'e> = Vec<Cow<'e, [u8]>>;

/// The value of a payload, whose compressed strings may become `decompressed_max` bytes.
///
/// Fields whose deadline is not after `now` are left out.
///
/// # Errors
/// [`RestoreError`]. An empty collection is an error too.
pub(crate) fn restore(
    payload: &[u8],
    now: i64,
    decompressed_max: usize,
) -> Result<Value, RestoreError> {
    let content = check_footer(payload).ok_or(RestoreError::Footer)?;
    let mut reader = Reader::new(content, decompressed_max);
    let value =
        value(&mut reader, now).filter(|value| reader.is_empty() && !value.is_empty_collection());
    value.ok_or(RestoreError::Content)
}

/// The part of a payload before its footer.
fn check_footer(payload: &[u8]) -> Option<&[u8]> {
    let (checked, checksum) = payload.split_last_chunk()?;
    let (content, version) = checked.split_last_chunk()?;
    let version = u16::from_le_bytes(*version);
    let known = version <= VERSION_OF_DEADLINES && !FOREIGN_VERSIONS.contains(&version);
    let right = known && payload.len() > FOOTER_LEN;
    (right && crc64(checked) == u64::from_le_bytes(*checksum)).then_some(content)
}

fn value(reader: &mut Reader<'_>, now: i64) -> Option<Value> {
    match reader.byte()? {
        types::STRING => Some(Value::text(&reader.string()?)),
        types::LIST => {
            let elements = strings(reader)?;
            Some(list(&elements))
        }
        types::LIST_ZIPLIST => Some(list(&ziplist::parse(&reader.string()?)?)),
        types::LIST_QUICKLIST => quicklist(reader, |reader, elements| {
            let node = reader.string()?;
            append(elements, &ziplist::parse(&node)?)
        }),
        types::LIST_QUICKLIST_2 => quicklist(reader, |reader, elements| {
            let kind = reader.length()?;
            let node = reader.string()?;
            match kind {
                nodes::PLAIN => elements.push(Blob::new(&node)),
                nodes::PACKED => append(elements, &listpack::parse(&node)?)?,
                _ => return None,
            }
            Some(())
        }),
        types::SET => {
            let members = strings(reader)?;
            set(&members)
        }
        types::SET_INTSET => set(&intset(&reader.string()?)?),
        types::SET_LISTPACK => set(&listpack::parse(&reader.string()?)?),
        types::HASH => hash(reader, |_| Some(Deadline::NEVER), now),
        types::HASH_DEADLINES => hash(
            reader,
            |reader| match i64::from_le_bytes(reader.chunk()?) {
                -1 => Some(Deadline::NEVER),
                millis => (millis >= 0).then(|| Deadline::at(millis)),
            },
            now,
        ),
        types::HASH_ZIPLIST => packed_hash(&ziplist::parse(&reader.string()?)?),
        types::HASH_LISTPACK => packed_hash(&listpack::parse(&reader.string()?)?),
        types::ZSET_TEXT => zset(reader, Reader::text_score),
        types::ZSET => zset(reader, |reader| Some(f64::from_le_bytes(reader.chunk()?))),
        types::ZSET_ZIPLIST => packed_zset(&ziplist::parse(&reader.string()?)?),
        types::ZSET_LISTPACK => packed_zset(&listpack::parse(&reader.string()?)?),
        _ => None,
    }
}

/// Strings, after their number.
fn strings<'p>(reader: &mut Reader<'p>) -> Option<Elements<'p>> {
    // No room is made for a number that the payload only claims.
    (0..reader.length()?).map(|_| reader.string()).collect()
}

fn list(elements: &Elements<'_>) -> Value {
    let list: List = elements.iter().map(|element| Blob::new(element)).collect();
    list.into()
}

fn quicklist<'p>(
    reader: &mut Reader<'p>,
    node: impl Fn(&mut Reader<'p>, &mut Vec<Blob>) -> Option<()>,
) -> Option<Value> {
    let mut elements = Vec::new();
    for _ in 0..reader.length()? {
        node(reader, &mut elements)?;
    }
    let list: List = elements.into_iter().collect();
    Some(list.into())
}

/// Adds the elements of a node; an empty one is malformed.
fn append(to: &mut Vec<Blob>, elements: &Elements<'_>) -> Option<()> {
    to.extend(elements.iter().map(|element| Blob::new(element)));
    (!elements.is_empty()).then_some(())
}

fn set(members: &Elements<'_>) -> Option<Value> {
    let mut set = Set::default();
    let distinct = members.iter().all(|member| set.insert(member, ()));
    distinct.then(|| set.into())
}

fn intset(bytes: &[u8]) -> Option<Elements<'static>> {
    let (width, rest) = bytes.split_first_chunk()?;
    let (count, members) = rest.split_first_chunk()?;
    let width = u32::from_le_bytes(*width) as usize;
    let count = u32::from_le_bytes(*count) as usize;
    if !matches!(width, 2 | 4 | 8) || count.checked_mul(width)? != members.len() {
        return None;
    }
    let number = |bytes: &[u8]| -> i64 {
        let sign = if bytes[width - 1] & 0x80 == 0 {
            0
        } else {
            0xff
        };
        let mut wide = [sign; 8];
        wide[..width].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    };
    let numbers: Vec<i64> = members.chunks_exact(width).map(number).collect();
    let sorted = numbers.is_sorted_by(|left, right| left < right);
    sorted.then(|| numbers.into_iter().map(listpack::integer).collect())
}

fn hash<'p>(
    reader: &mut Reader<'p>,
    deadline: impl Fn(&mut Reader<'p>) -> Option<Deadline>,
    now: i64,
) -> Option<Value> {
    let mut hash = Hash::default();
    for _ in 0..reader.length()? {
        let field = reader.string()?;
        let value = reader.string()?;
        if !hash.insert(&field, Blob::new(&value)) {
            return None;
        }
        hash.set_deadline(&field, deadline(reader)?);
    }
    // All are read first, so that a field that occurs twice is found.
    for field in hash.expired(now) {
        hash.remove(&field);
    }
    Some(hash.into())
}

fn packed_hash(elements: &Elements<'_>) -> Option<Value> {
    let (pairs, rest) = elements.as_chunks::<2>();
    let mut hash = Hash::default();
    let distinct = pairs
        .iter()
        .all(|[field, value]| hash.insert(field, Blob::new(value)));
    (distinct && rest.is_empty()).then(|| hash.into())
}

fn zset<'p>(
    reader: &mut Reader<'p>,
    score: impl Fn(&mut Reader<'p>) -> Option<f64>,
) -> Option<Value> {
    let mut zset = Zset::default();
    for _ in 0..reader.length()? {
        let member = reader.string()?;
        let score = score(reader)?;
        if score.is_nan() || zset.insert(&member, score).is_some() {
            return None;
        }
    }
    Some(zset.into())
}

fn packed_zset(elements: &Elements<'_>) -> Option<Value> {
    let (pairs, rest) = elements.as_chunks::<2>();
    let mut zset = Zset::default();
    let distinct = pairs.iter().all(|[member, score]| {
        parse_double(score).is_some_and(|score| zset.insert(member, score).is_none())
    });
    (distinct && rest.is_empty()).then(|| zset.into())
}

#[cfg(test)]
mod tests {
    use super::super::crc64::crc64;
    use super::super::{FOOTER_LEN, dump};
    use super::{RestoreError, restore};

    const NOW: i64 = 1_700_000_000_000;
    const DECOMPRESSED_MAX: usize = 1 << 20;

    /// Values of each type in each form that Valkey 9.1 writes.
    fn payloads() -> Vec<Vec<u8>> {
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        };
        include_str!("../../tests/all/differential/payloads.txt")
            .lines()
            .map(|line| line.as_bytes().chunks(2).map(byte).collect())
            .collect()
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut payload = content.to_vec();
        payload.extend(80_u16.to_le_bytes());
        let checksum = crc64(&payload);
        payload.extend(checksum.to_le_bytes());
        payload
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        for payload in payloads() {
            let value = restore(&payload, NOW, DECOMPRESSED_MAX).expect("it is of Valkey");
            let again = restore(&dump(&value), NOW, DECOMPRESSED_MAX).expect("it is our own");
            assert_eq!(dump(&again), dump(&value), "{}", payload.escape_ascii());
        }
    }

    #[test]
    fn damaged_content_under_a_right_checksum_does_no_harm() {
        let payloads = payloads();
        let inputs = std::env::var("FERRITE_FUZZ_INPUTS").map_or(100_000, |text| {
            text.parse().expect("FERRITE_FUZZ_INPUTS is a number")
        });
        let mut random = fastrand::Rng::with_seed(11);
        let mut accepted = 0;
        for _ in 0..inputs {
            let payload = &payloads[random.usize(..payloads.len())];
            let mut content = payload[..payload.len() - FOOTER_LEN].to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..content.len());
                match random.u8(..4) {
                    0 => content[at] = random.u8(..),
                    1 => content[at] ^= 1 << random.u8(..8),
                    2 => content.truncate(at.max(1)),
                    _ => content.insert(at, random.u8(..)),
                }
            }
            if let Ok(value) = restore(&sealed(&content), NOW, DECOMPRESSED_MAX) {
                accepted += 1;
                let again = restore(&dump(&value), NOW, DECOMPRESSED_MAX);
                assert!(again.is_ok(), "{}", content.escape_ascii());
            }
        }
        assert!(accepted > inputs / 100, "only {accepted} were accepted");
    }

    #[test]
    fn what_a_payload_only_claims_is_not_believed() {
        let huge = [0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        for kind in 0..=30 {
            let mut content = vec![kind];
            content.extend(huge);
            assert_eq!(
                restore(&sealed(&content), NOW, DECOMPRESSED_MAX).err(),
                Some(RestoreError::Content),
                "type {kind}"
            );
        }
        // A compressed string of 2^30 bytes, from three.
        let bomb = b"\x00\xc3\x03\x80\x40\x00\x00\x00\x00\xe0\xff\x00";
        assert!(restore(&sealed(bomb), NOW, usize::MAX).is_err());
        for empty in [&b"\x02\x00"[..], b"\x04\x00", b"\x05\x00", b"\x12\x00"] {
            assert!(restore(&sealed(empty), NOW, DECOMPRESSED_MAX).is_err());
        }
        // Twice the same member, and a score that is no number.
        for wrong in [
            &b"\x02\x02\x01a\x01a"[..],
            b"\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x7f",
        ] {
            assert!(restore(&sealed(wrong), NOW, DECOMPRESSED_MAX).is_err());
        }
    }

    #[test]
    fn footers_are_checked() {
        let payload = sealed(b"\x00\x02ab");
        assert!(restore(&payload, NOW, DECOMPRESSED_MAX).is_ok());
        for at in 0..payload.len() {
            let mut wrong = payload.clone();
            wrong[at] ^= 1;
            let error = restore(&wrong, NOW, DECOMPRESSED_MAX).err();
            assert_eq!(error, Some(RestoreError::Footer), "byte {at}");
        }
        for len in 0..=FOOTER_LEN {
            assert!(restore(&payload[..len], NOW, DECOMPRESSED_MAX).is_err());
        }
    }
}
