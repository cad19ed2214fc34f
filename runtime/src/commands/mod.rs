//! The commands that hosts share: `WASM.*`, `FCALL`, `FCALL_RO`. From words to a typed command to a
//! reply, one file each.
//!
//! A host looks a name up with [`find`], reads the request with [`parse`], and runs it with
//! [`Runtime::run`] or, where [`Spec::runs`] says that it blocks, with [`Runtime::run_blocking`] on
//! a thread that may.

mod background;
mod call;
mod call_async;
mod counted;
mod define;
mod error;
mod errors;
mod exports;
mod fcall;
mod fields;
mod help;
mod info;
mod key_positions;
mod kill;
mod list;
mod load;
mod memory;
mod options;
mod profile;
mod reload;
mod result;
mod sections;
mod spec;
mod stats;
mod unload;

pub use background::AsyncCall;
pub use call::Call;
pub use error::CommandError;
pub use errors::Errors;
pub use exports::Exports;
pub use help::Help;
pub use info::Info;
pub use kill::Kill;
pub use list::List;
pub use load::Load;
pub use memory::Memory;
pub use reload::Reload;
pub use result::ResultOf;
pub use spec::{Keys, Right, Runs, Spec};
pub use stats::Stats;
pub use unload::Unload;

use crate::call::ReceiptOf;
use crate::control::CallHandle;
use crate::error::CallError;
use crate::keyspace::Keyspace;
use crate::resp::Encoder;
use crate::runtime::Runtime;

/// Every command; the ones that are called most come first.
pub static COMMANDS: [&Spec; 19] = [
    &call::SPEC,
    &call::SPEC_RO,
    &fcall::SPEC,
    &fcall::SPEC_RO,
    &call_async::SPEC,
    &result::SPEC,
    &load::SPEC,
    &define::SPEC,
    &reload::SPEC,
    &unload::SPEC,
    &list::SPEC,
    &info::SPEC,
    &exports::SPEC,
    &memory::SPEC,
    &errors::SPEC,
    &profile::SPEC,
    &kill::SPEC,
    &stats::SPEC,
    &help::SPEC,
];

/// A request that was read.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// `WASM.CALL`, `WASM.CALL_RO`, `FCALL`, `FCALL_RO`.
    Call(Call<'a>),
    /// `WASM.CALLASYNC`.
    CallAsync(Call<'a>),
    /// `WASM.RESULT`.
    Result(ResultOf<'a>),
    /// `WASM.LOAD`, `WASM.DEFINE`.
    Load(Box<Load<'a>>),
    /// `WASM.RELOAD`.
    Reload(Reload<'a>),
    /// `WASM.UNLOAD`.
    Unload(Unload<'a>),
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

/// The command of this name, in any case.
#[must_use]
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    // Requests for data pass here on their way, so most are told apart by one letter.
    match name.first() {
        Some(b'W' | b'w' | b'F' | b'f') => COMMANDS.into_iter().find(|spec| {
            spec.name.len() == name.len() && spec.name.as_bytes().eq_ignore_ascii_case(name)
        }),
        _ => None,
    }
}

/// Reads a request, whose first word is the command's name. Nothing of it is copied for a call.
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
    /// Reads a request of this command.
    ///
    /// # Errors
    ///
    /// The error reply.
    #[inline]
    pub fn read<'a>(&'static self, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
        if !self.takes(argv.len()) {
            return Err(CommandError::Arity { command: self.name });
        }
        (self.parse)(self, argv)
    }
}

impl Command<'_> {
    /// The name of the function that the command calls, if it calls one.
    #[must_use]
    pub fn calls(&self) -> Option<&[u8]> {
        match self {
            Self::Call(call) | Self::CallAsync(call) | Self::Profile(call) => {
                Some(call.function_name())
            }
            _ => None,
        }
    }
}

/// What a command comes with besides its words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// The database that the client selected.
    pub database: u32,
    /// A switch to end the call with.
    pub handle: Option<&'a CallHandle>,
}

/// What is left to do once a command has written its reply.
#[must_use = "a receipt may have to be waited on, and a background call to be run"]
pub enum Outcome<K: Keyspace> {
    /// Nothing but to wait for what the receipt proves, if there is one.
    Done(Option<ReceiptOf<K>>),
    /// To run this call in the background.
    Background(Box<AsyncCall<K>>),
}

impl<K: Keyspace> Runtime<K> {
    /// Runs a command and writes exactly one reply, errors included.
    ///
    /// A command that blocks blocks here as well; see [`Runtime::run_blocking`].
    pub async fn run(
        &self,
        command: Command<'_>,
        scope: Scope<'_>,
        reply: &mut Encoder,
    ) -> Outcome<K> {
        match command {
            Command::Call(call) => {
                let request = call.request(scope.database, scope.handle);
                Outcome::Done(self.call(&request, reply).await.receipt)
            }
            Command::Profile(call) => {
                let request = call.request(scope.database, scope.handle);
                self.profile(&request, reply).await;
                Outcome::Done(None)
            }
            Command::CallAsync(call) => match self.call_async(&call, scope.database) {
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
            command => {
                self.run_blocking(command, reply);
                Outcome::Done(None)
            }
        }
    }

    /// Runs a command that is done on this thread, and writes exactly one reply.
    ///
    /// One that calls a function, or waits for a call, is refused: it needs [`Runtime::run`].
    pub fn run_blocking(&self, command: Command<'_>, reply: &mut Encoder) {
        let start = reply.len();
        let result = match command {
            Command::Load(load) => load.run(self, reply),
            Command::Reload(reload) => reload.run(self, reply),
            Command::Unload(unload) => unload.run(self, reply),
            Command::List(list) => list.run(self, reply),
            Command::Info(info) => info.run(self, reply),
            Command::Exports(exports) => exports.run(self, reply),
            Command::Memory(memory) => memory.run(self, reply),
            Command::Errors(errors) => errors.run(self, reply),
            Command::Kill(kill) => kill.run(self, reply),
            Command::Stats(stats) => stats.run(self, reply),
            Command::Help(help) => {
                help.run(reply);
                Ok(())
            }
            Command::Call(_) | Command::CallAsync(_) | Command::Profile(_) | Command::Result(_) => {
                Err(CallError::invalid("functions are not called here"))
            }
        };
        settle(result, start, reply);
    }
}

/// Puts an error in the place of what was written.
fn settle(result: Result<(), CallError>, start: usize, reply: &mut Encoder) {
    if let Err(error) = result {
        reply.truncate(start);
        reply.error_display(&error);
    }
}

#[cfg(test)]
mod tests;
