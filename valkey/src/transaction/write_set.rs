//! Data that a call has written and not yet committed: the latest state of every key it wrote.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// From this number of keys on, keys are found by a hash table and not by comparing each.
const INDEXED_FROM: usize = 16;

/// A key of a call: by position if its command declared it, or else by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyRef {
    /// The argument at this position.
    Declared(u32),
    /// A key that was not declared.
    Other(Box<[u8]>),
}

/// A change of a key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// The server's expiry stays.
    Keep,
    /// The key never expires.
    Never,
    /// Milliseconds since 1970.
    At(i64),
}

/// A change of a key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The server's value stays; the key exists.
    Same,
    /// The key is deleted.
    Gone,
    /// The new value is this string.
    String(Vec<u8>),
    /// The value is a hash with these fields changed.
    Hash(Fields),
}

/// A field's new value; `None` if the field is deleted.
pub(crate) type FieldValue = Option<Vec<u8>>;

/// Changes of a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// True if the hash is a new one, so that the server's value is deleted first.
    pub(crate) fresh: bool,
    /// Number of fields that the hash has after these changes.
    pub(crate) len: usize,
    /// The changed fields; those without a value are deleted.
    pub(crate) changed: Vec<(Box<[u8]>, FieldValue)>,
}

impl Fields {
    pub(crate) fn get(&self, field: &[u8]) -> Option<Option<&[u8]>> {
        self.changed
            .iter()
            .find(|(name, _)| **name == *field)
            .map(|(_, value)| value.as_deref())
    }

    pub(crate) fn put(&mut self, field: &[u8], value: FieldValue) {
        match self.changed.iter_mut().find(|(name, _)| **name == *field) {
            Some((_, slot)) => *slot = value,
            None => self.changed.push((field.into(), value)),
        }
    }
}

/// A key's state after the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) value: Value,
    pub(crate) expiry: Expiry,
}

impl Change {
    /// Returns true if the key exists after the change.
    pub(crate) fn exists(&self) -> bool {
        match &self.value {
            Value::Gone => false,
            Value::Same | Value::String(_) => true,
            Value::Hash(fields) => fields.len > 0,
        }
    }
}

/// The changes, in the order in which their keys were first touched.
#[derive(Debug, Default)]
pub(crate) struct WriteSet {
    entries: Vec<(KeyRef, Change)>,
    index: Option<HashMap<KeyRef, usize, RandomState>>,
}

impl WriteSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of changes for which memory is allocated.
    pub(crate) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    fn position(&self, key: &KeyRef) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().position(|(known, _)| known == key),
        }
    }

    pub(crate) fn get(&self, key: &KeyRef) -> Option<&Change> {
        self.position(key).map(|at| &self.entries[at].1)
    }

    pub(crate) fn get_mut(&mut self, key: &KeyRef) -> Option<&mut Change> {
        self.position(key).map(|at| &mut self.entries[at].1)
    }

    pub(crate) fn put(&mut self, key: &KeyRef, change: Change) {
        if let Some(at) = self.position(key) {
            self.entries[at].1 = change;
            return;
        }
        let at = self.entries.len();
        self.entries.push((key.clone(), change));
        match &mut self.index {
            Some(index) => {
                index.insert(key.clone(), at);
            }
            None if self.entries.len() >= INDEXED_FROM => {
                let keys = self.entries.iter().enumerate();
                self.index = Some(keys.map(|(at, (key, _))| (key.clone(), at)).collect());
            }
            None => {}
        }
    }

    /// Returns every change, oldest key first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(KeyRef, Change)> {
        self.entries.iter()
    }

    /// Takes every change out, oldest key first.
    pub(crate) fn take(&mut self) -> Vec<(KeyRef, Change)> {
        self.index = None;
        std::mem::take(&mut self.entries)
    }

    pub(crate) fn clear(&mut self) {
        self.index = None;
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Expiry, Fields, KeyRef, Value, WriteSet};

    fn string(text: &str) -> Change {
        Change {
            value: Value::String(text.into()),
            expiry: Expiry::Keep,
        }
    }

    #[test]
    fn the_last_change_of_a_key_counts_however_many_there_are() {
        for keys in [1, 15, 16, 17, 100] {
            let mut write_set = WriteSet::default();
            for key in 0..keys {
                write_set.put(&KeyRef::Declared(key), string("first"));
            }
            let other = KeyRef::Other(b"0"[..].into());
            write_set.put(&other, string("other"));
            for key in 0..keys {
                let change = write_set
                    .get_mut(&KeyRef::Declared(key))
                    .expect("it is there");
                change.value = Value::Gone;
            }
            assert_eq!(write_set.get(&other), Some(&string("other")));
            assert_eq!(write_set.get(&KeyRef::Declared(keys)), None);
            let taken = write_set.take();
            assert_eq!(taken.len(), keys as usize + 1);
            assert_eq!(taken[0].1.value, Value::Gone);
            assert!(write_set.is_empty() && write_set.get(&other).is_none());
        }
    }

    #[test]
    fn a_hash_exists_while_it_has_fields() {
        let mut fields = Fields {
            len: 1,
            ..Fields::default()
        };
        assert_eq!(fields.get(b"a"), None, "the server knows");
        fields.put(b"a", None);
        fields.len = 0;
        assert_eq!(fields.get(b"a"), Some(None), "it is gone");
        let gone = Change {
            value: Value::Hash(fields.clone()),
            expiry: Expiry::Keep,
        };
        assert!(!gone.exists());
        fields.put(b"a", Some(b"1".to_vec()));
        assert_eq!(fields.get(b"a"), Some(Some(&b"1"[..])));
        assert_eq!(fields.changed.len(), 1);
    }
}
