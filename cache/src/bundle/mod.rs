//! `.cwasm` bundles: how native code travels from a build machine to a server that trusts its key.
//!
//! A bundle is a tar in one canonical form: `manifest.json`, `manifest.json.minisig`,
//! `source.wasm`, then `artifacts/<profile>.cwasm` in the order in which the manifest lists them.
//! The signature covers the manifest; the manifest holds size and digest of everything else;
//! headers, padding and trailer follow from the manifest and are compared byte by byte. So no
//! byte of a signed bundle can differ and still load, and no path in it is ever used as one.
//!
//! The types keep the order of the checks: [`UncheckedBundle`] holds a parsed manifest and nothing
//! more; only [`UncheckedBundle::trust`] makes a [`TrustedBundle`] of it; only that one hands out
//! native code.

mod archive;
mod error;
mod manifest;
mod read;
mod signature;
mod write;

pub use crate::key_id::{KeyId, KeyIdError};
pub use error::BundleError;
pub use manifest::{
    ARTIFACTS_MAX, ArtifactMember, BUNDLE_FORMAT, BundleManifest, MANIFEST_BYTES_MAX, Member,
    check_version_and_description,
};
pub use read::{BundleContents, BundleLimits, BundleMembers, TrustedBundle, UncheckedBundle};
pub use signature::{SIGNATURE_BYTES_MAX, SignatureText, Trust, TrustError, TrustedKey};
pub use write::{WriteError, write_bundle};

/// Ending of a bundle's file name.
pub const BUNDLE_EXTENSION: &str = ".cwasm.tar";
