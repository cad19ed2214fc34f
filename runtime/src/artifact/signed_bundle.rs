//! Checks a signed bundle before a function is made from it.
//!
//! The order is the guard: key and signature, then name and sequence, then what may be granted, and
//! only then the members, each against its digest. Nothing is written or mapped before all of it
//! has been read.

use ferrite_cache::Digest;
use ferrite_cache::bundle::{
    BundleError, BundleLimits, BundleManifest, TrustedBundle, UncheckedBundle,
};

use crate::artifact::source::{BundleReader, BundleSource};
use crate::artifact::trust::{TrustOptions, now_unix};
use crate::error::{CallError, Code};
use crate::policy::function_spec::Isolation;
use crate::policy::limits::{LimitSettings, Limits};
use crate::policy::permissions::Permissions;
use crate::policy::privilege_diff;
use crate::registry::record::Record;
use crate::registry::release::Release;
use ferrite_protocol::error_chain::ErrorChain;

/// The server's terms for a bundle: its trusted keys, its bounds and its defaults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BundleTerms<'a> {
    pub(crate) trust: &'a TrustOptions,
    pub(crate) bounds: BundleLimits,
    /// Permissions of a bundle that names none.
    pub(crate) permissions: &'a Permissions,
    /// Limits that a bundle does not name.
    pub(crate) limits: &'a Limits,
    /// Isolation of a bundle that names none.
    pub(crate) isolation: Isolation,
}

/// A bundle whose manifest a trusted key signed, of which no member has been read.
pub(crate) struct Unpacked<'a> {
    pub(crate) bundle: TrustedBundle<BundleReader<'a>>,
    pub(crate) release: Release,
}

/// Opens a bundle, and checks that a trusted key signed it for this name.
pub(crate) fn open<'a>(
    source: &'a BundleSource<'_>,
    name: &[u8],
    terms: &BundleTerms<'_>,
) -> Result<Unpacked<'a>, CallError> {
    let unchecked =
        UncheckedBundle::open(source.reader(), terms.bounds).map_err(|error| refused(&error))?;
    let digest = Digest::of(unchecked.manifest_json());
    let bundle = unchecked
        .trust(&terms.trust.trust, now_unix())
        .map_err(|error| refused(&error))?;
    let manifest = bundle.manifest();
    if manifest.name.as_bytes() != name {
        return Err(CallError::new(
            Code::BadSignature,
            format!(
                "the bundle is signed as function \"{}\"; load it by that name",
                manifest.name
            ),
        ));
    }
    let release = Release::new(manifest, digest, bundle.key());
    Ok(Unpacked { bundle, release })
}

/// Returns the client's error for a refused bundle.
pub(crate) fn refused(error: &BundleError) -> CallError {
    let code = match error {
        BundleError::Read(_) => Code::Invalid,
        BundleError::TooLarge { .. } => Code::Limit,
        _ => Code::BadSignature,
    };
    CallError::new(code, ErrorChain(error).to_string())
}

/// The permissions, limits and isolation that a bundle asks for.
pub(crate) struct RequestedGrant {
    permissions: Permissions,
    limits: LimitSettings,
    isolation: Option<Isolation>,
}

impl RequestedGrant {
    /// Reads the grant from a manifest. What the manifest leaves out is the server's default.
    pub(crate) fn of(
        manifest: &BundleManifest,
        terms: &BundleTerms<'_>,
    ) -> Result<Self, CallError> {
        let json = |value: &serde_json::Value| value.to_string().into_bytes();
        let invalid = |error: &dyn std::fmt::Display| {
            CallError::invalid(format!("the bundle's manifest.json: {error}"))
        };
        Ok(Self {
            permissions: match &manifest.permissions {
                Some(value) => {
                    Permissions::from_json(&json(value)).map_err(|error| invalid(&error))?
                }
                None => terms.permissions.clone(),
            },
            limits: match &manifest.limits {
                Some(value) => {
                    LimitSettings::from_json(&json(value)).map_err(|error| invalid(&error))?
                }
                None => LimitSettings::default(),
            },
            isolation: match &manifest.isolation {
                Some(word) => Some(word.parse().map_err(|error| invalid(&error))?),
                None => None,
            },
        })
    }

    /// Returns the grant, narrowed by what the load request gives.
    pub(crate) fn narrowed(
        &self,
        permissions: Option<Permissions>,
        limits: &LimitSettings,
        isolation: Option<Isolation>,
        terms: &BundleTerms<'_>,
    ) -> Result<(Permissions, LimitSettings, Option<Isolation>), CallError> {
        let record = (
            permissions.unwrap_or_else(|| self.permissions.clone()),
            limits.or(&self.limits),
            isolation.or(self.isolation),
        );
        self.check(&record.0, &record.1, record.2, terms)?;
        Ok(record)
    }

    /// Completes the limits and isolation of a function that is reloaded by those of the new bundle,
    /// and refuses a function that has more than the bundle was signed for.
    pub(crate) fn narrow(
        &self,
        record: &mut Record,
        terms: &BundleTerms<'_>,
    ) -> Result<(), CallError> {
        record.limits = record.limits.or(&self.limits);
        record.isolation = record.isolation.or(self.isolation);
        self.check(&record.permissions, &record.limits, record.isolation, terms)
    }

    fn check(
        &self,
        permissions: &Permissions,
        limits: &LimitSettings,
        isolation: Option<Isolation>,
        terms: &BundleTerms<'_>,
    ) -> Result<(), CallError> {
        let mut wider = privilege_diff::of_permissions(permissions, &self.permissions)
            .map_err(|error| CallError::invalid(error.to_string()))?;
        wider.extend(privilege_diff::of_limits(
            limits,
            &self.limits,
            terms.limits,
        ));
        wider.extend(privilege_diff::of_isolation(
            isolation.unwrap_or(terms.isolation),
            self.isolation.unwrap_or(terms.isolation),
        ));
        if wider.is_empty() {
            return Ok(());
        }
        Err(CallError::new(
            Code::NoPermission,
            format!(
                "that is more than the bundle was signed for: {}; ask for less, or sign a bundle that asks for it",
                wider.join("; ")
            ),
        ))
    }
}

/// Returns the error for a digest on a server that loads only signed code. Code may be used only
/// under the name and with the rights that it was signed for, which its digest does not tell.
pub(crate) fn digest_alone(digest: &Digest) -> CallError {
    CallError::new(
        Code::BadSignature,
        format!(
            "{digest} names code, and not the name and the rights that it was signed for, and wasm.security.require_signed is true; load the bundle, whose code is then taken from the cache if it is there"
        ),
    )
}

/// Returns the error for unsigned code on a server that loads only signed code.
pub(crate) fn unsigned(what: &str) -> CallError {
    CallError::new(
        Code::BadSignature,
        format!(
            "{what} is not signed, and wasm.security.require_signed is true; load a bundle that a trusted key signed (ferrite-wasmc bundle --sign)"
        ),
    )
}
