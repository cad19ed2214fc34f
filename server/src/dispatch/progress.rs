//! The state of a request that was started: answered, or waiting.

use ferrite_store::{Blocked, DataCommand, Retry};

use crate::request::AfterReply;

/// The state of a request that was started.
pub(crate) enum Progress<'a> {
    /// Its reply is written.
    Done(AfterReply),
    /// It has to wait; no reply is written yet.
    Waiting(Pending<'a>),
}

/// A request that has to wait. If it is dropped, the request has no effect.
pub(crate) enum Pending<'a> {
    /// A write to keys that a call has reserved, or while the queue of writes to disk is full.
    Write {
        /// Resolves when the request should be tried again.
        retry: Retry,
        command: DataCommand,
        argv: &'a [&'a [u8]],
    },
    /// A write that triggers may refuse.
    Guarded {
        command: DataCommand,
        argv: &'a [&'a [u8]],
    },
    /// An `EXEC` that writes to keys that a call has reserved.
    Exec(Retry),
    /// An `EXEC` of requests among which functions are called.
    ExecWithCalls,
    /// A blocking command, such as `BLPOP`, that found nothing to take.
    Blocked(Blocked),
}
