//! What to do when a connection cannot be accepted.

use std::io;
use std::time::Duration;

/// How long accepting rests when the system is out of descriptors or memory for one more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Waits a little where accepting again at once would only burn the processor.
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
        // Such as a connection that was gone before it was accepted.
        tracing::debug!(%error, "a connection was not accepted");
    }
}
