//! A directory that functions may read, or a scratch directory that they may write.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Quoted;
use crate::policy::files::scratch::NODE_BYTES;
use crate::policy::quantity::{ByteSize, QuantityError};

/// A directory under a name of its own: one that functions may read, `models=/srv/models`, or a scratch
/// directory in memory, `tmp:scratch=16MB`, which a call may write and which goes with it, or
/// `cache:kept=16MB`, which stays for the function's later calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    name: Box<str>,
    source: DirectorySource,
}

/// The content of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirectorySource {
    /// The files of this directory, for reading.
    Path(PathBuf),
    /// Files in memory that calls write themselves.
    Scratch {
        /// Most bytes, those of names included.
        bytes_max: u64,
        /// True if they stay for later calls of the function.
        kept: bool,
    },
}

/// The mode of a directory in memory, after its name.
const SCRATCH: &str = ":scratch";

/// The mode of one that stays for later calls.
const KEPT: &str = ":kept";

/// Reason why a text names no directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// There is no `=`, or nothing after it.
    #[error("{} is not NAME=PATH, such as models=/srv/models", Quoted(.0.as_bytes()))]
    Malformed(Box<str>),
    /// The name has other characters than it may, or too many.
    #[error(
        "the name {} of a directory is not 1 to {} of a-z 0-9 _ -",
        Quoted(.0.as_bytes()),
        Directory::NAME_BYTES_MAX
    )]
    Name(Box<str>),
    /// The size of a scratch directory is none.
    #[error("the size of a scratch directory is wrong: {0}")]
    Size(QuantityError),
    /// A scratch directory has no room for a single file.
    #[error(
        "a scratch directory of {bytes} bytes holds nothing: a file counts {} bytes and its name; give it a size such as 16MB",
        NODE_BYTES
    )]
    TooSmall {
        /// Bytes that were asked for.
        bytes: u64,
    },
    /// A scratch directory is larger than any may be.
    #[error(
        "a scratch directory of {bytes} bytes, where at most {} are possible",
        Directory::SCRATCH_BYTES_MAX
    )]
    TooLarge {
        /// Bytes that were asked for.
        bytes: u64,
    },
}

impl Directory {
    /// Longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 32;

    /// Largest scratch directory, in bytes.
    pub const SCRATCH_BYTES_MAX: u64 = 1 << 30;

    /// Names a directory that functions may read.
    ///
    /// # Errors
    ///
    /// The name has other characters than `a-z`, `0-9`, `_` and `-`, or too many.
    pub fn new(name: &str, path: impl Into<PathBuf>) -> Result<Self, DirectoryError> {
        Self::with_source(name, DirectorySource::Path(path.into()))
    }

    /// Names a directory in memory, of at most `bytes_max` bytes with the names in it. A call may write it,
    /// finds it empty, and leaves nothing of it.
    ///
    /// # Errors
    ///
    /// The name has other characters than it may, or the directory would be too large, or too small for a
    /// file.
    pub fn scratch(name: &str, bytes_max: u64) -> Result<Self, DirectoryError> {
        Self::in_memory(name, bytes_max, false)
    }

    /// Names a directory in memory, of at most `bytes_max` bytes with the names in it. A call may write it,
    /// and finds what earlier calls of the same function have committed.
    ///
    /// # Errors
    ///
    /// As [`Directory::scratch`].
    pub fn kept(name: &str, bytes_max: u64) -> Result<Self, DirectoryError> {
        Self::in_memory(name, bytes_max, true)
    }

    fn in_memory(name: &str, bytes_max: u64, kept: bool) -> Result<Self, DirectoryError> {
        if bytes_max > Self::SCRATCH_BYTES_MAX {
            return Err(DirectoryError::TooLarge { bytes: bytes_max });
        }
        if bytes_max <= NODE_BYTES {
            return Err(DirectoryError::TooSmall { bytes: bytes_max });
        }
        Self::with_source(name, DirectorySource::Scratch { bytes_max, kept })
    }

    fn with_source(name: &str, source: DirectorySource) -> Result<Self, DirectoryError> {
        let good =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if !(1..=Self::NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(good) {
            return Err(DirectoryError::Name(name.into()));
        }
        Ok(Self {
            name: name.into(),
            source,
        })
    }

    /// Returns its name; functions find it under `/NAME`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where its content is.
    pub(crate) fn source(&self) -> &DirectorySource {
        &self.source
    }

    /// Returns true if it is on disk, and not in memory.
    pub(crate) fn is_on_disk(&self) -> bool {
        matches!(self.source, DirectorySource::Path(_))
    }

    /// Returns true if it is in memory and stays for later calls of the function.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.source, DirectorySource::Scratch { kept: true, .. })
    }

    /// Returns the same directory with its path resolved against `folder` if it is relative.
    #[must_use]
    pub fn below(&self, folder: &Path) -> Self {
        let source = match &self.source {
            DirectorySource::Path(path) => DirectorySource::Path(folder.join(path)),
            scratch @ DirectorySource::Scratch { .. } => scratch.clone(),
        };
        Self {
            name: self.name.clone(),
            source,
        }
    }
}

impl FromStr for Directory {
    type Err = DirectoryError;

    fn from_str(text: &str) -> Result<Self, DirectoryError> {
        match text.split_once('=') {
            Some((name, rest)) if !rest.is_empty() => {
                let size = || rest.parse::<ByteSize>().map_err(DirectoryError::Size);
                if let Some(name) = name.strip_suffix(SCRATCH) {
                    return Self::scratch(name, size()?.0);
                }
                match name.strip_suffix(KEPT) {
                    Some(name) => Self::kept(name, size()?.0),
                    None => Self::new(name, rest),
                }
            }
            _ => Err(DirectoryError::Malformed(text.into())),
        }
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            DirectorySource::Path(path) => write!(out, "{}={}", self.name, path.display()),
            &DirectorySource::Scratch { bytes_max, kept } => {
                let mode = if kept { KEPT } else { SCRATCH };
                write!(out, "{}{mode}={}", self.name, ByteSize(bytes_max))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Directory, DirectorySource};

    #[test]
    fn a_directory_has_a_name_and_a_path() {
        let directory: Directory = "models=/srv/a=b".parse().expect("a directory");
        assert_eq!(directory.name(), "models");
        assert_eq!(
            directory.source(),
            &DirectorySource::Path("/srv/a=b".into())
        );
        assert_eq!(directory.to_string(), "models=/srv/a=b");
        let scratch: Directory = "tmp:scratch=16MB".parse().expect("a directory");
        assert_eq!(scratch.name(), "tmp");
        assert_eq!(scratch.to_string(), "tmp:scratch=16MB");
        assert_eq!(scratch.below("/srv".as_ref()), scratch);
        let kept: Directory = "cache:kept=1024KB".parse().expect("a directory");
        assert!(kept.is_kept() && !scratch.is_kept());
        assert_eq!(kept.to_string(), "cache:kept=1MB");
        for (text, expected) in [
            ("", "is not NAME=PATH"),
            ("models", "is not NAME=PATH"),
            ("models=", "is not NAME=PATH"),
            ("=/srv", "the name \"\" of a directory"),
            ("Models=/srv", "the name \"Models\" of a directory"),
            ("a/b=/srv", "the name \"a/b\" of a directory"),
            ("..=/srv", "the name \"..\" of a directory"),
            ("tmp:scratch=", "is not NAME=PATH"),
            (
                "tmp:scratch=/tmp",
                "the size of a scratch directory is wrong",
            ),
            ("tmp:scratch=2GB", "at most 1073741824 are possible"),
            ("tmp:kept=/srv", "the size of a scratch directory is wrong"),
            ("tmp:scratch=0", "of 0 bytes holds nothing"),
            ("tmp:kept=0", "of 0 bytes holds nothing"),
            ("tmp:kept=256", "of 256 bytes holds nothing"),
            ("tmp:kept=2GB", "at most 1073741824 are possible"),
            ("tmp:Kept=1MB", "the name \"tmp:Kept\" of a directory"),
            (":kept=1MB", "the name \"\" of a directory"),
        ] {
            let error = text.parse::<Directory>().expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
