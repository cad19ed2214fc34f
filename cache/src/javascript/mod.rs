//! A program in JavaScript as the compiler takes it: the source, its name, and its positions.
//!
//! | bytes | content |
//! |---|---|
//! | 8 | the magic `FERRJS\0\x01`; the last byte is the version |
//! | 4 and n | length, little-endian, and bytes of the name that errors show, in UTF-8 |
//! | 4 and n | length, little-endian, and bytes of the table of positions; 0 if there is none |
//! | rest | the source, an ECMAScript module |
//!
//! A program without a source stands for the engine itself, with the digest of its module as the name: the code
//! and the memory on which programs are evaluated.

mod evaluation;

use thiserror::Error;

pub use evaluation::{
    EVALUATION_FUEL_MAX, EVALUATION_MEMORY_BYTES_MAX, EngineInstance, Exports,
    JAVASCRIPT_BUFFER_EXPORT, JAVASCRIPT_ENTRIES_MAX, JAVASCRIPT_EVALUATE_EXPORT,
    JAVASCRIPT_LIMITS, JAVASCRIPT_START_EXPORT, ProgramError, StartFault,
};

/// Name and version of the engine.
pub const JAVASCRIPT_ENGINE: &str = "QuickJS-ng 0.16.2";

/// Digest of the engine's module. A host evaluates programs on this engine only.
pub const JAVASCRIPT_ENGINE_DIGEST: &str =
    "blake3:210bd221849f31169a2a952ff50095cd4a0c0f3f50bebe42b2e38a1cf1ea0bcb";

/// The first bytes of an encoded program.
const MAGIC: &[u8; 8] = b"FERRJS\0\x01";

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A program to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JavaScript<'a> {
    /// The name of the program in positions of errors, such as `limits.js`.
    pub name: &'a str,
    /// The origin of each part of a bundled program, as the engine reads it; may be empty.
    pub positions: &'a [u8],
    /// The program.
    pub source: &'a [u8],
}

/// Bytes that begin as an encoded program are none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "the JavaScript program is truncated, or its name is not 1 to {NAME_BYTES_MAX} bytes of text"
)]
pub struct JavaScriptError;

impl<'a> JavaScript<'a> {
    /// Returns true if bytes are an encoded program, sound or not.
    #[must_use]
    pub fn is(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Returns what stands for the engine itself among the sources.
    #[must_use]
    pub fn engine() -> Vec<u8> {
        JavaScript {
            name: JAVASCRIPT_ENGINE_DIGEST,
            positions: &[],
            source: &[],
        }
        .encode()
    }

    /// Returns true if bytes stand for an engine, this build's or another.
    #[must_use]
    pub fn is_engine(bytes: &[u8]) -> bool {
        JavaScript::decode(bytes)
            .is_ok_and(|program| program.source.is_empty() && program.name.starts_with("blake3:"))
    }

    /// Encodes the program.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self {
            name,
            positions,
            source,
        } = self;
        let mut bytes = MAGIC.to_vec();
        for part in [name.as_bytes(), positions] {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(source);
        bytes
    }

    /// Decodes a program.
    ///
    /// # Errors
    ///
    /// A part is missing, or the name is none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, JavaScriptError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(JavaScriptError)?;
        let (name, rest) = part(rest)?;
        let (positions, source) = part(rest)?;
        let name = std::str::from_utf8(name).map_err(|_| JavaScriptError)?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            return Err(JavaScriptError);
        }
        Ok(Self {
            name,
            positions,
            source,
        })
    }
}

/// Splits off one part with its length.
fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), JavaScriptError> {
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(JavaScriptError)?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
        .ok_or(JavaScriptError)
}

#[cfg(test)]
mod tests {
    use super::JavaScript;

    #[test]
    fn a_program_comes_back_and_a_truncated_one_is_refused() {
        let program = JavaScript {
            name: "a.js",
            positions: b"\0\0\0\0",
            source: b"export function run() {}",
        };
        let bytes = program.encode();
        assert!(JavaScript::is(&bytes));
        assert_eq!(JavaScript::decode(&bytes), Ok(program.clone()));
        for len in 0..bytes.len() - program.source.len() {
            assert!(JavaScript::decode(&bytes[..len]).is_err(), "{len}");
        }
        for name in ["", "a\0b", &"a".repeat(257)] {
            let bytes = JavaScript {
                name,
                ..program.clone()
            }
            .encode();
            assert!(JavaScript::decode(&bytes).is_err(), "{name}");
        }
    }
}
