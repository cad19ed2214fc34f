//! Programs and libraries from Debian packages that the tests need, unpacked below `target/debian` if the system
//! lacks them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::run;
use crate::tools::on_path;
use crate::workspace::Workspace;

/// A program or library, and the packages that contain it and what it needs.
struct Program {
    name: &'static str,
    /// A file of it in the packages.
    file: &'static str,
    packages: &'static [&'static str],
}

const PROGRAMS: [Program; 5] = [
    Program {
        name: "minisign",
        file: "usr/bin/minisign",
        packages: &["minisign", "libsodium23"],
    },
    Program {
        name: "docker-registry",
        file: "usr/bin/docker-registry",
        packages: &["docker-registry"],
    },
    Program {
        name: "prometheus",
        file: "usr/bin/prometheus",
        packages: &["prometheus"],
    },
    Program {
        name: "prometheus-redis-exporter",
        file: "usr/bin/prometheus-redis-exporter",
        packages: &["prometheus-redis-exporter"],
    },
    Program {
        name: "golang-github-gomodule-redigo-dev",
        file: "usr/share/gocode/src/github.com/gomodule/redigo/redis/conn.go",
        packages: &["golang-github-gomodule-redigo-dev"],
    },
];

/// Makes every available program ready; prints the missing ones, whose tests are skipped.
///
/// # Errors
/// If the folder below `target/` cannot be created.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    for Program {
        name,
        file,
        packages,
    } in PROGRAMS
    {
        let roots = [Path::new("/"), &unpacked(workspace)].map(|root| root.join(file));
        if on_path(name).is_some() || roots.iter().any(|path| path.is_file()) {
            continue;
        }
        std::fs::create_dir_all(unpacked(workspace))?;
        if let Err(error) = fetch(workspace, packages) {
            println!(
                "note: no {name} here, and its package cannot be fetched ({error:#}); tests that need it are skipped (on Debian: apt-get install {name})"
            );
        }
    }
    Ok(())
}

/// The program of this name, after making it ready if it is one of these; `None` if it is not available.
///
/// # Errors
/// If the folder below `target/` cannot be created.
pub(crate) fn program(workspace: &Workspace, name: &str) -> Result<Option<PathBuf>> {
    ensure(workspace)?;
    let unpacked = unpacked(workspace).join("usr/bin").join(name);
    Ok(on_path(name).or_else(|| unpacked.is_file().then_some(unpacked)))
}

fn fetch(workspace: &Workspace, packages: &[&str]) -> Result<()> {
    let root = unpacked(workspace);
    for package in packages {
        // A separate folder, so that the download is the only file in it.
        let folder = workspace.target.join("debian").join(package);
        std::fs::create_dir_all(&folder)?;
        run::run(
            workspace
                .command("apt-get")
                .args(["download", "--quiet", "--quiet", package])
                .current_dir(&folder),
        )?;
        for file in std::fs::read_dir(&folder)? {
            let mut unpack = workspace.command("dpkg-deb");
            run::run(unpack.arg("--extract").arg(file?.path()).arg(&root))?;
        }
    }
    Ok(())
}

/// The folder of the unpacked programs; the tests look there too.
fn unpacked(workspace: &Workspace) -> PathBuf {
    workspace.target.join("debian/root")
}
