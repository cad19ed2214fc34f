//! Jobs of a runner.

use std::sync::Arc;
use std::time::Duration;

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::commands::{BackgroundCall, Spec, map_request, reduce_request};
use ferrite_runtime::{
    CallRequest, Delivery, DueRequest, HeldEntry, HeldFunction, ScheduledRun, UserShare,
};

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

/// A call that a command on all nodes is made of, with its own words.
pub(crate) struct PartCall {
    pub(crate) kind: PartKind,
    /// Name of the function, with or without an entry after a dot.
    pub(crate) function: Vec<u8>,
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) protocol: Protocol,
    /// The user that it counts for.
    pub(crate) user: UserShare,
}

/// The part that a call plays in a command on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// It goes through the keys of one node.
    Map,
    /// It gets the replies of all nodes.
    Reduce,
}

impl PartCall {
    /// Returns the call as a request; `args` are the slices of its arguments.
    pub(crate) fn request<'a>(&'a self, args: &'a [&'a [u8]], database: u32) -> CallRequest<'a> {
        let request = match self.kind {
            PartKind::Map => map_request,
            PartKind::Reduce => reduce_request,
        };
        CallRequest {
            user: self.user,
            ..request(&self.function, args, self.timeout, database)
        }
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
        /// The user that the call counts for.
        user: UserShare,
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
    /// Sends a request of the outbox.
    Request(Box<DueRequest<ServerKeyspace>>),
    /// Runs a call that a command on all nodes is made of.
    Part(Box<PartCall>),
}
