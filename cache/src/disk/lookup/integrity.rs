//! Checks that stored files are unchanged.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use rustix::fs::Stat;
use rustix::io::Errno;

use super::hash::digest_of_file;
use super::read_mode::ReadMode;
use crate::digest::Digest;
use crate::disk::artifact::VerifiedArtifact;
use crate::disk::error::StorageError;
use crate::disk::files::private::{Opened, open_file};
use crate::disk::files::seen::SeenFiles;
use crate::disk::files::stat::{last_use, len_of};
use crate::disk::layout::{Directory, FileKind, Key, SOURCE_BYTES_MAX, image_name};
use crate::disk::root::Root;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};

/// A use is recorded if the last recorded one is older than this. Eviction needs to distinguish days,
/// not seconds.
const USE_RECORDED_EVERY: Duration = Duration::from_secs(3_600);

/// The result of a check.
#[derive(Debug)]
pub(in crate::disk) enum Integrity<T> {
    /// The stored bytes are unchanged.
    Intact(T),
    /// The entry does not exist or is incomplete.
    Absent,
    /// The bytes differ from those that were stored; the text says how.
    Damaged(String),
}

/// The purpose of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum Purpose {
    /// The caller will use the entry; the use is recorded.
    Use,
    /// As `Use`, but an artifact that is too long or not in the page cache is an error.
    UseNonBlocking {
        /// The longest artifact that is read, in bytes.
        artifact_bytes_max: u64,
    },
    /// The check alone; no use is recorded.
    Check,
}

/// Checks an artifact, its manifest, and its image if it has one.
pub(in crate::disk) fn artifact(
    root: &Root,
    key: &Key,
    purpose: Purpose,
) -> Result<Integrity<VerifiedArtifact>, StorageError> {
    let Some(directory) = root.open_directory(key.directory())? else {
        return Ok(Integrity::Absent);
    };
    let name_of = |kind: FileKind| kind.file_name(&key.source);
    let mode = match purpose {
        Purpose::Use | Purpose::Check => ReadMode::Blocking,
        Purpose::UseNonBlocking { .. } => ReadMode::NonBlocking,
    };
    let failed = |action, name: &str, error| {
        StorageError::reading(action, &key.directory().path(root.path()).join(name), error)
    };

    let name = name_of(FileKind::Manifest);
    let found = open_file(&directory, &name).map_err(|error| failed("open", &name, error))?;
    let (meta, meta_stat) = match found {
        Opened::Private(file, stat) => (file, stat),
        Opened::Absent => return Ok(Integrity::Absent),
        Opened::Rejected(what) => return Ok(Integrity::Damaged(format!("its manifest is {what}"))),
    };
    let mut bytes = Vec::new();
    let read = read_bounded(
        mode.reader(&meta),
        &meta_stat,
        MANIFEST_BYTES_MAX as u64,
        &mut bytes,
    );
    if let Err(error) = read {
        return damage_or(error, "manifest", |error| failed("read", &name, error));
    }
    let manifest = match Manifest::decode(&bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Integrity::Damaged(error.to_string())),
    };
    if manifest.source != key.source {
        return Ok(Integrity::Damaged(format!(
            "its manifest is that of {}",
            manifest.source
        )));
    }
    if manifest.profile.fingerprint() != key.profile {
        return Ok(Integrity::Damaged(format!(
            "its manifest is that of another profile ({})",
            manifest.profile
        )));
    }

    // Bytes that may still be read if the caller cannot wait.
    let mut bytes_left = match purpose {
        Purpose::Use | Purpose::Check => u64::MAX,
        Purpose::UseNonBlocking { artifact_bytes_max } => artifact_bytes_max,
    };
    let mut image = None;
    if let Some(info) = &manifest.image {
        let name = image_name(&key.source, &manifest.artifact);
        let stored = StoredFile {
            part: "image",
            name: &name,
            digest: info.digest,
            len: info.len,
            seen: None,
        };
        let found = stored.check(&directory, mode, &mut bytes_left);
        match found.map_err(|error| failed("read", &name, error))? {
            Integrity::Intact(file) => image = Some(file),
            Integrity::Absent => return Ok(Integrity::Absent),
            Integrity::Damaged(damage) => return Ok(Integrity::Damaged(damage)),
        }
    }
    let name = code_name(key, &manifest);
    // A check reads everything.
    let seen = (image.is_some() && purpose != Purpose::Check).then(|| root.seen());
    let stored = StoredFile {
        part: if image.is_some() {
            "engine"
        } else {
            "artifact"
        },
        name: &name,
        digest: manifest.artifact,
        len: manifest.artifact_len,
        seen,
    };
    let found = stored.check(&directory, mode, &mut bytes_left);
    match found.map_err(|error| failed("read", &name, error))? {
        Integrity::Intact(file) => {
            record_use(&meta, &meta_stat, purpose);
            Ok(Integrity::Intact(VerifiedArtifact::found(
                manifest, file, image,
            )))
        }
        // It was evicted after the manifest was read.
        Integrity::Absent => Ok(Integrity::Absent),
        Integrity::Damaged(damage) => Ok(Integrity::Damaged(damage)),
    }
}

/// Returns the name of the file with the native code.
pub(in crate::disk) fn code_name(key: &Key, manifest: &Manifest) -> String {
    match manifest.image {
        Some(_) => FileKind::Engine.file_name(&manifest.artifact),
        None => FileKind::Artifact.file_name(&key.source),
    }
}

/// Checks an engine that a manifest names.
pub(in crate::disk) fn engine(
    root: &Root,
    key: &Key,
    manifest: &Manifest,
) -> Result<Integrity<File>, StorageError> {
    let Some(directory) = root.open_directory(key.directory())? else {
        return Ok(Integrity::Absent);
    };
    let name = FileKind::Engine.file_name(&manifest.artifact);
    let stored = StoredFile {
        part: "engine",
        name: &name,
        digest: manifest.artifact,
        len: manifest.artifact_len,
        seen: Some(root.seen()),
    };
    stored
        .check(&directory, ReadMode::Blocking, &mut { u64::MAX })
        .map_err(|error| {
            let path = key.directory().path(root.path()).join(&name);
            StorageError::reading("read", &path, error)
        })
}

/// A file that a manifest describes.
struct StoredFile<'a> {
    /// Its name in messages.
    part: &'static str,
    name: &'a str,
    digest: Digest,
    len: u64,
    /// Files that need not be read again.
    seen: Option<&'a SeenFiles>,
}

impl StoredFile<'_> {
    /// Opens the file and checks its bytes. If more than `bytes_left` would have to be read, the error is
    /// that it cannot be done at once; else takes their number from it.
    fn check(
        &self,
        directory: impl AsFd,
        mode: ReadMode,
        bytes_left: &mut u64,
    ) -> io::Result<Integrity<File>> {
        let Self {
            part,
            name,
            digest,
            len,
            seen,
        } = *self;
        let (file, stat) = match open_file(directory, name)? {
            Opened::Private(file, stat) => (file, stat),
            Opened::Absent => return Ok(Integrity::Absent),
            Opened::Rejected(what) => {
                return Ok(Integrity::Damaged(format!("its {part} is {what}")));
            }
        };
        let found = len_of(&stat);
        if found != len {
            return Ok(Integrity::Damaged(format!(
                "its {part} has {found} bytes, and its manifest says {len}"
            )));
        }
        if seen.is_some_and(|seen| seen.knows(&digest, &stat)) {
            return Ok(Integrity::Intact(file));
        }
        *bytes_left = bytes_left
            .checked_sub(len)
            .ok_or_else(|| io::Error::from(Errno::AGAIN))?;
        match digest_of_file(&file, len, mode) {
            Ok(found) if found == digest => {
                if let Some(seen) = seen {
                    seen.note(digest, &stat);
                }
                Ok(Integrity::Intact(file))
            }
            Ok(found) => Ok(Integrity::Damaged(format!(
                "its {part} has digest {found}, and its manifest says {digest}"
            ))),
            Err(error) if is_damage(&error) => Ok(Integrity::Damaged(format!(
                "its {part} cannot be read to its end"
            ))),
            Err(error) => Err(error),
        }
    }
}

/// Checks a source.
pub(in crate::disk) fn source(
    root: &Root,
    digest: &Digest,
    purpose: Purpose,
) -> Result<Integrity<Vec<u8>>, StorageError> {
    let Some(directory) = root.open_directory(Directory::Sources)? else {
        return Ok(Integrity::Absent);
    };
    let name = FileKind::Source.file_name(digest);
    let failed = |action, error| {
        StorageError::reading(
            action,
            &Directory::Sources.path(root.path()).join(&name),
            error,
        )
    };
    let (file, stat) = match open_file(&directory, &name).map_err(|error| failed("open", error))? {
        Opened::Private(file, stat) => (file, stat),
        Opened::Absent => return Ok(Integrity::Absent),
        Opened::Rejected(what) => return Ok(Integrity::Damaged(format!("it is {what}"))),
    };
    let mut bytes = Vec::new();
    if let Err(error) = read_bounded(&file, &stat, SOURCE_BYTES_MAX, &mut bytes) {
        return damage_or(error, "file", |error| failed("read", error));
    }
    let found = Digest::of(&bytes);
    if found != *digest {
        return Ok(Integrity::Damaged(format!(
            "its bytes are those of {found}"
        )));
    }
    record_use(&file, &stat, purpose);
    Ok(Integrity::Intact(bytes))
}

/// Reads a manifest without checking its artifact; `None` if it cannot be read.
pub(in crate::disk) fn manifest(root: &Root, key: &Key) -> Option<Manifest> {
    let directory = root.open_directory(key.directory()).ok()??;
    let Opened::Private(file, stat) =
        open_file(directory, &FileKind::Manifest.file_name(&key.source)).ok()?
    else {
        return None;
    };
    let mut bytes = Vec::new();
    read_bounded(&file, &stat, MANIFEST_BYTES_MAX as u64, &mut bytes).ok()?;
    Manifest::decode(&bytes).ok()
}

fn read_bounded(file: impl Read, stat: &Stat, max: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let len = len_of(stat);
    if len > max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.reserve_exact(usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?);
    file.take(len.saturating_add(1)).read_to_end(bytes)?;
    match (bytes.len() as u64).cmp(&len) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(io::ErrorKind::UnexpectedEof.into()),
        std::cmp::Ordering::Greater => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Returns `Damaged` for a truncated or changed file and for a bad sector; for any other failure, such
/// as too many open files, returns the error that `otherwise` makes.
fn damage_or<T>(
    error: io::Error,
    part: &str,
    otherwise: impl FnOnce(io::Error) -> StorageError,
) -> Result<Integrity<T>, StorageError> {
    if is_damage(&error) {
        Ok(Integrity::Damaged(format!(
            "its {part} cannot be read to its end"
        )))
    } else {
        Err(otherwise(error))
    }
}

/// Returns true for a truncated or changed file and for a bad sector.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
    ) || Errno::from_io_error(error) == Some(Errno::IO)
}

/// Updates the modification time of a file that is used. If that fails, as on a read-only disk,
/// eviction only becomes less exact.
fn record_use(file: &File, stat: &Stat, purpose: Purpose) {
    let now = SystemTime::now();
    let recent = now
        .duration_since(last_use(stat))
        .is_ok_and(|age| age < USE_RECORDED_EVERY);
    if purpose != Purpose::Check && !recent {
        let _ = file.set_modified(now);
    }
}
