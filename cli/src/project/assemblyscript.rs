//! Builds functions in AssemblyScript with the compiler that their `package.json` names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{folder_name, module_path, process, toolchain};

/// The file whose exports become entries.
const ENTRY: &str = "assembly/index.ts";

/// The fields of `package.json` that are used.
#[derive(Deserialize)]
struct Package {
    name: Option<String>,
}

/// Installs the project's dependencies if they are missing, and compiles the entry file.
pub(super) fn build(folder: &Path) -> Result<Vec<PathBuf>> {
    let npm = toolchain::npm()?;
    if !folder.join("node_modules/.bin/asc").exists() {
        let mut install = npm.command();
        let locked = folder.join("package-lock.json").is_file();
        install
            .arg(if locked { "ci" } else { "install" })
            .args(["--no-audit", "--no-fund"])
            .current_dir(folder);
        process::run(&mut install)?;
    }
    let wasm = module_path(folder, &name(folder)?)?;
    let mut compiler = npm.command();
    compiler
        .args([
            "exec",
            "--no",
            "--",
            "asc",
            ENTRY,
            "--config",
            "asconfig.json",
            "--outFile",
        ])
        .arg(std::path::absolute(&wasm)?)
        .current_dir(folder);
    // The compiler resolves paths against its working directory.
    process::run(&mut compiler)?;
    Ok(vec![wasm])
}

/// Returns the package's name without its scope, or the folder's name if it has none.
fn name(folder: &Path) -> Result<String> {
    let path = folder.join("package.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let package: Package =
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    match package.name {
        Some(name) => Ok(name.rsplit('/').next().unwrap_or_default().to_owned()),
        None => folder_name(folder),
    }
}
