//! The keys that a transaction has read and written.

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::keyspace::effect::Effects;
use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;

/// Most keys that are searched linearly; more are indexed. Most transactions touch one to three.
const UNINDEXED_LEN_MAX: usize = 12;

/// One key as the transaction sees it.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) database: u32,
    pub(super) hash: u64,
    pub(super) key: Blob,
    pub(super) seen: Seen,
    /// Value of the key in this transaction: a shared copy of the one read, or the one written.
    pub(super) value: Option<Value>,
    pub(super) deadline: Deadline,
    pub(super) write: Write,
    /// True if `value` and `deadline` are not known and have to be read before they are used: what
    /// the transaction had put in their place was taken back.
    pub(super) unread: bool,
    /// Number of the last savepoint that recorded this key; 0 for none.
    pub(super) savepoint: u32,
}

/// State of a key that the transaction relies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: the transaction only wrote the key.
    Nothing,
    /// The key did not exist.
    Absent,
    /// The entry had this version.
    Version(u64),
}

/// Change that the commit makes to a key.
#[derive(Debug)]
pub(super) enum Write {
    /// None: the transaction only read the key.
    Nothing,
    /// These effects change the collection that was read, or its deadline.
    Edited(Effects),
    /// The key gets a new value, or is removed, whatever it held before.
    Whole,
}

impl Touched {
    pub(super) fn is_written(&self) -> bool {
        !matches!(self.write, Write::Nothing)
    }
}

/// The touched keys in the order they were first touched.
#[derive(Debug, Default)]
pub(super) struct TouchedKeys {
    keys: SmallVec<[Touched; 3]>,
    /// Maps a key's hash to its position; empty while there are few keys.
    index: HashTable<u32>,
}

impl TouchedKeys {
    pub(super) fn find(&self, database: u32, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |touched: &Touched| {
            touched.hash == hash && touched.database == database && touched.key.as_slice() == key
        };
        if self.keys.len() <= UNINDEXED_LEN_MAX {
            return self.keys.iter().position(is_it);
        }
        self.index
            .find(hash, |&at| is_it(&self.keys[at as usize]))
            .map(|&at| at as usize)
    }

    /// Adds a new key; returns its position.
    pub(super) fn push(&mut self, touched: Touched) -> usize {
        let at = self.keys.len();
        self.keys.push(touched);
        let keys = &self.keys;
        let fresh = if at < UNINDEXED_LEN_MAX {
            at..at
        } else if at == UNINDEXED_LEN_MAX {
            0..at + 1
        } else {
            at..at + 1
        };
        for at in fresh {
            // A transaction of 2^32 keys would not fit into memory.
            self.index
                .insert_unique(keys[at].hash, at as u32, |&at| keys[at as usize].hash);
        }
        at
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Touched> {
        self.keys.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Touched> {
        self.keys.iter_mut()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Touched> + use<> {
        self.index.clear();
        std::mem::take(&mut self.keys).into_iter()
    }
}

impl std::ops::Index<usize> for TouchedKeys {
    type Output = Touched;

    fn index(&self, at: usize) -> &Touched {
        &self.keys[at]
    }
}

impl std::ops::IndexMut<usize> for TouchedKeys {
    fn index_mut(&mut self, at: usize) -> &mut Touched {
        &mut self.keys[at]
    }
}
