//! The one hash function of the process: where a key lives, and the order in which scans go.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::quality::RandomState;

/// Seeded anew in every process, so that nobody can prepare keys that collide.
static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A well-mixed hash: all 64 bits may be used on their own.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    STATE.hash_one(bytes)
}
