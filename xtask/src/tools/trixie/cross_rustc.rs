//! A Rust compiler with the standard library of another architecture, from Debian's packages: for
//! machines that `rustup target add` cannot reach.

use std::path::PathBuf;

use anyhow::Result;

use super::Root;
use crate::workspace::Workspace;

/// The compiler, its standard library for this machine and for arm64, and the libraries that the
/// compiler itself needs.
const PACKAGES: [&str; 15] = [
    "libc6",
    "libedit2",
    "libffi8",
    "libgcc-s1",
    "libllvm22",
    "libstd-rust-web-1.96",
    "libstd-rust-web-dev",
    "libstd-rust-web-dev:arm64",
    "libstdc++6",
    "libtinfo6",
    "libxml2",
    "libz3-4",
    "libzstd1",
    "rustc-web",
    "zlib1g",
];

/// The compiler, fetched into `target/debian/rust` the first time.
///
/// # Errors
/// If a package is not available, or something below `target/` cannot be written.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("debian/rust");
    let rustc = folder.join("rustc");
    if rustc.is_file() {
        return Ok(rustc);
    }
    std::fs::create_dir_all(&folder)?;
    let root = Root::new(folder.join("root"))?;
    root.fetch(workspace, &PACKAGES)?;
    let sysroot = root.folder.join("usr");
    root.wrap(
        &rustc,
        "rustc",
        &format!("--sysroot '{}' ", sysroot.display()),
    )?;
    Ok(rustc)
}
