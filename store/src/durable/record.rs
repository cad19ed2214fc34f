//! The record format on disk, version 1.
//!
//! Three maps of the engine, all integers big-endian unless said otherwise:
//!
//! - `keys`: space (u32), name → type (u8), deadline in milliseconds (i64, little-endian; the
//!   lowest is none), then a string's bytes or a collection's id (u64). A space is the present
//!   content of one database: flushing gives the database a new space, swapping swaps them. The
//!   highest space holds the records of the host, as strings without a deadline.
//! - `elements`: id (u64), type (u8), name → a hash field's value; nothing for a set's member; a
//!   sorted set's score (f64, little-endian); a list's element, whose name is its position (i64
//!   sorted set's score (f64, little-endian); a list's element, whose name is its position (i64
//!   with the sign bit inverted, so that it sorts). With the type 7, the deadline of a hash's field in
//!   milliseconds (i64, little-endian).
//!   database and the next free one (u32 each).
//!
//! A name is a byte 0 and the bytes themselves, or, above [`NAME_LEN_MAX`], a byte 1 and their
//! blake3; then the value begins with their length (u32) and the bytes.

use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::{Hash, Value};

pub(super) const FORMAT: &str = "ferrite-store 1";

/// The space of the host's records, which no database ever gets.
pub(super) const RECORDS: u32 = u32::MAX;

/// Longest name that is part of a key on disk; the engine takes 64 KiB.
const NAME_LEN_MAX: usize = 32 << 10;

/// Types as [`Value::kind`] numbers them.
pub(super) const TEXT: u8 = 0;
pub(super) const LIST: u8 = 1;
pub(super) const HASH: u8 = 2;
pub(super) const SET: u8 = 3;
pub(super) const ZSET: u8 = 4;

/// A key and the beginning of its value.
pub(super) struct Named {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

fn named(prefix: &[u8], name: &[u8]) -> Named {
    let mut key = Vec::with_capacity(prefix.len() + 1 + name.len().min(NAME_LEN_MAX));
    key.extend_from_slice(prefix);
    if name.len() <= NAME_LEN_MAX {
        key.push(0);
        key.extend_from_slice(name);
        return Named {
            key,
            value: Vec::new(),
        };
    }
    key.push(1);
    key.extend_from_slice(blake3::hash(name).as_bytes());
    let mut value = Vec::with_capacity(4 + name.len());
    // Names are bounded by the length of a request's argument, 512 MB.
    value.extend_from_slice(&(name.len() as u32).to_be_bytes());
    value.extend_from_slice(name);
    Named { key, value }
}

/// Splits a stored key after its prefix: returns the name, and the rest of the value.
pub(super) fn name<'r>(rest_of_key: &'r [u8], value: &'r [u8]) -> Option<(&'r [u8], &'r [u8])> {
    match rest_of_key.split_first()? {
        (0, name) => Some((name, value)),
        (1, _) => {
            let (len, rest) = value.split_first_chunk()?;
            rest.split_at_checked(u32::from_be_bytes(*len) as usize)
        }
        _ => None,
    }
}

pub(super) fn key(space: u32, name: &[u8]) -> Named {
    named(&space.to_be_bytes(), name)
}

pub(super) fn element_prefix(id: u64, kind: u8) -> [u8; 9] {
    let mut prefix = [0; 9];
    prefix[..8].copy_from_slice(&id.to_be_bytes());
    prefix[8] = kind;
    prefix
}

pub(super) fn element(id: u64, kind: u8, name: &[u8]) -> Named {
    named(&element_prefix(id, kind), name)
}

pub(super) fn position(id: u64, position: i64) -> Vec<u8> {
    element(id, LIST, &(position ^ i64::MIN).to_be_bytes()).key
}

pub(super) fn parse_position(name: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(name.try_into().ok()?) ^ i64::MIN)
}

/// Appends the record of a key in the map `keys`.
pub(super) fn describe(into: &mut Vec<u8>, value: &Value, deadline: Deadline) {
    into.push(value.kind());
    into.extend_from_slice(&deadline.millis().unwrap_or(i64::MIN).to_le_bytes());
    match value {
        Value::Text(text) => into.extend_from_slice(text.as_slice()),
        collection => into.extend_from_slice(&collection.id().to_be_bytes()),
    }
}

/// A record of the map `keys`.
pub(super) enum Described {
    Text(Value),
    Collection { kind: u8, id: u64 },
}

pub(super) fn parse_description(bytes: &[u8]) -> Option<(Described, Deadline)> {
    let (kind, rest) = bytes.split_first()?;
    let (deadline, rest) = rest.split_first_chunk()?;
    let deadline = match i64::from_le_bytes(*deadline) {
        i64::MIN => Deadline::NEVER,
        millis => Deadline::at(millis),
    };
    let described = match *kind {
        TEXT => Described::Text(Value::text(rest)),
        kind @ (LIST | HASH | SET | ZSET) => Described::Collection {
            kind,
            id: u64::from_be_bytes(rest.try_into().ok()?),
        },
        _ => return None,
    };
    Some((described, deadline))
}

/// The fields of a hash that have a deadline, with the deadline as it is written.
pub(super) fn field_deadlines(value: &Value) -> impl Iterator<Item = (&Blob, [u8; 8])> {
    let hash = match value {
        Value::Hash(hash) => Some(&hash.data),
        Value::Text(_) | Value::List(_) | Value::Set(_) | Value::Zset(_) => None,
    };
    hash.into_iter()
        .flat_map(Hash::deadlines)
        .filter_map(|(field, deadline)| Some((field, deadline.millis()?.to_le_bytes())))
}

/// The elements of a collection as names and values.
pub(super) fn elements(value: &Value) -> Box<dyn Iterator<Item = (Blob, Blob)> + '_> {
    match value {
        Value::Text(_) => Box::new(std::iter::empty()),
        Value::List(list) => {
            let positions = list.data.first..;
            Box::new(list.data.iter().zip(positions).map(|(element, position)| {
                (
                    Blob::new(&(position ^ i64::MIN).to_be_bytes()),
                    element.clone(),
                )
            }))
        }
        Value::Hash(hash) => Box::new(
            hash.data
                .iter()
                .map(|(field, value)| (field.clone(), value.clone())),
        ),
        Value::Set(set) => Box::new(
            set.data
                .iter()
                .map(|(member, ())| (member.clone(), Blob::default())),
        ),
        Value::Zset(zset) => Box::new(
            zset.data
                .iter()
                .map(|(member, score)| (member.clone(), Blob::new(&score.to_le_bytes()))),
        ),
    }
}
