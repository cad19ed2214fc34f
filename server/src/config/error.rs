//! Errors of the configuration.

use std::path::PathBuf;

use super::origin::Origin;

/// Reason why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the configuration file {} has {bytes} bytes; the limit is {bytes_max}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The file is not TOML.
    #[error("{}:{line}: not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The parser's message.
        message: String,
    },
    /// There is no such key, flag or variable.
    #[error("{origin}: there is no {what} {name:?}{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// The place where it was typed.
        origin: Origin,
        /// Its kind: a key, a section, a flag or a variable.
        what: &'static str,
        /// The name.
        name: String,
        /// The known name nearest to it.
        nearest: Option<String>,
    },
    /// A section was given where a value belongs, or the other way round.
    #[error("{origin}: {name:?} is {what}")]
    Shape {
        /// The place where it was typed.
        origin: Origin,
        /// The name.
        name: String,
        /// The correct form.
        what: &'static str,
    },
    /// A value is not of its key's kind.
    #[error("{origin}: {key} must be {kind}, not {value}")]
    Value {
        /// The key.
        key: String,
        /// The place where it was typed.
        origin: Origin,
        /// The value as typed.
        value: String,
        /// The kind that it must have.
        kind: &'static str,
    },
    /// A flag lacks its value.
    #[error("flag {flag} needs a value: {kind}")]
    NoValue {
        /// The flag.
        flag: String,
        /// The kind that it must have.
        kind: &'static str,
    },
    /// An argument is not a flag.
    #[error("unexpected argument {argument:?}; flags start with --, see --help")]
    Argument {
        /// The argument.
        argument: String,
    },
    /// An argument or variable is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotText {
        /// The argument or variable.
        what: String,
    },
    /// Values contradict each other, or cannot be enforced.
    #[error("{0}")]
    Conflict(String),
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean {name:?}?"),
        None => String::new(),
    }
}
