//! The languages that functions are written in, as far as projects and toolchains are concerned.

use clap::ValueEnum;
use serde::Serialize;

/// A language with an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum Language {
    /// Rust, with cargo
    Rust,
    /// AssemblyScript, with npm
    AssemblyScript,
    /// Go, with its own compiler
    Go,
    /// C, with clang or zig
    C,
}

impl Language {
    /// The name as it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::AssemblyScript => "assemblyscript",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// How the tests of a new project are run.
    pub(crate) fn test_command(self) -> &'static str {
        match self {
            Self::Rust => "cargo test",
            Self::AssemblyScript => "npm test",
            Self::Go => "go test .",
            Self::C => "sh tests/test.sh",
        }
    }
}
