//! The place where a value was typed, for errors.

use std::fmt;
use std::path::PathBuf;

/// The place where a value was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
    /// The command `CONFIG SET`.
    Command,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(out, "{}:{line}", path.display()),
            Self::Variable(name) => write!(out, "environment variable {name}"),
            Self::Flag(name) => write!(out, "flag {name}"),
            Self::Command => out.write_str("CONFIG SET"),
        }
    }
}
