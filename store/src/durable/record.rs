//! The record format on disk, version 1.2.
//!
//! Four maps of the engine, all integers big-endian unless said otherwise:
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
//! - `meta`: `format`, `commit` (the numbers of the last commit, of the last one before its batch, and of the last one
//!   whose changes are no longer in the log, u64 each; version 1 has the first alone, and 1.1 the first two) and `spaces`: the space of each database and the next free one (u32 each).
//! - `log`, since version 1.2: the number of the last commit of a batch (u64) → changes that the maps `keys` and
//!   `elements` do not have yet, of each record the last. A change is a byte, the length of a key (u32) and the key, and for a
//!   record that is put the length of its value (u32) and the value. The lowest bit of the byte says that the
//!   record is removed, the next one that it is of the map `elements`. The changes of the log are later than what the
//!   maps have.
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

pub(super) const FORMAT: &str = "ferrite-store 1.2";

/// The formats before, which are read. The second has no log, and batches of the first do not say which commit comes
/// before them.
pub(super) const FORMATS_BEFORE: [&str; 2] = ["ferrite-store 1", "ferrite-store 1.1"];

/// Name of the record with the numbers of commits.
pub(super) const COMMIT: &str = "commit";

/// Name of the record with the space of each database.
pub(super) const SPACES: &str = "spaces";

/// The numbers of commits that a batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommitNumbers {
    /// The last commit before this batch; `None` if a version wrote it that did not say.
    pub(super) previous: Option<u64>,
    /// The last commit of this batch.
    pub(super) last: u64,
    /// The last commit whose changes are in the maps and no longer in the log; `None` if a version wrote it that had
    /// no log.
    pub(super) settled: Option<u64>,
}

impl CommitNumbers {
    /// Most bytes of the numbers.
    pub(super) const LEN: usize = 24;

    /// The claim of a batch without commits: up to this one, all is there, and in the maps.
    pub(super) fn none_after(last: u64) -> Self {
        Self {
            previous: Some(last),
            last,
            settled: Some(last),
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        // None of a later version without that of an earlier one.
        [Some(self.last), self.previous, self.settled]
            .into_iter()
            .map_while(|number| number)
            .flat_map(u64::to_be_bytes)
            .collect()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_be_bytes(*number));
        let parsed = Self {
            last: numbers.next()?,
            previous: numbers.next(),
            settled: numbers.next(),
        };
        (rest.is_empty() && numbers.next().is_none()).then_some(parsed)
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

/// A record under construction, used for one after the other: its memory stays.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) key: Vec<u8>,
    /// Begins with the name if the key has only the name's digest.
    pub(super) value: Vec<u8>,
}

impl Draft {
    fn begin(&mut self, prefix: &[u8], name: &[u8]) {
        self.key.clear();
        self.value.clear();
        self.key.extend_from_slice(prefix);
        if name.len() <= NAME_LEN_MAX {
            self.key.push(0);
            self.key.extend_from_slice(name);
        } else {
            self.key.push(1);
            self.key.extend_from_slice(blake3::hash(name).as_bytes());
            // Names are bounded by the length of a request's argument, 512 MB.
            self.value
                .extend_from_slice(&(name.len() as u32).to_be_bytes());
            self.value.extend_from_slice(name);
        }
    }

    /// Begins the record of a key in the map `keys`.
    pub(super) fn key(&mut self, space: u32, name: &[u8]) {
        self.begin(&space.to_be_bytes(), name);
    }

    /// Begins the record of an element, in the map `elements`.
    pub(super) fn element(&mut self, id: u64, kind: u8, name: &[u8]) {
        self.begin(&element_prefix(id, kind), name);
    }

    /// Begins the record of a list's element.
    pub(super) fn position(&mut self, id: u64, position: i64) {
        self.element(id, LIST, &position_name(position));
    }

    /// Begins the record of a string's page.
    pub(super) fn page(&mut self, id: u64, number: usize) {
        self.element(id, PAGED_TEXT, &page_name(number));
    }

    /// Writes the record of a list's edit.
    pub(super) fn list_edit(&mut self, id: u64, number: u64, edit: &ListEdit) {
        self.element(id, LIST_EDIT, &number.to_be_bytes());
        let (action, first, second, element): (u8, usize, usize, &[u8]) = match edit {
            ListEdit::Insert { index, element } => (0, *index, 0, element),
            ListEdit::Set { index, element } => (1, *index, 0, element),
            ListEdit::Remove { index } => (2, *index, 0, &[]),
            ListEdit::Keep { start, end } => (3, *start, *end, &[]),
        };
        self.value.push(action);
        self.value.extend_from_slice(&(first as u64).to_be_bytes());
        self.value.extend_from_slice(&(second as u64).to_be_bytes());
        self.value.extend_from_slice(element);
    }

    /// Writes what a key of the map `keys` holds.
    pub(super) fn describe(&mut self, value: &Value, deadline: Deadline) {
        self.value.push(value.kind());
        self.value
            .extend_from_slice(&deadline.millis().unwrap_or(i64::MIN).to_le_bytes());
        match value {
            Value::Text(text) if text.id() == 0 => self.value.extend_from_slice(text.as_slice()),
            collection => self.value.extend_from_slice(&collection.id().to_be_bytes()),
        }
    }
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

pub(super) fn element_prefix(id: u64, kind: u8) -> [u8; 9] {
    let mut prefix = [0; 9];
    prefix[..8].copy_from_slice(&id.to_be_bytes());
    prefix[8] = kind;
    prefix
}

/// Names of positions sort as the positions do.
fn position_name(position: i64) -> [u8; 8] {
    (position ^ i64::MIN).to_be_bytes()
}

pub(super) fn parse_position(name: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(name.try_into().ok()?) ^ i64::MIN)
}

/// Strings are bounded by 512 MB, so their pages can be numbered with 32 bits.
fn page_name(number: usize) -> [u8; 4] {
    (number as u32).to_be_bytes()
}

pub(super) fn parse_page(name: &[u8]) -> Option<usize> {
    Some(u32::from_be_bytes(name.try_into().ok()?) as usize)
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
            Box::new(
                list.data.iter().zip(positions).map(|(element, position)| {
                    (Blob::new(&position_name(position)), element.clone())
                }),
            )
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
