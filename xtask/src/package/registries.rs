//! Packs what goes to package registries, without sending anything.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::run;
use crate::tools::{self, Python};
use crate::workspace::Workspace;

/// Packages for crates.io, each after those that it needs.
const CRATES: [&str; 3] = [
    "ferrite-wasm-abi",
    "ferrite-wasm-sdk-macros",
    "ferrite-wasm-sdk",
];

/// Packs the SDKs for crates.io, PyPI and npm into `target/packages/sdks`, as publishing would, and builds what was
/// packed. The Go SDK needs no packing: its module is a folder of the repository. Returns the packages.
///
/// # Errors
/// If a package is not fit for its registry.
pub(crate) fn pack_sdks(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let out = super::folder(workspace).join("sdks");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot clear {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    crates(workspace, &out)?;
    python(workspace, &out)?;
    if tools::on_path("npm").is_none() {
        println!("note: the packages for npm are not made: no npm on the PATH");
    } else {
        for folder in ["sdk/assemblyscript", "sdk/js"] {
            let mut npm = workspace.command("npm");
            npm.args(["pack", "--silent", "--pack-destination"]);
            npm.arg(&out).current_dir(workspace.root.join(folder));
            run::output(&mut npm)?;
        }
    }
    let mut packages = Vec::new();
    for entry in fs::read_dir(&out).with_context(|| format!("cannot list {}", out.display()))? {
        packages.push(entry?.path());
    }
    packages.sort();
    Ok(packages)
}

/// Packs the crates, and builds each from its package alone.
fn crates(workspace: &Workspace, out: &Path) -> Result<()> {
    let mut cargo = workspace.cargo(["package", "--quiet", "--allow-dirty"]);
    run::run(cargo.args(CRATES.map(|name| format!("--package={name}"))))?;
    for name in CRATES {
        let file = format!("{name}-{}.crate", env!("CARGO_PKG_VERSION"));
        let packed = workspace.target.join("package").join(&file);
        fs::copy(&packed, out.join(file))
            .with_context(|| format!("cannot copy {}", packed.display()))?;
    }
    Ok(())
}

/// Builds the packages for PyPI, and imports what the wheel holds.
fn python(workspace: &Workspace, out: &Path) -> Result<()> {
    let python = Python::packaging(workspace)?;
    let folder = super::folder(workspace).join("python");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    // A copy, because setuptools writes beside the sources, with what all SDKs share.
    let source = folder.join("source");
    copy_folder(&workspace.root.join("sdk/python"), &source)?;
    copy_folder(&workspace.root.join("sdk/wit"), &source.join("ferrite/wit"))?;
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(workspace.root.join(licence), source.join(licence))
            .with_context(|| format!("cannot copy {licence}"))?;
    }
    let mut build = workspace.command(&python.interpreter);
    build.args(["-m", "build", "--no-isolation", "--outdir"]);
    run::output(build.arg(out).arg(&source))?;
    let wheel = format!(
        "ferrite_wasm-{}-py3-none-any.whl",
        env!("CARGO_PKG_VERSION")
    );
    let mut import = workspace.command(&python.interpreter);
    import.args(["-I", "-c", IMPORT]);
    run::output(import.arg(out.join(wheel))).map(drop)
}

/// Imports the SDK from the wheel alone, and looks for what is no module.
const IMPORT: &str = "
import sys, zipfile
wheel = sys.argv[1]
sys.path.insert(0, wheel)
import ferrite, ferrite.build, ferrite.http, ferrite.testing
names = zipfile.ZipFile(wheel).namelist()
for end in ('ferrite/wit/ferrite.wit', 'ferrite/py.typed', 'LICENSE-APACHE', 'LICENSE-MIT'):
    assert any(name.endswith(end) for name in names), f'the wheel lacks {end}'
";

/// Copies files and folders, without what Python compiled.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_name() == "__pycache__" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
