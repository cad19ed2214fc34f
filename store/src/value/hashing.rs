//! The one hash function of the process: it chooses a key's position, and the order of scans.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::quality::RandomState;

use crate::value::steps;

/// Has a new seed in every process, so that clients cannot prepare keys that collide.
static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A well-mixed hash: any subset of its 64 bits is usable.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    steps::bytes(bytes.len());
    STATE.hash_one(bytes)
}
