//! Compiling a source once: look up, lock the key, look up again, compile, publish.

use super::artifact::VerifiedArtifact;
use super::cache::Cache;
use super::error::{LockError, LookupError, PublishError};
use crate::artifact_bytes::{ArtifactBytes, ArtifactError};
use crate::digest::Digest;
use crate::manifest::Manifest;
use crate::profile::Profile;

/// A module that was compiled and is not published yet.
#[derive(Clone, Debug)]
pub struct CompiledModule {
    /// The binary module, or the encoded program in JavaScript; its digest identifies the source.
    pub source: Vec<u8>,
    /// Describes the source and the native code.
    pub manifest: Manifest,
    /// The native code.
    pub artifact: Vec<u8>,
    /// The image, if the native code is an engine's.
    pub image: Option<Vec<u8>>,
}

impl CompiledModule {
    /// Returns the native code with its image.
    #[must_use]
    pub fn code(&self) -> ArtifactBytes<'_> {
        ArtifactBytes {
            native: &self.artifact,
            image: self.image.as_deref(),
        }
    }

    /// Keeps the native code in memory only, for a process without a cache.
    ///
    /// # Errors
    ///
    /// As [`VerifiedArtifact::in_memory`].
    pub fn into_memory(self) -> Result<VerifiedArtifact, ArtifactError> {
        let code = ArtifactBytes {
            native: &self.artifact,
            image: self.image.as_deref(),
        };
        VerifiedArtifact::in_memory(self.manifest, code)
    }
}

/// Tells where [`Cache::get_or_compile`] got an artifact from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The cache had it; nothing was compiled.
    Cache,
    /// It was compiled and published.
    Compiled,
    /// It was compiled; the cache could not store it, so it is in memory only.
    Memory,
}

/// A cache operation failed on the way to an artifact.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The lookup failed.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The key could not be locked, so another process may compile the same source at the same
    /// time.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The artifact was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The artifact cannot be kept in memory.
    #[error(transparent)]
    Memory(#[from] ArtifactError),
}

impl CacheError {
    /// Returns true if the disk is at fault, so that the same work can be done in memory.
    #[must_use]
    pub const fn is_storage(&self) -> bool {
        match self {
            Self::Lookup(_) | Self::Lock(_) => true,
            Self::Publish(error) => error.is_storage(),
            Self::Memory(_) => false,
        }
    }
}

impl Cache {
    /// Returns the artifact of a source under a profile; calls `compile` and publishes the result
    /// if the cache has none.
    ///
    /// Callers that ask for the same key at the same time, in any thread or process, compile once:
    /// the others wait and get the published artifact.
    ///
    /// # Errors
    ///
    /// The error of `compile`, and every failure of the disk. [`Cache::get_or_compile_with`] lets
    /// the caller go on without the disk.
    pub fn get_or_compile<E: From<CacheError>>(
        &self,
        source: &Digest,
        profile: &Profile,
        compile: impl FnOnce() -> Result<CompiledModule, E>,
    ) -> Result<(VerifiedArtifact, Origin), E> {
        self.get_or_compile_with(
            source,
            profile,
            || {
                self.lookup(source, profile)
                    .map_err(|error| CacheError::from(error).into())
            },
            |error| Err(error.into()),
            compile,
        )
    }

    /// Works as [`Cache::get_or_compile`], for callers with rules of their own.
    ///
    /// - `find` replaces the lookup: it may accept another profile, or reject an artifact. It runs
    ///   before the lock is taken, and again once it is held.
    /// - `on_error` gets every failure to lock or to publish. If it returns `Ok`, the call goes on
    ///   without the disk: it compiles without the lock, or keeps the artifact in memory.
    ///
    /// # Errors
    ///
    /// The errors of the three closures, and an artifact that memory cannot take either.
    pub fn get_or_compile_with<E: From<CacheError>>(
        &self,
        source: &Digest,
        profile: &Profile,
        find: impl Fn() -> Result<Option<VerifiedArtifact>, E>,
        on_error: impl Fn(CacheError) -> Result<(), E>,
        compile: impl FnOnce() -> Result<CompiledModule, E>,
    ) -> Result<(VerifiedArtifact, Origin), E> {
        if let Some(found) = find()? {
            return Ok((found, Origin::Cache));
        }
        let _lock = match self.lock(source, profile) {
            Ok(lock) => {
                // The previous holder of the lock may have published the artifact.
                if let Some(found) = find()? {
                    return Ok((found, Origin::Cache));
                }
                Some(lock)
            }
            Err(error) => {
                on_error(error.into())?;
                None
            }
        };
        let CompiledModule {
            source,
            manifest,
            artifact,
            image,
        } = compile()?;
        let code = ArtifactBytes {
            native: &artifact,
            image: image.as_deref(),
        };
        self.publish_or_keep(manifest, &source, code, on_error)
    }

    /// Publishes an artifact and its source; keeps the artifact in memory if that fails and
    /// `on_error` returns `Ok`.
    ///
    /// # Errors
    ///
    /// The error of `on_error`, and an artifact that memory cannot take either.
    pub fn publish_or_keep<E: From<CacheError>>(
        &self,
        manifest: Manifest,
        source: &[u8],
        artifact: ArtifactBytes<'_>,
        on_error: impl Fn(CacheError) -> Result<(), E>,
    ) -> Result<(VerifiedArtifact, Origin), E> {
        match self.publish_with_source(source, &manifest, artifact) {
            Ok(published) => Ok((published, Origin::Compiled)),
            Err(error) => {
                on_error(error.into())?;
                let kept = VerifiedArtifact::in_memory(manifest, artifact);
                Ok((kept.map_err(CacheError::from)?, Origin::Memory))
            }
        }
    }
}
