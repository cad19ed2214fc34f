//! What can go wrong with the cache's disk.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::digest::Digest;
use crate::manifest::ManifestError;

/// Why the cache's disk did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Others may enter the directory.
    #[error(
        "`{}` has mode {mode:04o} and must be private, for it holds native code that is run; \
         `chmod 700` it, after checking who else wrote there",
        path.display()
    )]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
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
        /// Its owner's user id.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// Something else has the name of a directory.
    #[error("`{}` is not a directory itself; a link to one is not enough", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// No room is left.
    #[error("no space is left for `{}`; make room, or evict from the cache", path.display())]
    Full {
        /// What was to be written.
        path: PathBuf,
    },
    /// The file system, or the user's rights, allow no writing.
    #[error("`{}` cannot be written", path.display())]
    NotWritable {
        /// What was to be written.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was done: open, read, write…
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    /// An error of reading.
    pub(super) fn reading(action: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: error.into(),
        }
    }

    /// An error of changing something, told apart by what the caller can do about it.
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

/// The cache's directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the cache in `{}`", root.display())]
pub struct OpenError {
    /// The cache's root.
    pub root: PathBuf,
    /// Why.
    #[source]
    pub source: StorageError,
}

/// The disk failed while something was searched; that there is no such entry is no error.
#[derive(Debug, thiserror::Error)]
#[error("cannot search the cache for {digest}")]
pub struct LookupError {
    /// The source that was searched.
    pub digest: Digest,
    /// Why.
    #[source]
    pub source: StorageError,
}

/// Something was not stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The disk failed. What was to be stored can still be used from memory.
    #[error("cannot store {digest} in the cache")]
    Storage {
        /// The source.
        digest: Digest,
        /// Why.
        #[source]
        source: StorageError,
    },
    /// The artifact is not the one that its manifest describes.
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
        /// Its length.
        len: u64,
        /// The bound.
        max: u64,
    },
    /// The entry was gone or damaged right after it had been written.
    #[error("{digest} did not read back as it was written; check the disk")]
    Lost {
        /// The source.
        digest: Digest,
    },
}

impl PublishError {
    /// Whether the disk is at fault, so that the same bytes can still be used from memory.
    #[must_use]
    pub const fn is_storage(&self) -> bool {
        matches!(self, Self::Storage { .. } | Self::Lost { .. })
    }
}

/// A key was not locked.
#[derive(Debug, thiserror::Error)]
#[error("cannot lock {digest} for compiling")]
pub struct LockError {
    /// The source.
    pub digest: Digest,
    /// Why.
    #[source]
    pub source: StorageError,
}

/// Nothing was pinned.
#[derive(Debug, thiserror::Error)]
#[error("cannot pin in the cache what `{}` needs", holder.display())]
pub struct PinError {
    /// Whose pins they were to be.
    pub holder: PathBuf,
    /// Why.
    #[source]
    pub source: StorageError,
}

/// No room was made.
#[derive(Debug, thiserror::Error)]
#[error("cannot evict from the cache")]
pub struct EvictError(#[from] pub StorageError);

/// The entries were not listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the cache")]
pub struct ListError(#[from] pub StorageError);

/// The entries were not checked.
#[derive(Debug, thiserror::Error)]
#[error("cannot check the cache")]
pub struct VerifyError(#[from] pub StorageError);
