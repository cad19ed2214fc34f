//! Records of the host: a table of its own beside the databases, in the order of names.
//!
//! No command reaches it. Its changes are part of a commit like those of keys: they take effect, and
//! become durable, together.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::value::blob::Blob;

/// All records by name.
#[derive(Debug, Default)]
pub(crate) struct Records(BTreeMap<Box<[u8]>, Blob>);

/// One change of a record; without a value, the record is removed.
#[derive(Clone, Debug)]
pub(crate) struct RecordChange {
    pub(crate) name: Blob,
    pub(crate) value: Option<Blob>,
}

impl Records {
    pub(crate) fn insert(&mut self, name: &[u8], value: Blob) {
        self.0.insert(name.into(), value);
    }

    /// Makes a change; returns true if it changed anything.
    pub(crate) fn apply(&mut self, change: &RecordChange) -> bool {
        match &change.value {
            Some(value) => {
                self.insert(&change.name, value.clone());
                true
            }
            None => self.0.remove(change.name.as_slice()).is_some(),
        }
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&Blob> {
        self.0.get(name)
    }

    /// The records whose names begin with `prefix` and come after `after`, in order.
    pub(crate) fn after<'r>(
        &'r self,
        prefix: &'r [u8],
        after: &'r [u8],
    ) -> impl Iterator<Item = (&'r [u8], &'r Blob)> {
        let start = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        self.0
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (&**name, value))
    }
}
