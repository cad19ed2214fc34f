//! Questions about all keys of a database that another engine has, and their answers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::value::Value;
use crate::value::blob::Blob;

/// A question about all keys of a database, which the engine answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listing {
    /// All keys that match this pattern.
    Matching(Box<[u8]>),
    /// One step of `SCAN`.
    Page {
        /// The engine's cursor.
        cursor: u64,
        /// The number of keys to look at.
        count: usize,
        /// The pattern of `MATCH`.
        pattern: Option<Box<[u8]>>,
        /// The name after `TYPE`.
        type_name: Option<Box<[u8]>>,
    },
    /// The number of keys.
    Size,
    /// The random key that is asked for after this number of others.
    Random(usize),
}

impl Listing {
    /// Returns true if both are steps of one scan: they differ in nothing but the cursor.
    #[must_use]
    pub fn is_of_same_scan(&self, other: &Self) -> bool {
        let (
            Self::Page {
                cursor: _,
                count,
                pattern,
                type_name,
            },
            Self::Page {
                cursor: _,
                count: other_count,
                pattern: other_pattern,
                type_name: other_type,
            },
        ) = (self, other)
        else {
            return self == other;
        };
        count == other_count && pattern == other_pattern && type_name == other_type
    }
}

/// Keys that all copies of the list share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyList(Arc<[Blob]>);

impl<K: AsRef<[u8]>> FromIterator<K> for KeyList {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        let keys = keys.into_iter();
        Self(keys.map(|key| Blob::new(key.as_ref())).collect())
    }
}

impl KeyList {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the keys.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Blob::as_slice)
    }

    pub(crate) fn blobs(&self) -> std::slice::Iter<'_, Blob> {
        self.0.iter()
    }
}

/// The engine's answer to a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Keys, and the cursor of the next step: 0 if these are the last.
    Keys {
        /// The next cursor.
        next: u64,
        /// The keys.
        keys: KeyList,
    },
    /// A number of keys.
    Number(u64),
    /// A random key; `None` if there is no key.
    Random(Option<Box<[u8]>>),
}

/// Answers of the engine, shared by the tries of a call.
pub type Listings = Arc<HashMap<Listing, Listed>>;

/// Keys that another engine has listed, as a transaction sees them.
pub(crate) struct ListedKeys {
    /// The cursor of the next step, 0 at the end.
    pub(crate) next: u64,
    /// The engine's keys without those that are gone, with the values that the transaction has written.
    pub(crate) keys: Vec<(Blob, Option<Value>)>,
    /// At the end, keys that the transaction has written and that no step of the scan has shown.
    pub(crate) unlisted: Vec<(Blob, Value)>,
    /// Number of keys that were looked at for this answer.
    pub(crate) looked_at: usize,
}
