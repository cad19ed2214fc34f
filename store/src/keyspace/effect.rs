//! The changes of a commit, field by field, for the writer to disk.

use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::list::ListEdit;

/// Stands for the deadlines of a hash's fields in the place of a type; types are numbered by
/// [`Value::kind`].
pub(crate) const FIELD_DEADLINE: u8 = 7;

/// One change. Applied in order, the effects of a commit turn the state before it into the one
/// after it.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// The key holds this whole value, and nothing of its old one.
    Put {
        database: u32,
        key: Blob,
        value: Value,
        deadline: Deadline,
    },
    /// The key holds this value, whose elements are known already, with this deadline.
    Describe {
        database: u32,
        key: Blob,
        value: Value,
        deadline: Deadline,
    },
    /// The key is removed with its value.
    Remove {
        database: u32,
        key: Blob,
        old: Value,
    },
    /// A collection is removed; a later effect sets the key's new value.
    Discard { old: Value },
    /// A field of a hash was set, a member added to a set (with an empty value), or a member of a
    /// sorted set got a score (8 bytes, little-endian). `kind` is the type as written on disk.
    /// With [`FIELD_DEADLINE`] for `kind`, a field of a hash got a deadline (8 bytes, little-endian).
    Field {
        id: u64,
        kind: u8,
        field: Blob,
        value: Blob,
    },
    /// A field or member was removed, or a field's deadline.
    FieldGone { id: u64, kind: u8, field: Blob },
    /// A list has this element at this position now.
    Element { id: u64, position: i64, value: Blob },
    /// A list has no element at this position any more.
    ElementGone { id: u64, position: i64 },
    /// A list was changed; `number` counts the edits since it was written whole.
    ListEdit {
        id: u64,
        number: u64,
        edit: ListEdit,
    },
    /// A page of a string has these bytes now.
    Page { id: u64, number: usize, bytes: Blob },
    /// Nothing is stored under this id any more; an earlier or later effect has the key's new value.
    Abandon { id: u64 },
    /// All keys of a database are gone.
    Clear { database: u32 },
    /// Two databases have changed places.
    Swap { databases: [u32; 2] },
    /// A record of the host has this value.
    Record { name: Blob, value: Blob },
    /// A record of the host is removed.
    RecordGone { name: Blob },
}

impl Effect {
    /// Approximate number of bytes that it takes up while it waits for the disk.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Put {
                    value: Value::Text(text),
                    ..
                } => text.len(),
                Self::Put { value, .. } => value.len() * size_of::<Blob>(),
                Self::Field { value, .. }
                | Self::Element { value, .. }
                | Self::Page { bytes: value, .. }
                | Self::Record { value, .. } => value.len(),
                Self::ListEdit { edit, .. } => edit.element_len(),
                _ => 0,
            }
    }
}

/// The effects of one commit, in order. A store without a disk collects none.
pub(crate) type Effects = Vec<Effect>;
