//! Builds functions in Rust with cargo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{module_path, process, toolchain};

/// The fields of `cargo metadata` that are used.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

/// Builds the package in this folder with its release profile.
pub(super) fn build(folder: &Path) -> Result<Vec<PathBuf>> {
    let cargo = toolchain::cargo()?;
    let rustc = toolchain::rustc()?;
    let mut metadata = cargo.command();
    metadata
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(folder);
    let metadata: Metadata = serde_json::from_str(&process::output(&mut metadata)?)
        .context("cannot parse the output of `cargo metadata`")?;
    let (package, library) = module(&metadata, folder)?;

    let mut cargo = cargo.command();
    cargo
        .args(["build", "--release", "--target", toolchain::RUST_TARGET])
        .env("RUSTC", &rustc.program)
        .current_dir(folder);
    process::run(&mut cargo)?;
    let file = |name: &str| Path::new(name).with_extension("wasm");
    let built = metadata
        .target_directory
        .join(toolchain::RUST_TARGET)
        .join("release")
        .join(file(library));
    // A library without a name of its own has the package's name, with `_` for `-`.
    let name = if library == package.replace('-', "_") {
        package
    } else {
        library
    };
    let wasm = module_path(folder, name)?;
    std::fs::copy(&built, &wasm)
        .with_context(|| format!("cannot copy {} to {}", built.display(), wasm.display()))?;
    Ok(vec![wasm])
}

/// Returns the names of the package and of the library that becomes the module.
fn module<'a>(metadata: &'a Metadata, folder: &Path) -> Result<(&'a str, &'a str)> {
    let manifest = folder
        .join("Cargo.toml")
        .canonicalize()
        .context("cannot find Cargo.toml")?;
    let is_here = |package: &&Package| {
        let path = package.manifest_path.canonicalize();
        path.is_ok_and(|path| path == manifest)
    };
    let Some(package) = metadata.packages.iter().find(is_here) else {
        bail!(
            "{} is a workspace without a package of its own; name the folder of a package",
            manifest.display()
        );
    };
    let target = package
        .targets
        .iter()
        .find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"));
    match target {
        Some(target) => Ok((&package.name, &target.name)),
        None => bail!(
            "{} builds no module: add `[lib]` with `crate-type = [\"cdylib\"]`",
            manifest.display()
        ),
    }
}
