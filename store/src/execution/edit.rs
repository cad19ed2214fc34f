//! Changes a collection in place and records every change.

use std::ops::Deref;

use crate::error::StoreError;
use crate::keyspace::effect::{Effect, Effects, FIELD_DEADLINE};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::kind::Kind;
use crate::value::list::{End, List};
use crate::value::text::Text;
use crate::value::zset::Zset;
use crate::value::{Hash, Set, Value};

/// A collection or string that a command may change. `Deref` reads it.
pub(crate) struct Edit<'e, T> {
    data: &'e mut T,
    id: u64,
    kind: u8,
    changed: bool,
    effects: Option<&'e mut Effects>,
}

impl<T> Deref for Edit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data
    }
}

/// Runs an edit on a value; returns its result, and true if it changed anything.
pub(crate) fn run<T: Kind, R>(
    value: &mut Value,
    effects: Option<&mut Effects>,
    edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, StoreError>,
) -> (Result<R, StoreError>, bool) {
    let (id, kind) = (value.id(), value.kind());
    let Some(data) = T::of_mut(value) else {
        return (Err(StoreError::WrongType), false);
    };
    let mut handle = Edit {
        data,
        id,
        kind,
        changed: false,
        effects,
    };
    let result = edit(&mut handle);
    (result, handle.changed)
}

impl<T> Edit<'_, T> {
    fn note_field(&mut self, field: &[u8], value: Blob) {
        let kind = self.kind;
        self.note(|id| Effect::Field {
            id,
            kind,
            field: Blob::new(field),
            value,
        });
    }

    fn note_field_gone(&mut self, field: &[u8]) {
        let kind = self.kind;
        self.note(|id| Effect::FieldGone {
            id,
            kind,
            field: Blob::new(field),
        });
    }

    fn note(&mut self, effect: impl FnOnce(u64) -> Effect) {
        self.changed = true;
        if let Some(effects) = &mut self.effects {
            effects.push(effect(self.id));
        }
    }
}

impl Edit<'_, Text> {
    /// The bytes, to be changed in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        // The whole text is recorded by the caller that holds its key.
        self.changed = true;
        self.data.bytes_mut()
    }
}

impl Edit<'_, Hash> {
    /// Sets a field, which then has no deadline; returns true if the field is new.
    pub(crate) fn insert(&mut self, field: &[u8], value: Blob) -> bool {
        self.set_deadline(field, Deadline::NEVER);
        self.insert_keeping_deadline(field, value)
    }

    /// Sets a field and leaves its deadline as it is; returns true if the field is new.
    pub(crate) fn insert_keeping_deadline(&mut self, field: &[u8], value: Blob) -> bool {
        let new = self.data.insert_keeping_deadline(field, value.clone());
        self.note_field(field, value);
        new
    }

    /// Removes a field; returns its value.
    pub(crate) fn remove(&mut self, field: &[u8]) -> Option<Blob> {
        self.set_deadline(field, Deadline::NEVER);
        let old = self.data.remove(field)?;
        self.note_field_gone(field);
        Some(old)
    }

    /// Sets the deadline of a field that exists.
    pub(crate) fn set_deadline(&mut self, field: &[u8], deadline: Deadline) {
        let had = self.data.set_deadline(field, deadline);
        match deadline.millis() {
            Some(millis) => self.note(|id| Effect::Field {
                id,
                kind: FIELD_DEADLINE,
                field: Blob::new(field),
                value: Blob::new(&millis.to_le_bytes()),
            }),
            None if had => self.note(|id| Effect::FieldGone {
                id,
                kind: FIELD_DEADLINE,
                field: Blob::new(field),
            }),
            None => {}
        }
    }

    /// Removes the fields whose deadline has passed.
    pub(crate) fn remove_expired(&mut self, now: i64) {
        for field in self.data.expired(now) {
            self.remove(&field);
        }
    }
}

impl Edit<'_, Set> {
    /// Adds a member; returns true if it is new.
    pub(crate) fn insert(&mut self, member: &[u8]) -> bool {
        let new = self.data.insert(member, ());
        if new {
            self.note_field(member, Blob::default());
        }
        new
    }

    /// Removes a member; returns true if it existed.
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        let was = self.data.remove(member).is_some();
        if was {
            self.note_field_gone(member);
        }
        was
    }
}

impl Edit<'_, Zset> {
    /// Sets a member's score, which is not NaN; returns its old one.
    pub(crate) fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let old = self.data.insert(member, score);
        if old != Some(score) {
            self.note_field(member, Blob::new(&score.to_le_bytes()));
        }
        old
    }

    /// Removes a member; returns its score.
    pub(crate) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let old = self.data.remove(member)?;
        self.note_field_gone(member);
        Some(old)
    }
}

impl Edit<'_, List> {
    pub(crate) fn push(&mut self, end: End, element: Blob) {
        let at = match end {
            End::Left => 0,
            End::Right => self.data.len(),
        };
        self.insert(at, element);
    }

    pub(crate) fn pop(&mut self, end: End) -> Option<Blob> {
        let at = match end {
            End::Left => 0,
            End::Right => self.data.len().checked_sub(1)?,
        };
        self.remove(at)
    }

    pub(crate) fn set(&mut self, index: usize, element: Blob) {
        if let Some(slot) = self.data.get_mut(index) {
            *slot = element;
            self.note_elements(index, index + 1);
        }
    }

    /// Inserts an element. On disk the shorter side moves.
    pub(crate) fn insert(&mut self, index: usize, element: Blob) {
        let front = index < self.data.len() - index;
        self.data.insert(index, element);
        if front {
            self.data.first -= 1;
            self.note_elements(0, index + 1);
        } else {
            self.note_elements(index, self.data.len());
        }
    }

    /// Removes an element. On disk the shorter side moves.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Blob> {
        let old = self.data.remove(index)?;
        let len = self.data.len();
        if index < len - index {
            let position = self.data.first;
            self.data.first += 1;
            self.note_elements(0, index);
            self.note(|id| Effect::ElementGone { id, position });
        } else {
            let position = self.data.first + len as i64;
            self.note_elements(index, len);
            self.note(|id| Effect::ElementGone { id, position });
        }
        Some(old)
    }

    /// Removes all elements outside of `start..end`.
    pub(crate) fn keep(&mut self, start: usize, end: usize) {
        let len = self.data.len();
        let (start, end) = (start.min(len), end.min(len));
        let (start, end) = if start < end { (start, end) } else { (0, 0) };
        if start == 0 && end == len {
            return;
        }
        let first = self.data.first;
        self.changed = true;
        if let Some(effects) = &mut self.effects {
            let gone = (0..start).chain(end..len).map(|at| first + at as i64);
            effects.extend(gone.map(|position| Effect::ElementGone {
                id: self.id,
                position,
            }));
        }
        if end - start < len / 2 {
            *self.data = self.data.range(start, end).cloned().collect();
        } else {
            for _ in end..len {
                self.data.remove(self.data.len() - 1);
            }
            for _ in 0..start {
                self.data.remove(0);
            }
        }
        self.data.first = first + start as i64;
    }

    fn note_elements(&mut self, start: usize, end: usize) {
        self.changed = true;
        let Some(effects) = &mut self.effects else {
            return;
        };
        let first = self.data.first + start as i64;
        effects.extend(
            self.data
                .range(start, end)
                .zip(first..)
                .map(|(value, position)| Effect::Element {
                    id: self.id,
                    position,
                    value: value.clone(),
                }),
        );
    }
}
