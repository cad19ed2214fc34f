//! Lays out the files of the packages in one folder, as the configurations of nfpm name them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::binaries::{self, BuildProfile};
use crate::run;
use crate::workspace::Workspace;

/// Documentation in every package.
const DOCS: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "docs/bundle-format.md",
    "docs/commands.md",
    "docs/configuration.md",
    "docs/operations.md",
    "docs/security.md",
    "docs/valkey.md",
];

/// Builds the programs and lays out everything; returns the folder.
pub(super) fn lay_out(workspace: &Workspace, profile: BuildProfile) -> Result<PathBuf> {
    let server = binaries::server(workspace, profile)?;
    let module = binaries::module(workspace, profile)?;
    let wasmc = binaries::wasmc(workspace, profile)?;

    let stage = super::folder(workspace).join("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("cannot clear {}", stage.display()))?;
    }
    put(&server, &stage.join("bin/ferrite-server"))?;
    put(&wasmc, &stage.join("bin/ferrite-wasmc"))?;
    put(&module, &stage.join("lib").join(binaries::MODULE))?;
    let packaging = workspace.root.join("packaging");
    for entry in list(&packaging.join("debian"))? {
        put(&entry, &stage.join("debian").join(name(&entry)))?;
    }
    let page = stage.join("man/ferrite-server.8");
    put(&packaging.join("man/ferrite-server.8"), &page)?;
    run::run(workspace.command("gzip").args(["-9n"]).arg(&page))?;
    let pages = stage.join("man1");
    run::run(workspace.command(&wasmc).arg("man").arg(&pages))?;
    run::run(workspace.command("gzip").arg("-9n").args(list(&pages)?))?;
    for (shell, file) in [
        ("bash", "ferrite-wasmc.bash"),
        ("zsh", "_ferrite-wasmc"),
        ("fish", "ferrite-wasmc.fish"),
    ] {
        let script = run::output(workspace.command(&wasmc).args(["completions", shell]))?;
        write(&stage.join("completions").join(file), script.as_bytes())?;
    }
    for doc in DOCS {
        let from = workspace.root.join(doc);
        put(&from, &stage.join("doc").join(name(&from)))?;
    }
    Ok(stage)
}

/// Lays out the archive below the folder that this returns, in a folder of this name.
pub(super) fn for_archive(stage: &Path, folder: &str) -> Result<PathBuf> {
    let root = stage.join("archive");
    let top = root.join(folder);
    for (from, to) in [
        ("bin", "bin"),
        ("lib", "lib/ferrite"),
        ("man", "share/man/man8"),
        ("man1", "share/man/man1"),
        ("doc", "share/doc/ferrite"),
    ] {
        for entry in list(&stage.join(from))? {
            put(&entry, &top.join(to).join(name(&entry)))?;
        }
    }
    for (file, to) in [
        (
            "ferrite-wasmc.bash",
            "bash-completion/completions/ferrite-wasmc",
        ),
        ("_ferrite-wasmc", "zsh/site-functions/_ferrite-wasmc"),
        (
            "ferrite-wasmc.fish",
            "fish/vendor_completions.d/ferrite-wasmc.fish",
        ),
    ] {
        put(
            &stage.join("completions").join(file),
            &top.join("share").join(to),
        )?;
    }
    Ok(root)
}

/// The C library that a package's program needs, as a dependency of Debian: the newest version that
/// any of its symbols is of.
pub(super) fn libc(stage: &Path, package: &str) -> Result<String> {
    let path = stage.join(match package {
        "server" => "bin/ferrite-server",
        "wasmc" => "bin/ferrite-wasmc",
        _ => "lib/libferrite_valkey.so",
    });
    let program = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let minor = glibc_minor(&program)
        .with_context(|| format!("{} names no version of glibc", path.display()))?;
    Ok(format!("libc6 (>= 2.{minor})"))
}

/// The highest `n` of the versions `GLIBC_2.n` that a program names.
fn glibc_minor(program: &[u8]) -> Option<u32> {
    const VERSION: &[u8] = b"GLIBC_2.";
    let mut highest = None;
    for (at, window) in program.windows(VERSION.len()).enumerate() {
        if window != VERSION {
            continue;
        }
        let digits = program[at + VERSION.len()..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit());
        let minor = digits.fold(0_u32, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'))
        });
        highest = highest.max(Some(minor));
    }
    highest
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()
        })
        .with_context(|| format!("cannot list {}", folder.display()))?;
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> &Path {
    path.file_name().map_or(path, Path::new)
}

fn put(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    make_parent(path)?;
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::glibc_minor;

    #[test]
    fn the_newest_symbol_decides() {
        let names = b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.17\0GLIBC_PRIVATE\0GLIBC_2.";
        assert_eq!(glibc_minor(names), Some(34));
        assert_eq!(glibc_minor(b"musl"), None);
    }
}
