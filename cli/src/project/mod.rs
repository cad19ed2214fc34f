//! A project of functions: which language it is in, and how its modules are built.

mod assemblyscript;
mod c;
mod go;
mod process;
mod rust;
pub(crate) mod toolchain;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::language::Language;

/// The folder of a project that the modules are put into.
const BUILT: &str = "build";

/// A folder with the sources of functions.
pub(crate) struct Project {
    pub(crate) language: Language,
    pub(crate) folder: PathBuf,
}

impl Project {
    /// Looks at a folder.
    ///
    /// # Errors
    ///
    /// When it holds no project, with what was looked for.
    pub(crate) fn find(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            bail!("there is no folder {}", folder.display());
        }
        let has = |name: &str| folder.join(name).is_file();
        let language = if has("asconfig.json") {
            Language::AssemblyScript
        } else if has("Cargo.toml") {
            Language::Rust
        } else if has("go.mod") {
            Language::Go
        } else if !c::sources(folder)?.is_empty() {
            Language::C
        } else {
            bail!(
                "the folder {} holds no project: there is no Cargo.toml, asconfig.json or go.mod in \
                 it, and no C file in it or its `src`; `ferrite-wasmc new` makes a project",
                folder.display()
            );
        };
        Ok(Self {
            language,
            folder: folder.to_owned(),
        })
    }

    /// Drives the language's toolchain; the modules that it built. What the tools print goes to
    /// standard error.
    ///
    /// # Errors
    ///
    /// A toolchain that is missing, with how to get it, and whatever the tools refuse.
    pub(crate) fn build(&self) -> Result<Vec<PathBuf>> {
        match self.language {
            Language::Rust => rust::build(&self.folder),
            Language::AssemblyScript => assemblyscript::build(&self.folder),
            Language::Go => go::build(&self.folder),
            Language::C => c::build(&self.folder),
        }
    }

    /// The folder as people read it.
    pub(crate) fn display_name(&self) -> String {
        let path = self.folder.display().to_string();
        match path.as_str() {
            "." => folder_name(&self.folder).unwrap_or(path),
            _ => path,
        }
    }
}

/// Where a module of this name goes, in a folder that is there.
fn module_path(folder: &Path, name: &str) -> Result<PathBuf> {
    // Paths of this folder are read and typed without a dot before them.
    let built = folder.strip_prefix(".").unwrap_or(folder).join(BUILT);
    std::fs::create_dir_all(&built).with_context(|| format!("cannot make {}", built.display()))?;
    Ok(built.join(name).with_extension("wasm"))
}

/// The folder's own name.
fn folder_name(folder: &Path) -> Result<String> {
    let path = folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))?;
    path.file_name()
        .and_then(|name| name.to_str())
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("{} has no name to call the module by", path.display()))
}
