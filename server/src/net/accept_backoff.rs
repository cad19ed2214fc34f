//! Connections that cannot be accepted, because the system has no descriptors or memory for them.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with, send};

/// Pause when the system lacks descriptors or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Most connections that are refused at once.
const REFUSED_AT_ONCE_MAX: usize = 64;

/// A descriptor that is given up for a moment when there are no others, to accept a connection with
/// it and refuse it in words. The client would otherwise wait in the system's queue.
#[derive(Debug)]
pub(crate) struct SpareDescriptor(Option<File>);

impl SpareDescriptor {
    pub(crate) fn new() -> Self {
        let mut spare = Self(None);
        spare.take_back();
        spare
    }

    /// Refuses the connections that wait at `listener`, with `reply`, until there are descriptors
    /// again. Returns their number.
    pub(crate) fn refuse(&mut self, listener: impl AsFd, reply: &[u8]) -> usize {
        if self.0.take().is_none() {
            self.take_back();
            return 0;
        }
        let mut refused = 0;
        while refused < REFUSED_AT_ONCE_MAX && self.0.is_none() {
            // Another thread may take the descriptor first; then this fails.
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let Ok(connection) = accept_with(&listener, flags) else {
                break;
            };
            refused += 1;
            // A client that is gone gets no reply.
            let _ = send(&connection, reply, SendFlags::NOSIGNAL);
            // While the connection has the last descriptor, this fails. Else the next one can be served.
            self.take_back();
        }
        if self.0.is_none() {
            self.take_back();
        }
        refused
    }

    fn take_back(&mut self) {
        // Without it, clients wait until there are descriptors again.
        self.0 = File::open("/dev/null").ok();
    }
}

/// Returns true if accepting again at once would fail the same way.
pub(crate) fn is_scarce(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Waits a little if accepting again at once may fail the same way.
pub(crate) async fn pause_after(error: &io::Error) {
    tracing::debug!(%error, "a connection was not accepted");
    // Else the client closed it before it was accepted, and the next one is fine.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::IntoRawFd as _;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::SpareDescriptor;

    struct Waiting {
        listener: TcpListener,
        clients: Vec<TcpStream>,
    }

    /// Three clients that wait at a listener.
    fn waiting() -> Waiting {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it is bound");
        let connect = || TcpStream::connect(address).expect("it listens");
        let clients = vec![connect(), connect(), connect()];
        Waiting { listener, clients }
    }

    fn assert_refused(client: &mut TcpStream) {
        let mut text = String::new();
        client
            .read_to_string(&mut text)
            .expect("it is closed in order");
        assert_eq!(text, "-ERR no\r\n");
    }

    #[test]
    fn those_who_wait_are_refused_in_words() {
        let Waiting {
            listener,
            mut clients,
        } = waiting();
        let mut spare = SpareDescriptor::new();
        let before = getrlimit(Resource::Nofile);
        let next = File::open("/dev/null").expect("a descriptor").into_raw_fd();
        let limited = Rlimit {
            // It stays open, and its number is the last.
            current: Some(u64::try_from(next).expect("a number") + 1),
            ..before
        };
        setrlimit(Resource::Nofile, limited).expect("a lower limit");
        let refused = spare.refuse(&listener, b"-ERR no\r\n");
        setrlimit(Resource::Nofile, before).expect("the limit before");
        assert_eq!(refused, 3);
        clients.iter_mut().for_each(assert_refused);
        assert_eq!(spare.refuse(&listener, b""), 0);
    }

    #[test]
    fn nobody_else_is_refused_once_there_are_descriptors() {
        let Waiting {
            listener,
            mut clients,
        } = waiting();
        let mut spare = SpareDescriptor::new();
        assert_eq!(spare.refuse(&listener, b"-ERR no\r\n"), 1);
        assert_refused(&mut clients[0]);
        assert!(listener.accept().is_ok(), "the second can be served");
    }
}
