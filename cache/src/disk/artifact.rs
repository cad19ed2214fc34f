//! Native code that may be loaded.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::manifest::Manifest;

/// Native code whose bytes are those that its manifest describes.
///
/// There are two ways to one: the cache found or published it, or [`VerifiedArtifact::in_memory`]
/// sealed it. Either way the code is what this user's compiler, or a bundle that this user trusts,
/// made of the source; and its file will not change.
#[derive(Debug)]
pub struct VerifiedArtifact {
    manifest: Manifest,
    file: File,
}

impl VerifiedArtifact {
    /// What the cache found intact.
    pub(super) const fn found(manifest: Manifest, file: File) -> Self {
        Self { manifest, file }
    }

    /// Keeps an artifact in memory, for when the cache's disk is full, read-only or switched off.
    ///
    /// The bytes are copied into an anonymous file that is sealed against every change.
    ///
    /// # Errors
    ///
    /// Bytes that are not those of the manifest, and a system without memory for them.
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

    /// What is known about the code.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The file that holds the code, and that never changes: `wasmtime` maps it.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Length of the code's file, in bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "no artifact is empty: it is at least a header"
    )]
    pub const fn len(&self) -> u64 {
        self.manifest.artifact_len
    }

    /// The manifest and the file, for those who keep them apart.
    #[must_use]
    pub fn into_parts(self) -> (Manifest, File) {
        (self.manifest, self.file)
    }
}

/// An anonymous file with these bytes, sealed against writing, growing and shrinking.
pub(super) fn sealed_memfd(bytes: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = "ferrite-artifact";
    // Hardened systems take only files that cannot be executed as programs, which mapped code need
    // not be; kernels before 6.3 do not know the flag.
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

/// Why an artifact cannot be kept in memory.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The bytes are not those of the manifest.
    #[error("the artifact has digest {found} and its manifest says {expected}")]
    Mismatch {
        /// Digest of the bytes.
        found: Digest,
        /// Digest in the manifest.
        expected: Digest,
    },
    /// The system gives no memory.
    #[error("no anonymous file for the artifact")]
    Memory(#[from] io::Error),
}
