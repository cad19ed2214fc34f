//! Native code that is safe to load.

use std::fs::File;
use std::io;

use crate::digest::Digest;
use crate::disk::files::platform;
use crate::manifest::Manifest;

/// Native code that matches its manifest.
///
/// It comes from the cache (a lookup or a publication), or from [`VerifiedArtifact::in_memory`],
/// which seals it. In both cases the code was made by this user's compiler or came in a bundle that
/// this user trusts, and its file does not change.
#[derive(Debug)]
pub struct VerifiedArtifact {
    manifest: Manifest,
    file: File,
}

impl VerifiedArtifact {
    /// Wraps an artifact whose bytes the cache has checked.
    pub(super) const fn found(manifest: Manifest, file: File) -> Self {
        Self { manifest, file }
    }

    /// Keeps an artifact in memory, for a cache whose disk is full, read-only or switched off.
    ///
    /// The bytes are copied into an anonymous file that nobody can change.
    ///
    /// # Errors
    ///
    /// The bytes do not match the manifest, or the system has no memory for them.
    pub fn in_memory(manifest: Manifest, artifact: &[u8]) -> Result<Self, ArtifactError> {
        let found = Digest::of(artifact);
        if found != manifest.artifact || artifact.len() as u64 != manifest.artifact_len {
            return Err(ArtifactError::Mismatch {
                found,
                expected: manifest.artifact,
            });
        }
        let file = platform::sealed_file(artifact)?;
        Ok(Self { manifest, file })
    }

    /// Returns the description of the code.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the file that holds the code and never changes. `wasmtime` maps it.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Returns the length of the code's file, in bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "no artifact is empty: it is at least a header"
    )]
    pub const fn len(&self) -> u64 {
        self.manifest.artifact_len
    }

    /// Splits the artifact into manifest and file.
    pub(super) fn into_parts(self) -> (Manifest, File) {
        (self.manifest, self.file)
    }
}

/// An artifact cannot be kept in memory.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The bytes do not match the manifest.
    #[error("the artifact has digest {found} and its manifest says {expected}")]
    Mismatch {
        /// Digest of the bytes.
        found: Digest,
        /// Digest in the manifest.
        expected: Digest,
    },
    /// The system has no memory for the artifact.
    #[error("no anonymous file for the artifact")]
    Memory(#[from] io::Error),
}
