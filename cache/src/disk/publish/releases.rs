//! Signed manifests beside the sources that they are of: which releases can be loaded by digest.
//!
//! A stored manifest proves nothing by being here. Its signature is checked each time it is used.

use std::io::Read;

use rustix::fs::{AtFlags, unlinkat};

use crate::bundle::SignedManifest;
use crate::digest::Digest;
use crate::disk::error::StorageError;
use crate::disk::files::private::{Opened, names_in, open_file, sync_directory};
use crate::disk::files::stat::len_of;
use crate::disk::layout::{Directory, RELEASE_BYTES_MAX, of_release_name, release_name};
use crate::disk::lock::ChangeLock;
use crate::disk::publish::temporary_file::TemporaryFile;
use crate::disk::root::Root;

/// Stores the signed manifest of a release of a source, unless it is there.
pub(in crate::disk) fn put(
    root: &Root,
    source: &Digest,
    signed: &SignedManifest,
) -> Result<(), StorageError> {
    let name = release_name(source, &signed.digest());
    if let Some(directory) = root.open_directory(Directory::Releases)?
        && read(&directory, &name).is_some_and(|known| known == *signed)
    {
        return Ok(());
    }
    let path = Directory::Releases.path(root.path());
    let bytes = serde_json::to_vec(signed)
        .map_err(|error| StorageError::writing("write", &path.join(&name), error))?;
    let temporary = TemporaryFile::write(root, &bytes)?;
    let _lock = ChangeLock::acquire(root)?;
    let directory = root.make_directory(Directory::Releases)?;
    temporary.publish(root, &directory, &name)?;
    sync_directory(&directory, &path)
}

/// Returns the signed manifests of all releases of a source. One that cannot be read, or that is of
/// another manifest than its name says, is left out.
pub(in crate::disk) fn of_source(
    root: &Root,
    source: &Digest,
) -> Result<Vec<SignedManifest>, StorageError> {
    let Some(directory) = root.open_directory(Directory::Releases)? else {
        return Ok(Vec::new());
    };
    let path = Directory::Releases.path(root.path());
    let names =
        names_in(&directory).map_err(|error| StorageError::reading("list", &path, error))?;
    let mut found = Vec::new();
    for (name, _) in names {
        if let Some((of, manifest)) = of_release_name(&name)
            && of == *source
            && let Some(signed) = read(&directory, &name)
            && signed.digest() == manifest
        {
            found.push(signed);
        }
    }
    Ok(found)
}

/// Removes the releases of the sources for which `gone` returns true; returns the freed bytes. The
/// caller holds the change lock.
pub(in crate::disk) fn remove(
    root: &Root,
    mut gone: impl FnMut(&Digest) -> bool,
) -> Result<u64, StorageError> {
    let Some(directory) = root.open_directory(Directory::Releases)? else {
        return Ok(0);
    };
    let path = Directory::Releases.path(root.path());
    let names =
        names_in(&directory).map_err(|error| StorageError::reading("list", &path, error))?;
    let mut freed_bytes = 0;
    for (name, stat) in names {
        let is_gone = of_release_name(&name).is_some_and(|(source, _)| gone(&source));
        if is_gone && unlinkat(&directory, &*name, AtFlags::empty()).is_ok() {
            freed_bytes += len_of(&stat);
        }
    }
    Ok(freed_bytes)
}

fn read(directory: &impl std::os::fd::AsFd, name: &str) -> Option<SignedManifest> {
    let Opened::Private(file, stat) = open_file(directory, name).ok()? else {
        return None;
    };
    if len_of(&stat) > RELEASE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(RELEASE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}
