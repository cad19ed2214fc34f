//! An emulator of arm64, and the libraries that programs for it need.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::Result;

use super::Root;
use crate::workspace::Workspace;

/// The libraries, and the emulator, which needs none.
const PACKAGES: [&str; 3] = ["libc6:arm64", "libgcc-s1:arm64", "qemu-user"];

/// A script that runs a program for arm64, made in `target/debian/arm64` the first time.
///
/// # Errors
/// If a package is not available, or something below `target/` cannot be written.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("debian/arm64");
    let script = folder.join("run");
    if script.is_file() {
        return Ok(script);
    }
    std::fs::create_dir_all(&folder)?;
    let root = Root::new(folder.join("root"))?;
    root.fetch(workspace, &PACKAGES)?;
    // Programs name their loader below /lib, which the packages take for a link.
    let library = root.folder.join("lib");
    if !library.exists() {
        std::os::unix::fs::symlink("usr/lib", &library)?;
    }
    // Not the system's: before version 8 it keeps some bytes for each page that is reserved, several gigabytes for the
    // memories of one runtime, and takes a minute to write them.
    let emulator = root.folder.join("usr/bin/qemu-aarch64");
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\nexec '{}' -L '{}' \"$@\"\n",
            emulator.display(),
            root.folder.display()
        ),
    )?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}
