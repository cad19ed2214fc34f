//! Data that a call has written and not yet committed: the latest state of every key it wrote.

use std::collections::HashMap;

use ferrite_protocol::budget::{LOOKUP, bytes};
use foldhash::fast::RandomState;

/// From this number of keys or fields on, they are found by a hash table and not by comparing each.
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
    /// Place of each of them, if there are many.
    index: Option<HashMap<Box<[u8]>, usize, RandomState>>,
}

impl Fields {
    /// Creates changes of a hash that has `len` fields; of a new one if it has none.
    pub(crate) fn of_hash(len: usize) -> Self {
        Self {
            fresh: len == 0,
            len,
            ..Self::default()
        }
    }

    fn position(&self, field: &[u8]) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(field).copied(),
            None => self.changed.iter().position(|(name, _)| **name == *field),
        }
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<Option<&[u8]>> {
        self.position(field).map(|at| self.changed[at].1.as_deref())
    }

    pub(crate) fn put(&mut self, field: &[u8], value: FieldValue) {
        if let Some(at) = self.position(field) {
            self.changed[at].1 = value;
            return;
        }
        let at = self.changed.len();
        self.changed.push((field.into(), value));
        match &mut self.index {
            Some(index) => {
                index.insert(field.into(), at);
            }
            None if self.changed.len() >= INDEXED_FROM => {
                let fields = self.changed.iter().enumerate();
                self.index = Some(fields.map(|(at, (name, _))| (name.clone(), at)).collect());
            }
            None => {}
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

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the units of applying the changes, besides one access for each key: of their fields and
    /// bytes.
    pub(crate) fn work(&self) -> u64 {
        let units = |(_, change): &(KeyRef, Change)| match &change.value {
            Value::Same | Value::Gone => 0,
            Value::String(text) => bytes(text.len() as u64),
            Value::Hash(fields) => fields.changed.iter().fold(0, |sum: u64, (name, value)| {
                let len = name.len() + value.as_ref().map_or(0, Vec::len);
                sum.saturating_add(LOOKUP + bytes(len as u64))
            }),
        };
        self.entries.iter().map(units).fold(0, u64::saturating_add)
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
    use super::{Change, Expiry, Fields, KeyRef, LOOKUP, Value, WriteSet};

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
    fn the_work_of_applying_grows_with_keys_fields_and_bytes() {
        let mut write_set = WriteSet::default();
        assert_eq!((write_set.len(), write_set.work()), (0, 0));
        write_set.put(&KeyRef::Declared(0), string(&"x".repeat(8_000)));
        assert_eq!((write_set.len(), write_set.work()), (1, 1_000));
        let mut fields = Fields::of_hash(0);
        for field in 0..100 {
            fields.put(format!("{field:08}").as_bytes(), Some(b"12345678".to_vec()));
        }
        let hash = Change {
            value: Value::Hash(fields),
            expiry: Expiry::Keep,
        };
        write_set.put(&KeyRef::Declared(1), hash);
        assert_eq!(write_set.work(), 1_000 + 100 * (LOOKUP + 2));
    }

    #[test]
    fn the_last_change_of_a_field_counts_however_many_there_are() {
        for count in [1, 15, 16, 17, 100] {
            let mut fields = Fields::of_hash(0);
            let name = |field: usize| field.to_string().into_bytes();
            for field in 0..count {
                fields.put(&name(field), Some(b"first".to_vec()));
            }
            for field in 0..count {
                fields.put(&name(field), (field % 2 == 0).then(|| name(field)));
            }
            assert_eq!(fields.changed.len(), count);
            for field in 0..count {
                let expected = (field % 2 == 0).then(|| name(field));
                assert_eq!(fields.get(&name(field)), Some(expected.as_deref()));
            }
            assert_eq!(fields.get(b"other"), None);
            assert_eq!(fields.index.is_some(), count >= 16);
        }
    }

    #[test]
    fn a_hash_exists_while_it_has_fields() {
        let mut fields = Fields::of_hash(1);
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
