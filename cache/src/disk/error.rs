//! Errors of the cache's disk.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::artifact_bytes::ArtifactError;
use crate::digest::Digest;
use crate::manifest::ManifestError;

/// An operation on the cache's disk failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory is open to other users.
    #[error(
        "`{}` has mode {mode:04o} and must be private, for it holds native code that is run; \
         `chmod 700` it, after checking who else wrote there",
        path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Permission bits of the directory.
        mode: u32,
    },
    /// The directory belongs to another user.
    #[error(
        "`{}` belongs to user {owner}, and this process runs as user {user}; name another \
         directory, or run as its owner",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// User id of the owner.
        owner: u32,
        /// User id of this process.
        user: u32,
    },
    /// A link or file has the name of a directory.
    #[error("`{}` is not a directory itself; a link to one is not enough", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The disk or the user's quota is full.
    #[error("no space is left for `{}`; make room, or evict from the cache", path.display())]
    Full {
        /// Path of the write.
        path: PathBuf,
    },
    /// The file system is read-only, or the user has no right to write.
    #[error("`{}` cannot be written", path.display())]
    NotWritable {
        /// Path of the write.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: io::Error,
    },
    /// Any other failure.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// The operation: open, read, write…
        action: &'static str,
        /// Path of the operation.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    /// Makes an error of a read operation.
    pub(super) fn reading(action: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: error.into(),
        }
    }

    /// Makes an error of a write operation, classified by what the caller can do about it.
    pub(super) fn writing(action: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        let source = error.into();
        let path = path.to_owned();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { path },
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => Self::NotWritable { path, source },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}

/// The cache cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the cache in `{}`", root.display())]
pub struct OpenError {
    /// The cache's root.
    pub root: PathBuf,
    /// Why.
    #[source]
    pub source: StorageError,
}

/// The disk failed during a lookup. A missing entry is not an error.
#[derive(Debug, thiserror::Error)]
#[error("cannot search the cache for {digest}")]
pub struct LookupError {
    /// Digest of the source.
    pub digest: Digest,
    /// Why.
    #[source]
    pub source: StorageError,
}

/// A source or artifact was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The disk failed. The bytes can still be used from memory.
    #[error("cannot store {digest} in the cache")]
    Storage {
        /// The source.
        digest: Digest,
        /// Why.
        #[source]
        source: StorageError,
    },
    /// The manifest does not describe the artifact.
    #[error(
        "the artifact has digest {found} and its manifest says {expected}; it was changed since \
         it was compiled"
    )]
    Artifact {
        /// Digest of the bytes.
        found: Digest,
        /// Digest in the manifest.
        expected: Digest,
    },
    /// The manifest does not describe the image.
    #[error(transparent)]
    Image(ArtifactError),
    /// The manifest cannot be stored.
    #[error("cannot store the manifest of {digest}")]
    Manifest {
        /// The source.
        digest: Digest,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The source is too long.
    #[error("the source has {len} bytes, and the cache takes at most {max}")]
    SourceTooLong {
        /// Length of the source, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: u64,
    },
    /// The entry was missing or damaged right after it was written.
    #[error("{digest} did not read back as it was written; check the disk")]
    Lost {
        /// The source.
        digest: Digest,
    },
}

impl PublishError {
    /// Returns true if the disk is at fault, so that the same bytes can still be used from memory.
    #[must_use]
    pub const fn is_storage(&self) -> bool {
        matches!(self, Self::Storage { .. } | Self::Lost { .. })
    }
}

/// A key could not be locked.
#[derive(Debug, thiserror::Error)]
#[error("cannot lock {digest} for compiling")]
pub struct LockError {
    /// The source.
    pub digest: Digest,
    /// Why.
    #[source]
    pub source: StorageError,
}

/// The pins of a holder were not stored.
#[derive(Debug, thiserror::Error)]
#[error("cannot pin in the cache what `{}` needs", holder.display())]
pub struct PinError {
    /// Path of the holder.
    pub holder: PathBuf,
    /// Why.
    #[source]
    pub source: StorageError,
}

/// Eviction or removal failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot evict from the cache")]
pub struct EvictError(#[from] pub StorageError);

/// Listing the entries failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the cache")]
pub struct ListError(#[from] pub StorageError);

/// Checking the entries failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot check the cache")]
pub struct VerifyError(#[from] pub StorageError);
