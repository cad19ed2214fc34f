//! Rust compilers that have the standard library of another target, that of functions above all, or its source.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::on_path;
use crate::run;
use crate::workspace::Workspace;

/// The target that functions in Rust are built for.
pub(crate) const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// Names a Rust compiler for functions.
pub(crate) const GUEST_RUSTC_VARIABLE: &str = "FERRITE_WASM_RUSTC";

/// The Rust compiler for functions: the one in `FERRITE_WASM_RUSTC`; or the one in use, which
/// `rustup` may have to give the target first; or one that `xtask/guest-rust` puts together below
/// `target/`, which takes a minute or two the first time.
///
/// # Errors
/// If none has the target; the error explains how to get it.
pub(crate) fn find(workspace: &Workspace) -> Result<PathBuf> {
    let named = std::env::var_os(GUEST_RUSTC_VARIABLE).filter(|value| !value.is_empty());
    if let Some(rustc) = named.map(PathBuf::from) {
        if !has_target(workspace, &rustc, GUEST_TARGET)? {
            bail!(
                "{GUEST_RUSTC_VARIABLE}={} has no standard library for {GUEST_TARGET}",
                rustc.display()
            );
        }
        return Ok(rustc);
    }
    if let Some(rustc) = with_target(workspace, GUEST_TARGET)? {
        return Ok(rustc);
    }
    let script = workspace.root.join("xtask/guest-rust");
    let made = run::output(
        workspace
            .command(script)
            .arg(workspace.target.join("guest-rust")),
    )
    .with_context(|| {
        format!(
            "the Rust compiler has no standard library for {GUEST_TARGET}, and none could be put \
             together: install it with `rustup target add {GUEST_TARGET}`, or name a compiler \
             that has it in {GUEST_RUSTC_VARIABLE}"
        )
    })?;
    Ok(PathBuf::from(made.trim()))
}

/// Source from which [`find`] will take the compiler.
///
/// # Errors
/// If it cannot succeed; the error explains what to do.
pub(crate) fn outlook(workspace: &Workspace) -> Result<String> {
    let named = std::env::var_os(GUEST_RUSTC_VARIABLE).filter(|value| !value.is_empty());
    if let Some(rustc) = named {
        return Ok(PathBuf::from(rustc).display().to_string());
    }
    let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    if has_target(workspace, &rustc, GUEST_TARGET)? {
        return Ok(format!("{}, which has {GUEST_TARGET}", rustc.display()));
    }
    let ways = [
        ("rustup", "by rustup"),
        ("apt-get", "from Debian's packages, into target/guest-rust"),
    ];
    let ways: Vec<_> = ways
        .into_iter()
        .filter_map(|(program, way)| on_path(program).map(|_| way))
        .collect();
    if ways.is_empty() {
        bail!(
            "no standard library for {GUEST_TARGET}; install it, as by `rustup target add {GUEST_TARGET}`"
        );
    }
    Ok(ways.join(", else "))
}

/// The compiler in use, if it has this target or `rustup` can give it.
///
/// # Errors
/// If the compiler cannot be run.
pub(crate) fn with_target(workspace: &Workspace, target: &str) -> Result<Option<PathBuf>> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    // Without a network to its server, `rustup` fails within seconds.
    let added = || {
        on_path("rustup").is_some()
            && run::run(workspace.command("rustup").args(["target", "add", target])).is_ok()
    };
    if has_target(workspace, &rustc, target)? || (added() && has_target(workspace, &rustc, target)?)
    {
        return without_proxy(workspace, rustc).map(Some);
    }
    Ok(None)
}

/// A compiler that has the source of its standard library, for `cargo -Zbuild-std`: the one in use, which `rustup` may
/// have to give it first; or one that `xtask/debian-rust` puts together below `target/`, with the sanitizers' runtimes,
/// in two minutes the first time.
///
/// # Errors
/// If there is none; the error explains how to get it.
pub(crate) fn with_source(workspace: &Workspace) -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    let root = run::output(workspace.command(&rustc).args(["--print", "sysroot"]))?;
    let source = Path::new(root.trim()).join("lib/rustlib/src/rust/library/Cargo.lock");
    let added = || {
        on_path("rustup").is_some()
            && run::run(
                workspace
                    .command("rustup")
                    .args(["component", "add", "rust-src"]),
            )
            .is_ok()
    };
    if source.is_file() || (added() && source.is_file()) {
        return without_proxy(workspace, rustc);
    }
    let script = workspace.root.join("xtask/debian-rust");
    let folder = workspace.target.join("sanitize/rust");
    let made = run::output(workspace.command(script).arg(folder)).context(
        "the Rust compiler lacks the source of its standard library, and none with it could be put together: \
         install it with `rustup component add rust-src`",
    )?;
    Ok(PathBuf::from(made.trim()))
}

/// Returns the compiler that this command runs. The `rustc` of `rustup` is a proxy, which may update
/// or change the compiler behind it, according to variables and folders.
fn without_proxy(workspace: &Workspace, rustc: PathBuf) -> Result<PathBuf> {
    let root = run::output(workspace.command(&rustc).args(["--print", "sysroot"]))?;
    let behind = Path::new(root.trim()).join("bin/rustc");
    Ok(if behind.is_file() { behind } else { rustc })
}

/// Returns true if this compiler has the target's standard library.
fn has_target(workspace: &Workspace, rustc: &Path, target: &str) -> Result<bool> {
    let libraries = run::output(workspace.command(rustc).args([
        "--print",
        "target-libdir",
        "--target",
        target,
    ]))?;
    Ok(has_std(Path::new(libraries.trim())))
}

fn has_std(libraries: &Path) -> bool {
    let entries = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}
