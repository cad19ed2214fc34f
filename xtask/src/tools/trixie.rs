//! Servers of Debian 13 (trixie), for tests of the module: unpacked below `target/` and run by that
//! Debian's own loader and libraries, so that they also run with an older C library.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run;
use crate::workspace::Workspace;

/// A server, and the variable that tells the tests its path.
struct Server {
    program: &'static str,
    variable: &'static str,
}

const SERVERS: [Server; 2] = [
    Server {
        program: "valkey-server",
        variable: "FERRITE_VALKEY_8_SERVER",
    },
    Server {
        program: "redis-server",
        variable: "FERRITE_REDIS_8_SERVER",
    },
];

/// The packages of the servers, and of every library that they and the module need.
const PACKAGES: [&str; 15] = [
    "libatomic1",
    "libc6",
    "libcap2",
    "libgcc-s1",
    "libjemalloc2",
    "liblzf1",
    "libssl3t64",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
    "redis-server",
    "redis-tools",
    "valkey-server",
    "valkey-tools",
    "zlib1g",
];

/// The keys that sign Debian's lists of packages.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Makes the servers ready, each with its variable; prints the missing ones, whose tests are
/// skipped.
///
/// # Errors
/// If something below `target/` cannot be written.
pub(crate) fn ensure(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = workspace.target.join("debian/trixie");
    let wrapper = |server: &Server| folder.join(server.program);
    if !SERVERS.iter().all(|server| wrapper(server).is_file()) {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        if let Err(error) = fetch(workspace, &folder) {
            println!(
                "note: Valkey 8.1 and Redis 8.0 of Debian 13 cannot be fetched ({error:#}); they are not tested (they come by apt-get, from the mirror deb.debian.org)"
            );
            return Ok(Vec::new());
        }
    }
    let found = SERVERS.iter();
    Ok(found
        .map(|server| (server.variable, wrapper(server)))
        .collect())
}

/// Fetches the packages by apt, with its own lists and settings: the system's packages and sources
/// stay unchanged. Apt checks the signatures.
fn fetch(workspace: &Workspace, folder: &Path) -> Result<()> {
    let loader = match std::env::consts::ARCH {
        "x86_64" => "ld-linux-x86-64.so.2",
        "aarch64" => "ld-linux-aarch64.so.1",
        other => bail!("the loader of {other} is not known here"),
    };
    let apt = folder.join("apt");
    for part in ["state/lists/partial", "cache/archives/partial", "packages"] {
        fs::create_dir_all(apt.join(part))?;
    }
    fs::write(apt.join("status"), "")?;
    let source = format!("deb [signed-by={KEYRING}] http://deb.debian.org/debian trixie main\n");
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
        command
    };
    run::run(get().args(["--error-on=any", "update"]))?;
    let packages = apt.join("packages");
    run::run(get().arg("download").args(PACKAGES).current_dir(&packages))?;
    let root = folder.join("root");
    for file in fs::read_dir(&packages)? {
        let mut unpack = workspace.command("dpkg-deb");
        run::run(unpack.arg("--extract").arg(file?.path()).arg(&root))?;
    }
    fs::remove_dir_all(&apt)?;
    let libraries = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    // Written last, because their presence means that everything is there.
    for Server { program, .. } in &SERVERS {
        wrap(
            &folder.join(program),
            &libraries.join(loader),
            &libraries,
            &root.join("usr/bin").join(program),
        )?;
    }
    Ok(())
}

/// Writes a script in the program's place, which runs it with its own loader and libraries. It
/// keeps the program's name, because these servers choose their function by it.
fn wrap(script: &Path, loader: &Path, libraries: &Path, program: &Path) -> Result<()> {
    let name = program.file_name().unwrap_or_default();
    let text = format!(
        "#!/bin/sh\nexec '{}' --argv0 '{}' --library-path '{}' '{}' \"$@\"\n",
        loader.display(),
        name.display(),
        libraries.display(),
        program.display(),
    );
    fs::write(script, text)?;
    fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
