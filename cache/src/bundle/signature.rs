//! Signatures of bundles (minisign, prehashed, over the manifest) and the keys that are trusted.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{PublicKey, Signature};

use crate::bundle::utc_time::UtcTime;
use crate::key_id::KeyId;

/// Largest `manifest.json.minisig`, in bytes.
pub const SIGNATURE_BYTES_MAX: u64 = 2048;

/// First line of every signature in a bundle. minisign does not sign this line, so its text is fixed.
const UNTRUSTED_COMMENT: &str = "untrusted comment: signature of a Ferrite WASM bundle";

/// Prefix of the comment line that minisign signs.
const TRUSTED_COMMENT: &str = "trusted comment: ";

/// Algorithm bytes of a prehashed Ed25519 signature; legacy ones (`Ed`) are refused.
const PREHASHED: [u8; 2] = *b"ED";

/// The text of a signature in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureText {
    key: KeyId,
    text: String,
}

impl SignatureText {
    /// Converts the output of minisign to canonical form by replacing its first line.
    pub fn normalize(minisig: &str) -> Result<Self, TrustError> {
        let rest = minisig
            .split_once('\n')
            .map(|(_, rest)| rest)
            .ok_or(TrustError::Malformed)?;
        let lines: Vec<&str> = rest.lines().collect();
        let [first, comment, second] = lines[..] else {
            return Err(TrustError::Malformed);
        };
        Self::from_canonical(&format!(
            "{UNTRUSTED_COMMENT}\n{first}\n{comment}\n{second}\n"
        ))
    }

    /// Parses the text in a bundle, which must be in canonical form.
    pub fn from_canonical(text: &str) -> Result<Self, TrustError> {
        let body = text.strip_suffix('\n').ok_or(TrustError::Malformed)?;
        let lines: Vec<&str> = body.split('\n').collect();
        let [untrusted, first, comment, second] = lines[..] else {
            return Err(TrustError::Malformed);
        };
        let first: [u8; 74] = decode(first)?;
        let _global: [u8; 64] = decode(second)?;
        // minisign's own comments contain tabs.
        let printable = |c: char| !c.is_control() || c == '\t';
        if untrusted != UNTRUSTED_COMMENT
            || !comment.starts_with(TRUSTED_COMMENT)
            || !comment.chars().all(printable)
        {
            return Err(TrustError::Malformed);
        }
        if first[..2] != PREHASHED {
            return Err(TrustError::Legacy);
        }
        let mut id = [0; 8];
        id.copy_from_slice(&first[2..10]);
        Ok(Self {
            key: KeyId::from_le_bytes(id),
            text: text.to_owned(),
        })
    }

    /// Returns the id of the claimed key.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Returns the text for a bundle.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the comment that the signature covers.
    #[must_use]
    pub fn trusted_comment(&self) -> &str {
        self.text
            .lines()
            .nth(2)
            .and_then(|line| line.strip_prefix(TRUSTED_COMMENT))
            .unwrap_or_default()
    }
}

/// Decodes strict base64 of exactly `N` bytes: no other text decodes to the same bytes.
fn decode<const N: usize>(text: &str) -> Result<[u8; N], TrustError> {
    STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(TrustError::Malformed)
}

/// A trusted public key.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    id: KeyId,
    key: PublicKey,
}

impl TrustedKey {
    /// Returns the key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Checks a signature over `signed`.
    pub fn verify(&self, signed: &[u8], signature: &SignatureText) -> Result<(), TrustError> {
        let parsed = Signature::decode(&signature.text).map_err(|_| TrustError::Malformed)?;
        self.key
            .verify(signed, &parsed, false)
            .map_err(|_| TrustError::WrongSignature { key: self.id })
    }
}

impl FromStr for TrustedKey {
    type Err = TrustError;

    /// Reads a minisign public key: its base64 line alone, or the text of a `.pub` file.
    fn from_str(text: &str) -> Result<Self, TrustError> {
        let malformed = || TrustError::PublicKey {
            text: text.chars().take(60).collect(),
        };
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(malformed());
        };
        let bytes: [u8; 42] = decode(line).map_err(|_| malformed())?;
        let key = PublicKey::from_base64(line).map_err(|_| malformed())?;
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[2..10]);
        Ok(Self {
            id: KeyId::from_le_bytes(id),
            key,
        })
    }
}

/// The trusted and the revoked keys.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Trusted keys.
    pub keys: Vec<TrustedKey>,
    /// Ids of revoked keys; they are not trusted even if they are in `keys`.
    pub revoked: Vec<KeyId>,
}

impl Trust {
    /// Checks that `key` is trusted.
    ///
    /// # Errors
    ///
    /// The key is revoked or unknown.
    pub fn accepts(&self, key: KeyId) -> Result<(), TrustError> {
        if self.revoked.contains(&key) {
            Err(TrustError::Revoked { key })
        } else if self.keys.iter().any(|trusted| trusted.id == key) {
            Ok(())
        } else {
            Err(TrustError::UnknownKey { key })
        }
    }

    /// Checks a signature over `signed`, and returns the key that made it.
    pub fn verify(&self, signed: &[u8], signature: &SignatureText) -> Result<KeyId, TrustError> {
        let key = signature.key();
        self.accepts(key)?;
        // Ids are not guaranteed to be unique: two keys may share one, and either may have signed.
        let mut known = self.keys.iter().filter(|trusted| trusted.id == key);
        if known.any(|trusted| trusted.verify(signed, signature).is_ok()) {
            return Ok(key);
        }
        Err(TrustError::WrongSignature { key })
    }
}

/// A bundle is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The bundle has no signature.
    #[error("the bundle is not signed; sign it with `ferrite-wasmc sign BUNDLE --key FILE`")]
    Unsigned,
    /// The signature is not a minisign signature in the form that bundles use.
    #[error("the bundle's signature is not a minisign signature in a bundle's form")]
    Malformed,
    /// The signature has minisign's legacy format.
    #[error(
        "the signature is a legacy one; sign with prehashing (minisign -S without -l, and with -H before its version 0.10)"
    )]
    Legacy,
    /// The key is not among the trusted ones.
    #[error(
        "the bundle is signed by key {key}, which is not trusted; add its public key to trusted_keys"
    )]
    UnknownKey {
        /// The claimed key.
        key: KeyId,
    },
    /// The key has been revoked.
    #[error("the bundle is signed by key {key}, which is revoked; sign it with a current key")]
    Revoked {
        /// The key.
        key: KeyId,
    },
    /// The signature does not match the manifest and the key.
    #[error("the signature by key {key} does not match the bundle's manifest")]
    WrongSignature {
        /// The claimed key.
        key: KeyId,
    },
    /// The bundle has expired.
    #[error("the bundle expired at {}; it is {} now", UtcTime(*.expires_unix), UtcTime(*.now_unix))]
    Expired {
        /// Time of expiry, in seconds since 1970.
        expires_unix: u64,
        /// Current time, in seconds since 1970.
        now_unix: u64,
    },
    /// A configured public key cannot be read.
    #[error("{text:?} is not a minisign public key (a line of 56 base64 characters, or its file)")]
    PublicKey {
        /// The configured text.
        text: String,
    },
}
