//! Servers of Debian 13, for tests of the module.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Root;
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
        let fetched = Root::new(folder.join("root")).and_then(|root| {
            root.fetch(workspace, &PACKAGES)?;
            // Written last, because their presence means that everything is there.
            SERVERS
                .iter()
                .try_for_each(|server| root.wrap(&wrapper(server), server.program, ""))
        });
        if let Err(error) = fetched {
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
