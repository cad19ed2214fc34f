//! Lists of sources that no process may evict, stored as files in the cache.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::disk::error::StorageError;
use crate::disk::files::private::{Opened, names_in, open_file, sync_directory};
use crate::disk::files::stat::len_of;
use crate::disk::layout::Directory;
use crate::disk::lock::ChangeLock;
use crate::disk::publish::temporary_file::TemporaryFile;
use crate::disk::root::Root;

/// The longest file of pins that is read, in bytes: room for more than half a million sources.
const PINS_BYTES_MAX: u64 = 64 << 20;

/// The stored pins of one holder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pins {
    /// Path of the holder. The pins expire when no file is there any more.
    holder: PathBuf,
    /// The pinned sources.
    sources: Vec<Digest>,
}

/// Replaces the pins of a holder.
pub(in crate::disk) fn set(
    root: &Root,
    holder: &Path,
    sources: &HashSet<Digest>,
) -> Result<(), StorageError> {
    let invalid = |error| StorageError::writing("pin for", holder, error);
    let holder = std::path::absolute(holder).map_err(invalid)?;
    let mut pins = Pins {
        holder,
        sources: sources.iter().copied().collect(),
    };
    pins.sources.sort_unstable();
    // A path that is not UTF-8 cannot be written as JSON.
    let bytes = serde_json::to_vec(&pins).map_err(|error| invalid(error.into()))?;
    let temporary = TemporaryFile::write(root, &bytes)?;
    let _lock = ChangeLock::acquire(root)?;
    let directory = root.make_directory(Directory::Pins)?;
    temporary.publish(root, &directory, &name_of(&pins.holder))?;
    sync_directory(&directory, &Directory::Pins.path(root.path()))
}

/// Returns the pinned sources of all holders, and removes pins whose holder no longer exists. The
/// caller holds the change lock.
///
/// Unreadable pins are an error: it is better to evict nothing than a source that is needed.
pub(in crate::disk) fn all(root: &Root) -> Result<HashSet<Digest>, StorageError> {
    let mut pinned = HashSet::new();
    let Some(directory) = root.open_directory(Directory::Pins)? else {
        return Ok(pinned);
    };
    let place = Directory::Pins.path(root.path());
    let names =
        names_in(&directory).map_err(|error| StorageError::reading("list", &place, error))?;
    for (name, _) in names {
        let path = place.join(&name);
        let unreadable = |error| StorageError::reading("read the pins in", &path, error);
        let (file, stat) = match open_file(&directory, &name).map_err(unreadable)? {
            Opened::Private(file, stat) => (file, stat),
            Opened::Absent => continue,
            Opened::Rejected(what) => {
                return Err(unreadable(std::io::Error::other(format!("it is {what}"))));
            }
        };
        if len_of(&stat) > PINS_BYTES_MAX {
            return Err(unreadable(std::io::Error::other(format!(
                "it has more than {PINS_BYTES_MAX} bytes"
            ))));
        }
        let mut bytes = Vec::new();
        file.take(PINS_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let pins: Pins =
            serde_json::from_slice(&bytes).map_err(|error| unreadable(error.into()))?;
        if matches!(pins.holder.try_exists(), Ok(false)) {
            let _ = rustix::fs::unlinkat(&directory, &name, rustix::fs::AtFlags::empty());
        } else {
            pinned.extend(pins.sources);
        }
    }
    Ok(pinned)
}

fn name_of(holder: &Path) -> String {
    let digest = Digest::of(holder.as_os_str().as_encoded_bytes());
    format!("{}.json", &digest.hex()[..16])
}
