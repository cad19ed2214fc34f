//! Builds functions in JavaScript and TypeScript: bundles them with esbuild, if the project has it, and
//! makes a module of the program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrite_compiler::{CompileError, SourceLimits};
use serde::Deserialize;

use super::{folder_name, module_path, process, toolchain};
use crate::files::{atomic_file, source_file};

/// The files whose exports become entries, of which a project has one.
pub(super) const TYPESCRIPT_ENTRY: &str = "src/index.ts";
pub(super) const JAVASCRIPT_ENTRY: &str = "src/index.js";

/// The package that bundles.
const BUNDLER: &str = "esbuild";

/// Arguments of the bundler. Packages are taken as for browsers: those parts use no modules of Node.js.
const BUNDLE: &[&str] = &[
    "--bundle",
    "--format=esm",
    "--target=es2023",
    "--platform=neutral",
    "--main-fields=browser,module,main",
    "--conditions=browser",
    "--external:ferrite-wasm",
    "--define:process.env.NODE_ENV=\"production\"",
    "--charset=utf8",
    "--sourcemap=external",
    "--log-level=warning",
];

/// The fields of `package.json` that are used.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Package {
    name: Option<String>,
    dependencies: BTreeMap<String, serde_json::Value>,
    dev_dependencies: BTreeMap<String, serde_json::Value>,
}

/// Bundles the entry file and makes a module of it. A project without the bundler is one file in
/// JavaScript, which is taken as it is.
pub(super) fn build(folder: &Path) -> Result<Vec<PathBuf>> {
    let package = package(folder)?;
    let name = match &package.name {
        Some(name) => name.rsplit('/').next().unwrap_or_default().to_owned(),
        None => folder_name(folder)?,
    };
    let wasm = module_path(folder, &name)?;
    let is_typescript = folder.join(TYPESCRIPT_ENTRY).is_file();
    let bundles = [&package.dependencies, &package.dev_dependencies]
        .iter()
        .any(|list| list.contains_key(BUNDLER));
    let program = if bundles {
        let program = wasm.with_extension("js");
        let entry = if is_typescript {
            TYPESCRIPT_ENTRY
        } else {
            JAVASCRIPT_ENTRY
        };
        bundle(folder, entry, &program)?;
        program
    } else if is_typescript {
        bail!(
            "TypeScript needs esbuild, which package.json does not list: `npm install --save-dev esbuild` \
             in {}",
            folder.display()
        );
    } else {
        folder.join(JAVASCRIPT_ENTRY)
    };
    let limits = SourceLimits::default();
    let shown = program.display().to_string();
    let source =
        source_file::read(&program, limits.source_bytes_max).with_context(|| shown.clone())?;
    let module = ferrite_compiler::to_wasm(&source, &limits)
        .map_err(CompileError::from)
        .with_context(|| shown)?;
    atomic_file::write(&wasm, 0o644, false, |out| Ok(out.write_all(&module)?))?;
    Ok(vec![wasm])
}

/// Installs the project's packages if they are missing, and bundles.
fn bundle(folder: &Path, entry: &str, program: &Path) -> Result<()> {
    let npm = toolchain::npm()?;
    if !folder.join("node_modules/.bin/esbuild").exists() {
        let mut install = npm.command();
        let locked = folder.join("package-lock.json").is_file();
        install
            .arg(if locked { "ci" } else { "install" })
            .args(["--no-audit", "--no-fund"])
            .current_dir(folder);
        process::run(&mut install)?;
    }
    let mut output = std::ffi::OsString::from("--outfile=");
    output.push(std::path::absolute(program)?);
    let mut bundler = npm.command();
    bundler
        .args(["exec", "--no", "--", BUNDLER, entry])
        .args(BUNDLE)
        .arg(output)
        .current_dir(folder);
    process::run(&mut bundler).context(
        "functions have the language and the package ferrite-wasm, but no modules of Node.js such as node:fs",
    )
}

fn package(folder: &Path) -> Result<Package> {
    let path = folder.join("package.json");
    let shown = path.display();
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read {shown}"))
}

/// Returns true if a folder holds a project in TypeScript, false if one in JavaScript, `None` if neither.
pub(super) fn is_typescript(folder: &Path) -> Option<bool> {
    let has = |name: &str| folder.join(name).is_file();
    if !has("package.json") {
        None
    } else if has(TYPESCRIPT_ENTRY) {
        Some(true)
    } else {
        has(JAVASCRIPT_ENTRY).then_some(false)
    }
}
