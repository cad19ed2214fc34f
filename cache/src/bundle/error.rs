//! Errors of reading a bundle.

use std::io;

use super::signature::TrustError;
use crate::Digest;

/// A bundle is refused. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The bundle could not be read.
    #[error("the bundle could not be read")]
    Read(#[source] io::Error),
    /// The bundle is truncated.
    #[error("the bundle is truncated: it ends inside {member}")]
    Truncated {
        /// The member that is cut off.
        member: String,
    },
    /// The bytes are not the canonical tar for the manifest.
    #[error(
        "not a canonical bundle: {what} at offset {offset}; make bundles with `ferrite-wasmc bundle`"
    )]
    NotCanonical {
        /// Describes the difference.
        what: String,
        /// Offset in the bundle, in bytes, of the block that differs.
        offset: u64,
    },
    /// A member exceeds its limit.
    #[error("{member} is {size} bytes long, more than the limit of {limit_bytes}")]
    TooLarge {
        /// The member.
        member: String,
        /// Size in the bundle, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The manifest cannot be parsed.
    #[error("the bundle's manifest.json cannot be read")]
    Manifest(#[source] serde_json::Error),
    /// The manifest has a bad value.
    #[error("the bundle's manifest.json is refused: {0}")]
    ManifestValue(String),
    /// A member does not match its digest in the manifest.
    #[error("{member} has the digest {found}, the manifest says {expected}")]
    Digest {
        /// The member.
        member: String,
        /// Digest in the manifest.
        expected: Digest,
        /// Digest of the bytes.
        found: Digest,
    },
    /// The bundle is not trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
}
