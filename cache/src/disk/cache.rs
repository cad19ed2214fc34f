//! The public interface of the cache.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::artifact::VerifiedArtifact;
use super::engines::{self, KnownEngine};
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
use crate::artifact_bytes::{ArtifactBytes, ArtifactError};
use crate::bundle::SignedManifest;
use crate::digest::Digest;
use crate::disk::evict::{pins, sweep};
use crate::disk::inventory::verify::{self, Verdict};
use crate::disk::inventory::{self, EntrySummary, Inventory, Usage};
use crate::disk::join::join;
use crate::disk::lookup::{integrity, quarantine};
use crate::disk::publish::releases;
use crate::disk::step::Step;
use crate::javascript::JavaScript;
use crate::manifest::Manifest;
use crate::profile::Profile;

/// Location and size of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// The directory. It must belong to this user and be closed to all others.
    pub root: PathBuf,
    /// Size above which [`Cache::evict`] removes entries, in bytes.
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
    /// Opens a cache; creates the directory with mode 0700 if it does not exist.
    ///
    /// A directory on a read-only disk can be opened too; lookups work then, publishing fails.
    ///
    /// # Errors
    ///
    /// The directory belongs to another user, is open to others, is a link or a file, or cannot be
    /// created.
    pub fn open(options: CacheOptions) -> Result<Self, OpenError> {
        Self::open_with(options, None)
    }

    /// Opens a cache that calls `observer` after every step, for tests that interrupt it.
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
        // A later change of the working directory must not change the cache.
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

    /// Returns the cache's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns the size above which [`Cache::evict`] removes entries, in bytes.
    #[must_use]
    pub const fn size_bytes_max(&self) -> u64 {
        self.size_bytes_max
    }

    /// Returns the path of a source's artifact under a profile, stored or not.
    #[must_use]
    pub fn artifact_path(&self, source: &Digest, profile: &Profile) -> PathBuf {
        Directory::Artifacts(profile.fingerprint())
            .path(self.root.path())
            .join(FileKind::Artifact.file_name(source))
    }

    /// Returns the path of the native code that a manifest describes, stored or not: of the engine, if there is
    /// an image.
    #[must_use]
    pub fn code_path(&self, manifest: &Manifest) -> PathBuf {
        let key = key(&manifest.source, &manifest.profile);
        key.directory()
            .path(self.root.path())
            .join(integrity::code_name(&key, manifest))
    }

    /// Returns the path of a source, stored or not.
    #[must_use]
    pub fn source_path(&self, source: &Digest) -> PathBuf {
        Directory::Sources
            .path(self.root.path())
            .join(FileKind::Source.file_name(source))
    }

    /// Finds the artifact of a source under a profile.
    ///
    /// All bytes are checked against the manifest. A damaged artifact is moved to the quarantine,
    /// and the result is `None`.
    ///
    /// # Errors
    ///
    /// The disk failed.
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

    /// Finds and checks an artifact like [`Cache::lookup`], but only if it has at most
    /// `artifact_bytes_max` bytes and all of them are in the page cache. It never waits for file
    /// contents; file names may still be read from the disk.
    ///
    /// `None` does not mean that the artifact is missing: call [`Cache::lookup`] then.
    #[must_use]
    pub fn lookup_nonblocking(
        &self,
        source: &Digest,
        profile: &Profile,
        artifact_bytes_max: u64,
    ) -> Option<VerifiedArtifact> {
        lookup::artifact_nonblocking(&self.root, &key(source, profile), artifact_bytes_max)
    }

    /// Reads a source. A source that does not match its digest is moved to the quarantine, and the
    /// result is `None`.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn source(&self, digest: &Digest) -> Result<Option<Vec<u8>>, LookupError> {
        lookup::source(&self.root, digest).map_err(|source| LookupError {
            digest: *digest,
            source,
        })
    }

    /// Moves an artifact that must not be used any more to the quarantine. Modules that were loaded
    /// from it keep running.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn withdraw(&self, source: &Digest, profile: &Profile) -> Result<(), LookupError> {
        quarantine::withdraw(&self.root, &key(source, profile)).map_err(|error| LookupError {
            digest: *source,
            source: error,
        })
    }

    /// Stores a source, unless the cache has it already.
    ///
    /// # Errors
    ///
    /// The disk failed, or the source has more than [`SOURCE_BYTES_MAX`] bytes.
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

    /// Stores the signed manifest of a release of a source, so that the release can be loaded by the
    /// digest of its source. It is evicted together with the source.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn put_release(
        &self,
        source: &Digest,
        signed: &SignedManifest,
    ) -> Result<(), PublishError> {
        releases::put(&self.root, source, signed).map_err(|error| PublishError::Storage {
            digest: *source,
            source: error,
        })
    }

    /// Returns the signed manifests of all releases of a source, in no order. They are as they were
    /// stored: check each.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn releases(&self, source: &Digest) -> Result<Vec<SignedManifest>, LookupError> {
        releases::of_source(&self.root, source).map_err(|error| LookupError {
            digest: *source,
            source: error,
        })
    }

    /// Stores an artifact with its manifest, and returns it as read back.
    ///
    /// If the cache already has an intact artifact for the same source and profile, that one is kept
    /// and returned. An engine that the cache has is not stored again.
    ///
    /// # Errors
    ///
    /// The disk failed, the manifest does not describe the artifact, or the manifest is too long.
    pub fn publish<'a>(
        &self,
        manifest: &Manifest,
        artifact: impl Into<ArtifactBytes<'a>>,
    ) -> Result<VerifiedArtifact, PublishError> {
        let digest = manifest.source;
        let artifact = artifact.into();
        artifact.check(manifest).map_err(|error| match error {
            ArtifactError::Mismatch { found, expected } => {
                PublishError::Artifact { found, expected }
            }
            error => PublishError::Image(error),
        })?;
        let encoded = manifest
            .encode()
            .map_err(|source| PublishError::Manifest { digest, source })?;
        publish::artifact(
            &self.root,
            &key(&digest, &manifest.profile),
            manifest,
            &encoded,
            artifact,
        )
        .map_err(|source| PublishError::Storage { digest, source })?
        .ok_or(PublishError::Lost { digest })
    }

    /// Does the work of [`Cache::put_source`] and [`Cache::publish`] in parallel.
    ///
    /// # Errors
    ///
    /// One of the two failed; the other may have been stored.
    pub fn publish_with_source<'a>(
        &self,
        wasm: &[u8],
        manifest: &Manifest,
        artifact: impl Into<ArtifactBytes<'a>>,
    ) -> Result<VerifiedArtifact, PublishError> {
        let artifact = artifact.into();
        let (source, artifact) = join(
            || self.put_source(wasm),
            || self.publish(manifest, artifact),
        );
        source?;
        artifact
    }

    /// Returns the engines that were compiled here under a profile, for a compiler that need not compile
    /// them again.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn engines(&self, profile: &Profile) -> Result<Vec<KnownEngine>, ListError> {
        Ok(engines::compiled_here(&self.root, profile.fingerprint())?)
    }

    /// Reads the native code of an engine; `None` if it is gone or damaged.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn engine_code(
        &self,
        profile: &Profile,
        engine: &KnownEngine,
    ) -> Result<Option<Vec<u8>>, LookupError> {
        engines::code(&self.root, profile.fingerprint(), engine).map_err(|source| LookupError {
            digest: engine.native,
            source,
        })
    }

    /// Locks a source and profile for compiling; waits while another thread or process holds the
    /// lock.
    ///
    /// The previous holder may have published: look up again once the lock is held.
    /// [`Cache::get_or_compile`] does so.
    ///
    /// # Errors
    ///
    /// The disk failed or is read-only: locks are files.
    pub fn lock(&self, source: &Digest, profile: &Profile) -> Result<KeyLock, LockError> {
        KeyLock::acquire(&self.root, &key(source, profile)).map_err(|error| LockError {
            digest: *source,
            source: error,
        })
    }

    /// Pins sources and their artifacts, so that no process evicts them.
    ///
    /// `holder` is the path of the file that needs them, such as a registry. Every call replaces all
    /// pins of the holder. They expire when no file is at that path any more.
    ///
    /// # Errors
    ///
    /// The disk failed, or the path is not UTF-8.
    pub fn pin(&self, holder: &Path, sources: &HashSet<Digest>) -> Result<(), PinError> {
        pins::set(&self.root, holder, sources).map_err(|source| PinError {
            holder: holder.to_owned(),
            source,
        })
    }

    /// Removes the least recently used entries until the cache has at most its configured size.
    ///
    /// Sources in `pinned` and those pinned by [`Cache::pin`] stay, with all their artifacts, and so does the
    /// JavaScript engine. Loaded code keeps running.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn evict(&self, pinned: &HashSet<Digest>) -> Result<Evicted, EvictError> {
        let mut pinned = pinned.clone();
        // Only a compiler could bring it back.
        pinned.insert(Digest::of(&JavaScript::engine()));
        Ok(evict::evict(&self.root, self.size_bytes_max, pinned)?)
    }

    /// Removes the artifact of a source under a profile, so that another can be published in its
    /// place. Loaded code keeps running. Returns true if there was one.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn discard(&self, source: &Digest, profile: &Profile) -> Result<bool, EvictError> {
        Ok(evict::discard(&self.root, &key(source, profile))?)
    }

    /// Lists all entries, most recently used first.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn list(&self) -> Result<Vec<EntrySummary>, ListError> {
        Ok(inventory::list(&self.root)?)
    }

    /// Checks every byte of all entries, and moves damaged ones to the quarantine.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn verify(&self) -> Result<Vec<Verdict>, VerifyError> {
        Ok(verify::verify(&self.root)?)
    }

    /// Counts the entries and the bytes that they take up.
    ///
    /// # Errors
    ///
    /// The disk failed.
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
