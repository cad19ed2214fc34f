//! Writes a bundle; the same inputs give the same bytes.

use std::io::{self, Write};

use super::archive::{TRAILER, header, padding};
use super::manifest::{BundleManifest, MANIFEST_BYTES_MAX};
use super::signature::SignatureText;
use crate::Digest;
use crate::artifact_bytes::ArtifactBytes;

/// A bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The manifest's values are not allowed.
    #[error("the bundle is refused: {0}")]
    Manifest(String),
    /// A member does not have the size and digest that the manifest states.
    #[error("{member} does not have the size and digest that the manifest states")]
    Member {
        /// The member.
        member: String,
    },
    /// The bundle could not be written.
    #[error("the bundle could not be written")]
    Write(#[from] io::Error),
}

/// Writes a bundle.
///
/// `manifest_json` is the signed text, which must describe the members. `artifacts` are in the order
/// of the manifest.
pub fn write_bundle<'a>(
    out: &mut impl Write,
    manifest_json: &[u8],
    signature: Option<&SignatureText>,
    source: &[u8],
    artifacts: &[impl Into<ArtifactBytes<'a>> + Copy],
) -> Result<(), WriteError> {
    let artifacts: Vec<ArtifactBytes<'a>> =
        artifacts.iter().map(|&artifact| artifact.into()).collect();
    let manifest = BundleManifest::from_json(manifest_json)
        .map_err(|error| WriteError::Manifest(error.to_string()))?;
    if manifest_json.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(WriteError::Manifest(format!(
            "manifest.json would have {} bytes, more than {MANIFEST_BYTES_MAX}",
            manifest_json.len()
        )));
    }
    let matches = |stated: &super::Member, bytes: &[u8]| {
        stated.size == bytes.len() as u64 && stated.digest == Digest::of(bytes)
    };
    if !matches(&manifest.source, source) {
        return Err(WriteError::Member {
            member: "source.wasm".to_owned(),
        });
    }
    if artifacts.len() != manifest.artifacts.len() {
        return Err(WriteError::Manifest(format!(
            "it lists {} artifacts and {} were given",
            manifest.artifacts.len(),
            artifacts.len()
        )));
    }
    for (stated, bytes) in manifest.artifacts.iter().zip(&artifacts) {
        if !matches(&stated.code, bytes.native) {
            return Err(WriteError::Member {
                member: stated.member_name(),
            });
        }
        let image = stated.image.as_ref().map(|info| super::Member {
            digest: info.digest,
            size: info.len,
        });
        let same = match (&image, bytes.image) {
            (Some(stated), Some(bytes)) => matches(stated, bytes),
            (stated, bytes) => stated.is_none() && bytes.is_none(),
        };
        if !same {
            return Err(WriteError::Member {
                member: stated.image_name(),
            });
        }
    }
    member(out, "manifest.json", manifest_json)?;
    if let Some(signature) = signature {
        member(out, "manifest.json.minisig", signature.as_str().as_bytes())?;
    }
    member(out, "source.wasm", source)?;
    for (stated, bytes) in manifest.artifacts.iter().zip(&artifacts) {
        member(out, &stated.member_name(), bytes.native)?;
        if let Some(image) = bytes.image {
            member(out, &stated.image_name(), image)?;
        }
    }
    out.write_all(&[0; TRAILER])?;
    Ok(())
}

fn member(out: &mut impl Write, name: &str, bytes: &[u8]) -> io::Result<()> {
    let size = bytes.len() as u64;
    out.write_all(&header(name, size))?;
    out.write_all(bytes)?;
    out.write_all(&vec![0; padding(size)])
}
