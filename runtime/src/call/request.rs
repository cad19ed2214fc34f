//! A call as a client asks for it, and what became of it.

use std::time::Duration;

use crate::error::CallError;
use crate::metrics::host_calls::HostCalls;
use crate::policy::permissions::Denied;
use crate::scheduling::cancellation::CallHandle;
use ferrite_protocol::keyspace::{Keyspace, Transaction};

/// Optimistic tries of one call before it is run exclusively, so that it cannot starve.
pub const OPTIMISTIC_TRIES_MAX: u32 = 5;

/// One call in this many reads the clock for the latency figures, and so do the first so many of a
/// function, or of each lane of its pool; a power of two.
pub const LATENCY_SAMPLE_EVERY: u64 = 16;

/// A call as a client asks for it.
#[derive(Clone, Copy, Debug)]
pub struct CallRequest<'a> {
    /// The function, and maybe an entry of it: `name` or `name.entry`.
    pub function: &'a [u8],
    /// Keys that the call is about.
    pub keys: &'a [&'a [u8]],
    /// Everything else that it is given.
    pub args: &'a [&'a [u8]],
    /// How long it may take; it can only shorten what the function's limits say.
    pub timeout: Option<Duration>,
    /// The database that the client selected.
    pub database: u32,
    /// Whether writes are refused whatever the permissions say.
    pub read_only: bool,
    /// A switch that the caller keeps to end the call.
    pub handle: Option<&'a CallHandle>,
    /// Run for real, count the host calls, and roll back.
    pub profile: bool,
}

impl<'a> CallRequest<'a> {
    /// A call of a function in database 0, with nothing else set.
    #[must_use]
    pub const fn new(function: &'a [u8], keys: &'a [&'a [u8]], args: &'a [&'a [u8]]) -> Self {
        Self {
            function,
            keys,
            args,
            timeout: None,
            database: 0,
            read_only: false,
            handle: None,
            profile: false,
        }
    }

    /// The function's name and the entry that is named, if one is.
    #[must_use]
    #[inline]
    pub fn name_and_entry(&self) -> (&'a [u8], Option<&'a [u8]>) {
        match self.function.iter().position(|&byte| byte == b'.') {
            Some(dot) => (&self.function[..dot], Some(&self.function[dot + 1..])),
            None => (self.function, None),
        }
    }
}

/// What became of a call. Its reply, an error reply included, is in the encoder.
#[derive(Debug)]
pub struct CallOutcome<R> {
    /// Proof of what the call wrote or read; `None` where it touched no data or failed.
    pub receipt: Option<R>,
    /// Why it failed. An error reply that the guest chose to give is not a failure.
    pub error: Option<CallError>,
    /// Fuel that it used, all tries together.
    pub fuel: u64,
    /// How often it was run; more than once where others changed the same keys meanwhile.
    pub tries: u32,
    /// How long it took; measured for some; see [`LATENCY_SAMPLE_EVERY`].
    pub latency: Option<Duration>,
    /// The last access that the permissions refused it.
    pub denied: Option<Denied>,
    /// What was counted for a profile.
    pub profile: Option<Box<CallProfile>>,
}

/// What was counted while a call was profiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallProfile {
    /// Host functions that the call used.
    pub host_calls: HostCalls,
    /// The most linear memory that it had, in bytes.
    pub memory_bytes: u64,
}

impl<R> CallOutcome<R> {
    pub(crate) fn new() -> Self {
        Self {
            receipt: None,
            error: None,
            fuel: 0,
            tries: 0,
            latency: None,
            denied: None,
            profile: None,
        }
    }

    /// A call that failed before it ran.
    #[must_use]
    pub fn failed(error: CallError) -> Self {
        Self {
            error: Some(error),
            ..Self::new()
        }
    }
}

/// What committing proves.
pub type ReceiptOf<K> = <<K as Keyspace>::Transaction as Transaction>::Receipt;
