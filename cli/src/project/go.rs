//! Builds functions in Go with Go's own compiler, as a WASI reactor.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{directives, folder_name, module_path, process, toolchain};

/// Builds the package in this folder.
pub(super) fn build(folder: &Path) -> Result<Vec<PathBuf>> {
    let declared = directives::of_go(folder)?;
    let go = toolchain::go()?;
    let wasm = module_path(folder, &name(folder)?)?;
    let mut go = go.command();
    go.args([
        "build",
        "-buildmode=c-shared",
        "-trimpath",
        "-ldflags=-w",
        "-o",
    ])
    .arg(std::path::absolute(&wasm)?)
    .arg(".")
    .env("GOOS", "wasip1")
    .env("GOARCH", "wasm")
    .current_dir(folder);
    process::run(&mut go)?;
    directives::append(&wasm, &declared)?;
    Ok(vec![wasm])
}

/// Returns the last part of the module path in `go.mod`, or the folder's name if there is none.
fn name(folder: &Path) -> Result<String> {
    let path = folder.join("go.mod");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let module = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("module "))
        .and_then(|path| path.trim().trim_matches('"').rsplit('/').next())
        .filter(|name| !name.is_empty());
    match module {
        Some(name) => Ok(name.to_owned()),
        None => folder_name(folder),
    }
}
