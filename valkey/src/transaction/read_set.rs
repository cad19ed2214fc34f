//! What a call has read, so that it can be found out whether that still holds.
//!
//! A call that ends on the server's main thread read and wrote in one go, and nothing here is looked
//! at. One that went on beside it must have seen what it would see at the moment of its commit:
//! every read is done again then, under the lock, and compared. That is exact, needs no help from
//! the server, and costs only the long calls something.

use std::hash::{BuildHasher as _, Hash};
use std::sync::LazyLock;

use ferrite_protocol::keyspace::StoreError;
use foldhash::fast::RandomState;

use crate::transaction::write_set::KeyRef;

/// Reads up to this many are all checked again before every further one, so that a call beside the
/// main thread sees one state of the data. With more, only the commit checks.
pub(crate) const CHECKED_MAX: usize = 128;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// One read, and what it saw.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) kind: ReadKind,
    /// A hash of what was seen; taken later where the server stands still meanwhile.
    pub(crate) hash: Option<u64>,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadKind {
    String(KeyRef),
    Exists(KeyRef),
    Lifetime(KeyRef),
    Field(KeyRef, Box<[u8]>),
    HashLen(KeyRef),
    /// A command that only reads.
    Command(Vec<Box<[u8]>>),
}

/// A hash of anything, other in every process.
pub(crate) fn hash_of<T: Hash>(value: T) -> u64 {
    HASHER.hash_one(value)
}

/// A hash of what a read of a value gave.
pub(crate) fn hash_result<T: Hash>(result: &Result<T, StoreError>) -> u64 {
    match result {
        Ok(value) => hash_of((0_u8, value)),
        Err(StoreError::WrongType) => hash_of(1_u8),
        Err(error) => hash_of((2_u8, error.to_string())),
    }
}
