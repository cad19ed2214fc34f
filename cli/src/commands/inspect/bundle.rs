//! Describes bundles by their manifest, after checking every member against it.

use anyhow::Result;
use ferrite_cache::Digest;
use ferrite_cache::bundle::{BundleLimits, BundleMembers, SignatureText, UncheckedBundle};

use super::report::{ArtifactInBundle, BundleReport, ModuleReport};
use super::requirements::Requirements;
use crate::platform::Platform;

/// Describes a bundle, and fails if a member does not match the manifest. The signature is not
/// checked: `verify` does that, which knows the trusted keys.
pub(super) fn describe(bytes: &[u8]) -> Result<BundleReport> {
    let BundleMembers {
        manifest_json,
        manifest,
        signature,
        source: _,
        artifacts: _,
    } = UncheckedBundle::open(bytes, BundleLimits::default())?.into_members()?;
    let mut artifacts: Vec<_> = manifest
        .artifacts
        .iter()
        .map(|artifact| ArtifactInBundle {
            artifact: artifact.code.digest,
            bytes: artifact.code.size,
            platform: Platform::of(&artifact.profile),
            profile: artifact.profile.fingerprint(),
            refused: artifact
                .profile
                .check()
                .err()
                .map(|error| error.to_string()),
        })
        .collect();
    artifacts.sort_by_key(|artifact| artifact.platform);
    Ok(BundleReport {
        bytes: bytes.len() as u64,
        manifest: Digest::of(&manifest_json),
        name: manifest.name,
        version: manifest.version,
        description: manifest.description,
        sequence: manifest.sequence,
        created_unix: manifest.created_unix,
        expires_unix: manifest.expires_unix,
        isolation: manifest.isolation,
        permissions: manifest.permissions,
        limits: manifest.limits,
        signed_by: signature.as_ref().map(SignatureText::key),
        comment: signature.map(|signature| signature.trusted_comment().to_owned()),
        source: manifest.source.digest,
        source_bytes: manifest.source.size,
        artifacts,
        module: ModuleReport {
            needs: Requirements::of(&manifest.module, None),
            info: manifest.module,
        },
    })
}
