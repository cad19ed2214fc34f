//! Removing what crashes have left.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat, flock, openat, unlinkat};

use crate::disk::layout::Directory;
use crate::disk::lock::remove_if_free;
use crate::disk::private::names_in;
use crate::disk::root::Root;
use crate::disk::stat::last_use;

/// A temporary file younger than this is left alone: between its creation and its lock, it looks as
/// if its writer were dead.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// Removes temporary files and locks whose processes are gone. It stops where the disk does not let
/// it: leftovers cost room, nothing else.
pub(in crate::disk) fn leftovers(root: &Root) {
    if let Ok(Some(directory)) = root.open_directory(Directory::Temporary)
        && let Ok(names) = names_in(&directory)
    {
        for (name, stat) in &names {
            if is_stale(&directory, name, stat) {
                let _ = unlinkat(&directory, name, AtFlags::empty());
            }
        }
    }
    if let Ok(Some(directory)) = root.open_directory(Directory::Locks)
        && let Ok(names) = names_in(&directory)
    {
        for (name, _) in &names {
            remove_if_free(&directory, name);
        }
    }
}

/// Whether a file has lost its writer. Writers hold a lock on their files, which the system releases
/// when they end in any way.
fn is_stale(directory: &OwnedFd, name: &str, stat: &Stat) -> bool {
    let old = SystemTime::now()
        .duration_since(last_use(stat))
        .is_ok_and(|age| age >= STALE_AFTER);
    if !old {
        return false;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    openat(directory, name, flags, Mode::empty())
        .is_ok_and(|file| flock(File::from(file), FlockOperation::NonBlockingLockExclusive).is_ok())
}
