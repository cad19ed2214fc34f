//! Encodes effects as a batch of the storage engine.

use std::collections::HashMap;

use fjall::OwnedWriteBatch as WriteBatch;

use super::disk::Disk;
use super::garbage::{Garbage, INLINE_LEN_MAX};
use super::record::{self, COMMIT, CommitNumbers};
use crate::keyspace::effect::{Effect, FIELD_DEADLINE};
use crate::keyspace::shard::DATABASES;
use crate::value::Value;

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

/// New value of each record that a batch writes; none if it removes the record.
type Changes = HashMap<Vec<u8>, Option<Vec<u8>>, foldhash::fast::RandomState>;

/// A batch under construction. Of several changes to one record it writes only the last: all
/// commits of a batch become durable together.
pub(super) struct Encoder<'w> {
    spaces: &'w mut Spaces,
    garbage: &'w mut Garbage,
    keys: Changes,
    elements: Changes,
    spaces_changed: bool,
}

impl<'w> Encoder<'w> {
    pub(super) fn new(spaces: &'w mut Spaces, garbage: &'w mut Garbage) -> Self {
        Self {
            spaces,
            garbage,
            keys: Changes::default(),
            elements: Changes::default(),
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
                for (name, value) in record::elements(value) {
                    self.element(id, kind, &name, &value);
                }
                for (field, millis) in record::field_deadlines(value) {
                    self.element(id, FIELD_DEADLINE, field, &millis);
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
                let named = record::key(self.spaces.of[*database as usize], key);
                self.keys.insert(named.key, None);
                self.discard(old);
            }
            Effect::Discard { old } => self.discard(old),
            Effect::Field {
                id,
                kind,
                field,
                value,
            } => self.element(*id, *kind, field, value),
            Effect::FieldGone { id, kind, field } => {
                self.elements
                    .insert(record::element(*id, *kind, field).key, None);
            }
            Effect::Element {
                id,
                position,
                value,
            } => {
                let key = record::position(*id, *position);
                self.elements.insert(key, Some(value.to_vec()));
            }
            Effect::ElementGone { id, position } => {
                self.elements.insert(record::position(*id, *position), None);
            }
            Effect::ListEdit { id, number, edit } => {
                let key = record::list_edit_key(*id, *number);
                self.elements.insert(key, Some(record::list_edit(edit)));
            }
            Effect::Page { id, number, bytes } => {
                let key = record::page(*id, *number);
                self.elements.insert(key, Some(bytes.to_vec()));
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
                let mut named = record::key(record::RECORDS, name);
                record::describe(
                    &mut named.value,
                    &Value::text(value),
                    crate::value::deadline::Deadline::NEVER,
                );
                self.keys.insert(named.key, Some(named.value));
            }
            Effect::RecordGone { name } => {
                self.keys
                    .insert(record::key(record::RECORDS, name).key, None);
            }
        }
    }

    fn describe(
        &mut self,
        database: u32,
        key: &[u8],
        value: &Value,
        deadline: crate::value::deadline::Deadline,
    ) {
        let mut named = record::key(self.spaces.of[database as usize], key);
        record::describe(&mut named.value, value, deadline);
        self.keys.insert(named.key, Some(named.value));
    }

    fn element(&mut self, id: u64, kind: u8, name: &[u8], value: &[u8]) {
        let mut named = record::element(id, kind, name);
        named.value.extend_from_slice(value);
        self.elements.insert(named.key, Some(named.value));
    }

    /// Removes the elements of a collection that no key holds any more, or the pages of a string: few
    /// at once, many later.
    fn discard(&mut self, old: &Value) {
        let (id, kind) = (old.id(), old.kind());
        if old.records_len() > INLINE_LEN_MAX {
            self.garbage.collection(id);
            return;
        }
        for (name, _) in record::elements(old) {
            self.elements
                .insert(record::element(id, kind, &name).key, None);
        }
        for (field, _) in record::field_deadlines(old) {
            let key = record::element(id, FIELD_DEADLINE, field).key;
            self.elements.insert(key, None);
        }
    }

    /// The batch, with the numbers of its commits.
    pub(super) fn finish(self, disk: &Disk, commits: CommitNumbers) -> WriteBatch {
        let records = self.keys.len() + self.elements.len() + 2;
        let mut batch = WriteBatch::with_capacity(disk.database.clone(), records);
        for (map, changes) in [(&disk.keys, self.keys), (&disk.elements, self.elements)] {
            // Sorted, because the engine's memory inserts neighbours faster.
            let mut changes: Vec<_> = changes.into_iter().collect();
            changes.sort_unstable_by(|left, right| left.0.cmp(&right.0));
            for (key, value) in changes {
                match value {
                    Some(value) => batch.insert(map, key, value),
                    None => batch.remove(map, key),
                }
            }
        }
        if self.spaces_changed {
            batch.insert(&disk.meta, "spaces", self.spaces.to_bytes());
        }
        batch.insert(&disk.meta, COMMIT, commits.to_bytes());
        batch
    }
}
