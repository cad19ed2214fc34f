//! Reading a bundle as a stream: manifest, then trust, then everything else.

use std::io::Read;

use super::archive::TarReader;
use super::error::BundleError;
use super::manifest::{BundleManifest, MANIFEST_BYTES_MAX};
use super::signature::{SIGNATURE_BYTES_MAX, SignatureText, Trust, TrustError};
use crate::key_id::KeyId;
use crate::{Digest, Fingerprint, Manifest};

/// Bytes that are set aside at once for a member whose size is signed; larger ones grow.
const RESERVED_MAX: u64 = 64 << 20;

/// How large the members of a bundle may be.
#[derive(Clone, Copy, Debug)]
pub struct BundleLimits {
    /// Most bytes of `source.wasm`.
    pub source_bytes_max: u64,
    /// Most bytes of one artifact.
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

/// A bundle whose manifest has been read, and of which nothing is believed yet.
#[derive(Debug)]
pub struct UncheckedBundle<R> {
    blocks: TarReader<R>,
    manifest_json: Vec<u8>,
    manifest: BundleManifest,
    signature: Option<SignatureText>,
    /// Whether the header of `source.wasm` has been read already.
    at_source: bool,
}

impl<R: Read> UncheckedBundle<R> {
    /// Reads manifest and signature; the rest of the stream is not touched.
    pub fn open(input: R, bounds: BundleLimits) -> Result<Self, BundleError> {
        let BundleLimits {
            source_bytes_max,
            artifact_bytes_max,
        } = bounds;
        let mut blocks = TarReader::new(input);

        let block = blocks.header_block("manifest.json")?;
        let size = TarReader::<R>::stated_size(&block, "manifest.json")
            .ok_or_else(|| blocks.wrong_header("manifest.json"))?;
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
                None => return Err(blocks.wrong_header("manifest.json.minisig or source.wasm")),
            };
        Ok(Self {
            blocks,
            manifest_json,
            manifest,
            signature,
            at_source,
        })
    }

    /// What the bundle says about itself.
    #[must_use]
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// The bytes that a signature covers.
    #[must_use]
    pub fn manifest_json(&self) -> &[u8] {
        &self.manifest_json
    }

    /// The signature, if there is one.
    #[must_use]
    pub fn signature(&self) -> Option<&SignatureText> {
        self.signature.as_ref()
    }

    /// Believes the manifest if a trusted key signed it and its time is not over.
    ///
    /// `now_unix` is the time in seconds since 1970.
    pub fn trust(self, trust: &Trust, now_unix: u64) -> Result<TrustedBundle<R>, BundleError> {
        let signature = self.signature.as_ref().ok_or(TrustError::Unsigned)?;
        let key = trust.verify(&self.manifest_json, signature)?;
        if let Some(expires_unix) = self.manifest.expires_unix
            && now_unix >= expires_unix
        {
            return Err(TrustError::Expired {
                expires_unix,
                now_unix,
            }
            .into());
        }
        Ok(TrustedBundle { bundle: self, key })
    }

    /// Reads all members, each against its digest, for tools that sign or compare bundles.
    ///
    /// What comes out is as trusted as what went in: it must not be loaded.
    pub fn into_members(mut self) -> Result<BundleMembers, BundleError> {
        let source = self.source()?;
        let mut artifacts = Vec::new();
        for index in 0..self.manifest.artifacts.len() {
            let mut bytes = Vec::new();
            self.artifact(index, |piece| bytes.extend_from_slice(piece))?;
            artifacts.push(bytes);
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

    fn artifact(&mut self, index: usize, mut piece: impl FnMut(&[u8])) -> Result<(), BundleError> {
        let artifact = &self.manifest.artifacts[index];
        let name = artifact.member_name();
        self.blocks.expect_header(&name, artifact.code.size)?;
        let mut hasher = blake3::Hasher::new();
        self.blocks.content(&name, artifact.code.size, |bytes| {
            hasher.update(bytes);
            piece(bytes);
        })?;
        let found = Digest::from_bytes(*hasher.finalize().as_bytes());
        same_digest(&name, artifact.code.digest, found)
    }
}

/// Everything that a bundle holds, read and held against its digests, not against a signature.
#[derive(Debug)]
pub struct BundleMembers {
    /// The bytes that a signature covers.
    pub manifest_json: Vec<u8>,
    /// The same, read.
    pub manifest: BundleManifest,
    /// The signature, if there is one.
    pub signature: Option<SignatureText>,
    /// `source.wasm`.
    pub source: Vec<u8>,
    /// The artifacts, in the order of the manifest.
    pub artifacts: Vec<Vec<u8>>,
}

/// A bundle whose manifest a trusted key signed.
#[derive(Debug)]
pub struct TrustedBundle<R> {
    bundle: UncheckedBundle<R>,
    key: KeyId,
}

impl<R: Read> TrustedBundle<R> {
    /// What the bundle says about itself.
    #[must_use]
    pub fn manifest(&self) -> &BundleManifest {
        &self.bundle.manifest
    }

    /// The key that signed it.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Reads the bundle to its end and keeps the source and the artifacts of `wanted` profiles.
    ///
    /// Every member is held against its digest, also those that are not kept.
    pub fn read(mut self, wanted: &[Fingerprint]) -> Result<BundleContents, BundleError> {
        let source = self.bundle.source()?;
        let mut artifacts = Vec::new();
        for index in 0..self.bundle.manifest.artifacts.len() {
            let fingerprint = self.bundle.manifest.artifacts[index].profile.fingerprint();
            let keep = wanted.contains(&fingerprint);
            let mut bytes = Vec::new();
            if keep {
                // The size is signed, and bounded.
                let size = self.bundle.manifest.artifacts[index].code.size;
                bytes.reserve_exact(usize::try_from(size.min(RESERVED_MAX)).unwrap_or(0));
            }
            self.bundle.artifact(index, |piece| {
                if keep {
                    bytes.extend_from_slice(piece);
                }
            })?;
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

/// What a trusted bundle holds, complete and checked.
#[derive(Debug)]
pub struct BundleContents {
    /// What the bundle says about itself.
    pub manifest: BundleManifest,
    /// The key that signed it.
    pub key: KeyId,
    /// `source.wasm`.
    pub source: Vec<u8>,
    /// The wanted artifacts that there are, each with the cache's manifest for it.
    pub artifacts: Vec<(Manifest, Vec<u8>)>,
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
