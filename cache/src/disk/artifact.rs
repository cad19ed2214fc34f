//! Native code that is safe to load.

use std::fs::File;
use std::io;

use crate::artifact_bytes::{ArtifactBytes, ArtifactError};
use crate::disk::files::platform;
use crate::manifest::Manifest;

/// Native code that matches its manifest, with its image.
///
/// It comes from the cache (a lookup or a publication), or from [`VerifiedArtifact::in_memory`],
/// which seals it. In both cases the code was made by this user's compiler or came in a bundle that
/// this user trusts, and its file does not change.
#[derive(Debug)]
pub struct VerifiedArtifact {
    manifest: Manifest,
    file: File,
    image: Option<File>,
}

impl VerifiedArtifact {
    /// Wraps an artifact whose bytes the cache has checked; `image` is there if the manifest has one.
    pub(super) const fn found(manifest: Manifest, file: File, image: Option<File>) -> Self {
        Self {
            manifest,
            file,
            image,
        }
    }

    /// Keeps an artifact in memory, for a cache whose disk is full, read-only or switched off.
    ///
    /// The bytes are copied into anonymous files that nobody can change.
    ///
    /// # Errors
    ///
    /// The bytes do not match the manifest, or the system has no memory for them.
    pub fn in_memory<'a>(
        manifest: Manifest,
        artifact: impl Into<ArtifactBytes<'a>>,
    ) -> Result<Self, ArtifactError> {
        let artifact = artifact.into();
        artifact.check(&manifest)?;
        let file = platform::sealed_file(artifact.native)?;
        let image = artifact.image.map(platform::sealed_file).transpose()?;
        Ok(Self {
            manifest,
            file,
            image,
        })
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

    /// Returns the file that holds the image and never changes, if the code is an engine's.
    #[must_use]
    pub const fn image(&self) -> Option<&File> {
        self.image.as_ref()
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

    /// Keeps the code in memory, and the image where it is.
    pub(super) fn with_code_in_memory(self, native: &[u8]) -> io::Result<Self> {
        let file = platform::sealed_file(native)?;
        Ok(Self { file, ..self })
    }
}
