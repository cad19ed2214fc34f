//! The commands that hosts share: `WASM.*`, `FCALL`, `FCALL_RO`, one file each. Stages: words,
//! typed command, reply.
//!
//! A host finds a command with [`find`], parses the request with [`parse`], and runs it with
//! [`Runtime::run`] or, if [`Spec::runs`] says that it blocks, with [`Runtime::run_blocking`] on a
//! thread that may block.

pub(crate) mod calls;
mod error;
pub(crate) mod grammar;
mod help;
pub(crate) mod inspect;
pub(crate) mod manage;
mod outbox;
mod schedule;
mod spec;
mod trigger;

pub use calls::background::BackgroundCall;
pub use calls::call::Call;
pub use calls::call_all::{
    CallAll, MissingNode, error_of_node, error_of_reply, map_request, reduce_request,
    reply_as_argument, write_partial, write_replies,
};
pub use calls::kill::Kill;
pub use calls::profile::{EngineUse, Measured, with_cpu_time, write_profile};
pub use calls::result::ResultOf;
pub use error::CommandError;
pub use help::Help;
pub use inspect::errors::Errors;
pub use inspect::exports::Exports;
pub use inspect::info::Info;
pub use inspect::list::List;
pub use inspect::memory::Memory;
pub use inspect::stats::Stats;
pub use manage::config::Configure;
pub use manage::load::Load;
pub use manage::reload::Reload;
pub use manage::unload::Unload;
pub use outbox::Outbox;
pub use schedule::{AddSchedule, Schedules};
pub use spec::{Keys, Right, Runs, Spec};
pub use trigger::{AddTrigger, Triggers};

use std::fmt;

use crate::automation::declared::{AutomationRights, DeclarationScope};
use crate::call::request::{CallRequest, ReceiptOf};
use crate::error::CallError;
use crate::scheduling::cancellation::CallHandle;
use crate::scheduling::user_share::UserShare;
use crate::service::Runtime;
use crate::service::outbox::records::{OwnRecords, RequestRecords};
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

/// All commands, the most frequent ones first.
pub static COMMANDS: [&Spec; 24] = [
    &calls::call::SPEC,
    &calls::call::SPEC_RO,
    &calls::fcall::SPEC,
    &calls::fcall::SPEC_RO,
    &calls::call_async::SPEC,
    &calls::call_all::SPEC,
    &calls::result::SPEC,
    &manage::load::SPEC,
    &manage::define::SPEC,
    &manage::reload::SPEC,
    &manage::config::SPEC,
    &manage::unload::SPEC,
    &schedule::SPEC,
    &trigger::SPEC,
    &outbox::SPEC,
    &inspect::list::SPEC,
    &inspect::info::SPEC,
    &inspect::exports::SPEC,
    &inspect::memory::SPEC,
    &inspect::errors::SPEC,
    &calls::profile::SPEC,
    &calls::kill::SPEC,
    &inspect::stats::SPEC,
    &help::SPEC,
];

/// A parsed request.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// `WASM.CALL`, `WASM.CALL_RO`, `FCALL`, `FCALL_RO`.
    Call(Call<'a>),
    /// `WASM.CALLASYNC`.
    CallAsync(Call<'a>),
    /// `WASM.CALLALL`.
    CallAll(CallAll<'a>),
    /// `WASM.RESULT`.
    Result(ResultOf<'a>),
    /// `WASM.LOAD`, `WASM.DEFINE`.
    Load(Box<Load<'a>>),
    /// `WASM.RELOAD`.
    Reload(Reload<'a>),
    /// `WASM.CONFIG`.
    Configure(Configure<'a>),
    /// `WASM.UNLOAD`.
    Unload(Unload<'a>),
    /// `WASM.SCHEDULE`.
    Schedules(Schedules<'a>),
    /// `WASM.TRIGGER`.
    Triggers(Triggers<'a>),
    /// `WASM.OUTBOX`.
    Outbox(Outbox<'a>),
    /// `WASM.LIST`.
    List(List),
    /// `WASM.INFO`.
    Info(Info<'a>),
    /// `WASM.EXPORTS`.
    Exports(Exports<'a>),
    /// `WASM.MEMORY`.
    Memory(Memory<'a>),
    /// `WASM.ERRORS`.
    Errors(Errors<'a>),
    /// `WASM.PROFILE`.
    Profile(Call<'a>),
    /// `WASM.KILL`.
    Kill(Kill<'a>),
    /// `WASM.STATS`.
    Stats(Stats),
    /// `WASM.HELP`.
    Help(Help),
}

/// Returns the command of this name, in any case.
#[must_use]
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    COMMANDS.into_iter().find(|spec| {
        spec.name.len() == name.len() && spec.name.as_bytes().eq_ignore_ascii_case(name)
    })
}

/// Parses a request, whose first word is the command's name. Copies nothing for a call.
///
/// # Errors
///
/// The error reply.
#[inline]
pub fn parse<'a>(argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    let name = argv.first().copied().unwrap_or_default();
    let spec = find(name).ok_or_else(|| CommandError::Unknown { name: name.into() })?;
    spec.read(argv)
}

impl Spec {
    /// Returns the error of a request with too few or too many words.
    pub(in crate::commands) const fn wrong_arity(&self) -> CommandError {
        CommandError::Arity {
            command: self.name,
            syntax: self.syntax,
        }
    }

    /// Parses a request of this command.
    ///
    /// # Errors
    ///
    /// The error reply.
    #[inline]
    pub fn read<'a>(&'static self, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
        if !self.takes(argv.len()) {
            return Err(self.wrong_arity());
        }
        (self.parse)(self, argv)
    }
}

impl Command<'_> {
    /// Returns true if the command changes nothing, although others of its name do.
    #[must_use]
    pub const fn only_shows(&self) -> bool {
        matches!(
            self,
            Self::Schedules(Schedules::List)
                | Self::Triggers(Triggers::List | Triggers::Info(_))
                | Self::Outbox(Outbox::Info | Outbox::List | Outbox::Pending)
        )
    }

    /// Returns the name of the function that the command calls, changes or looks at, if it names one.
    ///
    /// A host whose users may use some functions only compares it. Commands that name none show and
    /// end only what [`Scope::functions`] lets them.
    #[must_use]
    pub fn function(&self) -> Option<&[u8]> {
        match self {
            Self::Call(call) | Self::CallAsync(call) | Self::Profile(call) => {
                Some(call.function_name())
            }
            Self::CallAll(call) => Some(call.function_name()),
            Self::Load(load) => Some(load.name.as_bytes()),
            Self::Reload(reload) => Some(reload.name),
            Self::Configure(configure) => Some(configure.name),
            Self::Unload(unload) => Some(unload.0),
            Self::Schedules(schedules) => schedules.function(),
            Self::Triggers(triggers) => triggers.function(),
            Self::Info(info) => Some(info.0),
            Self::Exports(exports) => Some(exports.0),
            Self::Memory(memory) => Some(memory.0),
            Self::Errors(errors) => Some(errors.name),
            // A call's id names no function, but belongs to one.
            Self::Kill(_) => None,
            // Its id cannot be guessed: it is known to the client that made the call.
            Self::Result(_) => None,
            // A request names the function that made it.
            Self::Outbox(_) => None,
            Self::List(_) | Self::Stats(_) | Self::Help(_) => None,
        }
    }
}

/// Returns true for the name of a function that a user may use.
type Allows<'a> = dyn Fn(&[u8]) -> bool + Sync + 'a;

/// The functions that a user may use; by default all.
#[derive(Clone, Copy, Default)]
pub struct FunctionFilter<'a>(Option<&'a Allows<'a>>);

impl<'a> FunctionFilter<'a> {
    /// Lets a user use only functions whose name `allows` returns true for.
    #[must_use]
    pub fn new(allows: &'a Allows<'a>) -> Self {
        Self(Some(allows))
    }

    /// Returns true if the user may use the function of this name.
    #[must_use]
    pub fn allows(&self, function: &[u8]) -> bool {
        self.0.is_none_or(|allows| allows(function))
    }

    /// Returns true if the user may use every function.
    #[must_use]
    pub fn allows_all(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for FunctionFilter<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.allows_all() { "all" } else { "some" };
        write!(out, "FunctionFilter({text})")
    }
}

/// The context of a command, besides its words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// The database that the client selected.
    pub database: u32,
    /// A switch to kill the call.
    pub handle: Option<&'a CallHandle>,
    /// The user that calls are for, where users share the places of functions.
    pub user: UserShare,
    /// The functions that the client's user may use.
    pub functions: FunctionFilter<'a>,
    /// Rights of the user for what modules declare. A host that has no rule for it leaves it at everything.
    pub automation: AutomationRights,
}

impl Scope<'_> {
    /// Returns for whom a command adds what a module declares.
    pub(crate) const fn declarations(&self) -> DeclarationScope {
        DeclarationScope {
            database: self.database,
            rights: self.automation,
        }
    }
}

/// Work that remains after a command has written its reply.
#[must_use = "a receipt may have to be waited on, and a background call to be run"]
pub enum Outcome<K: Keyspace> {
    /// Wait for the receipt, if there is one.
    Done(Option<ReceiptOf<K>>),
    /// Run this background call.
    Background(Box<BackgroundCall<K>>),
}

impl<K: Keyspace> Runtime<K> {
    /// Runs a command and writes exactly one reply, errors included.
    ///
    /// A blocking command blocks here as well; see [`Runtime::run_blocking`]. `WASM.CALLALL` is the
    /// host's to run, because the host alone knows its nodes.
    pub async fn run(
        &self,
        command: Command<'_>,
        scope: Scope<'_>,
        reply: &mut Encoder,
    ) -> Outcome<K> {
        match command {
            Command::Call(call) => {
                let request = CallRequest {
                    user: scope.user,
                    ..call.request(scope.database, scope.handle)
                };
                Outcome::Done(self.call(&request, reply).await.receipt)
            }
            Command::Profile(call) => {
                let request = CallRequest {
                    user: scope.user,
                    ..call.request(scope.database, scope.handle)
                };
                self.profile(&request, reply).await;
                Outcome::Done(None)
            }
            Command::CallAsync(call) => match self.call_async(&call, scope.database, scope.user) {
                Ok(call) => {
                    reply.bulk(call.id().as_bytes());
                    Outcome::Background(Box::new(call))
                }
                Err(error) => {
                    reply.error_display(&error);
                    Outcome::Done(None)
                }
            },
            Command::Result(result) => {
                let start = reply.len();
                let result = result.run(self, reply).await;
                settle(result, start, reply);
                Outcome::Done(None)
            }
            Command::Schedules(schedules) => {
                let start = reply.len();
                done(schedules.run(self, scope, reply), start, reply)
            }
            Command::Triggers(triggers) => {
                let start = reply.len();
                done(triggers.run(self, scope, reply), start, reply)
            }
            Command::Outbox(outbox) => {
                let start = reply.len();
                let records = OwnRecords(self);
                let ran = outbox.run(self, &records, scope.functions, reply).await;
                done(ran, start, reply)
            }
            command => {
                self.run_blocking(command, scope, reply);
                Outcome::Done(None)
            }
        }
    }

    /// Runs `WASM.OUTBOX` on requests whose records are where `records` has them, and writes exactly one reply.
    /// Returns the receipt to wait for.
    pub async fn run_outbox<R: RequestRecords>(
        &self,
        outbox: Outbox<'_>,
        records: &R,
        functions: FunctionFilter<'_>,
        reply: &mut Encoder,
    ) -> Option<R::Receipt> {
        let start = reply.len();
        match outbox.run(self, records, functions, reply).await {
            Ok(receipt) => receipt,
            Err(error) => {
                settle(Err(error), start, reply);
                None
            }
        }
    }

    /// Runs a command on this thread, and writes exactly one reply.
    ///
    /// Refuses a command that calls a function or waits for a call: it needs [`Runtime::run`].
    pub fn run_blocking(&self, command: Command<'_>, scope: Scope<'_>, reply: &mut Encoder) {
        let functions = scope.functions;
        let start = reply.len();
        let result = match command {
            Command::Load(load) => load.run(self, scope, reply),
            Command::Reload(reload) => reload.run(self, scope, reply),
            Command::Configure(configure) => configure.run(self, reply),
            Command::Unload(unload) => unload.run(self, reply),
            Command::List(list) => list.run(self, functions, reply),
            Command::Info(info) => info.run(self, reply),
            Command::Exports(exports) => exports.run(self, reply),
            Command::Memory(memory) => memory.run(self, reply),
            Command::Errors(errors) => errors.run(self, reply),
            Command::Kill(kill) => kill.run(self, functions, reply),
            Command::Stats(stats) => stats.run(self, functions, reply),
            Command::Help(help) => {
                help.run(reply);
                Ok(())
            }
            Command::Call(_)
            | Command::CallAsync(_)
            | Command::CallAll(_)
            | Command::Profile(_)
            | Command::Result(_)
            | Command::Schedules(_)
            | Command::Triggers(_)
            | Command::Outbox(_) => Err(CallError::invalid("functions are not called here")),
        };
        settle(result, start, reply);
    }
}

/// Ends a command that may have changed something.
fn done<K: Keyspace>(
    result: Result<Option<ReceiptOf<K>>, CallError>,
    start: usize,
    reply: &mut Encoder,
) -> Outcome<K> {
    match result {
        Ok(receipt) => Outcome::Done(receipt),
        Err(error) => {
            settle(Err(error), start, reply);
            Outcome::Done(None)
        }
    }
}

/// Replaces everything written since `start` by the error, if there is one.
fn settle(result: Result<(), CallError>, start: usize, reply: &mut Encoder) {
    if let Err(error) = result {
        reply.truncate(start);
        reply.error_display(&error);
    }
}

#[cfg(test)]
mod tests;
