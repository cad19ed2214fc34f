//! `cargo xtask package`: packages for Debian, an archive with an installer, the WIT of functions for registries, and
//! the SDKs, into target/packages.

// The build scripts' file, for its tests.
#[cfg(test)]
#[path = "../../../packaging/commit.rs"]
mod commit;
mod lint;
mod registries;
mod stage;
mod trial;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::binaries::BuildProfile;
use crate::run;
use crate::tools::Python;
use crate::workspace::Workspace;

pub(crate) use lint::lint;
pub(crate) use registries::pack_sdks;
pub(crate) use trial::try_out;

/// The options of `package`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Profile of the programs in the packages
    #[arg(long, value_enum, default_value = "release")]
    profile: BuildProfile,
    /// Pack the SDKs for crates.io, PyPI and npm instead
    #[arg(long)]
    sdks: bool,
}

/// The packages for Debian, each with a configuration of this name for nfpm.
const DEBIAN: [&str; 3] = ["server", "wasmc", "valkey"];

/// The folder of the packages.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("packages")
}

/// Builds the packages and prints their paths.
///
/// # Errors
/// If a program does not build, or a tool is missing.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.sdks {
        for package in pack_sdks(workspace)? {
            println!("{}", workspace.shown(&package).display());
        }
        return Ok(());
    }
    let packages = build(workspace, options.profile)?;
    let programs = folder(workspace).join("stage/bin");
    for program in ["ferrite-server", "ferrite-wasmc"] {
        let mut version = workspace.command(programs.join(program));
        print!("{}", run::output(version.arg("--version"))?);
    }
    for package in packages {
        println!("{}", workspace.shown(&package).display());
    }
    Ok(())
}

/// Builds the packages; returns their paths.
///
/// # Errors
/// If a program does not build, or a tool is missing.
pub(crate) fn build(workspace: &Workspace, profile: BuildProfile) -> Result<Vec<PathBuf>> {
    let machine = Machine::here()?;
    let python = Python::packaging(workspace)?;
    let stage = stage::lay_out(workspace, profile)?;
    let version = env!("CARGO_PKG_VERSION");
    let out = folder(workspace);
    let mut packages = Vec::new();
    for name in DEBIAN {
        let package = out.join(format!("ferrite-{name}_{version}-1_{}.deb", machine.debian));
        let mut nfpm = workspace.command(python.interpreter.with_file_name("nfpm"));
        nfpm.args(["package", "--packager", "deb", "--config"])
            .arg(format!("debian/{name}.yaml"))
            .arg("--target")
            .arg(&package)
            .env("FERRITE_VERSION", version)
            .env("FERRITE_ARCH", machine.debian)
            .env("FERRITE_LIBC", stage::libc(&stage, name)?)
            .current_dir(&stage);
        run::run(&mut nfpm)?;
        packages.push(package);
    }
    packages.extend(archive(workspace, &stage, version, machine)?);
    packages.push(wit(workspace)?);
    Ok(packages)
}

/// Names of this machine's architecture.
#[derive(Clone, Copy)]
struct Machine {
    debian: &'static str,
    archive: &'static str,
}

impl Machine {
    fn here() -> Result<Self> {
        Ok(match std::env::consts::ARCH {
            "x86_64" => Self {
                debian: "amd64",
                archive: "x86_64-linux",
            },
            "aarch64" => Self {
                debian: "arm64",
                archive: "aarch64-linux",
            },
            other => bail!("there are no packages for {other}; there are for x86_64 and aarch64"),
        })
    }
}

/// Packs the programs, the module, manual pages and completions, and writes the digest beside them.
/// The same files give the same bytes.
fn archive(
    workspace: &Workspace,
    stage: &Path,
    version: &str,
    machine: Machine,
) -> Result<Vec<PathBuf>> {
    let name = format!("ferrite-{version}-{}", machine.archive);
    let file = format!("{name}.tar.gz");
    let out = folder(workspace);
    let root = stage::for_archive(stage, &name)?;
    let mut tar = tar(workspace);
    tar.args(["--use-compress-program", "gzip -9n", "--create", "--file"])
        .arg(out.join(&file))
        .arg("--directory")
        .arg(&root)
        .arg(&name);
    run::run(&mut tar)?;
    let digest = run::output(workspace.command("sha256sum").arg(&file).current_dir(&out))?;
    let beside = out.join(format!("{file}.sha256"));
    std::fs::write(&beside, digest)
        .with_context(|| format!("cannot write {}", beside.display()))?;
    let installer = out.join("install.sh");
    std::fs::copy(
        workspace.root.join("packaging/tarball/install.sh"),
        &installer,
    )
    .with_context(|| format!("cannot write {}", installer.display()))?;
    Ok(vec![out.join(file), beside, installer])
}

/// A `tar` that gives the same bytes for the same files.
fn tar(workspace: &Workspace) -> Command {
    let mut tar = workspace.command("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mtime=@0", "--mode=go+u,go-w"]);
    tar
}

/// Packs the interfaces in `sdk/wit` as an artifact for registries, in OCI's layout.
fn wit(workspace: &Workspace) -> Result<PathBuf> {
    let target = workspace.target.join("wit");
    let layout = target.join("layout");
    let mut program = workspace.cargo(["run", "--quiet", "--locked", "--manifest-path"]);
    program
        .arg(workspace.root.join("packaging/wit/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .arg("--")
        .arg(workspace.root.join("sdk/wit"))
        .arg(&layout);
    run::run(&mut program)?;
    let package = folder(workspace).join("ferrite-function.oci.tar");
    let mut tar = tar(workspace);
    tar.arg("--create")
        .arg("--file")
        .arg(&package)
        .arg("--directory")
        .arg(&layout)
        .arg(".");
    run::run(&mut tar)?;
    Ok(package)
}
