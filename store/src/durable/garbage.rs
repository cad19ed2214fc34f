//! Removes from the disk, in small steps, data that no key holds any more.
//!
//! Removing a large collection or flushing a database writes one record; this removes the rest,
//! between commits. The next start finds the garbage that a crash leaves behind.

use std::collections::VecDeque;

use fjall::Result;

use super::disk::Disk;
use super::record::{self, Described};

/// Most elements of a collection that are removed together with it.
pub(super) const INLINE_LEN_MAX: usize = 128;
/// Most records to remove in one step.
const CHUNK_LEN_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Garbage {
    spaces: VecDeque<u32>,
    collections: VecDeque<u64>,
}

impl Garbage {
    pub(super) fn space(&mut self, space: u32) {
        self.spaces.push_back(space);
    }

    pub(super) fn collection(&mut self, id: u64) {
        self.collections.push_back(id);
    }

    pub(super) fn append(&mut self, mut more: Self) {
        self.spaces.append(&mut more.spaces);
        self.collections.append(&mut more.collections);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spaces.is_empty() && self.collections.is_empty()
    }

    /// Removes one step's worth of garbage.
    pub(super) fn clear_some(&mut self, disk: &Disk) -> Result<()> {
        let mut batch = disk.database.batch();
        if let Some(id) = self.collections.front() {
            // From the last to the first: what a crash leaves can then be read like any collection.
            let records = disk.elements.prefix(id.to_be_bytes()).rev();
            for record in records.take(CHUNK_LEN_MAX) {
                batch.remove(&disk.elements, record.key()?);
            }
            if batch.len() < CHUNK_LEN_MAX {
                self.collections.pop_front();
            }
        } else if let Some(space) = self.spaces.front() {
            for record in disk.keys.prefix(space.to_be_bytes()).take(CHUNK_LEN_MAX) {
                let (key, value) = record.into_inner()?;
                let description = record::name(&key[4..], &value)
                    .and_then(|(_, description)| record::parse_description(description));
                if let Some((Described::Collection { id, .. }, _)) = description {
                    self.collections.push_back(id);
                }
                batch.remove(&disk.keys, key);
            }
            if batch.len() < CHUNK_LEN_MAX {
                self.spaces.pop_front();
            }
        }
        batch.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::Garbage;
    use crate::durable::disk::Disk;
    use crate::durable::encode::{Encoder, Spaces};
    use crate::durable::pending::Pending;
    use crate::durable::{DiskOptions, open};
    use crate::keyspace::effect::Effect;
    use crate::value::blob::Blob;
    use crate::value::deadline::Deadline;
    use crate::value::list::{List, ListEdit};
    use crate::value::{Hash, Value};

    #[test]
    fn a_collection_that_is_half_removed_can_be_read() {
        let mut hash = Hash::default();
        for field in 0..1_500_u32 {
            let field = field.to_le_bytes();
            hash.insert(&field, Blob::new(b"v"));
            hash.set_deadline(&field, Deadline::at(i64::MAX));
        }
        let list: List = (0..1_500).map(|_| Blob::new(b"e")).collect();
        let mut text = Value::text(&vec![b'x'; 3 << 20]);
        text.write_anew();
        for value in [hash.into(), list.into(), text] {
            for steps in 1..6 {
                let folder = tempfile::tempdir().expect("a temporary directory");
                let disk = Disk::open(folder.path()).expect("an empty directory");
                let mut spaces = Spaces::default();
                let mut garbage = Garbage::default();
                let mut pending = Pending::default();
                let mut encoder = Encoder::new(&mut spaces, &mut garbage, &mut pending);
                encoder.add(&Effect::Put {
                    database: 0,
                    key: Blob::new(b"key"),
                    value: Value::clone(&value),
                    deadline: Deadline::NEVER,
                });
                for number in 0..1_200 {
                    if matches!(value, Value::List(_)) {
                        encoder.add(&Effect::ListEdit {
                            id: value.id(),
                            number,
                            edit: ListEdit::Remove { index: 7 },
                        });
                    }
                }
                encoder.add(&Effect::Remove {
                    database: 0,
                    key: Blob::new(b"key"),
                    old: value.clone(),
                });
                encoder
                    .finish(&disk, 0..1, true)
                    .batch
                    .commit()
                    .expect("written");
                assert!(!garbage.is_empty());
                for _ in 0..steps {
                    garbage.clear_some(&disk).expect("removed");
                }
                drop(disk);
                let opened = open(DiskOptions::new(folder.path()));
                assert!(opened.is_ok(), "{} after {steps} steps", value.type_name());
            }
        }
    }
}
