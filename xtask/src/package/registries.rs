//! Packs what goes to package registries, as publishing would, without sending anything.

use anyhow::Result;

use crate::run;
use crate::tools;
use crate::workspace::Workspace;

/// Packages for crates.io, each after those that it needs.
const CRATES: [&str; 3] = [
    "ferrite-wasm-abi",
    "ferrite-wasm-sdk-macros",
    "ferrite-wasm-sdk",
];

/// Packs the SDKs for crates.io and npm. The Go SDK needs no packing: its module is a folder of the
/// repository.
///
/// # Errors
/// If a package is not fit for its registry.
pub(crate) fn dry_run(workspace: &Workspace) -> Result<()> {
    // Without a build: the tests have built them.
    let mut cargo = workspace.cargo(["package", "--quiet", "--no-verify", "--allow-dirty"]);
    run::run(cargo.args(CRATES.map(|name| format!("--package={name}"))))?;
    if tools::on_path("npm").is_none() {
        println!("note: the package for npm is not packed: no npm on the PATH");
        return Ok(());
    }
    for folder in ["sdk/assemblyscript", "sdk/js"] {
        run::run(
            workspace
                .command("npm")
                .args(["pack", "--dry-run", "--silent"])
                .current_dir(workspace.root.join(folder)),
        )?;
    }
    Ok(())
}
