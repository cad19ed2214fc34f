//! Checks a signed release before a function is made from it: in a bundle, or stored in the cache.
//!
//! The order is the guard: key and signature, then name and sequence, then what may be granted, and
//! only then the members, each against its digest. Nothing is written or mapped before all of it
//! has been read.

use ferrite_cache::Digest;
use ferrite_cache::bundle::{
    BundleError, BundleLimits, BundleManifest, SignedManifest, TrustedBundle, UncheckedBundle,
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
    pub(crate) limits: Limits,
    /// Isolation of a bundle that names none.
    pub(crate) isolation: Isolation,
}

/// A release that a trusted key signed for the name that it is loaded by.
pub(crate) struct Unpacked<'a> {
    pub(crate) code: ReleasedCode<'a>,
    pub(crate) release: Release,
}

/// The place of a release's code.
pub(crate) enum ReleasedCode<'a> {
    /// A bundle, of which no member has been read.
    Bundle(Box<TrustedBundle<BundleReader<'a>>>),
    /// The cache, in which the release is stored.
    Cached(Box<BundleManifest>),
}

impl Unpacked<'_> {
    /// Returns the signed manifest.
    pub(crate) fn manifest(&self) -> &BundleManifest {
        match &self.code {
            ReleasedCode::Bundle(bundle) => bundle.manifest(),
            ReleasedCode::Cached(manifest) => manifest,
        }
    }
}

/// Opens a bundle, and checks that a trusted key signed it for this name. For a function that is
/// `restored` from data, it does not matter if the release has expired since.
pub(crate) fn open<'a>(
    source: &'a BundleSource<'_>,
    name: &[u8],
    restored: bool,
    terms: &BundleTerms<'_>,
) -> Result<Unpacked<'a>, CallError> {
    let unchecked =
        UncheckedBundle::open(source.reader(), terms.bounds).map_err(|error| refused(&error))?;
    let bundle = unchecked
        .trust(&terms.trust.trust, time_for(restored))
        .map_err(|error| refused(&error))?;
    check_name(bundle.manifest(), name)?;
    let release = Release::new(bundle.manifest(), bundle.signed_manifest(), bundle.key());
    Ok(Unpacked {
        code: ReleasedCode::Bundle(Box::new(bundle)),
        release,
    })
}

/// Rank of a release among those of its name: the newest has the highest.
fn newness(release: &Release) -> (u64, u64, Digest) {
    (release.sequence, release.created_unix, release.manifest)
}

/// Finds the newest of the stored releases of a source that may be loaded by this name: a trusted key
/// signed it for the name, and it has not expired.
pub(crate) fn find_stored(
    stored: &[SignedManifest],
    digest: &Digest,
    name: &[u8],
    restored: bool,
    terms: &BundleTerms<'_>,
) -> Result<Unpacked<'static>, CallError> {
    let mut newest: Option<(BundleManifest, Release)> = None;
    let mut refusal = not_stored(digest);
    let mut is_named = false;
    for signed in stored {
        let opened = open_stored(signed, digest, name, restored, terms);
        match opened {
            Ok(found) => {
                let is_newer = |(_, known): &(_, Release)| newness(&found.1) > newness(known);
                if newest.as_ref().is_none_or(is_newer) {
                    newest = Some(found);
                }
            }
            // The reason why one of this name is refused says more than that there are others.
            Err((error, of_name)) if of_name || !is_named => {
                refusal = error;
                is_named |= of_name;
            }
            Err(_) => {}
        }
    }
    let (manifest, release) = newest.ok_or(refusal)?;
    Ok(Unpacked {
        code: ReleasedCode::Cached(Box::new(manifest)),
        release,
    })
}

/// Checks a stored release; the error says too if the release is of this name.
fn open_stored(
    signed: &SignedManifest,
    digest: &Digest,
    name: &[u8],
    restored: bool,
    terms: &BundleTerms<'_>,
) -> Result<(BundleManifest, Release), (CallError, bool)> {
    let (manifest, key) = signed.verify(&terms.trust.trust).map_err(|error| {
        // Nobody vouches for its name, but it tells which error helps.
        let is_named = signed
            .read_unchecked()
            .is_ok_and(|manifest| manifest.name.as_bytes() == name);
        (refused(&error), is_named)
    })?;
    if manifest.source.digest != *digest {
        return Err((not_stored(digest), false));
    }
    check_name(&manifest, name).map_err(|error| (error, false))?;
    manifest
        .check_expiry(time_for(restored))
        .map_err(|error| (refused(&error.into()), true))?;
    let release = Release::new(&manifest, signed, key);
    Ok((manifest, release))
}

/// Checks everything that another server says of a function's release against its signed manifest:
/// key, name, source, sequence, and that it was signed for the permissions, limits and isolation that
/// the function has.
pub(crate) fn check_arrived(record: &Record, terms: &BundleTerms<'_>) -> Result<(), CallError> {
    let Some(release) = &record.release else {
        return Err(unsigned("the function, which arrived from another server,"));
    };
    let Some(signed) = &release.signed else {
        return Err(CallError::new(
            Code::BadSignature,
            "the function arrived from another server without the signed manifest of its release; load its bundle there again, with this version",
        ));
    };
    let (manifest, key) = signed
        .verify(&terms.trust.trust)
        .map_err(|error| refused(&error))?;
    check_name(&manifest, record.name.as_bytes())?;
    if manifest.source.digest != record.digest || **release != Release::new(&manifest, signed, key)
    {
        return Err(CallError::new(
            Code::BadSignature,
            "the function arrived from another server with a signed manifest that is of another release",
        ));
    }
    RequestedGrant::of(&manifest, terms)?.check(
        &record.permissions,
        &record.limits,
        record.isolation,
        terms,
    )
}

fn check_name(manifest: &BundleManifest, name: &[u8]) -> Result<(), CallError> {
    if manifest.name.as_bytes() == name {
        return Ok(());
    }
    Err(CallError::new(
        Code::BadSignature,
        format!(
            "the bundle is signed as function \"{}\"; load it by that name",
            manifest.name
        ),
    ))
}

/// Returns the time by which an expiry is checked: a function that is restored was loaded in time.
fn time_for(restored: bool) -> u64 {
    if restored { 0 } else { now_unix() }
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
            &terms.limits,
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

/// Returns the error for a digest of which no release is stored, on a server that loads only signed
/// code. Code may be used only under the name and with the rights that it was signed for, which its
/// digest does not tell.
pub(crate) fn not_stored(digest: &Digest) -> CallError {
    CallError::new(
        Code::BadSignature,
        format!(
            "no release of {digest} is stored here, and wasm.security.require_signed is true; load its bundle, or put it into the cache by ferrite-wasmc cache import"
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
