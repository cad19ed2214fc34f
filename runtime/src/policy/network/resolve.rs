//! From a host name to addresses.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};

/// Resolves host names. The only place where a request asks for addresses, so that tests can answer
/// otherwise each time.
pub trait Resolve: Send + Sync {
    /// Returns the addresses of a host. May block.
    ///
    /// # Errors
    ///
    /// There is no such host, or nobody answers.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Debug)]
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = (host, 0).to_socket_addrs()?;
        Ok(found.map(|address| address.ip()).collect())
    }
}
