//! The description of one artifact, and its encoding on disk.
//!
//! This is the only file that uses bincode, and only for the cache's own manifests: length, version
//! and checksum are checked before bincode reads the bytes. Everything that crosses machines is JSON
//! or tar.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | `FERRMETA` |
//! | 8 | 4 | format version, little-endian |
//! | 12 | 4 | length *n* of the body, little-endian |
//! | 16 | *n* | the manifest in bincode's standard configuration |
//! | 16 + *n* | 32 | blake3 of everything before |

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::image::ImageInfo;
use crate::key_id::KeyId;
use crate::module_info::ModuleInfo;
use crate::profile::Profile;

/// The largest manifest that is written or read, in bytes: room for tens of thousands of exports.
pub(crate) const MANIFEST_BYTES_MAX: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"FERRMETA";
const FORMAT_VERSION: u32 = 7;
const HEADER_LEN: usize = 16;
const CHECKSUM_LEN: usize = 32;
const BODY_BYTES_MAX: usize = MANIFEST_BYTES_MAX - HEADER_LEN - CHECKSUM_LEN;

/// Describes one artifact: native code for one source under one profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Digest of the WebAssembly module that was compiled.
    pub source: Digest,
    /// Length of the module, in bytes.
    pub source_len: u64,
    /// Digest of the artifact: of the native code.
    pub artifact: Digest,
    /// Length of the artifact, in bytes.
    pub artifact_len: u64,
    /// Profile under which the code was compiled.
    pub profile: Profile,
    /// The compiler's description of the module.
    pub module: ModuleInfo,
    /// Duration of the compilation, in microseconds.
    pub compile_micros: u64,
    /// The key that signed the bundle with this code; `None` for code that was compiled here from an
    /// unsigned source.
    pub signed_by: Option<KeyId>,
    /// The image, if the artifact is the code of an engine that others may share; `None` if it is the code
    /// of this source alone.
    #[serde(default)]
    pub image: Option<ImageInfo>,
}

impl Manifest {
    /// Encodes the manifest as the cache stores it.
    ///
    /// # Errors
    ///
    /// The encoding would be longer than 1 MiB.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let body = bincode::serde::encode_to_vec(self, bincode::config::standard())
            .map_err(|error| ManifestError::Encode(Box::new(error)))?;
        let body_len = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= BODY_BYTES_MAX)
            .ok_or(ManifestError::TooLong {
                len: (HEADER_LEN + body.len() + CHECKSUM_LEN) as u64,
            })?;
        let mut bytes = Vec::with_capacity(HEADER_LEN + body.len() + CHECKSUM_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&body_len.to_le_bytes());
        bytes.extend_from_slice(&body);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        Ok(bytes)
    }

    /// Decodes the output of [`Manifest::encode`].
    ///
    /// # Errors
    ///
    /// The bytes are not exactly one manifest of this version, or a bit of it has changed.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong {
                len: bytes.len() as u64,
            });
        }
        let (header, rest) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(ManifestError::Truncated)?;
        let [
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            m6,
            m7,
            v0,
            v1,
            v2,
            v3,
            l0,
            l1,
            l2,
            l3,
        ] = *header;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != *MAGIC {
            return Err(ManifestError::Magic);
        }
        let version = u32::from_le_bytes([v0, v1, v2, v3]);
        if version != FORMAT_VERSION {
            return Err(ManifestError::Version { found: version });
        }
        let (body, checksum) = rest
            .split_last_chunk::<CHECKSUM_LEN>()
            .ok_or(ManifestError::Truncated)?;
        if u32::from_le_bytes([l0, l1, l2, l3]) as usize != body.len() {
            return Err(ManifestError::Truncated);
        }
        if blake3::hash(&bytes[..HEADER_LEN + body.len()]) != *checksum {
            return Err(ManifestError::Checksum);
        }
        let config = bincode::config::standard().with_limit::<BODY_BYTES_MAX>();
        let (manifest, read) = bincode::serde::decode_from_slice::<Self, _>(body, config)
            .map_err(|error| ManifestError::Decode(Box::new(error)))?;
        if read != body.len() {
            return Err(ManifestError::Truncated);
        }
        Ok(manifest)
    }
}

/// Bytes are not a manifest, or a manifest cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The manifest is longer than the limit.
    #[error(
        "the manifest has {len} bytes, and at most {MANIFEST_BYTES_MAX} are allowed; import and \
         export fewer names"
    )]
    TooLong {
        /// Length of the manifest, in bytes.
        len: u64,
    },
    /// The length differs from the one in the header.
    #[error("the manifest has another length than it says")]
    Truncated,
    /// The first bytes are not those of a manifest.
    #[error("not a manifest")]
    Magic,
    /// This build does not read the format version.
    #[error("the manifest has format {found}, and this build reads {FORMAT_VERSION}")]
    Version {
        /// Version in the manifest.
        found: u32,
    },
    /// The bytes have changed since they were written.
    #[error("the manifest's checksum does not match its bytes")]
    Checksum,
    /// The checksum matches, but the body cannot be decoded.
    #[error("the manifest cannot be read")]
    Decode(#[source] Box<bincode::error::DecodeError>),
    /// The manifest cannot be encoded.
    #[error("the manifest cannot be written")]
    Encode(#[source] Box<bincode::error::EncodeError>),
}

#[cfg(test)]
mod tests {
    use super::{FORMAT_VERSION, MAGIC, MANIFEST_BYTES_MAX, Manifest, ManifestError};
    use crate::automation::Automation;
    use crate::depth::{CodeOffsetMap, DepthPlan};
    use crate::digest::Digest;
    use crate::image::ImageInfo;
    use crate::key_id::KeyId;
    use crate::module_info::{
        EntryInfo, EntryKind, ExportInfo, ExportKind, ImportInfo, MemoryInfo, ModuleInfo,
        Signature, ValueType,
    };
    use crate::profile::Profile;
    use crate::rewind::{OffsetShift, Rewind, RewindPlan};

    fn manifest() -> Manifest {
        let signature = Signature {
            params: vec![ValueType::I32, ValueType::I32],
            results: vec![ValueType::I64],
        };
        Manifest {
            source: Digest::of(b"source"),
            source_len: 6,
            artifact: Digest::of(b"artifact"),
            artifact_len: 8,
            profile: Profile::native(),
            module: ModuleInfo {
                name: Some(String::from("example")),
                imports: vec![ImportInfo {
                    module: String::from("ferrite"),
                    name: String::from("key_count"),
                    signature: Signature::default(),
                }],
                exports: vec![
                    ExportInfo {
                        name: String::from("memory"),
                        kind: ExportKind::Memory,
                    },
                    ExportInfo {
                        name: String::from("run"),
                        kind: ExportKind::Function(signature.clone()),
                    },
                ],
                entries: vec![EntryInfo {
                    name: String::from("run"),
                    kind: EntryKind::Buffer,
                    signature,
                }],
                memory: Some(MemoryInfo {
                    min_pages: 17,
                    max_pages: None,
                }),
                table_elements_min: 3,
                functions: 12,
                code_len: 3_456,
                initialize: true,
                start: false,
                rewind: Rewind::Allowed(RewindPlan {
                    globals: 2,
                    start: false,
                    offsets: vec![OffsetShift {
                        from: 300,
                        back: -12,
                    }],
                }),
                meter: None,
                stack_depth: Some(DepthPlan {
                    start: true,
                    moves: CodeOffsetMap::default(),
                }),
                automation: Automation::read(
                    b"on run KEYS a* EVENTS set\nevery run 5m\ncron run @daily KEYS k ARGS a",
                )
                .expect("declarations"),
                limits: Some(String::from("{}")),
            },
            compile_micros: 1_234,
            signed_by: Some(KeyId::from_le_bytes(*b"the key!")),
            image: Some(ImageInfo {
                engine: Digest::of(b"engine"),
                digest: Digest::of(b"image"),
                len: 5,
                back: -40,
                entries: vec![1, 0],
            }),
        }
    }

    #[test]
    fn reads_back_what_was_written() {
        let manifest = manifest();
        let bytes = manifest.encode().expect("small enough");
        assert_eq!(&bytes[..8], MAGIC);
        assert_eq!(Manifest::decode(&bytes).expect("unchanged"), manifest);
    }

    #[test]
    fn every_changed_bit_and_every_other_length_is_an_error() {
        let bytes = manifest().encode().expect("small enough");
        let mut changed = bytes.clone();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                changed[at] ^= 1 << bit;
                assert!(Manifest::decode(&changed).is_err(), "byte {at}, bit {bit}");
                changed[at] ^= 1 << bit;
            }
            assert!(Manifest::decode(&bytes[..at]).is_err(), "{at} bytes");
        }
        changed.push(0);
        assert!(Manifest::decode(&changed).is_err());
    }

    #[test]
    fn another_format_version_is_named() {
        let mut bytes = manifest().encode().expect("small enough");
        bytes[8] = 250;
        assert!(matches!(
            Manifest::decode(&bytes),
            Err(ManifestError::Version { found: 250 })
        ));
    }

    #[test]
    fn a_body_that_lies_about_its_lengths_is_an_error_and_not_an_allocation() {
        // The checksum is right, but the body claims a vector of 2^60 elements.
        let mut body = vec![0_u8; 32 + 1 + 32 + 1];
        body.push(253);
        body.extend_from_slice(&(1_u64 << 60).to_le_bytes());
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).expect("short").to_le_bytes());
        bytes.extend_from_slice(&body);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        assert!(matches!(
            Manifest::decode(&bytes),
            Err(ManifestError::Decode(_))
        ));
    }

    #[test]
    fn one_that_is_too_long_is_refused_on_both_sides() {
        let mut manifest = manifest();
        manifest.module.name = Some("n".repeat(MANIFEST_BYTES_MAX));
        assert!(matches!(
            manifest.encode(),
            Err(ManifestError::TooLong { .. })
        ));
        assert!(matches!(
            Manifest::decode(&vec![0; MANIFEST_BYTES_MAX + 1]),
            Err(ManifestError::TooLong { .. })
        ));
    }

    #[test]
    fn reads_back_from_json() {
        let manifest = manifest();
        let json = serde_json::to_vec(&manifest).expect("plain data");
        assert_eq!(
            serde_json::from_slice::<Manifest>(&json).expect("it reads back"),
            manifest
        );
    }
}
