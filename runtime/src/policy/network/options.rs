//! The operator's rules for functions on the network.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::address::IpRange;
use super::resolve::Resolve;
use super::rule::NetworkRules;

/// The operator's rules for functions on the network.
#[derive(Clone)]
pub struct NetworkOptions {
    /// The most that functions may ask for in `allow_network`; nothing by default.
    pub rules: NetworkRules,
    /// Addresses beyond the public internet that requests may go to.
    pub private_ranges: Vec<IpRange>,
    /// Bounds of requests.
    pub limits: NetworkLimits,
    /// Certificates of authorities, as PEM, that are trusted besides those of the system.
    pub extra_roots: Vec<u8>,
    /// Resolves names; `None` for the system's resolver.
    pub resolver: Option<Arc<dyn Resolve>>,
}

/// Bounds of the requests of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkLimits {
    /// Most requests of one call.
    pub requests_max: u32,
    /// Most bytes of a request.
    pub request_bytes_max: u64,
    /// Most bytes of a response's body, after it is unpacked.
    pub response_bytes_max: u64,
    /// Longest duration of a request, redirections included. The call's own limit also counts.
    pub time_max: Duration,
    /// Longest duration of finding a host and connecting to it.
    pub connect_time_max: Duration,
    /// Most redirections that are followed.
    pub redirects_max: u32,
    /// Most requests of all functions at the same time; others wait.
    pub concurrent_max: usize,
    /// Most requests that wait in the outbox.
    pub outbox_max: usize,
    /// Tries of a request in the outbox before it is given up.
    pub outbox_tries_max: u32,
}

impl NetworkLimits {
    /// The limits of a server that says nothing.
    pub const DEFAULT: Self = Self {
        requests_max: 16,
        request_bytes_max: 1 << 20,
        response_bytes_max: 4 << 20,
        time_max: Duration::from_secs(10),
        connect_time_max: Duration::from_secs(3),
        redirects_max: 5,
        concurrent_max: 128,
        outbox_max: 10_000,
        outbox_tries_max: 16,
    };
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            rules: NetworkRules::default(),
            private_ranges: Vec::new(),
            limits: NetworkLimits::DEFAULT,
            extra_roots: Vec::new(),
            resolver: None,
        }
    }
}

impl fmt::Debug for NetworkOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rules,
            private_ranges,
            limits,
            extra_roots: _,
            resolver: _,
        } = self;
        out.debug_struct("NetworkOptions")
            .field("rules", rules)
            .field("private_ranges", private_ranges)
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}
