//! Reads a bundle as a stream: the manifest, then the check of its signature, then the rest.

use std::io::Read;

use super::archive::TarReader;
use super::error::BundleError;
use super::manifest::{BundleManifest, MANIFEST_BYTES_MAX, Member};
use super::signature::{SIGNATURE_BYTES_MAX, SignatureText, Trust, TrustError};
use super::signed_manifest::SignedManifest;
use crate::artifact_bytes::ArtifactBuf;
use crate::key_id::KeyId;
use crate::{Digest, Fingerprint, Manifest};

/// Most bytes that are reserved at once for a member whose size is signed; larger buffers grow.
const RESERVED_MAX: u64 = 64 << 20;

/// Limits on the members of a bundle.
#[derive(Clone, Copy, Debug)]
pub struct BundleLimits {
    /// Largest `source.wasm`, in bytes.
    pub source_bytes_max: u64,
    /// Largest artifact, in bytes.
    pub artifact_bytes_max: u64,
}

impl Default for BundleLimits {
    /// 64 MiB of source, 512 MiB of native code: native code is up to about 8 times its source.
    fn default() -> Self {
        Self {
            source_bytes_max: 64 << 20,
            artifact_bytes_max: 512 << 20,
        }
    }
}

/// A bundle with a parsed manifest whose signature is not checked yet.
#[derive(Debug)]
pub struct UncheckedBundle<R> {
    blocks: TarReader<R>,
    manifest_json: Vec<u8>,
    manifest: BundleManifest,
    signature: Option<SignatureText>,
    /// True if the header of `source.wasm` was read already.
    at_source: bool,
}

impl<R: Read> UncheckedBundle<R> {
    /// Reads manifest and signature, and leaves the rest of the stream unread.
    pub fn open(input: R, bounds: BundleLimits) -> Result<Self, BundleError> {
        let BundleLimits {
            source_bytes_max,
            artifact_bytes_max,
        } = bounds;
        let mut blocks = TarReader::new(input);

        let block = blocks.header_block("manifest.json")?;
        let size = TarReader::<R>::stated_size(&block, "manifest.json")
            .ok_or_else(|| blocks.wrong_header(&block, "manifest.json"))?;
        bounded("manifest.json", size, MANIFEST_BYTES_MAX)?;
        let manifest_json = small_content(&mut blocks, "manifest.json", size)?;
        let manifest = BundleManifest::from_json(&manifest_json)?;
        bounded("source.wasm", manifest.source.size, source_bytes_max)?;
        for artifact in &manifest.artifacts {
            bounded(
                &artifact.member_name(),
                artifact.code.size,
                artifact_bytes_max,
            )?;
            if let Some(image) = &artifact.image {
                bounded(&artifact.image_name(), image.len, artifact_bytes_max)?;
            }
        }

        let block = blocks.header_block("manifest.json.minisig")?;
        let (signature, at_source) =
            match TarReader::<R>::stated_size(&block, "manifest.json.minisig") {
                Some(size) => {
                    bounded("manifest.json.minisig", size, SIGNATURE_BYTES_MAX)?;
                    let text = small_content(&mut blocks, "manifest.json.minisig", size)?;
                    let text = std::str::from_utf8(&text).map_err(|_| TrustError::Malformed)?;
                    (Some(SignatureText::from_canonical(text)?), false)
                }
                None if TarReader::<R>::stated_size(&block, "source.wasm")
                    == Some(manifest.source.size) =>
                {
                    (None, true)
                }
                None => {
                    return Err(blocks.wrong_header(&block, "manifest.json.minisig or source.wasm"));
                }
            };
        Ok(Self {
            blocks,
            manifest_json,
            manifest,
            signature,
            at_source,
        })
    }

    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// Returns the bytes that a signature covers.
    #[must_use]
    pub fn manifest_json(&self) -> &[u8] {
        &self.manifest_json
    }

    /// Returns the signature, if there is one.
    #[must_use]
    pub fn signature(&self) -> Option<&SignatureText> {
        self.signature.as_ref()
    }

    /// Checks that a trusted key signed the manifest and that the bundle has not expired.
    ///
    /// `now_unix` is the current time in seconds since 1970.
    pub fn trust(self, trust: &Trust, now_unix: u64) -> Result<TrustedBundle<R>, BundleError> {
        let signature = self.signature.as_ref().ok_or(TrustError::Unsigned)?;
        let key = trust.verify(&self.manifest_json, signature)?;
        self.manifest.check_expiry(now_unix)?;
        let signed = SignedManifest::new(&self.manifest_json, signature.clone())?;
        Ok(TrustedBundle {
            bundle: self,
            key,
            signed,
        })
    }

    /// Reads all members and checks their digests, for tools that sign or compare bundles.
    ///
    /// The signature is not checked, so the artifacts must not be loaded.
    pub fn into_members(mut self) -> Result<BundleMembers, BundleError> {
        let source = self.source()?;
        let mut artifacts = Vec::new();
        for index in 0..self.manifest.artifacts.len() {
            artifacts.push(self.artifact(index, true)?);
        }
        self.blocks.end()?;
        Ok(BundleMembers {
            manifest_json: self.manifest_json,
            manifest: self.manifest,
            signature: self.signature,
            source,
            artifacts,
        })
    }

    fn source(&mut self) -> Result<Vec<u8>, BundleError> {
        let member = self.manifest.source;
        if !self.at_source {
            self.blocks.expect_header("source.wasm", member.size)?;
        }
        let mut source = Vec::new();
        self.blocks.content("source.wasm", member.size, |piece| {
            source.extend_from_slice(piece);
        })?;
        same_digest("source.wasm", member.digest, Digest::of(&source))?;
        Ok(source)
    }

    /// Checks native code and its image; returns them if `keep`, else nothing.
    fn artifact(&mut self, index: usize, keep: bool) -> Result<ArtifactBuf, BundleError> {
        let Self {
            blocks, manifest, ..
        } = self;
        let artifact = &manifest.artifacts[index];
        let native = member(blocks, &artifact.member_name(), artifact.code, keep)?;
        let image = match &artifact.image {
            Some(info) => {
                let stated = Member {
                    digest: info.digest,
                    size: info.len,
                };
                Some(member(blocks, &artifact.image_name(), stated, keep)?)
            }
            None => None,
        };
        Ok(ArtifactBuf { native, image })
    }
}

/// Checks a member that the manifest states; returns it if `keep`, else nothing.
fn member<R: Read>(
    blocks: &mut TarReader<R>,
    name: &str,
    stated: Member,
    keep: bool,
) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    if keep {
        bytes.reserve_exact(usize::try_from(stated.size.min(RESERVED_MAX)).unwrap_or(0));
    }
    blocks.expect_header(name, stated.size)?;
    let mut hasher = blake3::Hasher::new();
    blocks.content(name, stated.size, |piece| {
        hasher.update(piece);
        if keep {
            bytes.extend_from_slice(piece);
        }
    })?;
    let found = Digest::from_bytes(*hasher.finalize().as_bytes());
    same_digest(name, stated.digest, found)?;
    Ok(bytes)
}

/// All members of a bundle. Their digests are checked, the signature is not.
#[derive(Debug)]
pub struct BundleMembers {
    /// The bytes that a signature covers.
    pub manifest_json: Vec<u8>,
    /// The parsed manifest.
    pub manifest: BundleManifest,
    /// The signature, if there is one.
    pub signature: Option<SignatureText>,
    /// `source.wasm`.
    pub source: Vec<u8>,
    /// The artifacts, in the order of the manifest.
    pub artifacts: Vec<ArtifactBuf>,
}

/// A bundle whose manifest a trusted key signed.
#[derive(Debug)]
pub struct TrustedBundle<R> {
    bundle: UncheckedBundle<R>,
    key: KeyId,
    signed: SignedManifest,
}

impl<R: Read> TrustedBundle<R> {
    /// Returns the manifest.
    #[must_use]
    pub fn manifest(&self) -> &BundleManifest {
        &self.bundle.manifest
    }

    /// Returns the key that signed the bundle.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Returns the manifest with its signature, to be stored.
    #[must_use]
    pub fn signed_manifest(&self) -> &SignedManifest {
        &self.signed
    }

    /// Reads the bundle to its end and keeps the source and the artifacts of `wanted` profiles.
    ///
    /// The digest of every member is checked, including those that are not kept.
    pub fn read(mut self, wanted: &[Fingerprint]) -> Result<BundleContents, BundleError> {
        let source = self.bundle.source()?;
        let mut artifacts = Vec::new();
        for index in 0..self.bundle.manifest.artifacts.len() {
            let fingerprint = self.bundle.manifest.artifacts[index].profile.fingerprint();
            let keep = wanted.contains(&fingerprint);
            let bytes = self.bundle.artifact(index, keep)?;
            if keep && let Some(manifest) = self.bundle.manifest.cache_manifest(index) {
                let signed_by = Some(self.key);
                let manifest = Manifest {
                    signed_by,
                    ..manifest
                };
                artifacts.push((manifest, bytes));
            }
        }
        self.bundle.blocks.end()?;
        Ok(BundleContents {
            manifest: self.bundle.manifest,
            key: self.key,
            source,
            artifacts,
        })
    }
}

/// The checked contents of a trusted bundle.
#[derive(Debug)]
pub struct BundleContents {
    /// The manifest of the bundle.
    pub manifest: BundleManifest,
    /// The key that signed the bundle.
    pub key: KeyId,
    /// `source.wasm`.
    pub source: Vec<u8>,
    /// The wanted artifacts that the bundle has, each with the cache's manifest for it.
    pub artifacts: Vec<(Manifest, ArtifactBuf)>,
}

fn bounded(member: &str, size: u64, limit_bytes: u64) -> Result<(), BundleError> {
    if size <= limit_bytes {
        return Ok(());
    }
    Err(BundleError::TooLarge {
        member: member.to_owned(),
        size,
        limit_bytes,
    })
}

fn same_digest(member: &str, expected: Digest, found: Digest) -> Result<(), BundleError> {
    if expected == found {
        return Ok(());
    }
    Err(BundleError::Digest {
        member: member.to_owned(),
        expected,
        found,
    })
}

fn small_content<R: Read>(
    blocks: &mut TarReader<R>,
    member: &str,
    size: u64,
) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    blocks.content(member, size, |piece| bytes.extend_from_slice(piece))?;
    Ok(bytes)
}
