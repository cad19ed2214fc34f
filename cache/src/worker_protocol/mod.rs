//! The protocol of a compile worker and its parent: one request and one response, over pipes.
//!
//! Both messages have a magic of 8 bytes (the last one is the version), the lengths of the parts that
//! follow as little-endian `u64`s, a header in JSON, and raw bytes:
//!
//! | | magic | lengths | JSON | raw |
//! |---|---|---|---|---|
//! | request | `FERRJOB\x02` | header, source | the profile, and engines whose native code is there | source, WebAssembly or its text |
//! | response | `FERRANS\x02` | header, source, artifact, image | the manifest, or the refusal | source, artifact, image |
//!
//! A response without an image is for native code that is this source's alone. With an image, there is no native
//! code: the artifact is the module of the engine, or nothing if the request has named its code. A worker that
//! has seen a source does not make code for others; the parent has a second one compile the engine, which sees
//! nothing else. Its response has the native code as the artifact, and no manifest.
//!
//! The reader checks every length against a limit first, and allocates only as bytes arrive.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::disk::KnownEngine;
use crate::manifest::Manifest;
use crate::profile::{Profile, ProfileError};

const JOB_MAGIC: &[u8; 8] = b"FERRJOB\x02";
const ANSWER_MAGIC: &[u8; 8] = b"FERRANS\x02";

/// The longest JSON header that is read, in bytes. The largest manifest of the cache, 1 MiB, is a few
/// times larger in JSON.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// Most memory that is allocated before any bytes arrive, in bytes.
const TRUSTED_CAPACITY: u64 = 64 << 10;

/// A request to compile one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileRequest<'a> {
    /// The profile to compile for.
    pub profile: Profile,
    /// A module in the binary or the text format.
    pub source: Cow<'a, [u8]>,
    /// Kind of the source.
    pub kind: SourceKind,
    /// Engines that need not be compiled, because the parent has their native code.
    pub engines: Vec<KnownEngine>,
}

/// Source or engine that a worker is to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A module, its text, a component, or a program.
    Source,
    /// The module of an engine, as a worker has returned it.
    Engine,
}

/// The most engines that a request names.
pub const KNOWN_ENGINES_MAX: usize = 256;

/// The worker's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileResponse {
    /// The source was compiled.
    Compiled {
        /// Describes the artifact.
        manifest: Box<Manifest>,
        /// The binary module; the worker parses text to it.
        source: Vec<u8>,
        /// The native code. If there is an image: the module of the engine, or nothing if the request named it.
        artifact: Vec<u8>,
        /// The image; empty if the manifest describes none.
        image: Vec<u8>,
    },
    /// The engine was compiled.
    Engine {
        /// The native code.
        artifact: Vec<u8>,
    },
    /// The source was refused.
    Refused(Refusal),
}

/// The reason why a worker did not compile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// `INVALID` for a bad module, `LIMIT` for one that is too large, `INTERNAL` for a bug.
    pub code: String,
    /// The fault and its remedy.
    pub message: String,
    /// Offset of the fault in the source, in bytes.
    pub offset: Option<u64>,
}

/// Limits on a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// The longest source, in bytes.
    pub source_bytes_max: u64,
    /// The longest artifact, in bytes.
    pub artifact_bytes_max: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestHeader<'a> {
    profile: Cow<'a, Profile>,
    kind: SourceKind,
    engines: Cow<'a, [KnownEngine]>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum HeaderToWrite<'a> {
    Compiled(&'a Manifest),
    Engine,
    Refused(&'a Refusal),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum HeaderRead {
    Compiled(Box<Manifest>),
    Engine,
    Refused(Refusal),
}

/// Writes a request and flushes.
///
/// # Errors
///
/// Writing failed; if the worker ended early, with a broken pipe.
pub fn write_request(
    writer: &mut impl Write,
    job: &CompileRequest<'_>,
) -> Result<(), WorkerProtocolError> {
    let engines = job.engines.len().min(KNOWN_ENGINES_MAX);
    let header = RequestHeader {
        profile: Cow::Borrowed(&job.profile),
        kind: job.kind,
        engines: Cow::Borrowed(&job.engines[..engines]),
    };
    let header = serde_json::to_vec(&header).map_err(WorkerProtocolError::Header)?;
    writer.write_all(JOB_MAGIC)?;
    write_lengths(writer, &[header.len(), job.source.len()])?;
    writer.write_all(&header)?;
    writer.write_all(&job.source)?;
    Ok(writer.flush()?)
}

/// Reads a request whose source has at most `source_bytes_max` bytes.
///
/// # Errors
///
/// The message has another version, is truncated or too long, or its profile is not one that this
/// build compiles for.
pub fn read_request(
    reader: &mut impl Read,
    source_bytes_max: u64,
) -> Result<CompileRequest<'static>, WorkerProtocolError> {
    read_magic(reader, JOB_MAGIC)?;
    let header_len = read_length(reader, "header", HEADER_BYTES_MAX)?;
    let source_len = read_length(reader, "source", source_bytes_max)?;
    let header = read_bytes(reader, header_len)?;
    let source = read_bytes(reader, source_len)?;
    let RequestHeader {
        profile,
        kind,
        engines,
    } = serde_json::from_slice(&header).map_err(WorkerProtocolError::Header)?;
    profile.check()?;
    Ok(CompileRequest {
        profile: profile.into_owned(),
        source: Cow::Owned(source),
        kind,
        engines: engines.into_owned(),
    })
}

/// Writes a response and flushes.
///
/// # Errors
///
/// Writing failed; if the parent gave up, with a broken pipe.
pub fn write_response(
    writer: &mut impl Write,
    answer: &CompileResponse,
) -> Result<(), WorkerProtocolError> {
    let (header, source, artifact, image): (_, &[u8], &[u8], &[u8]) = match answer {
        CompileResponse::Compiled {
            manifest,
            source,
            artifact,
            image,
        } => (HeaderToWrite::Compiled(manifest), source, artifact, image),
        CompileResponse::Engine { artifact } => (HeaderToWrite::Engine, &[], artifact, &[]),
        CompileResponse::Refused(refusal) => (HeaderToWrite::Refused(refusal), &[], &[], &[]),
    };
    let header = serde_json::to_vec(&header).map_err(WorkerProtocolError::Header)?;
    writer.write_all(ANSWER_MAGIC)?;
    write_lengths(
        writer,
        &[header.len(), source.len(), artifact.len(), image.len()],
    )?;
    writer.write_all(&header)?;
    writer.write_all(source)?;
    writer.write_all(artifact)?;
    writer.write_all(image)?;
    Ok(writer.flush()?)
}

/// Reads a response within `bounds`. Source, artifact and image match digests and lengths in the manifest;
/// `known` are the engines that the request named.
///
/// # Errors
///
/// The message has another version, is truncated or too long, or its bytes do not match the
/// manifest.
pub fn read_response(
    reader: &mut impl Read,
    bounds: &ResponseLimits,
    known: &[KnownEngine],
) -> Result<CompileResponse, WorkerProtocolError> {
    read_magic(reader, ANSWER_MAGIC)?;
    let header_len = read_length(reader, "header", HEADER_BYTES_MAX)?;
    let source_len = read_length(reader, "source", bounds.source_bytes_max)?;
    let artifact_len = read_length(reader, "artifact", bounds.artifact_bytes_max)?;
    let image_len = read_length(reader, "image", bounds.artifact_bytes_max)?;
    let header = read_bytes(reader, header_len)?;
    let source = read_bytes(reader, source_len)?;
    let artifact = read_bytes(reader, artifact_len)?;
    let image = read_bytes(reader, image_len)?;
    match serde_json::from_slice(&header).map_err(WorkerProtocolError::Header)? {
        HeaderRead::Compiled(manifest) => {
            let same = |part, bytes: &[u8], digest, len| {
                if bytes.len() as u64 == len && Digest::of(bytes) == digest {
                    Ok(())
                } else {
                    Err(WorkerProtocolError::Digest { part })
                }
            };
            same("source", &source, manifest.source, manifest.source_len)?;
            let info = manifest.image.as_ref();
            let is_known = |engine: &KnownEngine| {
                info.is_some_and(|info| info.engine == engine.engine)
                    && engine.native == manifest.artifact
                    && engine.native_len == manifest.artifact_len
            };
            if !artifact.is_empty() || !known.iter().any(is_known) {
                same(
                    "artifact",
                    &artifact,
                    manifest.artifact,
                    manifest.artifact_len,
                )?;
            }
            match info {
                Some(info) if !artifact.is_empty() && info.engine != manifest.artifact => {
                    return Err(WorkerProtocolError::Digest { part: "engine" });
                }
                Some(info) => same("image", &image, info.digest, info.len)?,
                None if image.is_empty() => {}
                None => return Err(WorkerProtocolError::Digest { part: "image" }),
            }
            Ok(CompileResponse::Compiled {
                manifest,
                source,
                artifact,
                image,
            })
        }
        HeaderRead::Engine => Ok(CompileResponse::Engine { artifact }),
        HeaderRead::Refused(refusal) => Ok(CompileResponse::Refused(refusal)),
    }
}

fn write_lengths(writer: &mut impl Write, lengths: &[usize]) -> io::Result<()> {
    lengths
        .iter()
        .try_for_each(|&len| writer.write_all(&(len as u64).to_le_bytes()))
}

fn read_magic(reader: &mut impl Read, expected: &[u8; 8]) -> Result<(), WorkerProtocolError> {
    let mut magic = [0; 8];
    read_exact(reader, &mut magic)?;
    if magic == *expected {
        Ok(())
    } else if magic[..7] == expected[..7] {
        Err(WorkerProtocolError::Version {
            found: magic[7],
            expected: expected[7],
        })
    } else {
        Err(WorkerProtocolError::Magic)
    }
}

fn read_length(
    reader: &mut impl Read,
    part: &'static str,
    max: u64,
) -> Result<u64, WorkerProtocolError> {
    let mut bytes = [0; 8];
    read_exact(reader, &mut bytes)?;
    let len = u64::from_le_bytes(bytes);
    if len <= max {
        Ok(len)
    } else {
        Err(WorkerProtocolError::TooLong { part, len, max })
    }
}

fn read_bytes(reader: &mut impl Read, len: u64) -> Result<Vec<u8>, WorkerProtocolError> {
    let capacity = usize::try_from(len.min(TRUSTED_CAPACITY)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(capacity);
    reader.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len {
        Ok(bytes)
    } else {
        Err(WorkerProtocolError::Truncated)
    }
}

fn read_exact(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), WorkerProtocolError> {
    reader.read_exact(bytes).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            WorkerProtocolError::Truncated
        } else {
            WorkerProtocolError::Io(error)
        }
    })
}

/// A request or response could not be transferred.
#[derive(Debug, thiserror::Error)]
pub enum WorkerProtocolError {
    /// The pipe failed.
    #[error("the pipe between the compile worker and its parent failed")]
    Io(#[from] io::Error),
    /// The message is truncated.
    #[error("the other side of the pipe ended in the middle of its message")]
    Truncated,
    /// The message does not begin with the magic.
    #[error("the other side of the pipe is no compile worker or parent of one")]
    Magic,
    /// The other side uses another version of the protocol.
    #[error(
        "the other side of the pipe speaks version {found} and this one {expected}; use the same \
         release on both sides"
    )]
    Version {
        /// Version of the other side.
        found: u8,
        /// Version of this side.
        expected: u8,
    },
    /// A part is longer than its limit.
    #[error("the {part} has {len} bytes, and at most {max} are allowed")]
    TooLong {
        /// Header, source, artifact or image.
        part: &'static str,
        /// The length that the message claims.
        len: u64,
        /// The limit, in bytes.
        max: u64,
    },
    /// The JSON header cannot be parsed.
    #[error(
        "the header of the message is not understood; use a server and a ferrite-wasmc of the same release"
    )]
    Header(#[source] serde_json::Error),
    /// This build does not compile for the requested profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The bytes do not match the manifest.
    #[error("the {part} is not the one that the manifest describes")]
    Digest {
        /// Source, artifact, engine or image.
        part: &'static str,
    },
}

#[cfg(test)]
mod tests;
