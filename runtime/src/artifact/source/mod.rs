//! Detects the meaning of the source argument of `WASM.LOAD` and `WASM.DEFINE`.
//!
//! In this order: raw WebAssembly and a bundle, by their first bytes; a digest, by its prefix; a
//! path, by its extension; base64 of WebAssembly or of a bundle, by its first letters; the text format,
//! by a parenthesis or a comment. Nothing else is guessed.

mod bundle;
mod module_dir;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};
use ferrite_cache::bundle::BUNDLE_EXTENSION;
use ferrite_cache::{Digest, DigestError, JavaScript};

use self::bundle::BUNDLE_MAGIC;
pub(crate) use self::bundle::BundleReader;
pub use self::bundle::BundleSource;
use crate::artifact::source::module_dir::open_below;
use crate::error::{CallError, Code, Quoted};
use crate::policy::quantity::ByteSize;

/// First four bytes of every WebAssembly binary.
pub const WASM_MAGIC: &[u8] = b"\0asm";

/// First letters of [`WASM_MAGIC`] in base64.
const BASE64_MAGIC: &[u8] = b"AGFzb";

/// Prefix of a digest.
const DIGEST_PREFIX: &[u8] = b"blake3:";

/// Source of module code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// The cache, which has it already.
    Cached(Digest),
    /// A WebAssembly binary.
    Wasm(Cow<'a, [u8]>),
    /// WebAssembly's text format.
    Text(Cow<'a, [u8]>),
    /// An encoded [program in JavaScript](JavaScript).
    Program(Cow<'a, [u8]>),
    /// A bundle, signed or not.
    Bundle(BundleSource<'a>),
}

/// Bounds of sources: the folder of paths, and the size.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The folder that contains all paths; if `None`, paths are refused.
    pub module_dir: Option<PathBuf>,
    /// Largest source, in bytes.
    pub source_bytes_max: u64,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            module_dir: None,
            source_bytes_max: 64 << 20,
        }
    }
}

/// Reason why a source argument is refused.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It has the form of no source.
    #[error(
        "the source {} is neither WebAssembly, nor its text or base64, nor a bundle, nor blake3:<64 hex digits>, nor a path that ends in .wasm, .wat, .js or .cwasm.tar",
        Quoted(.start)
    )]
    Unknown {
        /// Its first bytes.
        start: Box<[u8]>,
    },
    /// It is empty.
    #[error("the source is empty; give WebAssembly, its base64, blake3:<64 hex digits> or a path")]
    Empty,
    /// A binary instead of the text format.
    #[error("the source is a WebAssembly binary; use WASM.LOAD for it")]
    BinaryInDefine,
    /// A path or a digest, which `WASM.LOAD` takes, instead of the text format.
    #[error("the source {} is no text of a module; use WASM.LOAD for files and digests", Quoted(.start))]
    LoadableInDefine {
        /// Its first bytes.
        start: Box<[u8]>,
    },
    /// `blake3:` without a digest.
    #[error("the source {} is no digest: {problem}", Quoted(.text))]
    Digest {
        /// The argument.
        text: Box<[u8]>,
        /// The problem.
        problem: DigestError,
    },
    /// Invalid base64.
    #[error("the base64 of the source is broken: {}", base64_problem(.problem))]
    Base64 {
        /// The problem; offsets do not count blanks and line ends.
        problem: DecodeError,
    },
    /// More than the limit.
    #[error("the source has {}{bytes} bytes, the limit is {limit}", if *.at_least { "at least " } else { "" })]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// True if reading stopped there.
        at_least: bool,
        /// The limit.
        limit: ByteSize,
    },
    /// Paths are not configured.
    #[error("the source {} is a path, and no folder for modules is configured; set wasm.module_dir (module-dir in Valkey and Redis)", Quoted(.path.as_os_str().as_bytes()))]
    NoModuleDir {
        /// The path.
        path: PathBuf,
    },
    /// The folder itself is unusable.
    #[error("the folder for modules, {}, cannot be used: {problem}; make it, or set wasm.module_dir (module-dir in Valkey and Redis) to another", .module_dir.display())]
    ModuleDir {
        /// The folder.
        module_dir: PathBuf,
        /// The problem.
        problem: io::Error,
    },
    /// A path that leaves the folder, or could.
    #[error("the path {} leads out of the folder for modules{}; give a path below it", Quoted(.path.as_os_str().as_bytes()), .how)]
    Outside {
        /// The path.
        path: PathBuf,
        /// The means, to follow the word "modules".
        how: &'static str,
    },
    /// Not a path: too long, or with a zero byte.
    #[error("the path {} is {problem}", Quoted(.path.as_os_str().as_bytes()))]
    Path {
        /// The path.
        path: PathBuf,
        /// The problem.
        problem: &'static str,
    },
    /// Reading the file failed.
    #[error("the file {} in the folder for modules, {}, cannot be read: {problem}", Quoted(.path.as_os_str().as_bytes()), .module_dir.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The folder.
        module_dir: PathBuf,
        /// The problem.
        problem: io::Error,
    },
}

impl SourceError {
    /// Returns the error's code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::Limit,
            Self::Outside { .. } | Self::NoModuleDir { .. } => Code::NoPermission,
            _ => Code::Invalid,
        }
    }
}

impl From<SourceError> for CallError {
    fn from(error: SourceError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl<'a> Source<'a> {
    /// Returns the source that an argument of `WASM.LOAD` means. Reads the file if it is a path.
    pub fn for_load(argument: &'a [u8], options: &SourceOptions) -> Result<Self, SourceError> {
        let size = argument.len() as u64;
        if argument.starts_with(WASM_MAGIC) {
            check_size(size, options)?;
            return Ok(Self::Wasm(Cow::Borrowed(argument)));
        }
        if argument.starts_with(BUNDLE_MAGIC) {
            // Each member has its own bound.
            return Ok(Self::Bundle(BundleSource::Bytes(Cow::Borrowed(argument))));
        }
        let trimmed = argument.trim_ascii();
        if trimmed.is_empty() {
            return Err(SourceError::Empty);
        }
        if trimmed.starts_with(DIGEST_PREFIX) {
            return digest(trimmed).map(Self::Cached);
        }
        if let Some(path) = as_path(trimmed) {
            return read_path(path, options);
        }
        if trimmed.starts_with(BASE64_MAGIC) {
            let bound = |bytes| check_size(bytes, options);
            return decode_base64(argument, bound).map(|wasm| Self::Wasm(Cow::Owned(wasm)));
        }
        if trimmed.starts_with(bundle::BASE64_MAGIC) {
            let bytes = decode_base64(argument, |_| Ok(()))?;
            return Ok(Self::Bundle(BundleSource::Bytes(Cow::Owned(bytes))));
        }
        if is_text_format(trimmed) {
            check_size(size, options)?;
            return Ok(Self::Text(Cow::Borrowed(argument)));
        }
        Err(SourceError::Unknown {
            start: start_of(argument),
        })
    }

    /// Returns the source that an argument of `WASM.DEFINE` means: the text format itself.
    pub fn for_define(argument: &'a [u8], options: &SourceOptions) -> Result<Self, SourceError> {
        if argument.starts_with(WASM_MAGIC) {
            return Err(SourceError::BinaryInDefine);
        }
        let trimmed = argument.trim_ascii();
        if trimmed.is_empty() {
            return Err(SourceError::Empty);
        }
        if !is_text_format(trimmed)
            && (trimmed.starts_with(DIGEST_PREFIX) || file_of(trimmed).is_some())
        {
            return Err(SourceError::LoadableInDefine {
                start: start_of(trimmed),
            });
        }
        check_size(argument.len() as u64, options)?;
        Ok(Self::Text(Cow::Borrowed(argument)))
    }

    /// Returns the source that a program in JavaScript is; its errors have `name` in their positions.
    pub fn for_program(
        program: &[u8],
        name: &str,
        options: &SourceOptions,
    ) -> Result<Source<'static>, SourceError> {
        if program.trim_ascii().is_empty() {
            return Err(SourceError::Empty);
        }
        check_size(program.len() as u64, options)?;
        let program = JavaScript {
            name,
            positions: &[],
            source: program,
        };
        Ok(Source::Program(Cow::Owned(program.encode())))
    }
}

/// Returns the path in an argument of `WASM.LOAD`, if it is one: the file, as it was given.
#[must_use]
pub fn file_of(argument: &[u8]) -> Option<&Path> {
    let trimmed = argument.trim_ascii();
    let other = argument.starts_with(WASM_MAGIC)
        || argument.starts_with(BUNDLE_MAGIC)
        || trimmed.starts_with(DIGEST_PREFIX);
    (!other).then(|| as_path(trimmed))?
}

/// As much of an argument as an error shows.
fn start_of(argument: &[u8]) -> Box<[u8]> {
    argument.iter().take(100).copied().collect()
}

fn check_size(bytes: u64, options: &SourceOptions) -> Result<(), SourceError> {
    if bytes > options.source_bytes_max {
        return Err(SourceError::TooLarge {
            bytes,
            at_least: false,
            limit: ByteSize(options.source_bytes_max),
        });
    }
    Ok(())
}

fn digest(text: &[u8]) -> Result<Digest, SourceError> {
    String::from_utf8_lossy(text)
        .parse()
        .map_err(|problem| SourceError::Digest {
            text: text.into(),
            problem,
        })
}

/// Returns the argument as a path, if it ends like a file that could be a source.
fn as_path(argument: &[u8]) -> Option<&Path> {
    let ending = |end: &[u8]| {
        argument
            .len()
            .checked_sub(end.len())
            .is_some_and(|at| argument[at..].eq_ignore_ascii_case(end))
    };
    let endings: [&[u8]; 4] = [b".wasm", b".wat", b".js", BUNDLE_EXTENSION.as_bytes()];
    endings
        .into_iter()
        .any(ending)
        .then(|| Path::new(OsStr::from_bytes(argument)))
}

fn is_bundle(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    name.len()
        .checked_sub(BUNDLE_EXTENSION.len())
        .is_some_and(|at| name[at..].eq_ignore_ascii_case(BUNDLE_EXTENSION.as_bytes()))
}

/// The text format can only start with comments, blanks or a parenthesis.
fn is_text_format(trimmed: &[u8]) -> bool {
    trimmed.starts_with(b"(") || trimmed.starts_with(b";;")
}

fn decode_base64(
    argument: &[u8],
    bound: impl FnOnce(u64) -> Result<(), SourceError>,
) -> Result<Vec<u8>, SourceError> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    // `base64` breaks its lines, and a shell may keep the breaks.
    let mut letters: Vec<u8> = Vec::new();
    let text: Cow<'_, [u8]> = if argument.iter().any(u8::is_ascii_whitespace) {
        letters.extend(argument.iter().filter(|byte| !byte.is_ascii_whitespace()));
        Cow::Owned(letters)
    } else {
        Cow::Borrowed(argument)
    };
    bound(text.len() as u64 / 4 * 3)?;
    LENIENT
        .decode(&text)
        .map_err(|problem| SourceError::Base64 { problem })
}

fn base64_problem(problem: &DecodeError) -> String {
    match problem {
        DecodeError::InvalidByte(offset, byte) => {
            format!("'{}' at letter {offset} is none of it", byte.escape_ascii())
        }
        DecodeError::InvalidLength(length) => {
            format!("{length} letters do not make whole bytes; something is missing")
        }
        DecodeError::InvalidLastSymbol(offset, byte) => format!(
            "it cannot end with '{}' at letter {offset}; something is missing",
            byte.escape_ascii()
        ),
        DecodeError::InvalidPadding => "the = at its end are wrong".to_owned(),
    }
}

/// Reads a module below `module_dir`.
fn read_path(path: &Path, options: &SourceOptions) -> Result<Source<'static>, SourceError> {
    let Some(module_dir) = &options.module_dir else {
        return Err(SourceError::NoModuleDir { path: path.into() });
    };
    let file = open_below(module_dir, path)?;
    let unreadable = |problem| SourceError::Read {
        path: path.into(),
        module_dir: module_dir.into(),
        problem,
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is no regular file")));
    }
    if is_bundle(path) {
        return Ok(Source::Bundle(BundleSource::File(Arc::new(file))));
    }
    check_size(metadata.len(), options)?;
    let mut bytes = Vec::new();
    // The file may grow during the read.
    file.take(options.source_bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > options.source_bytes_max {
        return Err(SourceError::TooLarge {
            bytes: bytes.len() as u64,
            at_least: true,
            limit: ByteSize(options.source_bytes_max),
        });
    }
    let ends_in = |wanted: &str| {
        path.extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case(wanted))
    };
    if bytes.starts_with(WASM_MAGIC) {
        Ok(Source::Wasm(Cow::Owned(bytes)))
    } else if ends_in("wat") {
        Ok(Source::Text(Cow::Owned(bytes)))
    } else if ends_in("js") {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Source::for_program(&bytes, &name, options)
    } else {
        let start = bytes.iter().take(4).copied().collect::<Vec<_>>();
        Err(unreadable(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is not WebAssembly, it starts with {}", Quoted(&start)),
        )))
    }
}

#[cfg(test)]
mod tests;
