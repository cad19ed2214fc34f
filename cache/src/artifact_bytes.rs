//! The bytes of an artifact, before they are stored.

use std::io;

use crate::digest::Digest;
use crate::manifest::Manifest;

/// The bytes of an artifact: native code, and an image if the code is an engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactBytes<'a> {
    /// The native code.
    pub native: &'a [u8],
    /// The image; `None` for code that is this source's alone.
    pub image: Option<&'a [u8]>,
}

/// The bytes of an artifact, owned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactBuf {
    /// The native code.
    pub native: Vec<u8>,
    /// The image; `None` for code that is this source's alone.
    pub image: Option<Vec<u8>>,
}

impl<'a> From<&'a ArtifactBuf> for ArtifactBytes<'a> {
    fn from(buffer: &'a ArtifactBuf) -> Self {
        Self {
            native: &buffer.native,
            image: buffer.image.as_deref(),
        }
    }
}

impl<'a> From<&'a [u8]> for ArtifactBytes<'a> {
    fn from(native: &'a [u8]) -> Self {
        Self {
            native,
            image: None,
        }
    }
}

impl<'a> From<&'a Vec<u8>> for ArtifactBytes<'a> {
    fn from(native: &'a Vec<u8>) -> Self {
        Self::from(native.as_slice())
    }
}

impl<'a, const LEN: usize> From<&'a [u8; LEN]> for ArtifactBytes<'a> {
    fn from(native: &'a [u8; LEN]) -> Self {
        Self::from(native.as_slice())
    }
}

impl ArtifactBytes<'_> {
    /// Checks that these are the bytes that a manifest describes.
    ///
    /// # Errors
    ///
    /// Code or image have another digest or length, or one of the two is missing.
    pub fn check(&self, manifest: &Manifest) -> Result<(), ArtifactError> {
        let found = Digest::of(self.native);
        if found != manifest.artifact || self.native.len() as u64 != manifest.artifact_len {
            return Err(ArtifactError::Mismatch {
                found,
                expected: manifest.artifact,
            });
        }
        match (&manifest.image, self.image) {
            (None, None) => Ok(()),
            (Some(info), Some(image)) => {
                let found = Digest::of(image);
                if found == info.digest && image.len() as u64 == info.len {
                    Ok(())
                } else {
                    Err(ArtifactError::Image {
                        found,
                        expected: info.digest,
                    })
                }
            }
            (Some(_), None) => Err(ArtifactError::ImageMissing),
            (None, Some(_)) => Err(ArtifactError::ImageUndescribed),
        }
    }
}

/// Bytes are not the artifact that a manifest describes, or cannot be kept in memory.
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
    /// The image does not match the manifest.
    #[error("the image has digest {found} and its manifest says {expected}")]
    Image {
        /// Digest of the bytes.
        found: Digest,
        /// Digest in the manifest.
        expected: Digest,
    },
    /// The manifest describes an image, and there is none.
    #[error("the manifest describes an image, and there is none")]
    ImageMissing,
    /// There is an image that the manifest does not describe.
    #[error("there is an image that the manifest does not describe")]
    ImageUndescribed,
    /// The system has no memory for the artifact.
    #[error("no anonymous file for the artifact")]
    Memory(#[from] io::Error),
}
