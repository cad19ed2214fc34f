//! What came of a request: its answer, or what it has to wait for.

use ferrite_runtime::commands::{Command, Spec as FunctionSpec};
use ferrite_store::{Blocked, Retry};

use crate::request::AfterReply;

/// What came of a request.
pub(crate) enum Progress<'a> {
    /// It was answered.
    Done(AfterReply),
    /// It has to wait for something.
    Waiting(Pending<'a>),
}

/// A request that has to wait. Dropping it ends it, and nothing of it is kept.
pub(crate) enum Pending<'a> {
    /// A function's call, or something else that takes as long as a function.
    Function {
        /// The command.
        spec: &'static FunctionSpec,
        /// What it asks for.
        command: Command<'a>,
    },
    /// A command that blocks its thread.
    Blocking {
        /// The command.
        spec: &'static FunctionSpec,
        /// The request.
        argv: &'a [&'a [u8]],
    },
    /// A write to keys that a call has reserved.
    Reserved {
        /// What resolves when they are free.
        retry: Retry,
        /// The request.
        argv: &'a [&'a [u8]],
    },
    /// An `EXEC` that wants to write to keys that a call has reserved.
    Exec(Retry),
    /// A command that waits for somebody to write what it would take.
    Blocked(Blocked),
}
