//! Hashes, whose fields may have deadlines of their own.

use std::ops::Deref;

use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::fields::Fields;
use crate::value::tree::Tree;

/// Fields with their values. `Deref` reads them; expired ones are there until they are removed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hash {
    fields: Fields<Blob>,
    /// Boxed, because few hashes have any.
    deadlines: Option<Box<Deadlines>>,
}

/// The deadlines of the fields that have one; not empty.
#[derive(Clone, Debug, Default)]
struct Deadlines {
    by_field: Fields<i64>,
    by_time: Tree<(i64, Blob), ()>,
}

impl Deref for Hash {
    type Target = Fields<Blob>;

    fn deref(&self) -> &Fields<Blob> {
        &self.fields
    }
}

impl Deadlines {
    fn set(&mut self, field: &[u8], millis: i64) {
        self.remove(field);
        self.by_field.insert(field, millis);
        let entry = (millis, Blob::new(field));
        if let Err(at) = self.by_time.rank(|other| other.cmp(&entry)) {
            self.by_time.insert_at(at, entry, ());
        }
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        let Some(millis) = self.by_field.remove(field) else {
            return false;
        };
        let found = self.by_time.rank(|(other, name)| {
            let by_time = other.cmp(&millis);
            by_time.then_with(|| name.as_slice().cmp(field))
        });
        if let Ok(at) = found {
            self.by_time.remove_at(at);
        }
        true
    }
}

impl Hash {
    /// Sets a field, which then has no deadline; returns true if the field is new.
    pub(crate) fn insert(&mut self, field: &[u8], value: Blob) -> bool {
        self.set_deadline(field, Deadline::NEVER);
        self.fields.insert(field, value)
    }

    /// Sets a field and leaves its deadline as it is; returns true if the field is new.
    pub(crate) fn insert_keeping_deadline(&mut self, field: &[u8], value: Blob) -> bool {
        self.fields.insert(field, value)
    }

    /// Removes a field with its deadline; returns its value.
    pub(crate) fn remove(&mut self, field: &[u8]) -> Option<Blob> {
        self.set_deadline(field, Deadline::NEVER);
        self.fields.remove(field)
    }

    pub(crate) fn deadline(&self, field: &[u8]) -> Deadline {
        let deadlines = self.deadlines.as_ref();
        deadlines
            .and_then(|deadlines| deadlines.by_field.get(field))
            .map_or(Deadline::NEVER, |millis| Deadline::at(*millis))
    }

    /// Sets the deadline of a field that exists; returns true if it had one before.
    pub(crate) fn set_deadline(&mut self, field: &[u8], deadline: Deadline) -> bool {
        match (deadline.millis(), &mut self.deadlines) {
            (Some(millis), deadlines) => {
                let deadlines = deadlines.get_or_insert_default();
                let had = deadlines.by_field.contains(field);
                deadlines.set(field, millis);
                had
            }
            (None, Some(deadlines)) => {
                let had = deadlines.remove(field);
                if deadlines.by_field.len() == 0 {
                    self.deadlines = None;
                }
                had
            }
            (None, None) => false,
        }
    }

    /// The earliest deadline of a field.
    pub(crate) fn earliest_deadline(&self) -> Deadline {
        let earliest = self
            .deadlines
            .as_ref()
            .and_then(|deadlines| deadlines.by_time.at(0));
        earliest.map_or(Deadline::NEVER, |((millis, _), ())| Deadline::at(*millis))
    }

    /// The fields whose deadline has passed, the earliest first.
    pub(crate) fn expired(&self, now: i64) -> Vec<Blob> {
        self.deadlines()
            .take_while(|(_, deadline)| deadline.has_passed(now))
            .map(|(field, _)| field.clone())
            .collect()
    }

    /// The fields that have a deadline, the earliest first.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = (&Blob, Deadline)> {
        self.deadlines
            .iter()
            .flat_map(|deadlines| deadlines.by_time.iter())
            .map(|((millis, field), ())| (field, Deadline::at(*millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::Hash;
    use crate::value::blob::Blob;
    use crate::value::deadline::Deadline;

    #[test]
    fn deadlines_follow_their_fields() {
        let mut hash = Hash::default();
        for (field, at) in [("a", 30), ("b", 10), ("c", 20), ("d", 10)] {
            hash.insert(field.as_bytes(), Blob::new(b"v"));
            assert!(!hash.set_deadline(field.as_bytes(), Deadline::at(at)));
        }
        assert_eq!(hash.earliest_deadline(), Deadline::at(10));
        assert_eq!(hash.expired(21).len(), 3);
        assert!(hash.set_deadline(b"b", Deadline::at(40)));
        assert_eq!(hash.expired(21).len(), 2);
        hash.insert_keeping_deadline(b"d", Blob::new(b"w"));
        assert_eq!(hash.deadline(b"d"), Deadline::at(10));
        hash.insert(b"d", Blob::new(b"w"));
        assert_eq!(hash.deadline(b"d"), Deadline::NEVER);
        assert!(hash.remove(b"c").is_some());
        assert_eq!(hash.earliest_deadline(), Deadline::at(30));
        assert!(hash.set_deadline(b"a", Deadline::NEVER));
        assert!(hash.remove(b"b").is_some());
        assert_eq!(hash.earliest_deadline(), Deadline::NEVER);
        assert_eq!(hash.deadlines().count(), 0);
        assert_eq!(hash.len(), 2);
    }
}
