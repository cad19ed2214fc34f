//! Why a bundle is refused.

use std::io;

use super::signature::TrustError;
use crate::Digest;

/// Why a bundle is refused. Nothing of a refused bundle is kept.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The bundle could not be read.
    #[error("the bundle could not be read")]
    Read(#[source] io::Error),
    /// The bundle ends before all of it was there.
    #[error("the bundle is truncated: it ends inside {member}")]
    Truncated {
        /// The member that is cut off.
        member: String,
    },
    /// The bytes are not the canonical tar of the manifest.
    #[error(
        "not a canonical bundle: {what} at offset {offset}; make bundles with `ferrite-wasmc bundle`"
    )]
    NotCanonical {
        /// What is not as it must be.
        what: String,
        /// Offset in the bundle, in bytes, of the block that differs.
        offset: u64,
    },
    /// A member is larger than it may be.
    #[error("{member} is {size} bytes long, more than the limit of {limit_bytes}")]
    TooLarge {
        /// The member.
        member: String,
        /// Its size, as the bundle states it.
        size: u64,
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The manifest is not the JSON that it must be.
    #[error("the bundle's manifest.json cannot be read")]
    Manifest(#[source] serde_json::Error),
    /// The manifest holds a value that it must not.
    #[error("the bundle's manifest.json is refused: {0}")]
    ManifestValue(String),
    /// A member's bytes are not those that the manifest names.
    #[error("{member} has the digest {found}, the manifest says {expected}")]
    Digest {
        /// The member.
        member: String,
        /// What the manifest says.
        expected: Digest,
        /// What the bytes hash to.
        found: Digest,
    },
    /// The signature does not make the bundle trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
}
