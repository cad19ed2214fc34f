//! A scan over shards, one at a time.

use crate::error::StoreError;
use crate::keyspace::shard::{SHARDS, shard_of};
use crate::keyspace::table::SHARD_BITS;

/// Scans the shards in the order of hashes, from the one that contains the cursor.
///
/// `scan` visits one shard, subtracts the visited keys from the count, and returns the position in
/// the same shard to continue from.
pub(crate) fn scan_shards(
    cursor: u64,
    count: usize,
    mut scan: impl FnMut(usize, u64, &mut usize) -> Result<Option<u64>, StoreError>,
) -> Result<u64, StoreError> {
    let mut cursor = cursor;
    let mut count = count.max(1);
    loop {
        let shard = shard_of(cursor);
        cursor = match scan(shard, cursor, &mut count)? {
            Some(next) => next,
            None if shard + 1 == SHARDS => return Ok(0),
            None => ((shard + 1) as u64) << (64 - SHARD_BITS),
        };
        if count == 0 {
            return Ok(cursor);
        }
    }
}
