//! Projects of functions: finds their language and builds their modules.

mod assemblyscript;
mod c;
mod debug_sections;
mod directives;
mod go;
mod javascript;
mod process;
mod python;
mod rust;
pub(crate) mod settings;
pub(crate) mod toolchain;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use ferrite_runtime::registry::record::FunctionName;

use crate::language::Language;
use crate::terminal::console::Console;

/// The folder of a project that receives the built modules.
const BUILT: &str = "build";

/// A folder with the sources of functions.
pub(crate) struct Project {
    pub(crate) language: Language,
    pub(crate) folder: PathBuf,
}

impl Project {
    /// Finds out which language the project in a folder uses.
    ///
    /// # Errors
    ///
    /// Fails if the folder holds no project; the error lists the files that were looked for.
    pub(crate) fn find(folder: &Path) -> Result<Self> {
        if folder.is_file() {
            bail!(
                "{} is a file, and this command takes a project's folder; `ferrite-wasmc compile` and `run` take \
                 modules",
                folder.display()
            );
        }
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
        } else if has("pyproject.toml") {
            Language::Python
        } else if let Some(is_typescript) = javascript::is_typescript(folder) {
            if is_typescript {
                Language::TypeScript
            } else {
                Language::JavaScript
            }
        } else if !c::sources(folder)?.is_empty() {
            Language::C
        } else {
            bail!(
                "the folder {} holds no project: there is no Cargo.toml, asconfig.json, go.mod or \
                 pyproject.toml in it, no package.json with src/index.ts or src/index.js, and no C file in it \
                 or its `src`; `ferrite-wasmc new` makes a project",
                folder.display()
            );
        };
        Ok(Self {
            language,
            folder: folder.to_owned(),
        })
    }

    /// Runs the language's toolchain and returns the modules that it built. Says first what it builds,
    /// because some compilers print nothing for half a minute. The output of the tools goes to standard
    /// error.
    ///
    /// # Errors
    ///
    /// Fails if the toolchain is missing (the error says how to get it) or if a tool fails.
    pub(crate) fn build(&self, console: &Console) -> Result<Vec<PathBuf>> {
        let name = self.display_name();
        if !console.is_json() {
            console.warn(&format!("building {name} ({})", self.language.name()))?;
        }
        let built = match self.language {
            Language::Rust => rust::build(&self.folder),
            Language::TypeScript | Language::JavaScript => javascript::build(&self.folder),
            Language::AssemblyScript => assemblyscript::build(&self.folder),
            Language::Go => go::build(&self.folder),
            Language::C => c::build(&self.folder),
            Language::Python => python::build(&self.folder),
        };
        built.with_context(|| format!("cannot build {name}"))
    }

    /// Builds the project's module, of which there has to be one.
    ///
    /// # Errors
    ///
    /// Fails as [`build`](Self::build) does, or if there are several modules.
    pub(crate) fn build_one(&self, console: &Console) -> Result<PathBuf> {
        let modules = self.build(console)?;
        match modules.as_slice() {
            [module] => Ok(module.clone()),
            modules => bail!(
                "{} builds {} modules; name one of them",
                self.folder.display(),
                modules.len()
            ),
        }
    }

    /// The folder's path for messages; its name instead of `.`.
    fn display_name(&self) -> String {
        let path = self.folder.display().to_string();
        match path.as_str() {
            "." => folder_name(&self.folder).unwrap_or(path),
            _ => path,
        }
    }
}

/// Returns the path of the built module `name`, and creates the folder it goes into.
fn module_path(folder: &Path, name: &str) -> Result<PathBuf> {
    // Paths below the current folder are shown without a leading `./`.
    let built = folder.strip_prefix(".").unwrap_or(folder).join(BUILT);
    std::fs::create_dir_all(&built).with_context(|| format!("cannot make {}", built.display()))?;
    Ok(built.join(name).with_extension("wasm"))
}

/// Returns the last part of the folder's absolute path.
fn folder_name(folder: &Path) -> Result<String> {
    let path = folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))?;
    path.file_name()
        .and_then(|name| name.to_str())
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("{} has no name to call the module by", path.display()))
}

/// Returns the file's name without its extension, with `_` for bytes that a function's name cannot
/// have.
pub(crate) fn function_name(file: &Path) -> Result<FunctionName> {
    let stem = file.file_stem().unwrap_or_default().as_encoded_bytes();
    let mut name: Vec<u8> = stem
        .iter()
        .map(|&byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"_:-".contains(&byte) => byte,
            _ => b'_',
        })
        .take(FunctionName::BYTES_MAX)
        .collect();
    if name.is_empty() {
        name.push(b'_');
    }
    Ok(FunctionName::parse(&name)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::function_name;

    #[test]
    fn every_file_has_a_name_that_functions_may_have() {
        for (file, expected) in [
            ("rate_limit.wasm", "rate_limit"),
            ("target/my function.v2.wasm", "my_function_v2"),
            ("größe.wat", "gr____e"),
            ("..", "_"),
        ] {
            let name = function_name(Path::new(file)).expect("every name can be made one");
            assert_eq!(name.as_str(), expected);
        }
    }
}
