//! The signed manifest of a bundle without its members: which release it is, and what it may do.

use serde::{Deserialize, Serialize};

use super::error::BundleError;
use super::manifest::BundleManifest;
use super::signature::{SignatureText, Trust, TrustError};
use crate::Digest;
use crate::key_id::KeyId;

/// The manifest of a bundle with its signature, as text. It proves itself wherever it is stored: it is
/// believed only after [`SignedManifest::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct SignedManifest {
    manifest_json: Box<str>,
    signature: SignatureText,
}

/// Form in which it is stored and sent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    /// `manifest.json`, exactly.
    manifest: String,
    /// `manifest.json.minisig`, exactly.
    signature: String,
}

impl SignedManifest {
    /// Joins a manifest and its signature, neither of which is checked.
    ///
    /// # Errors
    ///
    /// The manifest is not UTF-8.
    pub fn new(manifest_json: &[u8], signature: SignatureText) -> Result<Self, TrustError> {
        let manifest_json = std::str::from_utf8(manifest_json)
            .map_err(|_| TrustError::Malformed)?
            .into();
        Ok(Self {
            manifest_json,
            signature,
        })
    }

    /// Returns the identity of the manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.manifest_json.as_bytes())
    }

    /// Reads the manifest without checking the signature.
    ///
    /// # Errors
    ///
    /// It is no manifest.
    pub fn read_unchecked(&self) -> Result<BundleManifest, BundleError> {
        BundleManifest::from_json(self.manifest_json.as_bytes())
    }

    /// Checks that a trusted key signed the manifest. Returns the manifest and the key. Does not check
    /// if it has expired; see [`BundleManifest::check_expiry`].
    ///
    /// # Errors
    ///
    /// The key is not trusted or is revoked, the signature is wrong, or it is no manifest.
    pub fn verify(&self, trust: &Trust) -> Result<(BundleManifest, KeyId), BundleError> {
        let key = trust.verify(self.manifest_json.as_bytes(), &self.signature)?;
        Ok((self.read_unchecked()?, key))
    }
}

impl TryFrom<Text> for SignedManifest {
    type Error = TrustError;

    fn try_from(text: Text) -> Result<Self, TrustError> {
        Self::new(
            text.manifest.as_bytes(),
            SignatureText::from_canonical(&text.signature)?,
        )
    }
}

impl From<SignedManifest> for Text {
    fn from(signed: SignedManifest) -> Self {
        Self {
            manifest: signed.manifest_json.into(),
            signature: signed.signature.as_str().to_owned(),
        }
    }
}
