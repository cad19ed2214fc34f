//! The limit of open files, which limits the number of connections.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beyond connections: the data, the cache, code of functions, the log.
const OTHER_FILES: u64 = 256;

/// The limit as it was when it was first asked for, after [`raise`] in a server; `None` if there is
/// none. It is not read again for each connection.
static FILES_MAX: OnceLock<Option<u64>> = OnceLock::new();

/// Raises the limit of open files as far as the system allows. Logs a warning if that is not enough
/// for `connections`.
pub fn raise(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        // If the system refuses, the limit stays as it is, and is looked at below.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let allowed = connections_max(connections);
    if allowed < connections {
        tracing::warn!(
            open_files_max = files_max(),
            connections_max = allowed,
            configured = connections,
            "the system allows fewer open files than server.max_connections needs, so fewer connections are accepted; raise `ulimit -n`"
        );
    }
}

/// Returns how many of `configured` connections there are files for.
pub(crate) fn connections_max(configured: usize) -> usize {
    let Some(files) = files_max() else {
        return configured;
    };
    // With very few files, most of them are for connections nevertheless.
    let others = OTHER_FILES.min(files / 2);
    configured.min(usize::try_from(files - others).unwrap_or(usize::MAX))
}

fn files_max() -> Option<u64> {
    *FILES_MAX.get_or_init(|| getrlimit(Resource::Nofile).current)
}
