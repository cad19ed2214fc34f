//! Bundles: signed archives that carry native code from a build machine to a server.
//!
//! A bundle is a tar in one canonical form: `manifest.json`, `manifest.json.minisig`,
//! `source.wasm`, then `artifacts/<profile>.cwasm` in the order in which the manifest lists them, each
//! followed by its `images/<profile>.image` if it has one.
//! The signature covers the manifest; the manifest holds size and digest of everything else;
//! headers, padding and trailer follow from the manifest and are compared byte by byte. Therefore a
//! signed bundle with any changed byte is refused, and no path in it is used as a file path.
//!
//! The types enforce the order of the checks: [`UncheckedBundle`] has only the parsed manifest;
//! [`UncheckedBundle::trust`] turns it into a [`TrustedBundle`], the only type that returns native
//! code to load.

mod archive;
mod error;
mod manifest;
mod read;
mod signature;
mod signed_manifest;
mod utc_time;
mod write;

pub use crate::key_id::{KeyId, KeyIdError};
pub use error::BundleError;
pub use manifest::{
    ARTIFACTS_MAX, ArtifactMember, BUNDLE_FORMAT, BundleManifest, MANIFEST_BYTES_MAX, Member,
    check_version_and_description,
};
pub use read::{BundleContents, BundleLimits, BundleMembers, TrustedBundle, UncheckedBundle};
pub use signature::{SIGNATURE_BYTES_MAX, SignatureText, Trust, TrustError, TrustedKey};
pub use signed_manifest::SignedManifest;
pub use utc_time::UtcTime;
pub use write::{WriteError, write_bundle};

/// File name extension of a bundle.
pub const BUNDLE_EXTENSION: &str = ".cwasm.tar";
