//! The record format on disk, version 1.1.
//!
//! Three maps of the engine, all integers big-endian unless said otherwise:
//!
//! - `keys`: space (u32), name → type (u8), deadline in milliseconds (i64, little-endian; the
//!   lowest is none), then a string's bytes or the id (u64) of a collection or of a string in pages.
//!   A space is the present content of one database: flushing gives the database a new space,
//!   swapping swaps them. The highest space holds the records of the host, as strings without a
//!   deadline.
//! - `elements`: id (u64), type (u8), name → a hash field's value; nothing for a set's member; a
//!   sorted set's score (f64, little-endian); a list's element, whose name is its position (i64
//!   with the sign bit inverted, so that it sorts). With the type 5, the bytes of a string's page,
//!   whose name is its number (u32); every page but the last is full. With the type 6, an edit of a
//!   list, whose name is its number (u64): the edits, in order, are made to the list's elements. With
//!   the type 7, the deadline of a hash's field in milliseconds (i64, little-endian).
//! - `meta`: `format`, `commit` (the number of the last commit and of the last one before its batch, u64 each;
//!   version 1 has the first alone) and `spaces`: the space of each database and the next free one (u32 each).
//!
//! An edit of a list is a byte and two integers (u64): 0 inserts the rest of the bytes as an element
//! before the index, 1 replaces the element at the index by them, 2 removes it, and 3 keeps only the
//! elements from the first integer on and before the second. The second integer of the others is 0.
//!
//! A name is a byte 0 and the bytes themselves, or, above [`NAME_LEN_MAX`], a byte 1 and their
//! blake3; then the value begins with their length (u32) and the bytes.

use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::list::ListEdit;
use crate::value::{Hash, PAGED_TEXT, Value};

pub(super) const FORMAT: &str = "ferrite-store 1.1";

/// The format before, which is read. Its batches do not say which commit comes before them.
pub(super) const FORMAT_1: &str = "ferrite-store 1";

/// Name of the record with the numbers of commits.
pub(super) const COMMIT: &str = "commit";

/// The numbers of commits that a batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommitNumbers {
    /// The last commit before this batch; `None` if a version wrote it that did not say.
    pub(super) previous: Option<u64>,
    /// The last commit of this batch.
    pub(super) last: u64,
}

impl CommitNumbers {
    /// Bytes of both numbers.
    pub(super) const LEN: usize = 16;

    /// The claim of a batch without commits, or of the first batch of a copy: up to this one, all is there.
    pub(super) fn none_after(last: u64) -> Self {
        Self {
            previous: Some(last),
            last,
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let previous = self.previous.map(u64::to_be_bytes);
        [Some(self.last.to_be_bytes()), previous]
            .into_iter()
            .flatten()
            .flatten()
            .collect()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (last, rest) = bytes.split_first_chunk()?;
        let previous = match rest {
            [] => None,
            rest => Some(u64::from_be_bytes(rest.try_into().ok()?)),
        };
        Some(Self {
            previous,
            last: u64::from_be_bytes(*last),
        })
    }
}

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
/// Stands for the edits of a list in the place of a type.
pub(super) const LIST_EDIT: u8 = 6;

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

pub(super) fn page(id: u64, number: usize) -> Vec<u8> {
    element(id, PAGED_TEXT, &page_name(number)).key
}

/// Strings are bounded by 512 MB, so their pages can be numbered with 32 bits.
fn page_name(number: usize) -> [u8; 4] {
    (number as u32).to_be_bytes()
}

pub(super) fn parse_page(name: &[u8]) -> Option<usize> {
    Some(u32::from_be_bytes(name.try_into().ok()?) as usize)
}

pub(super) fn list_edit_key(id: u64, number: u64) -> Vec<u8> {
    element(id, LIST_EDIT, &number.to_be_bytes()).key
}

pub(super) fn list_edit(edit: &ListEdit) -> Vec<u8> {
    let (action, first, second, element): (u8, usize, usize, &[u8]) = match edit {
        ListEdit::Insert { index, element } => (0, *index, 0, element),
        ListEdit::Set { index, element } => (1, *index, 0, element),
        ListEdit::Remove { index } => (2, *index, 0, &[]),
        ListEdit::Keep { start, end } => (3, *start, *end, &[]),
    };
    let mut bytes = Vec::with_capacity(17 + element.len());
    bytes.push(action);
    bytes.extend_from_slice(&(first as u64).to_be_bytes());
    bytes.extend_from_slice(&(second as u64).to_be_bytes());
    bytes.extend_from_slice(element);
    bytes
}

pub(super) fn parse_list_edit(bytes: &[u8]) -> Option<ListEdit> {
    let (action, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first_chunk()?;
    let (second, element) = rest.split_first_chunk()?;
    let index = usize::try_from(u64::from_be_bytes(*first)).ok()?;
    let end = usize::try_from(u64::from_be_bytes(*second)).ok()?;
    match (action, end, element) {
        (0, 0, element) => Some(ListEdit::Insert {
            index,
            element: Blob::new(element),
        }),
        (1, 0, element) => Some(ListEdit::Set {
            index,
            element: Blob::new(element),
        }),
        (2, 0, []) => Some(ListEdit::Remove { index }),
        (3, end, []) => Some(ListEdit::Keep { start: index, end }),
        _ => None,
    }
}

/// Appends the record of a key in the map `keys`.
pub(super) fn describe(into: &mut Vec<u8>, value: &Value, deadline: Deadline) {
    into.push(value.kind());
    into.extend_from_slice(&deadline.millis().unwrap_or(i64::MIN).to_le_bytes());
    match value {
        Value::Text(text) if text.id() == 0 => into.extend_from_slice(text.as_slice()),
        collection => into.extend_from_slice(&collection.id().to_be_bytes()),
    }
}

/// A record of the map `keys`.
pub(super) enum Described {
    Text(Value),
    /// A collection, or a string in pages.
    Collection {
        kind: u8,
        id: u64,
    },
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
        kind @ (LIST | HASH | SET | ZSET | PAGED_TEXT) => Described::Collection {
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

/// The elements of a collection, or the pages of a string, as names and values.
pub(super) fn elements(value: &Value) -> Box<dyn Iterator<Item = (Blob, Blob)> + '_> {
    match value {
        Value::Text(text) => Box::new(
            text.pages()
                .enumerate()
                .map(|(number, bytes)| (Blob::new(&page_name(number)), Blob::new(bytes))),
        ),
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
