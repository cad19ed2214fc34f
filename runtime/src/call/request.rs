//! The request and the outcome of a call.

use std::fmt;
use std::time::Duration;

use crate::error::CallError;
use crate::metrics::host_calls::HostCalls;
use crate::policy::permissions::Denied;
use crate::scheduling::cancellation::CallHandle;
use crate::scheduling::user_share::UserShare;
use ferrite_protocol::keyspace::{Keyspace, Mode, Transaction};

/// Optimistic tries of a call before it runs exclusively, so that it cannot starve.
pub const OPTIMISTIC_TRIES_MAX: u32 = 5;

/// One call in this many reads the clock for the latency histogram, and so do the first calls, up to
/// this number, of each shard of a function's pool; a power of two.
pub const LATENCY_SAMPLE_EVERY: u64 = 16;

/// A call as a client asks for it.
///
/// `F` names the function: by default as bytes, `name` or `name.entry`, which the runtime looks up
/// among its registered functions.
#[derive(Clone, Copy, Debug)]
pub struct CallRequest<'a, F = &'a [u8]> {
    /// The function to call.
    pub function: F,
    /// Keys that the call works on.
    pub keys: &'a [&'a [u8]],
    /// All other arguments.
    pub args: &'a [&'a [u8]],
    /// Longest duration of the call. It can only shorten the function's own limit.
    pub timeout: Option<Duration>,
    /// Database that the client selected.
    pub database: u32,
    /// True if writes are refused whatever the permissions say.
    pub read_only: bool,
    /// True if the reads of a read-only call need not agree with each other; see
    /// [`Mode::ReadLatest`].
    pub reads_latest: bool,
    /// A switch with which the caller can kill the call.
    pub handle: Option<&'a CallHandle>,
    /// True if the call may wait for others. One that may not makes no requests to other servers.
    pub may_wait: bool,
    /// The user that the call is for, where users share the places of functions.
    pub user: UserShare,
    /// True to run the call for real, count its host calls, and roll it back.
    pub profile: bool,
}

impl<'a> CallRequest<'a> {
    /// Makes a request in database 0 with nothing else set.
    #[must_use]
    pub const fn new(function: &'a [u8], keys: &'a [&'a [u8]], args: &'a [&'a [u8]]) -> Self {
        Self {
            function,
            keys,
            args,
            timeout: None,
            database: 0,
            read_only: false,
            reads_latest: false,
            handle: None,
            may_wait: true,
            user: UserShare::NOBODY,
            profile: false,
        }
    }

    /// Splits the function into its name and its entry, if it names one.
    #[must_use]
    #[inline]
    pub fn name_and_entry(&self) -> (&'a [u8], Option<&'a [u8]>) {
        match self.function.iter().position(|&byte| byte == b'.') {
            Some(dot) => (&self.function[..dot], Some(&self.function[dot + 1..])),
            None => (self.function, None),
        }
    }
}

impl<'a, F> CallRequest<'a, F> {
    /// Returns the access that the call asks for.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match (self.read_only, self.reads_latest) {
            (true, true) => Mode::ReadLatest,
            (true, false) => Mode::Read,
            (false, _) => Mode::Write,
        }
    }

    /// Returns the same request for another function.
    #[must_use]
    pub fn with_function<G>(&self, function: G) -> CallRequest<'a, G> {
        let Self {
            function: _,
            keys,
            args,
            timeout,
            database,
            read_only,
            reads_latest,
            handle,
            may_wait,
            user,
            profile,
        } = *self;
        CallRequest {
            function,
            keys,
            args,
            timeout,
            database,
            read_only,
            reads_latest,
            handle,
            may_wait,
            user,
            profile,
        }
    }
}

/// The outcome of a call. The reply, or the error reply, is in the encoder.
#[derive(Debug)]
pub struct CallOutcome<R> {
    /// Receipt of the commit; `None` if the call accessed no data or failed.
    pub receipt: Option<R>,
    /// Error of a failed call. An error reply that the guest writes is not a failure.
    pub error: Option<CallError>,
    /// Fuel used by all tries together.
    pub fuel: u64,
    /// Number of tries; more than one if others changed the same keys meanwhile.
    pub tries: u32,
    /// Duration, for sampled calls; see [`LATENCY_SAMPLE_EVERY`].
    pub latency: Option<Duration>,
    /// The last access that the permissions refused.
    pub denied: Option<Denied>,
    /// First word of the error that the guest chose as its reply, if it did.
    pub replied_error: Option<ErrorWord>,
    /// Profile, if one was asked for.
    pub profile: Option<Box<CallProfile>>,
}

/// The first word of an error reply, which is its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorWord {
    len: u8,
    bytes: [u8; Self::BYTES_MAX],
}

impl ErrorWord {
    /// Longer words are cut.
    const BYTES_MAX: usize = 31;

    /// Reads the word from an error reply, with or without its `-`.
    #[must_use]
    pub fn of_reply(reply: &[u8]) -> Self {
        let text = reply.strip_prefix(b"-").unwrap_or(reply);
        let end = text.iter().position(u8::is_ascii_whitespace);
        let word = &text[..end.unwrap_or(text.len()).min(Self::BYTES_MAX)];
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..word.len()].copy_from_slice(word);
        Self {
            // At most 31.
            len: word.len() as u8,
            bytes,
        }
    }
}

impl fmt::Display for ErrorWord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}",
            self.bytes[..usize::from(self.len)].escape_ascii()
        )
    }
}

/// The counters of a profiled call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallProfile {
    /// Host calls by function.
    pub host_calls: HostCalls,
    /// Largest size of the linear memory, in bytes.
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
            replied_error: None,
            profile: None,
        }
    }

    /// Makes the outcome of a call that failed before it ran.
    #[must_use]
    pub fn failed(error: CallError) -> Self {
        Self {
            error: Some(error),
            ..Self::new()
        }
    }
}

/// The receipt of a commit in keyspace `K`.
pub type ReceiptOf<K> = <<K as Keyspace>::Transaction as Transaction>::Receipt;
