//! The files that the rules check: all text files that git does not ignore.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ignore::WalkBuilder;
use proc_macro2::TokenStream;

/// A folder's text files, read once for all rules.
pub(super) struct Tree {
    files: Vec<File>,
}

/// One text file.
pub(super) struct File {
    /// Path below the root of the tree.
    pub(super) path: PathBuf,
    /// The whole text.
    pub(super) text: String,
}

impl Tree {
    /// Reads every text file below `root`, except `.git` and the files that `.gitignore` names.
    ///
    /// # Errors
    /// If a folder or file cannot be read. Files that are not UTF-8 are no text and are skipped.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let walk = WalkBuilder::new(root)
            .hidden(false)
            .parents(false)
            .ignore(false)
            .git_global(false)
            .git_exclude(false)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .sort_by_file_path(Path::cmp)
            .build();
        for entry in walk {
            let entry = entry.context("cannot list the source tree")?;
            if !entry.file_type().is_some_and(|kind| kind.is_file()) {
                continue;
            }
            let bytes = std::fs::read(entry.path())
                .with_context(|| format!("cannot read {}", entry.path().display()))?;
            if let Ok(text) = String::from_utf8(bytes) {
                let path = entry
                    .path()
                    .strip_prefix(root)
                    .unwrap_or(entry.path())
                    .to_owned();
                files.push(File { path, text });
            }
        }
        Ok(Self { files })
    }

    /// All files, in the order of their paths.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The files whose names end in `.{extension}`.
    pub(super) fn with_extension(&self, extension: &str) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(move |file| file.path.extension().is_some_and(|e| e == extension))
    }

    /// Returns true if a file or folder of this path is in the tree.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.files.iter().any(|file| file.path.starts_with(path))
    }

    /// The file of exactly this path.
    pub(super) fn file(&self, path: &Path) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// Returns the file as Rust tokens, without its comments; `None` if it is not Rust.
    pub(super) fn tokens(&self) -> Option<TokenStream> {
        self.text.parse().ok()
    }
}

/// Writes a small tree for a test and reads it with [`Tree::read`].
#[cfg(test)]
pub(super) fn fixture(files: &[(&str, &str)]) -> Tree {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Tree::read(folder.path()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_git_ignores_and_what_is_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        write(".gitignore", b"/target\n");
        write(".git/config", b"text");
        write(".ci/run", b"text");
        write("target/made.rs", b"text");
        write("src/lib.rs", b"text");
        write("src/picture.png", b"\x89PNG\xff");
        let tree = Tree::read(folder.path()).unwrap();
        let paths: Vec<_> = tree
            .files()
            .map(|file| file.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, [".ci/run", ".gitignore", "src/lib.rs"]);
        assert!(tree.contains(Path::new("src")) && !tree.contains(Path::new("sr")));
    }
}
