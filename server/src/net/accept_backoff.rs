//! Pauses after a connection could not be accepted.

use std::io;
use std::time::Duration;

/// Pause when the system lacks descriptors or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Waits a little if accepting again at once would fail the same way.
pub(crate) async fn pause_after(error: &io::Error) {
    use rustix::io::Errno;
    let scarce = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    if scarce
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    {
        tracing::warn!(%error, "cannot accept connections; raise the limit of open files");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    } else {
        // For example, the client closed the connection before it was accepted.
        tracing::debug!(%error, "a connection was not accepted");
    }
}
