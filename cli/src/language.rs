//! The languages for which there are projects and toolchains.

use clap::ValueEnum;
use serde::Serialize;

/// A language with an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub(crate) enum Language {
    /// Rust, with cargo
    Rust,
    /// TypeScript, with npm
    TypeScript,
    /// JavaScript, with nothing else
    JavaScript,
    /// AssemblyScript, with npm
    AssemblyScript,
    /// Go, with its own compiler
    Go,
    /// C, with clang or zig
    C,
    /// Python, with componentize-py
    Python,
}

impl Language {
    /// The name used on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::TypeScript => "typescript",
            Self::JavaScript => "javascript",
            Self::AssemblyScript => "assemblyscript",
            Self::Go => "go",
            Self::C => "c",
            Self::Python => "python",
        }
    }

    /// The command that runs the tests of a new project.
    pub(crate) fn test_command(self) -> &'static str {
        match self {
            Self::Rust => "cargo test",
            Self::TypeScript | Self::JavaScript | Self::AssemblyScript => "npm test",
            Self::Go => "go test .",
            Self::C => "sh tests/test.sh",
            Self::Python => "python3 -m pytest",
        }
    }
}
