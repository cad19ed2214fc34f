//! The cache as its users see it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::artifact::VerifiedArtifact;
use super::error::{
    EvictError, ListError, LockError, LookupError, OpenError, PinError, PublishError, StorageError,
    VerifyError,
};
use super::evict::{self, Evicted};
use super::layout::{Directory, FileKind, Key, SOURCE_BYTES_MAX};
use super::lock::KeyLock;
use super::root::Root;
use super::step::Observer;
use super::{lookup, publish};
use crate::digest::Digest;
use crate::disk::evict::{pins, sweep};
use crate::disk::inventory::{self, EntrySummary, Inventory, Usage};
use crate::disk::join::join;
use crate::disk::lookup::quarantine;
use crate::disk::step::Step;
use crate::disk::verify::{self, Verdict};
use crate::manifest::Manifest;
use crate::profile::Profile;

/// Where a cache is and how large it may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// Its directory. It must be this user's, and nobody else may enter it.
    pub root: PathBuf,
    /// The size that [`Cache::evict`] goes down to, in bytes.
    pub size_bytes_max: u64,
}

/// Sources, artifacts and manifests in a private directory.
///
/// Any number of threads and processes may use the same directory at once. Every method does
/// blocking I/O.
#[derive(Clone, Debug)]
pub struct Cache {
    root: Root,
    size_bytes_max: u64,
}

impl Cache {
    /// Opens a cache; a directory that does not exist is made, with mode 0700.
    ///
    /// A directory on a read-only disk is opened too, and then only read.
    ///
    /// # Errors
    ///
    /// A directory of another user's, one that others may enter, a link or a file in its place, and
    /// one that cannot be made.
    pub fn open(options: CacheOptions) -> Result<Self, OpenError> {
        Self::open_with(options, None)
    }

    /// Opens a cache that tells `observer` about every step it takes, for tests that interrupt it.
    ///
    /// # Errors
    ///
    /// As [`Cache::open`].
    #[doc(hidden)]
    pub fn open_observed(
        options: CacheOptions,
        observer: impl Fn(Step) + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        Self::open_with(options, Some(Arc::new(observer)))
    }

    fn open_with(options: CacheOptions, observer: Option<Observer>) -> Result<Self, OpenError> {
        let CacheOptions {
            root: path,
            size_bytes_max,
        } = options;
        let failed = |source| OpenError {
            root: path.clone(),
            source,
        };
        // Whoever changes the working directory later does not mean another cache.
        let absolute = std::path::absolute(&path)
            .map_err(|error| failed(StorageError::reading("find", &path, error)))?;
        let root = Root::new(absolute, observer);
        root.make().map_err(failed)?;
        root.open_format().map_err(failed)?;
        sweep::leftovers(&root);
        Ok(Self {
            root,
            size_bytes_max,
        })
    }

    /// The cache's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The size that [`Cache::evict`] goes down to, in bytes.
    #[must_use]
    pub const fn size_bytes_max(&self) -> u64 {
        self.size_bytes_max
    }

    /// Where the artifact of a source under a profile is, or would be.
    #[must_use]
    pub fn artifact_path(&self, source: &Digest, profile: &Profile) -> PathBuf {
        Directory::Artifacts(profile.fingerprint())
            .path(self.root.path())
            .join(FileKind::Artifact.file_name(source))
    }

    /// Where a source is, or would be.
    #[must_use]
    pub fn source_path(&self, source: &Digest) -> PathBuf {
        Directory::Sources
            .path(self.root.path())
            .join(FileKind::Source.file_name(source))
    }

    /// Finds the artifact of a source under a profile.
    ///
    /// All of its bytes are compared with what was published. One that differs is moved to the
    /// quarantine and counts as not there.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn lookup(
        &self,
        source: &Digest,
        profile: &Profile,
    ) -> Result<Option<VerifiedArtifact>, LookupError> {
        lookup::artifact(&self.root, &key(source, profile)).map_err(|error| LookupError {
            digest: *source,
            source: error,
        })
    }

    /// Finds the artifact of a source under a profile, verified as [`Cache::lookup`] does it, if that
    /// is soon done: if it has no more than `artifact_bytes_max` bytes, and the system holds them in
    /// memory. Only the names of its files may have to be looked up on the disk.
    ///
    /// `None` says nothing: what is damaged, or cannot be read, is for [`Cache::lookup`] to tell.
    #[must_use]
    pub fn lookup_nonblocking(
        &self,
        source: &Digest,
        profile: &Profile,
        artifact_bytes_max: u64,
    ) -> Option<VerifiedArtifact> {
        lookup::artifact_nonblocking(&self.root, &key(source, profile), artifact_bytes_max)
    }

    /// Reads a source; one whose bytes are not those of its digest is moved to the quarantine and
    /// counts as not there.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn source(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LookupError> {
        lookup::source(&self.root, digest).map_err(|source| LookupError {
            digest: *digest,
            source,
        })
    }

    /// Moves an artifact that must not be used any more to the quarantine; modules that are loaded
    /// from it go on running.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn withdraw(&self, source: &Digest, profile: &Profile) -> Result<(), LookupError> {
        quarantine::withdraw(&self.root, &key(source, profile)).map_err(|error| LookupError {
            digest: *source,
            source: error,
        })
    }

    /// Stores a source, unless it is there already.
    ///
    /// # Errors
    ///
    /// The disk's, and a source of more than [`SOURCE_BYTES_MAX`] bytes.
    pub fn put_source(&self, wasm: &[u8]) -> Result<Digest, PublishError> {
        let len = wasm.len() as u64;
        if len > SOURCE_BYTES_MAX {
            return Err(PublishError::SourceTooLong {
                len,
                max: SOURCE_BYTES_MAX,
            });
        }
        let digest = Digest::of(wasm);
        publish::source(&self.root, &digest, wasm)
            .map_err(|source| PublishError::Storage { digest, source })?;
        Ok(digest)
    }

    /// Stores an artifact with its manifest, and finds it again.
    ///
    /// If the cache has an intact artifact of the same source under the same profile already, that
    /// one stays and is returned.
    ///
    /// # Errors
    ///
    /// The disk's, an artifact that its manifest does not describe, and a manifest that is too long.
    pub fn publish(
        &self,
        manifest: &Manifest,
        artifact: &[u8],
    ) -> Result<VerifiedArtifact, PublishError> {
        let digest = manifest.source;
        let found = Digest::of(artifact);
        if found != manifest.artifact || artifact.len() as u64 != manifest.artifact_len {
            return Err(PublishError::Artifact {
                found,
                expected: manifest.artifact,
            });
        }
        let encoded = manifest
            .encode()
            .map_err(|source| PublishError::Manifest { digest, source })?;
        publish::artifact(
            &self.root,
            &key(&digest, &manifest.profile),
            &encoded,
            artifact,
        )
        .map_err(|source| PublishError::Storage { digest, source })?
        .ok_or(PublishError::Lost { digest })
    }

    /// Stores a source, and an artifact of it with its manifest, as [`Cache::put_source`] and
    /// [`Cache::publish`] do, in less time than the two one after the other.
    ///
    /// # Errors
    ///
    /// Theirs; either may have been stored nevertheless.
    pub fn publish_with_source(
        &self,
        wasm: &[u8],
        manifest: &Manifest,
        artifact: &[u8],
    ) -> Result<VerifiedArtifact, PublishError> {
        let (source, artifact) = join(
            || self.put_source(wasm),
            || self.publish(manifest, artifact),
        );
        source?;
        artifact
    }

    /// Waits until nobody else compiles this source for this profile, in any process.
    ///
    /// Look up again once the lock is held: somebody else may have published meanwhile.
    ///
    /// # Errors
    ///
    /// The disk's: where nothing can be written, nothing can be locked.
    pub fn lock(&self, source: &Digest, profile: &Profile) -> Result<KeyLock, LockError> {
        KeyLock::acquire(&self.root, &key(source, profile)).map_err(|error| LockError {
            digest: *source,
            source: error,
        })
    }

    /// Keeps sources and their artifacts from being evicted, by this process and by any other.
    ///
    /// `holder` is the path of whatever needs them, such as a registry's file. Every call replaces
    /// all of its pins, and they lapse when nothing is at that path any more.
    ///
    /// # Errors
    ///
    /// The disk's, and a path that is not text.
    pub fn pin(&self, holder: &Path, sources: &HashSet<Digest>) -> Result<(), PinError> {
        pins::set(&self.root, holder, sources).map_err(|source| PinError {
            holder: holder.to_owned(),
            source,
        })
    }

    /// Removes what has not been used for longest, until no more than the cache's size is left.
    ///
    /// Sources in `pinned`, and those pinned by [`Cache::pin`], stay, and so do all of their
    /// artifacts. Code that is in use goes on running.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn evict(&self, pinned: &HashSet<Digest>) -> Result<Evicted, EvictError> {
        Ok(evict::evict(&self.root, self.size_bytes_max, pinned)?)
    }

    /// Removes the artifact of a source under a profile, so that another can be published in its
    /// place; whether there was one. Code that is in use goes on running.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn discard(&self, source: &Digest, profile: &Profile) -> Result<bool, EvictError> {
        Ok(evict::discard(&self.root, &key(source, profile))?)
    }

    /// Lists everything that is stored, most recently used first.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn list(&self) -> Result<Vec<EntrySummary>, ListError> {
        Ok(inventory::list(&self.root)?)
    }

    /// Checks everything that is stored, byte by byte; what is damaged is moved to the quarantine.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn verify(&self) -> Result<Vec<Verdict>, VerifyError> {
        Ok(verify::verify(&self.root)?)
    }

    /// What the cache takes up.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn usage(&self) -> Result<Usage, ListError> {
        Ok(Inventory::scan(&self.root)?.usage())
    }
}

fn key(source: &Digest, profile: &Profile) -> Key {
    Key {
        source: *source,
        profile: profile.fingerprint(),
    }
}
