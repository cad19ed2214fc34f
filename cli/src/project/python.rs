//! Builds functions in Python into one component, with the SDK's own builder and componentize-py.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{folder_name, module_path, process, toolchain};

/// The folder of a project that holds the SDK.
const SDK: &str = "ferrite-sdk";

/// Builds the project's program. The component is named after the folder.
pub(super) fn build(folder: &Path) -> Result<Vec<PathBuf>> {
    let python = toolchain::python()?;
    let sdk = folder.join(SDK);
    if !sdk.join("ferrite/build.py").is_file() {
        bail!(
            "there is no SDK for Python in {}; copy the folder {SDK} of a new project",
            sdk.display()
        );
    }
    let wasm = module_path(folder, &folder_name(folder)?)?;
    let mut builder = python.command();
    builder
        .args(["-m", "ferrite.build", "."])
        .arg(std::path::absolute(&wasm)?)
        .env("PYTHONPATH", std::path::absolute(&sdk)?)
        // The builder runs from the project, whose folder is not to fill with caches.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder);
    process::run(&mut builder)?;
    Ok(vec![wasm])
}
