//! A directory that functions may read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Quoted;

/// A directory that functions may read, under a name of its own: `models=/srv/models`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    name: Box<str>,
    path: PathBuf,
}

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
}

impl Directory {
    /// Longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 32;

    /// Names a directory.
    ///
    /// # Errors
    ///
    /// The name has other characters than `a-z`, `0-9`, `_` and `-`, or too many.
    pub fn new(name: &str, path: impl Into<PathBuf>) -> Result<Self, DirectoryError> {
        let good =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if !(1..=Self::NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(good) {
            return Err(DirectoryError::Name(name.into()));
        }
        Ok(Self {
            name: name.into(),
            path: path.into(),
        })
    }

    /// Returns its name; functions find it under `/NAME`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its path on this machine.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the same directory with its path resolved against `folder` if it is relative.
    #[must_use]
    pub fn below(&self, folder: &Path) -> Self {
        Self {
            name: self.name.clone(),
            path: folder.join(&self.path),
        }
    }
}

impl FromStr for Directory {
    type Err = DirectoryError;

    fn from_str(text: &str) -> Result<Self, DirectoryError> {
        match text.split_once('=') {
            Some((name, path)) if !path.is_empty() => Self::new(name, path),
            _ => Err(DirectoryError::Malformed(text.into())),
        }
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}={}", self.name, self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::Directory;

    #[test]
    fn a_directory_has_a_name_and_a_path() {
        let directory: Directory = "models=/srv/a=b".parse().expect("a directory");
        assert_eq!(directory.name(), "models");
        assert_eq!(directory.path().to_str(), Some("/srv/a=b"));
        assert_eq!(directory.to_string(), "models=/srv/a=b");
        for (text, expected) in [
            ("", "is not NAME=PATH"),
            ("models", "is not NAME=PATH"),
            ("models=", "is not NAME=PATH"),
            ("=/srv", "the name \"\" of a directory"),
            ("Models=/srv", "the name \"Models\" of a directory"),
            ("a/b=/srv", "the name \"a/b\" of a directory"),
            ("..=/srv", "the name \"..\" of a directory"),
        ] {
            let error = text.parse::<Directory>().expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
