//! The record of the signed bundle that a function was loaded from.

use ferrite_cache::Digest;
use ferrite_cache::bundle::{BundleManifest, KeyId, SignedManifest};
use serde::{Deserialize, Serialize};

/// The signed bundle that a function was loaded from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Version of the function, for people.
    pub version: Box<str>,
    /// Rises with every release.
    pub sequence: u64,
    /// The key that signed it.
    pub key: KeyId,
    /// Identity of the signed manifest.
    pub manifest: Digest,
    /// Time of its creation, in seconds since 1970.
    pub created_unix: u64,
    /// Time from which it can no longer be loaded, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix: Option<u64>,
    /// The signed manifest itself, by which other servers check the rest. Functions that were loaded by
    /// earlier versions lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Box<SignedManifest>>,
}

impl Release {
    /// Makes the record of a release that `key` signed. `manifest` is what `signed` says.
    #[must_use]
    pub fn new(manifest: &BundleManifest, signed: &SignedManifest, key: KeyId) -> Self {
        Self {
            version: manifest.version.as_str().into(),
            sequence: manifest.sequence,
            key,
            manifest: signed.digest(),
            created_unix: manifest.created_unix,
            expires_unix: manifest.expires_unix,
            signed: Some(Box::new(signed.clone())),
        }
    }
}
