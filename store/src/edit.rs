//! Changing a collection in place, with every change noted down.

use std::ops::Deref;

use crate::blob::Blob;
use crate::effect::{Effect, Effects};
use crate::error::StoreError;
use crate::value::text::Text;
use crate::value::{Hash, Kind, Value};

/// A collection or string that a command may change. Reading goes through `Deref`.
pub(crate) struct Edit<'e, T> {
    data: &'e mut T,
    id: u64,
    changed: bool,
    effects: Option<&'e mut Effects>,
}

impl<T> Deref for Edit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data
    }
}

/// Runs an edit on a value; tells its result and whether it changed anything.
pub(crate) fn run<T: Kind, R>(
    value: &mut Value,
    effects: Option<&mut Effects>,
    edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, StoreError>,
) -> (Result<R, StoreError>, bool) {
    let id = T::id(value);
    let Some(data) = T::of_mut(value) else {
        return (Err(StoreError::WrongType), false);
    };
    let mut handle = Edit { data, id, changed: false, effects };
    let result = edit(&mut handle);
    (result, handle.changed)
}

impl<T> Edit<'_, T> {
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
        // The whole text is noted down by whoever holds its key.
        self.changed = true;
        self.data.bytes_mut()
    }
}

impl Edit<'_, Hash> {
    /// Sets a field; returns whether it is new.
    pub(crate) fn insert(&mut self, field: &[u8], value: Blob) -> bool {
        let new = self.data.insert(field, value.clone());
        self.note(|id| Effect::Field { id, field: Blob::new(field), value });
        new
    }

    /// Removes a field; returns its value.
    pub(crate) fn remove(&mut self, field: &[u8]) -> Option<Blob> {
        let old = self.data.remove(field)?;
        self.note(|id| Effect::FieldGone { id, field: Blob::new(field) });
        Some(old)
    }
}
