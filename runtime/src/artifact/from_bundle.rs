//! From a signed bundle to a verified artifact.

use std::io::Read;

use ferrite_cache::Digest;
use ferrite_cache::bundle::{BundleContents, SignedManifest, TrustedBundle};

use super::{ArtifactProvider, Depth, ProvidedArtifact};
use crate::artifact::signed_bundle::refused;
use crate::error::{CallError, Code};

impl ArtifactProvider {
    /// The artifact for a bundle: the cache's if it has one that suits this machine at least as
    /// well, else the bundle's best, else its source compiled here.
    ///
    /// All of the bundle is read and held against its digests first.
    ///
    /// # Errors
    ///
    /// `BADSIG` for a member that is not the one that was signed; `NOARTIFACT`, with the profiles
    /// there are and the one that is needed, where nothing suits and nothing can be compiled.
    pub(crate) fn provide_bundle<R: Read>(
        &self,
        bundle: TrustedBundle<R>,
        depth: Depth,
    ) -> Result<ProvidedArtifact, CallError> {
        let digest = bundle.manifest().source.digest;
        let signed = bundle.signed_manifest().clone();
        let provided = self.provide_members(bundle, depth)?;
        self.keep_release(&digest, &signed);
        Ok(provided)
    }

    fn provide_members<R: Read>(
        &self,
        bundle: TrustedBundle<R>,
        depth: Depth,
    ) -> Result<ProvidedArtifact, CallError> {
        let profiles: Vec<_> = bundle
            .manifest()
            .artifacts
            .iter()
            .map(|artifact| &artifact.profile)
            .collect();
        let offered: Vec<_> = profiles.iter().map(|one| one.fingerprint()).collect();
        let described: Vec<_> = profiles.iter().map(ToString::to_string).collect();
        let mut suiting = self.candidates(depth).to_vec();
        // As in the cache, the best of what was asked for, else what serves as well.
        let asked_for = suiting.len();
        if depth == Depth::Free {
            suiting.extend_from_slice(self.candidates(Depth::Counted));
        }
        let best = suiting
            .iter()
            .position(|candidate| offered.contains(&candidate.fingerprint()));
        let wanted: Vec<_> = best
            .map(|at| suiting[at].fingerprint())
            .into_iter()
            .collect();
        let BundleContents {
            manifest,
            key,
            source,
            artifacts,
        } = bundle.read(&wanted).map_err(|error| refused(&error))?;
        let digest = manifest.source.digest;
        let as_good = best.map_or(asked_for, |at| at + 1);
        if let Some(found) = self.lookup_among(&digest, &suiting[..as_good]) {
            let before = found.artifact.manifest();
            match before.signed_by {
                // Once the key that signed it before is revoked, it must not go with it.
                Some(other) if other != key && !artifacts.is_empty() => {
                    self.withdraw(&digest, &before.profile, "it is signed by another key now");
                }
                _ => {
                    self.keep_source(&source);
                    return Ok(found);
                }
            }
        }
        if let Some((manifest, artifact)) = artifacts.into_iter().next() {
            let artifact = self.publish(manifest, &source, (&artifact).into())?;
            return Ok(ProvidedArtifact {
                artifact,
                from_cache: false,
            });
        }
        self.compile(Some(&digest), &source, Some(key), depth)
            .map_err(|error| {
                if error.code() != Code::NoArtifact {
                    return error;
                }
                let needed = &suiting[0];
                let has = if described.is_empty() {
                    "no native code at all".to_owned()
                } else {
                    format!("native code for {}", described.join("; for "))
                };
                depth.explain(CallError::new(
                    Code::NoArtifact,
                    format!(
                        "the bundle has {has}; this machine needs {needed}, or a baseline that it can run; {}",
                        error.text()
                    ),
                ))
            })
    }

    /// Keeps the signed manifest of a release, so that it can be loaded by the digest of its source; if
    /// that fails, it is loaded by its bundle.
    pub(crate) fn keep_release(&self, source: &Digest, signed: &SignedManifest) {
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put_release(source, signed)
        {
            self.warn("cannot be written", &error);
        }
    }

    /// Keeps a source that other profiles will need; if that fails, its artifact is enough.
    fn keep_source(&self, source: &[u8]) {
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put_source(source)
        {
            self.warn("cannot be written", &error);
        }
    }
}
