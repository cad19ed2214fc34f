//! Changes a collection or a string in place and records every change.

use std::ops::{Deref, Range};

use smallvec::SmallVec;

use crate::error::StoreError;
use crate::keyspace::effect::{Effect, Effects, FIELD_DEADLINE};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::kind::Kind;
use crate::value::list::{End, List, ListEdit};
use crate::value::text::{self, Text};
use crate::value::zset::Zset;
use crate::value::{Hash, Set, Value};

/// Most elements of a list that get a new name on disk when one is inserted or removed; where it
/// would be more, the edit itself is logged.
const RENAMED_LEN_MAX: usize = 64;

/// A collection or string that a command may change. `Deref` reads it.
pub(crate) struct Edit<'e, T> {
    data: &'e mut T,
    id: u64,
    kind: u8,
    changed: bool,
    /// Bytes of a string that were changed.
    bytes: SmallVec<[Range<usize>; 1]>,
    /// True if so much was changed that the whole value should be written.
    whole: bool,
    effects: Option<&'e mut Effects>,
}

impl<T> Deref for Edit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data
    }
}

/// Result of an edit.
pub(crate) struct Edited<R> {
    pub(crate) result: Result<R, StoreError>,
    /// True if the edit changed anything.
    pub(crate) changed: bool,
    /// Present if the effects do not say what was changed, so that the whole value must be written.
    pub(crate) whole: Option<Whole>,
}

/// A value that must be written as a whole.
pub(crate) struct Whole {
    /// The id under which it was on disk, if it has another one now.
    pub(crate) abandoned: Option<u64>,
}

/// Runs an edit on a value. Without `effects` nothing is recorded, and the value keeps its id.
pub(crate) fn run<T: Kind, R>(
    value: &mut Value,
    mut effects: Option<&mut Effects>,
    edit: impl FnOnce(&mut Edit<'_, T>) -> Result<R, StoreError>,
) -> Edited<R> {
    let (id, kind) = (value.id(), value.kind());
    let len_before = match value {
        Value::Text(text) => text.len(),
        _ => 0,
    };
    let Some(data) = T::of_mut(value) else {
        return Edited {
            result: Err(StoreError::WrongType),
            changed: false,
            whole: None,
        };
    };
    let mut handle = Edit {
        data,
        id,
        kind,
        changed: false,
        bytes: SmallVec::new(),
        whole: false,
        effects: effects.as_deref_mut(),
    };
    let result = edit(&mut handle);
    let Edit {
        changed,
        bytes,
        mut whole,
        ..
    } = handle;
    let Some(effects) = effects.filter(|_| changed) else {
        return Edited {
            result,
            changed,
            whole: None,
        };
    };
    match value {
        Value::Text(text) if text.id() != 0 => note_pages(text, len_before, &bytes, effects),
        Value::Text(text) if !text.wants_pages() => {
            return Edited {
                result,
                changed,
                whole: Some(Whole { abandoned: None }),
            };
        }
        Value::Text(_) => whole = true,
        Value::List(_) => {
            if let Some(list) = List::of_mut(value) {
                whole = whole || list.log_is_too_long();
                if list.len() == 0 {
                    // The caller removes the key, and cannot see what the list had.
                    effects.extend(whole.then_some(Effect::Abandon { id }));
                    whole = false;
                }
            }
        }
        Value::Hash(_) | Value::Set(_) | Value::Zset(_) => {}
    }
    let whole = whole.then(|| {
        value.write_anew();
        Whole {
            abandoned: (id != 0).then_some(id),
        }
    });
    Edited {
        result,
        changed,
        whole,
    }
}

/// Called before only the deadline of a value is written. Returns true if all of the value must be
/// written this time: a long string gets pages, because the record of the deadline is the record of
/// a string that has none.
pub(crate) fn prepare_for_deadline(value: &mut Value) -> bool {
    let anew = matches!(value, Value::Text(text) if text.wants_pages_for_deadline());
    if anew {
        value.write_anew();
    }
    anew
}

/// Records the pages of a string that an edit has changed; it had `len_before` bytes.
fn note_pages(text: &Text, len_before: usize, changed: &[Range<usize>], effects: &mut Effects) {
    // What is past the old end is new.
    let grown = len_before.min(text.len())..text.len();
    let mut ranges: SmallVec<[Range<usize>; 2]> =
        changed.iter().chain([&grown]).map(text::pages_of).collect();
    ranges.sort_unstable_by_key(|pages| pages.start);
    let mut next = 0;
    for pages in ranges {
        for number in pages.start.max(next)..pages.end {
            effects.push(Effect::Page {
                id: text.id(),
                number,
                bytes: Blob::new(text.page(number)),
            });
            next = number + 1;
        }
    }
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
    /// The bytes, to be changed in place: those of `ranges`, and what is added at the end.
    pub(crate) fn bytes_mut(
        &mut self,
        ranges: impl IntoIterator<Item = Range<usize>>,
    ) -> &mut Vec<u8> {
        self.changed = true;
        if self.effects.is_some() {
            self.bytes.extend(ranges);
        }
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
        if index >= self.data.len() {
            return;
        }
        if self.logs(0) {
            self.log(ListEdit::Set { index, element });
        } else if let Some(slot) = self.data.get_mut(index) {
            *slot = element;
            self.note_elements(index, index + 1);
        }
    }

    /// Inserts an element.
    pub(crate) fn insert(&mut self, index: usize, element: Blob) {
        let after = self.data.len() - index;
        if self.logs(index.min(after)) {
            self.log(ListEdit::Insert { index, element });
            return;
        }
        self.data.insert(index, element);
        if index < after {
            self.data.first -= 1;
            self.note_elements(0, index + 1);
        } else {
            self.note_elements(index, self.data.len());
        }
    }

    /// Removes an element.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Blob> {
        let after = self.data.len().checked_sub(index + 1)?;
        if self.logs(index.min(after)) {
            let old = self.data.get(index).cloned();
            self.log(ListEdit::Remove { index });
            return old;
        }
        let old = self.data.remove(index)?;
        let len = self.data.len();
        if index < after {
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

    /// Removes the elements at these indexes, which ascend.
    pub(crate) fn remove_all(&mut self, indexes: &[usize]) {
        if indexes.len() > RENAMED_LEN_MAX && indexes.len() > self.data.len() / 8 {
            self.data.remove_all(indexes);
            self.changed = true;
            self.whole = true;
            return;
        }
        // From the last to the first, so that the other indexes stay right.
        for index in indexes.iter().rev() {
            self.remove(*index);
        }
    }

    /// Removes all elements outside of `start..end`.
    pub(crate) fn keep(&mut self, start: usize, end: usize) {
        let len = self.data.len();
        let (start, end) = (start.min(len), end.min(len));
        let (start, end) = if start < end { (start, end) } else { (0, 0) };
        if start == 0 && end == len {
            return;
        }
        let removed = len - (end - start);
        if removed > RENAMED_LEN_MAX && removed > end - start {
            self.data.keep(start, end);
            self.changed = true;
            self.whole = true;
            return;
        }
        if self.logs(0) {
            self.log(ListEdit::Keep { start, end });
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
        self.data.keep(start, end);
        self.data.first = first + start as i64;
    }

    /// Returns true if a change that would rename this number of elements on disk is logged instead.
    /// In a list with a log, every change is.
    fn logs(&self, renamed: usize) -> bool {
        self.effects.is_some() && (self.data.log.len > 0 || renamed > RENAMED_LEN_MAX)
    }

    /// Makes an edit and adds it to the log on disk.
    fn log(&mut self, edit: ListEdit) {
        let number = self.data.log.len;
        if self.data.apply(edit.clone()) {
            self.note(|id| Effect::ListEdit { id, number, edit });
        }
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

#[cfg(test)]
mod tests {
    use super::{Edited, run};
    use crate::keyspace::effect::{Effect, Effects};
    use crate::value::Value;
    use crate::value::blob::Blob;
    use crate::value::list::List;
    use crate::value::text::Text;

    /// Runs an edit; returns its effects, and true if the value has to be written as a whole.
    fn edited<T: crate::value::kind::Kind>(
        value: &mut Value,
        edit: impl FnOnce(&mut super::Edit<'_, T>),
    ) -> (Effects, bool) {
        let mut effects = Effects::new();
        let Edited { whole, .. } = run(value, Some(&mut effects), |handle: &mut _| {
            edit(handle);
            Ok(())
        });
        (effects, whole.is_some())
    }

    fn weight(effects: &Effects) -> usize {
        effects.iter().map(Effect::weight).sum()
    }

    #[test]
    fn an_edit_of_a_long_string_records_the_pages_that_it_touches() {
        let mut value = Value::text(&vec![b'a'; 1_000_000]);
        let append = |text: &mut super::Edit<'_, Text>| {
            text.bytes_mut(None).extend_from_slice(b"0123456789");
        };
        let (effects, whole) = edited(&mut value, append);
        assert!(whole && effects.is_empty(), "it has no pages yet");
        let id = value.id();
        assert_ne!(id, 0);
        for _ in 0..1_000 {
            let (effects, whole) = edited(&mut value, append);
            assert!(!whole && (1..=2).contains(&effects.len()));
            assert!(weight(&effects) < 4_096);
        }
        let (effects, _) = edited(&mut value, |text: &mut super::Edit<'_, Text>| {
            let bytes = text.bytes_mut([10..11, 500_000..500_001, 11..12]);
            bytes[10] = b'b';
            bytes[11] = b'b';
            bytes[500_000] = b'b';
        });
        let pages: Vec<usize> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Page { number, .. } => Some(*number),
                _ => None,
            })
            .collect();
        assert_eq!(pages, [0, 500_000 / 1_024]);
        assert_eq!(value.id(), id);
        assert_eq!(value.separate().id(), 0, "a copy is independent");
    }

    #[test]
    fn an_edit_in_the_middle_of_a_long_list_records_itself_alone() {
        let elements = |len: u64| (0..len).map(|i| Blob::new(&i.to_le_bytes()));
        let mut value: Value = elements(100_000).collect::<List>().into();
        let id = value.id();
        for i in 0..1_000 {
            let (effects, whole) = edited(&mut value, |list: &mut super::Edit<'_, List>| {
                if i % 3 == 0 {
                    list.remove(40_000);
                } else {
                    list.insert(50_000, Blob::new(b"new"));
                }
            });
            assert!(!whole && effects.len() == 1, "edit {i}");
        }
        // Half of the list at once is cheaper to write anew than to log.
        let (effects, whole) = edited(&mut value, |list: &mut super::Edit<'_, List>| {
            let every_second: Vec<usize> = (0..list.len()).step_by(2).collect();
            list.remove_all(&every_second);
        });
        assert!(whole && effects.is_empty());
        assert_ne!(value.id(), id);
    }

    #[test]
    fn a_log_ends_when_it_is_longer_than_half_of_the_list_or_has_more_bytes() {
        for (element, most) in [(8, 2_000), (100_000, 100)] {
            let mut value: Value = (0..2_000).map(|_| Blob::new(b"e")).collect::<List>().into();
            let mut logged = 0;
            let log_len = |value: &Value| match value {
                Value::List(list) => list.data.log.len,
                _ => 0,
            };
            let ended = (0..3_000).any(|_| {
                let (effects, whole) = edited(&mut value, |list: &mut super::Edit<'_, List>| {
                    let at = list.len() / 2;
                    list.insert(at, Blob::new(&vec![b'x'; element]));
                    list.remove(at);
                });
                logged += effects.len();
                whole
            });
            assert!(ended && logged < most, "{logged} edits of {element} bytes");
            assert_eq!(log_len(&value), 0);
        }
    }
}
