//! Raises the limit of open files, which limits the number of connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beyond connections: the data, the cache, the log.
const OTHER_FILES: u64 = 256;

/// Raises the limit of open files for `connections`, as far as the system allows. Logs a warning if
/// that is not enough.
pub fn raise(connections: usize) {
    let wanted = (connections as u64).saturating_add(OTHER_FILES);
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current.filter(|&current| current < wanted) else {
        return;
    };
    let allowed = limit.maximum.unwrap_or(wanted).min(wanted);
    let raised = Rlimit {
        current: Some(allowed),
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => allowed,
        Err(_) => current,
    };
    if now < wanted {
        tracing::warn!(
            open_files_max = now,
            connections_max = connections,
            "the system allows fewer open files than server.max_connections needs; raise `ulimit -n`"
        );
    }
}
