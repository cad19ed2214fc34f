//! Writes a value as a payload.

use super::crc64::crc64;
use super::listpack::Listpack;
use super::{VERSION, VERSION_OF_DEADLINES, forms, lzf, nodes, types};
use crate::value::zset::Zset;
use crate::value::{Hash, Set, Value};
use ferrite_protocol::number::{format_double, parse_integer};

/// Bytes of a node of a list from which on the next one begins.
const NODE_LEN_MAX: usize = 8 << 10;
/// Strings up to this length are not compressed.
const UNCOMPRESSED_LEN_MAX: usize = 20;
/// Fewest bytes that compression must save.
const SAVING_MIN: usize = 4;
/// Most members of a set of integers in its short form.
const INTSET_LEN_MAX: usize = 512;
/// Most members of a sorted set in its short form, and the longest of them, in bytes.
const PACKED_LEN_MAX: usize = 128;
const PACKED_BYTES_MAX: usize = 64;

/// The payload of a value.
pub(crate) fn dump(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut version = VERSION;
    match value {
        Value::Text(text) => {
            out.push(types::STRING);
            string(&mut out, text.as_slice());
        }
        Value::List(list) => self::list(&mut out, list.data.iter().map(|element| &**element)),
        Value::Hash(body) => {
            let hash = &body.data;
            if !hash.earliest_deadline().is_never() {
                version = VERSION_OF_DEADLINES;
            }
            self::hash(&mut out, hash);
        }
        Value::Set(set) => self::set(&mut out, &set.data),
        Value::Zset(zset) => self::zset(&mut out, &zset.data),
    }
    out.extend(version.to_le_bytes());
    let checksum = crc64(&out);
    out.extend(checksum.to_le_bytes());
    out
}

fn length(out: &mut Vec<u8>, length: usize) {
    // Each branch bounds the number that it cuts.
    match length {
        ..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend((length as u16 | 0x4000).to_be_bytes()),
        0x4000..0x1_0000_0000 => {
            out.push(0x80);
            out.extend((length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let form = |form: u8| 0xc0 | form;
    if let Some(number) = parse_integer(bytes) {
        if let Ok(number) = i8::try_from(number) {
            out.push(form(forms::INT_8));
            return out.extend(number.to_le_bytes());
        }
        if let Ok(number) = i16::try_from(number) {
            out.push(form(forms::INT_16));
            return out.extend(number.to_le_bytes());
        }
        if let Ok(number) = i32::try_from(number) {
            out.push(form(forms::INT_32));
            return out.extend(number.to_le_bytes());
        }
    }
    if bytes.len() > UNCOMPRESSED_LEN_MAX
        && let Some(stream) = lzf::compress(bytes, SAVING_MIN)
    {
        out.push(form(forms::LZF));
        length(out, stream.len());
        length(out, bytes.len());
        return out.extend(stream);
    }
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn list<'l>(out: &mut Vec<u8>, elements: impl Iterator<Item = &'l [u8]>) {
    let mut packs = Vec::new();
    let mut pack = Listpack::new();
    for element in elements {
        if !pack.is_empty() && pack.len() + element.len() > NODE_LEN_MAX {
            packs.push(std::mem::replace(&mut pack, Listpack::new()).finish());
        }
        pack.push(element);
    }
    packs.push(pack.finish());
    out.push(types::LIST_QUICKLIST_2);
    length(out, packs.len());
    for pack in packs {
        length(out, nodes::PACKED as usize);
        string(out, &pack);
    }
}

fn hash(out: &mut Vec<u8>, hash: &Hash) {
    if !hash.earliest_deadline().is_never() {
        out.push(types::HASH_DEADLINES);
        length(out, hash.len());
        for (field, value) in hash.iter() {
            string(out, field);
            string(out, value);
            out.extend(hash.deadline(field).millis().unwrap_or(-1).to_le_bytes());
        }
    } else if hash.is_packed() {
        let mut pack = Listpack::new();
        for (field, value) in hash.iter() {
            pack.push(field);
            pack.push(value);
        }
        out.push(types::HASH_LISTPACK);
        string(out, &pack.finish());
    } else {
        out.push(types::HASH);
        length(out, hash.len());
        for (field, value) in hash.iter() {
            string(out, field);
            string(out, value);
        }
    }
}

fn set(out: &mut Vec<u8>, set: &Set) {
    let integers = (set.len() <= INTSET_LEN_MAX)
        .then(|| {
            set.iter()
                .map(|(member, ())| parse_integer(member))
                .collect()
        })
        .flatten();
    if let Some(integers) = integers {
        out.push(types::SET_INTSET);
        string(out, &intset(integers));
    } else {
        out.push(types::SET);
        length(out, set.len());
        set.iter().for_each(|(member, ())| string(out, member));
    }
}

/// Sorted integers, after their width in bytes and their number (u32 each).
fn intset(mut integers: Vec<i64>) -> Vec<u8> {
    integers.sort_unstable();
    let fits = |min: i64, max: i64| integers.iter().all(|one| (min..=max).contains(one));
    let width = if fits(i16::MIN.into(), i16::MAX.into()) {
        2
    } else if fits(i32::MIN.into(), i32::MAX.into()) {
        4
    } else {
        8
    };
    let mut out = (width as u32).to_le_bytes().to_vec();
    out.extend((integers.len() as u32).to_le_bytes());
    for integer in integers {
        out.extend_from_slice(&integer.to_le_bytes()[..width]);
    }
    out
}

fn zset(out: &mut Vec<u8>, zset: &Zset) {
    let short = |member: &[u8]| member.len() <= PACKED_BYTES_MAX;
    if zset.len() <= PACKED_LEN_MAX && zset.iter().all(|(member, _)| short(member)) {
        let mut pack = Listpack::new();
        for (member, score) in zset.iter() {
            pack.push(member);
            pack.push(format_double(score).as_bytes());
        }
        out.push(types::ZSET_LISTPACK);
        string(out, &pack.finish());
    } else {
        out.push(types::ZSET);
        length(out, zset.len());
        for (member, score) in zset.iter() {
            string(out, member);
            out.extend(score.to_le_bytes());
        }
    }
}
