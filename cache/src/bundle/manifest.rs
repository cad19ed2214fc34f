//! The manifest of a bundle: `manifest.json`.

use serde::{Deserialize, Serialize};

use super::error::BundleError;
use super::signature::TrustError;
use crate::{Digest, ImageInfo, Manifest, ModuleInfo, Profile};

/// Version of the bundle format, stored in the manifest.
pub const BUNDLE_FORMAT: u32 = 1;

/// Largest `manifest.json`, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Most artifacts in a bundle.
pub const ARTIFACTS_MAX: usize = 16;

/// Longest function name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Longest version, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// Longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4096;

/// Describes a bundle. The signature covers its exact bytes in the bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleManifest {
    /// [`BUNDLE_FORMAT`] of the writer.
    pub format: u32,
    /// Name of the function.
    pub name: String,
    /// Version of the function, for people.
    pub version: String,
    /// Description of the function, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Rises with every release: a server that has seen a higher one refuses a lower one.
    pub sequence: u64,
    /// Time of the bundle's creation, in seconds since 1970.
    pub created_unix: u64,
    /// Time from which the bundle is refused, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix: Option<u64>,
    /// Isolation that the function asks for, as `WASM.LOAD … ISOLATION` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// Permissions that the function asks for, as `WASM.LOAD … PERMISSIONS` takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<serde_json::Value>,
    /// Limits that the function asks for, as `WASM.LOAD … LIMITS` takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<serde_json::Value>,
    /// The compiler's description of the source.
    pub module: ModuleInfo,
    /// `source.wasm`.
    pub source: Member,
    /// `artifacts/*.cwasm`, in the order of their profiles' fingerprints.
    pub artifacts: Vec<ArtifactMember>,
}

/// Size and digest of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// blake3 of the bytes.
    pub digest: Digest,
    /// Length, in bytes.
    pub size: u64,
}

/// Native code for one profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactMember {
    /// Description of the profile, for people.
    pub described: String,
    /// The profile that the code was compiled under.
    pub profile: Profile,
    /// Size and digest of the code.
    pub code: Member,
    /// Duration of the compilation, in microseconds; 0 in reproducible bundles.
    #[serde(default)]
    pub compile_micros: u64,
    /// Describes the image, if the code is that of an engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageInfo>,
}

impl ArtifactMember {
    /// Returns the name of the member in the archive.
    #[must_use]
    pub fn member_name(&self) -> String {
        format!("artifacts/{}.cwasm", self.profile.fingerprint())
    }

    /// Returns the name of the image's member in the archive.
    #[must_use]
    pub fn image_name(&self) -> String {
        format!("images/{}.image", self.profile.fingerprint())
    }
}

impl BundleManifest {
    /// Parses and checks a manifest.
    pub fn from_json(json: &[u8]) -> Result<Self, BundleError> {
        let manifest: Self = serde_json::from_slice(json).map_err(BundleError::Manifest)?;
        manifest.check().map_err(BundleError::ManifestValue)?;
        Ok(manifest)
    }

    /// Returns the bytes to sign: indented JSON, fields in the order of this type, and a line end.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Checks that the release can still be loaded at `now_unix`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// It has expired.
    pub fn check_expiry(&self, now_unix: u64) -> Result<(), TrustError> {
        match self.expires_unix {
            Some(expires_unix) if now_unix >= expires_unix => Err(TrustError::Expired {
                expires_unix,
                now_unix,
            }),
            _ => Ok(()),
        }
    }

    /// Returns the cache's manifest of the artifact at `index`.
    #[must_use]
    pub fn cache_manifest(&self, index: usize) -> Option<Manifest> {
        let artifact = self.artifacts.get(index)?;
        Some(Manifest {
            source: self.source.digest,
            source_len: self.source.size,
            artifact: artifact.code.digest,
            artifact_len: artifact.code.size,
            profile: artifact.profile.clone(),
            module: self.module.clone(),
            compile_micros: artifact.compile_micros,
            signed_by: None,
            image: artifact.image.clone(),
        })
    }

    /// Checks the values; the error describes the first bad one.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.format != BUNDLE_FORMAT {
            return Err(format!(
                "its format is {}, this version reads format {BUNDLE_FORMAT}",
                self.format
            ));
        }
        let name_ok = |b: u8| b.is_ascii_alphanumeric() || b"_:-".contains(&b);
        if self.name.is_empty()
            || self.name.len() > NAME_BYTES_MAX
            || !self.name.bytes().all(name_ok)
        {
            return Err(format!(
                "the name {:?} is not 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ : -",
                excerpt(&self.name)
            ));
        }
        check_version_and_description(&self.version, self.description.as_deref())?;
        if let Some(expires) = self.expires_unix
            && expires <= self.created_unix
        {
            return Err(format!(
                "it expires at {expires}, not after its creation at {}",
                self.created_unix
            ));
        }
        if self.artifacts.len() > ARTIFACTS_MAX {
            return Err(format!(
                "it lists {} artifacts, more than {ARTIFACTS_MAX}",
                self.artifacts.len()
            ));
        }
        let fingerprints: Vec<_> = self
            .artifacts
            .iter()
            .map(|artifact| artifact.profile.fingerprint().to_string())
            .collect();
        if !fingerprints.is_sorted_by(|a, b| a < b) {
            return Err("its artifacts are not in the order of their fingerprints".to_owned());
        }
        Ok(())
    }
}

/// Checks a version and a description; the error describes the first bad one.
pub fn check_version_and_description(
    version: &str,
    description: Option<&str>,
) -> Result<(), String> {
    let version_ok = |b: u8| b.is_ascii_alphanumeric() || b".+-_".contains(&b);
    if version.is_empty() || version.len() > VERSION_BYTES_MAX || !version.bytes().all(version_ok) {
        return Err(format!(
            "the version {:?} is not 1 to {VERSION_BYTES_MAX} of A-Z a-z 0-9 . + - _",
            excerpt(version)
        ));
    }
    match description.map_or(0, str::len) {
        0..=DESCRIPTION_BYTES_MAX => Ok(()),
        bytes => Err(format!(
            "the description has {bytes} bytes, more than {DESCRIPTION_BYTES_MAX}"
        )),
    }
}

/// Shortens an untrusted text for an error message.
fn excerpt(text: &str) -> String {
    const SHOWN: usize = 40;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}
