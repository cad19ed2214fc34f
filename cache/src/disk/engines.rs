//! Engines in the cache: native code that the images of several functions share.

use std::collections::HashSet;

use super::error::StorageError;
use super::files::private::{Opened, names_in, open_file};
use super::files::stat::len_of;
use super::layout::{Directory, FileKind, Key, of_image_name};
use super::lookup::{integrity, read_all};
use super::root::Root;
use crate::digest::Digest;
use crate::profile::Fingerprint;

/// An engine whose native code is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownEngine {
    /// Digest of the engine's module.
    pub engine: Digest,
    /// Digest of its native code.
    pub native: Digest,
    /// Length of its native code, in bytes.
    pub native_len: u64,
}

/// Returns the engines that this user's own compiler made. Those of bundles are left out: whoever signed
/// one bundle does not answer for other functions.
pub(super) fn compiled_here(
    root: &Root,
    profile: Fingerprint,
) -> Result<Vec<KnownEngine>, StorageError> {
    let place = Directory::Artifacts(profile);
    let Some(directory) = root.open_directory(place)? else {
        return Ok(Vec::new());
    };
    let names = names_in(&directory)
        .map_err(|error| StorageError::reading("list", &place.path(root.path()), error))?;
    let mut known = Vec::new();
    let mut settled = HashSet::new();
    for (name, _) in names {
        let Some((source, native)) = of_image_name(&name) else {
            continue;
        };
        if settled.contains(&native) {
            continue;
        }
        if let Some(manifest) = integrity::manifest(root, &Key { source, profile })
            && let Some(image) = &manifest.image
            && manifest.signed_by.is_none()
            && manifest.artifact == native
            && manifest.profile.fingerprint() == profile
        {
            settled.insert(native);
            known.push(KnownEngine {
                engine: image.engine,
                native,
                native_len: manifest.artifact_len,
            });
        }
    }
    Ok(known)
}

/// Reads the native code of an engine; `None` if it is gone, or does not have its digest.
pub(super) fn code(
    root: &Root,
    profile: Fingerprint,
    engine: &KnownEngine,
) -> Result<Option<Vec<u8>>, StorageError> {
    let place = Directory::Artifacts(profile);
    let Some(directory) = root.open_directory(place)? else {
        return Ok(None);
    };
    let name = FileKind::Engine.file_name(&engine.native);
    let failed = |error| StorageError::reading("read", &place.path(root.path()).join(&name), error);
    match open_file(&directory, &name).map_err(failed)? {
        Opened::Private(file, stat) if len_of(&stat) == engine.native_len => {
            let bytes = read_all(&file, engine.native_len).map_err(failed)?;
            Ok((Digest::of(&bytes) == engine.native).then_some(bytes))
        }
        Opened::Private(..) | Opened::Absent | Opened::Rejected(_) => Ok(None),
    }
}
