//! Data that a call has read, so that its reads can be repeated and compared.
//!
//! A call that ends on the server's main thread read and wrote without interruption, so its reads
//! need no check. A call that left the main thread must have seen what it would see at the moment
//! of its commit: every read is then done again under the server's lock, and compared by hash. That
//! is exact, needs no help from the server, and costs only long calls something.

use std::hash::{BuildHasher as _, Hash};
use std::sync::LazyLock;

use ferrite_protocol::argv::OwnedArgv;
use ferrite_protocol::budget::SLICE;
use ferrite_protocol::keyspace::StoreError;
use foldhash::fast::RandomState;

use crate::transaction::write_set::KeyRef;

/// Up to this many reads are all checked again before every further one, so that a call off the
/// main thread sees one state of the data. With more reads, only the commit checks.
pub(crate) const CHECKED_MAX: usize = 128;

/// The same for the units of work of doing the reads again: some hundred microseconds, for which the
/// server's lock is held.
pub(crate) const CHECKED_WORK_MAX: u64 = SLICE;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// One read and its result.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) kind: ReadKind,
    /// Hash of the result; `None` on the main thread, until the call leaves it.
    pub(crate) hash: Option<u64>,
    /// Units of doing it again.
    pub(crate) work: u64,
}

/// Target of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadKind {
    String(KeyRef),
    Exists(KeyRef),
    Lifetime(KeyRef),
    Field(KeyRef, Box<[u8]>),
    /// The existence of a field, and the number of fields.
    HasField(KeyRef, Box<[u8]>),
    /// A command that only reads.
    Command(OwnedArgv),
}

/// Hashes a value, with a seed that differs in every process.
pub(crate) fn hash_of<T: Hash>(value: T) -> u64 {
    HASHER.hash_one(value)
}

/// Hashes the result of a read.
pub(crate) fn hash_result<T: Hash>(result: &Result<T, StoreError>) -> u64 {
    match result {
        Ok(value) => hash_of((0_u8, value)),
        Err(StoreError::WrongType) => hash_of(1_u8),
        Err(error) => hash_of((2_u8, error.to_string())),
    }
}
