//! Reasons why the registry's file cannot be used.

use std::io;
use std::path::PathBuf;

use super::format::VERSION;

/// Reason why the registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryFileError {
    /// The file system reports an error.
    #[error("the registry {} cannot be {action}: {problem}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The action that failed, as a participle.
        action: &'static str,
        /// The file system's error.
        problem: io::Error,
    },
    /// The file is damaged, or not a registry.
    #[error(
        "the registry {} is damaged: {problem}; repair it, or move it away and load the functions again",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: Box<str>,
    },
    /// The file is of a later version.
    #[error(
        "the registry {} was written by a newer version of this program: its format is {found}, and this one reads up to {VERSION}; start the newer one, or move the file away and load the functions again",
        .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}
