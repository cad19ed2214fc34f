//! What the source argument of `WASM.LOAD` and `WASM.DEFINE` stands for.
//!
//! In this order: raw WebAssembly, known by its first four bytes; a digest, by its prefix; a path,
//! by its ending; base64 of WebAssembly, by its first letters. Nothing is guessed beyond that.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};
use ferrite_cache::{Digest, DigestError};

use crate::error::{CallError, Code, Quoted};
use crate::quantity::ByteSize;

/// The four bytes that every WebAssembly binary starts with.
pub const WASM_MAGIC: &[u8] = b"\0asm";

/// What [`WASM_MAGIC`] always looks like in base64.
const BASE64_MAGIC: &[u8] = b"AGFzb";

/// What a digest is known by.
const DIGEST_PREFIX: &[u8] = b"blake3:";

/// Longest path taken, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// Where module code comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// From the cache, which has it already.
    Cached(Digest),
    /// A WebAssembly binary.
    Wasm(Cow<'a, [u8]>),
    /// WebAssembly's text format.
    Text(Cow<'a, [u8]>),
}

/// What sources are taken, and from where.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The folder that paths are below; without it, paths are refused.
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

/// Why a source argument is refused.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It is nothing that a source can be.
    #[error(
        "the source {} is neither WebAssembly, nor its base64, nor blake3:<64 hex digits>, nor a path that ends in .wasm or .wat",
        Quoted(.start)
    )]
    Unknown {
        /// How it starts.
        start: Box<[u8]>,
    },
    /// There is nothing.
    #[error("the source is empty; give WebAssembly, its base64, blake3:<64 hex digits> or a path")]
    Empty,
    /// The text format where a binary is expected.
    #[error(
        "the source is WebAssembly's text format; use WASM.DEFINE for it, or a path that ends in .wat"
    )]
    TextInLoad,
    /// A binary where the text format is expected.
    #[error("the source is a WebAssembly binary; use WASM.LOAD for it")]
    BinaryInDefine,
    /// `blake3:` without a digest.
    #[error("the source {} is no digest: {problem}", Quoted(.text))]
    Digest {
        /// The argument.
        text: Box<[u8]>,
        /// What is wrong with it.
        problem: DigestError,
    },
    /// Base64 that cannot be decoded.
    #[error("the base64 of the source is broken: {}", base64_problem(.problem))]
    Base64 {
        /// What is wrong with it; offsets do not count blanks and line ends.
        problem: DecodeError,
    },
    /// More than the limit.
    #[error("the source has {}{bytes} bytes, the limit is {limit}", if *.at_least { "at least " } else { "" })]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// Whether reading stopped there.
        at_least: bool,
        /// The limit.
        limit: ByteSize,
    },
    /// Paths are not configured.
    #[error("the source {} is a path, and no folder for modules is configured; set wasm.module_dir", Quoted(.path.as_os_str().as_bytes()))]
    NoModuleDir {
        /// The path.
        path: PathBuf,
    },
    /// The folder itself cannot be used.
    #[error("the folder for modules, {}, cannot be used: {problem}", .module_dir.display())]
    ModuleDir {
        /// The folder.
        module_dir: PathBuf,
        /// What is wrong with it.
        problem: io::Error,
    },
    /// A path that leads out, or could.
    #[error("the path {} leads out of the folder for modules{}; give a path below it", Quoted(.path.as_os_str().as_bytes()), .how)]
    Outside {
        /// The path.
        path: PathBuf,
        /// By what means, to follow the word "modules".
        how: &'static str,
    },
    /// No path at all: too long, or with a zero byte.
    #[error("the path {} is {problem}", Quoted(.path.as_os_str().as_bytes()))]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file cannot be read.
    #[error("the file {} in the folder for modules cannot be read: {problem}", Quoted(.path.as_os_str().as_bytes()))]
    Read {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: io::Error,
    },
}

impl SourceError {
    /// The error's code.
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
    /// What the argument of `WASM.LOAD` stands for. Reads the file when it is a path.
    pub fn for_load(argument: &'a [u8], options: &SourceOptions) -> Result<Self, SourceError> {
        let size = argument.len() as u64;
        if argument.starts_with(WASM_MAGIC) {
            check_size(size, options)?;
            return Ok(Self::Wasm(Cow::Borrowed(argument)));
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
            return decode_base64(argument, options).map(|wasm| Self::Wasm(Cow::Owned(wasm)));
        }
        if is_text_format(trimmed) {
            return Err(SourceError::TextInLoad);
        }
        Err(SourceError::Unknown {
            start: argument.iter().take(100).copied().collect(),
        })
    }

    /// What the argument of `WASM.DEFINE` stands for: the text format itself.
    pub fn for_define(argument: &'a [u8], options: &SourceOptions) -> Result<Self, SourceError> {
        if argument.starts_with(WASM_MAGIC) {
            return Err(SourceError::BinaryInDefine);
        }
        if argument.trim_ascii().is_empty() {
            return Err(SourceError::Empty);
        }
        check_size(argument.len() as u64, options)?;
        Ok(Self::Text(Cow::Borrowed(argument)))
    }
}

/// The path that an argument of `WASM.LOAD` is, if it is one: the file, as it was given.
#[must_use]
pub fn file_of(argument: &[u8]) -> Option<&Path> {
    let trimmed = argument.trim_ascii();
    let other = argument.starts_with(WASM_MAGIC) || trimmed.starts_with(DIGEST_PREFIX);
    (!other).then(|| as_path(trimmed))?
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

/// The argument as a path, if it ends like one of a file that could be a source.
fn as_path(argument: &[u8]) -> Option<&Path> {
    let ending = |end: &[u8]| {
        argument
            .len()
            .checked_sub(end.len())
            .is_some_and(|at| argument[at..].eq_ignore_ascii_case(end))
    };
    (ending(b".wasm") || ending(b".wat")).then(|| Path::new(OsStr::from_bytes(argument)))
}

/// Comments, blanks and a parenthesis are all that the text format can start with.
fn is_text_format(trimmed: &[u8]) -> bool {
    trimmed.starts_with(b"(") || trimmed.starts_with(b";;")
}

fn decode_base64(argument: &[u8], options: &SourceOptions) -> Result<Vec<u8>, SourceError> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    // `base64` breaks its lines, and a shell may leave the breaks in.
    let mut letters: Vec<u8> = Vec::new();
    let text: Cow<'_, [u8]> = if argument.iter().any(u8::is_ascii_whitespace) {
        letters.extend(argument.iter().filter(|byte| !byte.is_ascii_whitespace()));
        Cow::Owned(letters)
    } else {
        Cow::Borrowed(argument)
    };
    check_size(text.len() as u64 / 4 * 3, options)?;
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
        problem,
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is no regular file")));
    }
    check_size(metadata.len(), options)?;
    let mut bytes = Vec::new();
    // The file may grow while it is read.
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
    if bytes.starts_with(WASM_MAGIC) {
        Ok(Source::Wasm(Cow::Owned(bytes)))
    } else if path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("wat"))
    {
        Ok(Source::Text(Cow::Owned(bytes)))
    } else {
        let start = bytes.iter().take(4).copied().collect::<Vec<_>>();
        Err(unreadable(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is not WebAssembly, it starts with {}", Quoted(&start)),
        )))
    }
}

/// Opens a file below `module_dir`, through links only as far as they stay there.
fn open_below(module_dir: &Path, path: &Path) -> Result<File, SourceError> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > PATH_BYTES_MAX {
        return Err(SourceError::Path {
            path: path.into(),
            problem: "too long for a path",
        });
    }
    if bytes.contains(&0) {
        return Err(SourceError::Path {
            path: path.into(),
            problem: "no path: it has a zero byte",
        });
    }
    if path
        .components()
        .any(|component| component == Component::ParentDir)
    {
        return Err(SourceError::Outside {
            path: path.into(),
            how: " by \"..\"",
        });
    }
    let unusable = |problem| SourceError::ModuleDir {
        module_dir: module_dir.into(),
        problem,
    };
    let root = module_dir.canonicalize().map_err(unusable)?;
    // An absolute path may name the folder as it is configured or as it is.
    let relative = if path.is_absolute() {
        path.strip_prefix(&root)
            .or_else(|_| path.strip_prefix(module_dir))
            .map_err(|_| SourceError::Outside {
                path: path.into(),
                how: "",
            })?
    } else {
        path
    };
    let outside = || SourceError::Outside {
        path: path.into(),
        how: " through a link",
    };
    let unreadable = |problem| SourceError::Read {
        path: path.into(),
        problem,
    };
    let real = root.join(relative).canonicalize().map_err(unreadable)?;
    if !real.starts_with(&root) {
        return Err(outside());
    }
    let file = OpenOptions::new()
        .read(true)
        // Without `NONBLOCK`, opening a named pipe would wait for somebody to write.
        .custom_flags(
            (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK)
                .bits()
                .cast_signed(),
        )
        .open(&real)
        .map_err(unreadable)?;
    // A folder on the way may have become a link since: what counts is what was opened.
    let opened = rustix::fs::readlink(
        format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)),
        Vec::new(),
    )
    .map_err(|error| unreadable(error.into()))?;
    if !Path::new(OsStr::from_bytes(opened.as_bytes())).starts_with(&root) {
        return Err(outside());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use ferrite_cache::Digest;

    use super::{Source, SourceOptions};
    use crate::error::CallError;

    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn options(module_dir: Option<&Path>) -> SourceOptions {
        SourceOptions {
            module_dir: module_dir.map(Path::to_path_buf),
            source_bytes_max: 1000,
        }
    }

    fn load(argument: &[u8], options: &SourceOptions) -> Result<Source<'static>, String> {
        match Source::for_load(argument, options) {
            Ok(Source::Cached(digest)) => Ok(Source::Cached(digest)),
            Ok(Source::Wasm(bytes)) => Ok(Source::Wasm(Cow::Owned(bytes.into_owned()))),
            Ok(Source::Text(bytes)) => Ok(Source::Text(Cow::Owned(bytes.into_owned()))),
            Err(error) => Err(CallError::from(error).to_string()),
        }
    }

    #[test]
    fn an_argument_is_known_by_its_form() {
        let none = options(None);
        let empty = Ok(Source::Wasm(Cow::Borrowed(EMPTY_MODULE)));
        assert_eq!(load(EMPTY_MODULE, &none), empty);
        for base64 in ["AGFzbQEAAAA=", "AGFzbQEAAAA", " AGFzbQ\nEAAAA=\r\n"] {
            assert_eq!(load(base64.as_bytes(), &none), empty, "{base64:?}");
        }
        let digest = Digest::of(EMPTY_MODULE);
        assert_eq!(
            load(digest.to_string().as_bytes(), &none),
            Ok(Source::Cached(digest))
        );
        let text = b" (module)";
        assert_eq!(
            Source::for_define(text, &none).ok(),
            Some(Source::Text(Cow::Borrowed(text.as_slice())))
        );
    }

    #[test]
    fn what_is_no_source_is_refused() {
        let none = options(None);
        let large = [EMPTY_MODULE, &[0; 1000]].concat();
        let large_base64 = [b"AGFzbQEAAAAA".as_slice(), &[b'A'; 2000]].concat();
        let cases: &[(&[u8], &str)] = &[
            (
                b"",
                "INVALID the source is empty; give WebAssembly, its base64, blake3:<64 hex digits> or a path",
            ),
            (
                b"hello",
                "INVALID the source \"hello\" is neither WebAssembly, nor its base64, nor blake3:<64 hex digits>, nor a path that ends in .wasm or .wat",
            ),
            (
                b"bm90IHdhc20=",
                "INVALID the source \"bm90IHdhc20=\" is neither WebAssembly, nor its base64, nor blake3:<64 hex digits>, nor a path that ends in .wasm or .wat",
            ),
            (
                b"(module)",
                "INVALID the source is WebAssembly's text format; use WASM.DEFINE for it, or a path that ends in .wat",
            ),
            (
                b"AGFzbQEA!AAA=",
                "INVALID the base64 of the source is broken: '!' at letter 8 is none of it",
            ),
            (
                b"AGFzbQEAA",
                "INVALID the base64 of the source is broken: 9 letters do not make whole bytes; something is missing",
            ),
            (&large, "LIMIT the source has 1008 bytes, the limit is 1000"),
            (
                &large_base64,
                "LIMIT the source has 1509 bytes, the limit is 1000",
            ),
            (
                b"a.wasm",
                "NOPERM the source \"a.wasm\" is a path, and no folder for modules is configured; set wasm.module_dir",
            ),
        ];
        for (argument, expected) in cases {
            assert_eq!(load(argument, &none), Err((*expected).to_owned()));
        }
        let short = load(b"blake3:abc", &none).expect_err("too short");
        assert!(
            short.starts_with("INVALID the source \"blake3:abc\" is no digest: "),
            "{short}"
        );
        let binary = Source::for_define(EMPTY_MODULE, &none).expect_err("a binary");
        assert_eq!(
            binary.to_string(),
            "the source is a WebAssembly binary; use WASM.LOAD for it"
        );
    }

    #[test]
    fn paths_stay_below_the_folder() -> std::io::Result<()> {
        let temporary = tempfile::tempdir()?;
        let outside = temporary.path().join("outside");
        let modules = temporary.path().join("modules");
        std::fs::create_dir_all(modules.join("sub.wasm"))?;
        std::fs::create_dir(&outside)?;
        std::fs::write(outside.join("secret.wasm"), EMPTY_MODULE)?;
        std::fs::write(modules.join("a.wasm"), EMPTY_MODULE)?;
        std::fs::write(modules.join("sub.wasm/b.WAT"), "(module)")?;
        std::fs::write(modules.join("text.wasm"), "(module)")?;
        std::fs::write(modules.join("large.wasm"), [0; 1001])?;
        symlink("a.wasm", modules.join("inside.wasm"))?;
        symlink("../outside/secret.wasm", modules.join("out.wasm"))?;
        symlink(&outside, modules.join("folder"))?;
        rustix::fs::mknodat(
            rustix::fs::CWD,
            modules.join("pipe.wasm"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )?;
        let options = options(Some(&modules));
        let wasm = Ok(Source::Wasm(Cow::Borrowed(EMPTY_MODULE)));
        let absolute = modules.join("a.wasm");
        let absolute = absolute.to_str().expect("is text");
        for path in ["a.wasm", "./a.wasm", "inside.wasm", absolute] {
            assert_eq!(load(path.as_bytes(), &options), wasm, "{path}");
        }
        assert_eq!(
            load(b"sub.wasm/b.WAT", &options),
            Ok(Source::Text(Cow::Borrowed(b"(module)")))
        );

        let secret = outside.join("secret.wasm");
        let secret = secret.to_str().expect("is text");
        let long = format!("{}.wasm", "a/".repeat(3000));
        let cases: Vec<(&str, String)> = vec![
            ("../outside/secret.wasm", "NOPERM the path \"../outside/secret.wasm\" leads out of the folder for modules by \"..\"; give a path below it".to_owned()),
            ("sub.wasm/../a.wasm", "NOPERM the path \"sub.wasm/../a.wasm\" leads out of the folder for modules by \"..\"; give a path below it".to_owned()),
            ("out.wasm", "NOPERM the path \"out.wasm\" leads out of the folder for modules through a link; give a path below it".to_owned()),
            ("folder/secret.wasm", "NOPERM the path \"folder/secret.wasm\" leads out of the folder for modules through a link; give a path below it".to_owned()),
            ("missing.wasm", "INVALID the file \"missing.wasm\" in the folder for modules cannot be read: No such file or directory (os error 2)".to_owned()),
            ("sub.wasm", "INVALID the file \"sub.wasm\" in the folder for modules cannot be read: it is no regular file".to_owned()),
            ("pipe.wasm", "INVALID the file \"pipe.wasm\" in the folder for modules cannot be read: it is no regular file".to_owned()),
            ("text.wasm", "INVALID the file \"text.wasm\" in the folder for modules cannot be read: it is not WebAssembly, it starts with \"(mod\"".to_owned()),
            ("large.wasm", "LIMIT the source has 1001 bytes, the limit is 1000".to_owned()),
            ("a\0.wasm", "INVALID the path \"a\\x00.wasm\" is no path: it has a zero byte".to_owned()),
        ];
        for (path, expected) in cases {
            assert_eq!(load(path.as_bytes(), &options), Err(expected));
        }
        let error = load(secret.as_bytes(), &options).expect_err("outside");
        assert!(
            error.starts_with("NOPERM the path \"/") && error.contains("leads out of"),
            "{error}"
        );
        let error = load(long.as_bytes(), &options).expect_err("too long");
        assert!(error.ends_with("is too long for a path"), "{error}");
        Ok(())
    }
}
