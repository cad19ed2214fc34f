//! Length and time of last use, from a file's `stat`.

use std::time::{Duration, SystemTime};

use rustix::fs::Stat;

/// Returns a file's length, in bytes.
pub(in crate::disk) fn len_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Returns the time of a file's last use: its modification time, which a lookup updates.
pub(in crate::disk) fn last_use(stat: &Stat) -> SystemTime {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999))
}
