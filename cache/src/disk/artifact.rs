//! Native code that is safe to load.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use crate::digest::Digest;
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
    /// The bytes are copied into an anonymous file that is sealed against every change.
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
        let file = sealed_memfd(artifact)?;
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

/// Creates an anonymous file with these bytes, sealed against writing, growing and shrinking.
pub(super) fn sealed_memfd(bytes: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = "ferrite-artifact";
    // Hardened systems allow only anonymous files that cannot be executed as programs; mapped code
    // does not need that. Kernels before 6.3 do not know the flag.
    let file = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    }?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(file)
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
