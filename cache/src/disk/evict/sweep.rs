//! Removing files that crashes have left behind.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat, flock, openat, unlinkat};

use crate::disk::files::private::names_in;
use crate::disk::files::stat::last_use;
use crate::disk::layout::Directory;
use crate::disk::lock::remove_if_free;
use crate::disk::root::Root;

/// A temporary file younger than this is kept: between its creation and its lock, it looks as if its
/// writer were dead.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// Removes temporary files and locks of processes that have ended. Errors of the disk are ignored:
/// leftovers only cost space.
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

/// Returns true if the writer of a file has ended. Writers lock their files, and the system releases
/// the lock when a process ends in any way.
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
