//! The files of a new project: its language's template, and the SDK beside it.
//!
//! The SDKs are in no package registry, so a project contains the source of its SDK, in
//! `ferrite-sdk`. It can be moved, and an update of this program does not change it.

use std::io;
use std::path::{Path, PathBuf};

use crate::language::Language;

/// The files that `build.rs` put into the program: paths and contents.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Placeholders in templates: the project's name, and this program's version.
const NAME: &str = "@NAME@";
const VERSION: &str = "@VERSION@";
/// The limits that a function of the language needs, as lines of `ferrite.project.toml`.
const LIMITS: &str = "@LIMITS@";

/// The folder of a project that holds the SDK.
const SDK: &str = "ferrite-sdk";

/// A file to write.
pub(super) struct File {
    /// Its path below the project's folder.
    pub(super) path: PathBuf,
    contents: Vec<u8>,
}

impl File {
    /// Writes the file, and creates the folders above it.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, &self.contents)
    }
}

/// The parts of the program's files that go into a language's projects, and where to.
fn parts(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::Rust => &[
            ("templates/rust/", ""),
            ("templates/sdk-rust/", SDK),
            ("sdk/abi/", "ferrite-sdk/abi"),
            ("sdk/rust/", "ferrite-sdk/rust"),
            ("LICENSE-", SDK),
        ],
        Language::TypeScript => &[
            ("templates/typescript/", ""),
            ("sdk/js/", SDK),
            ("sdk/assemblyscript/mock/", "ferrite-sdk/mock"),
            ("LICENSE-", SDK),
        ],
        Language::JavaScript => &[
            ("templates/javascript/", ""),
            ("sdk/js/", SDK),
            ("sdk/assemblyscript/mock/", "ferrite-sdk/mock"),
            ("LICENSE-", SDK),
        ],
        Language::AssemblyScript => &[
            ("templates/assemblyscript/", ""),
            ("sdk/assemblyscript/", SDK),
            ("LICENSE-", SDK),
        ],
        Language::Go => &[("templates/go/", ""), ("sdk/go/", SDK), ("LICENSE-", SDK)],
        Language::C => &[("templates/c/", ""), ("sdk/c/", SDK), ("LICENSE-", SDK)],
        Language::Python => &[
            ("templates/python/", ""),
            ("sdk/python/", SDK),
            ("sdk/wit/", "ferrite-sdk/ferrite/wit"),
            ("LICENSE-", SDK),
        ],
    }
}

/// Returns all files of a project.
pub(super) fn of(language: Language, name: &str) -> Vec<File> {
    let mut files = Vec::new();
    let everywhere = [("templates/project/", "")];
    for (prefix, folder) in everywhere.iter().chain(parts(language)) {
        for (path, contents) in FILES {
            let Some(rest) = path.strip_prefix(prefix) else {
                continue;
            };
            // For licences the prefix is a part of the file's name.
            let rest = if prefix.ends_with('/') { rest } else { path };
            let filled = rest.strip_suffix(".in");
            files.push(File {
                path: Path::new(folder).join(real_path(filled.unwrap_or(rest))),
                contents: match filled {
                    Some(_) => fill(contents, name, limits(language)),
                    None => contents.to_vec(),
                },
            });
        }
    }
    files
}

/// Returns the path in the project: `dot-x` becomes `.x`. Templates cannot have hidden names,
/// because files such as `.gitignore` would take effect here.
fn real_path(path: &str) -> PathBuf {
    path.split('/')
        .map(|part| match part.strip_prefix("dot-") {
            Some(rest) => format!(".{rest}"),
            None => part.to_owned(),
        })
        .collect()
}

/// Returns the limits of a new project.
fn limits(language: Language) -> &'static str {
    match language {
        // An interpreter takes more time for each step.
        Language::Python => "max_time = \"250ms\"",
        _ => "max_time = \"50ms\"",
    }
}

fn fill(contents: &[u8], name: &str, limits: &str) -> Vec<u8> {
    String::from_utf8_lossy(contents)
        .replace(NAME, name)
        .replace(VERSION, env!("CARGO_PKG_VERSION"))
        .replace(LIMITS, limits)
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;

    use super::{Language, of};

    #[test]
    fn every_project_is_whole_and_nothing_is_left_to_fill_in() {
        for language in Language::value_variants() {
            let files = of(*language, "limits");
            let paths: BTreeSet<_> = files.iter().map(|file| file.path.clone()).collect();
            assert_eq!(paths.len(), files.len(), "a path comes twice");
            for path in [
                "README.md",
                ".gitignore",
                "ferrite.project.toml",
                "tests/rate_limit.cases",
                "ferrite-sdk/LICENSE-MIT",
            ] {
                assert!(paths.contains(std::path::Path::new(path)), "{path}");
            }
            for file in files {
                let text = String::from_utf8_lossy(&file.contents);
                let path = file.path.display();
                assert!(
                    !["@NAME@", "@VERSION@", "@LIMITS@"]
                        .iter()
                        .any(|it| text.contains(it)),
                    "{path}"
                );
                assert!(!path.to_string().ends_with(".in"), "{path}");
            }
        }
    }
}
