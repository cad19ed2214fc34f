//! Encodes effects as a batch of the storage engine.

use std::ops::Range;

use super::disk::Disk;
use super::garbage::{Garbage, INLINE_LEN_MAX};
use super::pending::{Encoded, Map, Pending};
use super::record::{self, Draft};
use crate::keyspace::effect::{Effect, FIELD_DEADLINE};
use crate::keyspace::shard::DATABASES;
use crate::value::Value;
use crate::value::deadline::Deadline;

/// The space on disk of each database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spaces {
    pub(super) of: [u32; DATABASES],
    pub(super) next: u32,
}

impl Default for Spaces {
    fn default() -> Self {
        // Database numbers fit into 32 bits.
        Self {
            of: std::array::from_fn(|database| database as u32),
            next: DATABASES as u32,
        }
    }
}

impl Spaces {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.of
            .iter()
            .chain([&self.next])
            .flat_map(|space| space.to_be_bytes())
            .collect()
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (spaces, rest) = bytes.as_chunks::<4>();
        let (next, of) = spaces.split_last()?;
        let of: [[u8; 4]; DATABASES] = of.try_into().ok()?;
        rest.is_empty().then(|| Self {
            of: of.map(u32::from_be_bytes),
            next: u32::from_be_bytes(*next),
        })
    }
}

/// A batch under construction, whose commits become durable together.
pub(super) struct Encoder<'w> {
    spaces: &'w mut Spaces,
    garbage: &'w mut Garbage,
    pending: &'w mut Pending,
    draft: Draft,
    spaces_changed: bool,
}

impl<'w> Encoder<'w> {
    /// Begins a batch.
    pub(super) fn new(
        spaces: &'w mut Spaces,
        garbage: &'w mut Garbage,
        pending: &'w mut Pending,
    ) -> Self {
        pending.begin();
        Self {
            spaces,
            garbage,
            pending,
            draft: Draft::default(),
            spaces_changed: false,
        }
    }

    pub(super) fn add(&mut self, effect: &Effect) {
        match effect {
            Effect::Put {
                database,
                key,
                value,
                deadline,
            } => {
                self.describe(*database, key, value, *deadline);
                let (id, kind) = (value.id(), value.kind());
                if value.records_len() > 0 {
                    for (name, value) in record::elements(value) {
                        self.element(id, kind, &name, &value);
                    }
                    for (field, millis) in record::field_deadlines(value) {
                        self.element(id, FIELD_DEADLINE, field, &millis);
                    }
                }
            }
            Effect::Describe {
                database,
                key,
                value,
                deadline,
            } => {
                self.describe(*database, key, value, *deadline);
            }
            Effect::Remove { database, key, old } => {
                self.draft.key(self.spaces.of[*database as usize], key);
                self.pending.remove(Map::Keys, &self.draft);
                self.discard(old);
            }
            Effect::Discard { old } => self.discard(old),
            Effect::Field {
                id,
                kind,
                field,
                value,
            } => self.element(*id, *kind, field, value),
            Effect::FieldGone { id, kind, field } => self.element_gone(*id, *kind, field),
            Effect::Element {
                id,
                position,
                value,
            } => {
                self.draft.position(*id, *position);
                self.draft.value.extend_from_slice(value);
                self.pending.put(Map::Elements, &self.draft);
            }
            Effect::ElementGone { id, position } => {
                self.draft.position(*id, *position);
                self.pending.remove(Map::Elements, &self.draft);
            }
            Effect::ListEdit { id, number, edit } => {
                self.draft.list_edit(*id, *number, edit);
                self.pending.put(Map::Elements, &self.draft);
            }
            Effect::Page { id, number, bytes } => {
                self.draft.page(*id, *number);
                self.draft.value.extend_from_slice(bytes);
                self.pending.put(Map::Elements, &self.draft);
            }
            Effect::Abandon { id } => self.garbage.collection(*id),
            Effect::Clear { database } => {
                let space = &mut self.spaces.of[*database as usize];
                self.garbage.space(*space);
                *space = self.spaces.next;
                self.spaces.next += 1;
                self.spaces_changed = true;
            }
            Effect::Swap {
                databases: [left, right],
            } => {
                self.spaces.of.swap(*left as usize, *right as usize);
                self.spaces_changed = true;
            }
            Effect::Record { name, value } => {
                self.draft.key(record::RECORDS, name);
                self.draft.describe(&Value::text(value), Deadline::NEVER);
                self.pending.put(Map::Keys, &self.draft);
            }
            Effect::RecordGone { name } => {
                self.draft.key(record::RECORDS, name);
                self.pending.remove(Map::Keys, &self.draft);
            }
        }
    }

    fn describe(&mut self, database: u32, key: &[u8], value: &Value, deadline: Deadline) {
        self.draft.key(self.spaces.of[database as usize], key);
        self.draft.describe(value, deadline);
        self.pending.put(Map::Keys, &self.draft);
    }

    fn element(&mut self, id: u64, kind: u8, name: &[u8], value: &[u8]) {
        self.draft.element(id, kind, name);
        self.draft.value.extend_from_slice(value);
        self.pending.put(Map::Elements, &self.draft);
    }

    fn element_gone(&mut self, id: u64, kind: u8, name: &[u8]) {
        self.draft.element(id, kind, name);
        self.pending.remove(Map::Elements, &self.draft);
    }

    /// Removes the elements of a collection that no key holds any more, or the pages of a string: few
    /// at once, many later.
    fn discard(&mut self, old: &Value) {
        let (id, kind) = (old.id(), old.kind());
        match old.records_len() {
            0 => {}
            1..=INLINE_LEN_MAX => {
                for (name, _) in record::elements(old) {
                    self.element_gone(id, kind, &name);
                }
                for (field, _) in record::field_deadlines(old) {
                    self.element_gone(id, FIELD_DEADLINE, field);
                }
            }
            _ => self.garbage.collection(id),
        }
    }

    /// The batch, with the numbers of the last commit before it and of its own last one. It goes into the maps, with
    /// everything before it, if `now`.
    pub(super) fn finish(self, disk: &Disk, commits: Range<u64>, now: bool) -> Encoded {
        let spaces = self.spaces_changed.then(|| self.spaces.to_bytes());
        self.pending.finish(disk, commits, spaces, now)
    }
}
