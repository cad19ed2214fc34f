//! Packages of Debian 13 (trixie), unpacked below `target/` and run by that Debian's own loader and
//! libraries, so that they also run with an older C library.

pub(crate) mod cross_rustc;
pub(crate) mod emulator;
pub(crate) mod servers;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run;
use crate::workspace::Workspace;

/// The keys that sign Debian's lists of packages.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian's names of the architectures that packages are taken for.
const ARCHITECTURES: &str = "amd64,arm64";

/// Programs and libraries of this Debian, for the machine's own architecture.
struct Root {
    /// The folder that stands for `/`.
    folder: PathBuf,
    /// The folder of its shared libraries.
    libraries: PathBuf,
    /// Its dynamic loader.
    loader: PathBuf,
}

impl Root {
    /// The root at `folder`, which [`Root::fetch`] fills.
    ///
    /// # Errors
    /// If the loader of this machine's architecture is not known.
    fn new(folder: PathBuf) -> Result<Self> {
        let loader = match std::env::consts::ARCH {
            "x86_64" => "ld-linux-x86-64.so.2",
            "aarch64" => "ld-linux-aarch64.so.1",
            other => bail!("the loader of {other} is not known here"),
        };
        let libraries = folder.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        Ok(Self {
            loader: libraries.join(loader),
            libraries,
            folder,
        })
    }

    /// Fetches packages by apt, with lists and settings of its own, and unpacks them: the system's
    /// packages and sources stay unchanged. Apt checks the signatures. A package of another
    /// architecture is named `PACKAGE:ARCHITECTURE`.
    ///
    /// # Errors
    /// If there is no apt, a package is not available, or the folder cannot be written.
    fn fetch(&self, workspace: &Workspace, packages: &[&str]) -> Result<()> {
        let apt = self.folder.with_extension("apt");
        for part in ["state/lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(apt.join(part))?;
        }
        fs::write(apt.join("status"), "")?;
        let source =
            format!("deb [signed-by={KEYRING}] http://deb.debian.org/debian trixie main\n");
        fs::write(apt.join("sources.list"), source)?;
        let get = || {
            let mut command = workspace.command("apt-get");
            command.args(["--quiet", "--quiet"]);
            for (option, value) in [
                ("Dir::State", "state"),
                ("Dir::State::status", "status"),
                ("Dir::Cache", "cache"),
                ("Dir::Etc::sourcelist", "sources.list"),
                ("Dir::Etc::sourceparts", "none"),
            ] {
                command.arg("--option");
                command.arg(format!("{option}={}", apt.join(value).display()));
            }
            // Skips lists of desktop programs and translations, and lets root unpack as root.
            command.args([
                "--option=Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
                "--option=Acquire::Languages=none",
                "--option=APT::Sandbox::User=root",
            ]);
            command.arg(format!("--option=APT::Architectures={ARCHITECTURES}"));
            command
        };
        run::run(get().args(["--error-on=any", "update"]))?;
        let downloads = apt.join("packages");
        run::run(get().arg("download").args(packages).current_dir(&downloads))?;
        for file in fs::read_dir(&downloads)? {
            let mut unpack = workspace.command("dpkg-deb");
            run::run(unpack.arg("--extract").arg(file?.path()).arg(&self.folder))?;
        }
        Ok(fs::remove_dir_all(&apt)?)
    }

    /// Writes a script that runs a program of this root with its own loader and libraries. The
    /// program gets the script's name as its own, by which some choose what they do.
    fn wrap(&self, script: &Path, program: &str, arguments: &str) -> Result<()> {
        let name = script.file_name().unwrap_or_default();
        let text = format!(
            "#!/bin/sh\nexec '{}' --argv0 '{}' --library-path '{}' '{}' {arguments}\"$@\"\n",
            self.loader.display(),
            name.display(),
            self.libraries.display(),
            self.folder.join("usr/bin").join(program).display(),
        );
        fs::write(script, text)?;
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}
