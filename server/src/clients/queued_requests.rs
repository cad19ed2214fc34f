//! The requests that a client queues between `MULTI` and `EXEC`.

use ferrite_runtime::commands::Spec as FunctionSpec;
use ferrite_store::DataCommand;

/// A command that can be queued.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QueuedCommand {
    Echo,
    Ping,
    Publish,
    Select,
    Unwatch,
    /// A command on data.
    Data(DataCommand),
    /// A command that calls a function, such as `WASM.CALL`.
    Call(&'static FunctionSpec),
}

/// A queued request, whose command was found when it was queued.
#[derive(Debug)]
pub(crate) struct QueuedRequest {
    pub(crate) command: QueuedCommand,
    pub(crate) words: Box<[Box<[u8]>]>,
}

/// The requests of a client since its `MULTI`.
#[derive(Debug, Default)]
pub(crate) struct QueuedRequests {
    pub(crate) requests: Vec<QueuedRequest>,
    /// Bytes of all arguments together.
    pub(crate) bytes: usize,
    /// True if a request calls a function.
    pub(crate) with_calls: bool,
    /// True if a request was refused; `EXEC` then runs none of them.
    pub(crate) aborted: bool,
}

impl QueuedRequests {
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns the commands on data among them.
    pub(crate) fn data_commands(&self) -> impl Iterator<Item = DataCommand> {
        self.requests
            .iter()
            .filter_map(|request| match request.command {
                QueuedCommand::Data(command) => Some(command),
                _ => None,
            })
    }
}
