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

/// The engine's answer to a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Keys, and the cursor of the next step: 0 if these are the last.
    Keys {
        /// The next cursor.
        next: u64,
        /// The keys.
        keys: Vec<Box<[u8]>>,
    },
    /// A number of keys.
    Number(u64),
    /// A random key; `None` if there is no key.
    Random(Option<Box<[u8]>>),
}

/// Answers of the engine, shared by the tries of a call.
pub type Listings = Arc<HashMap<Listing, Listed>>;

/// Keys that another engine has listed.
pub(crate) struct ListedKeys {
    /// The cursor of the next step, 0 at the end.
    pub(crate) next: u64,
    /// The keys, without those that the transaction has written.
    pub(crate) keys: Vec<Blob>,
    /// The keys that the transaction has written, with their values.
    pub(crate) own: Vec<(Blob, Value)>,
}
