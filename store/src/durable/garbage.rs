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
            for record in disk.elements.prefix(id.to_be_bytes()).take(CHUNK_LEN_MAX) {
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
