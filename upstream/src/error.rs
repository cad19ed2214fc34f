//! Errors between this server and the engine.

use std::time::Duration;

use ferrite_runtime::{CallError, Code};

use crate::account::Account;

/// Reason why a call got nothing from the engine, or could not be committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// There is no connection.
    #[error(
        "the engine at {address} cannot be reached: {reason}; nothing of the call was kept, try again later"
    )]
    Unreachable {
        /// The engine's address.
        address: String,
        /// Why.
        reason: Box<str>,
    },
    /// The server is a node of a cluster, and the URL does not say so.
    #[error(
        "the engine at {address} is a node of a cluster, and the key is on another one; write redis+cluster:// in upstream.url"
    )]
    Cluster {
        /// The node's address.
        address: String,
    },
    /// Keys of several slots.
    #[error(
        "the call uses the keys {first} (slot {first_slot}) and {other} (slot {other_slot}), which a cluster keeps apart; all keys of a call must be in one slot: give them the same part in braces, as in {{user:1}}:name and {{user:1}}:age"
    )]
    CrossSlot {
        /// The key that chose the slot, in quotes.
        first: String,
        /// Its slot.
        first_slot: u16,
        /// The key of another slot, in quotes.
        other: String,
        /// Its slot.
        other_slot: u16,
    },
    /// The engine answered with this error, which begins with its code.
    #[error("{0}")]
    Refused(Box<str>),
    /// The engine takes no credentials of this server's own.
    #[error(
        "the engine refuses the credentials of this server: {answer}; correct the user or the password in upstream.url (for ferrite-wasmc in its URL and FERRITE_UPSTREAM_PASSWORD)"
    )]
    Login {
        /// The engine's answer, without secrets.
        answer: Box<str>,
    },
    /// The connection broke, or nothing was answered in time.
    #[error(
        "the engine at {address} did not answer: {reason}; nothing of the call was kept, try again later"
    )]
    Broken {
        /// The engine's address.
        address: String,
        /// Why.
        reason: Box<str>,
    },
    /// The answer was not what these commands answer.
    #[error(
        "the engine at {address} gave an answer that no Redis-compatible engine gives: {reason}; check upstream.url"
    )]
    Garbage {
        /// The engine's address.
        address: String,
        /// The fault.
        reason: Box<str>,
    },
    /// The connection broke in the middle of a commit.
    #[error(
        "the engine's connection broke before it answered the commit; the call may have taken effect, look before you repeat it"
    )]
    OutcomeUnknown,
    /// The engine's limits on requests.
    #[error(
        "the engine takes no commit of {bytes} bytes: {reason}; nothing of the call was kept; write less in one call, or raise proto-max-bulk-len and client-query-buffer-limit of the engine"
    )]
    TooLarge {
        /// Bytes of the commit: what was to be written, and the proof of what was read.
        bytes: u64,
        /// The engine's error, or its setting.
        reason: Box<str>,
    },
    /// The connection broke whenever a commit was sent, for a reason that is not known.
    #[error(
        "the engine's connection broke each of the {times} times that the commit of {bytes} bytes was sent; nothing of the call was kept; try again later, or, if smaller commits succeed, compare proto-max-bulk-len and client-query-buffer-limit of the engine, which it does not tell this server"
    )]
    CommitBroken {
        /// Number of times.
        times: u32,
        /// Bytes of the commit.
        bytes: u64,
    },
    /// The keys changed again and again.
    #[error(
        "other clients changed the same keys in each of {tries} tries; try again later, or let fewer clients write them"
    )]
    Contended {
        /// Number of tries.
        tries: u32,
    },
    /// The function asks for other keys in each try.
    #[error(
        "the function asked for keys that were not there yet in each of {tries} tries; declare them after KEYS"
    )]
    Unsettled {
        /// Number of tries.
        tries: u32,
    },
    /// A bound on what one call may read.
    #[error("the call reads more than {limit} keys and fields; split it")]
    TooManyKeys {
        /// The limit.
        limit: usize,
    },
    /// A bound on what one call may list.
    #[error(
        "the call lists more than {limit} bytes of keys (upstream.max_fetch); narrow the pattern, or go through them by SCAN in several calls"
    )]
    TooManyListed {
        /// The limit.
        limit: u64,
    },
    /// The call ran out of time while it waited for the engine.
    #[error("the call waited for the engine until its time limit of {} ms; nothing of it was kept", .limit.as_millis())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// Too many accounts at once.
    #[error(
        "calls of {limit} accounts and databases use the engine at once; try again later, or raise upstream.max_accounts"
    )]
    TooManyAccounts {
        /// The limit.
        limit: usize,
    },
    /// A scan of all primaries of a cluster that cannot go on.
    #[error(
        "the primaries of the cluster have changed since the scan began; begin again with the cursor 0"
    )]
    ScanOutdated,
    /// A question to all primaries of a cluster that got no answer for one moment.
    #[error(
        "the primaries of the cluster changed each of the {times} times that all were asked; try again later"
    )]
    PrimariesChange {
        /// Number of times.
        times: u32,
    },
    /// This server stops.
    #[error("the server is stopping; nothing of the call was kept")]
    Stopped,
}

impl UpstreamError {
    /// The error of an account of this server's own to which the engine gave this answer.
    #[must_use]
    pub fn login(account: &Account, answer: &str) -> Self {
        let answer = account.without_secret(answer).trim_end_matches('.');
        Self::Login {
            answer: answer.into(),
        }
    }

    /// The code of the error reply.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(text) if text.starts_with("NOPERM") => Code::NoPermission,
            Self::Timeout { .. } => Code::Timeout,
            Self::Contended { .. } | Self::TooManyAccounts { .. } => Code::Busy,
            Self::TooManyKeys { .. }
            | Self::TooManyListed { .. }
            | Self::TooLarge { .. }
            | Self::Unsettled { .. } => Code::Limit,
            Self::Stopped => Code::Killed,
            Self::CrossSlot { .. } => Code::Invalid,
            Self::Cluster { .. }
            | Self::Unreachable { .. }
            | Self::Refused(_)
            | Self::Login { .. }
            | Self::Broken { .. }
            | Self::Garbage { .. }
            | Self::CommitBroken { .. }
            | Self::ScanOutdated
            | Self::PrimariesChange { .. }
            | Self::OutcomeUnknown => Code::Store,
        }
    }

    /// Returns true if the same request may succeed in a while, and has had no effect.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(text) => is_passing(text),
            Self::Unreachable { .. } | Self::Broken { .. } | Self::PrimariesChange { .. } => true,
            _ => false,
        }
    }

    /// The error reply. An error of the engine is passed on as it is.
    #[must_use]
    pub fn reply(&self) -> String {
        match self {
            Self::Refused(text) => text.to_string(),
            // Clients know this code.
            error @ Self::CrossSlot { .. } => format!("CROSSSLOT {error}"),
            error => CallError::from(error.clone()).to_string(),
        }
    }
}

impl From<UpstreamError> for CallError {
    fn from(error: UpstreamError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Returns true for the error of an engine that does not read a request, and closes the connection.
pub(crate) fn is_unread(text: &str) -> bool {
    text.starts_with("ERR Protocol error")
}

/// Returns true for an error that the engine will not give any more in a while.
pub(crate) fn is_passing(text: &str) -> bool {
    let code = text.split(' ').next().unwrap_or_default();
    matches!(
        code,
        "LOADING"
            | "READONLY"
            | "MASTERDOWN"
            | "CLUSTERDOWN"
            | "TRYAGAIN"
            | "BUSY"
            | "MOVED"
            | "ASK"
    )
}
