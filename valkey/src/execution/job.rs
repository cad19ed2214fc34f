//! Jobs of a runner.

use std::sync::Arc;
use std::time::Duration;

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::commands::{BackgroundCall, Spec};
use ferrite_runtime::{Delivery, HeldEntry, HeldFunction, ScheduledRun};

use crate::transaction::ServerKeyspace;

/// An entry point of a function that is not in the registry.
pub(crate) struct EntryPoint {
    pub(crate) code: HeldFunction<ServerKeyspace>,
    /// Name of the entry.
    pub(crate) entry: Box<str>,
}

impl EntryPoint {
    /// The entry, as a call names it.
    pub(crate) fn held(&self) -> HeldEntry<'_, ServerKeyspace> {
        self.code.entry_named(Some(self.entry.as_bytes()))
    }
}

/// The work of a call; its arguments are in the [`Call`](crate::transaction::call::Call).
pub(crate) enum Job {
    /// Runs a command that calls a function.
    Command {
        spec: &'static Spec,
        protocol: Protocol,
        /// Limits the time of this call further than the server's options do.
        time_max: Option<Duration>,
    },
    /// Runs a function of a library.
    Function {
        function: Arc<EntryPoint>,
        protocol: Protocol,
        /// Number of keys, which are the first arguments.
        keys: usize,
    },
    /// Runs a call whose reply is fetched later.
    Background(Box<BackgroundCall<ServerKeyspace>>),
    /// Calls the function of a trigger with an event.
    Event(Box<Delivery<ServerKeyspace>>),
    /// Calls the function of a schedule.
    Schedule(Box<ScheduledRun<ServerKeyspace>>),
}
