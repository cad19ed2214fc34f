//! `WASM.CALL` and `WASM.CALL_RO`: run a function.

use std::time::Duration;

use crate::call::request::CallRequest;
use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::sections::Sections;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::scheduling::cancellation::CallHandle;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.CALL",
    arity: -2,
    flags: &["write", "movablekeys"],
    keys: Keys::AfterWord,
    right: Right::Call,
    runs: Runs::Async,
    summary: "Calls a function.",
    syntax: "name[.entry] [TIMEOUT milliseconds] [KEYS key …] [ARGS arg …]",
    parse,
};

pub(in crate::commands) static SPEC_RO: Spec = Spec {
    name: "WASM.CALL_RO",
    flags: &["readonly", "movablekeys"],
    summary: "Calls a function that may only read.",
    parse: parse_read_only,
    ..SPEC
};

/// A parsed call; nothing is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The function, optionally with an entry: `name` or `name.entry`.
    pub function: &'a [u8],
    /// The keys.
    pub keys: &'a [&'a [u8]],
    /// The arguments.
    pub args: &'a [&'a [u8]],
    /// Longest duration.
    pub timeout: Option<Duration>,
    /// True if writes are refused.
    pub read_only: bool,
}

impl<'a> Call<'a> {
    /// Returns the name of the function, without the entry.
    #[must_use]
    pub fn function_name(&self) -> &'a [u8] {
        self.request(0, None).name_and_entry().0
    }

    /// Returns the call as a request to the runtime.
    #[must_use]
    #[inline]
    pub fn request<'r>(&self, database: u32, handle: Option<&'r CallHandle>) -> CallRequest<'r>
    where
        'a: 'r,
    {
        let mut request: CallRequest<'r> = CallRequest::new(self.function, self.keys, self.args);
        request.timeout = self.timeout;
        request.database = database;
        request.read_only = self.read_only;
        request.handle = handle;
        request
    }
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    read(spec, argv).map(Command::Call)
}

fn parse_read_only<'a>(
    spec: &'static Spec,
    argv: &'a [&'a [u8]],
) -> Result<Command<'a>, CommandError> {
    let call = read(spec, argv)?;
    Ok(Command::Call(Call {
        read_only: true,
        ..call
    }))
}

/// Parses the words that all commands share which call a function by `KEYS` and `ARGS`.
pub(in crate::commands) fn read<'a>(
    spec: &'static Spec,
    argv: &'a [&'a [u8]],
) -> Result<Call<'a>, CommandError> {
    let Sections {
        timeout,
        keys,
        args,
    } = Sections::read(spec, argv, 2)?;
    Ok(Call {
        function: argv[1],
        keys: &argv[keys],
        args: &argv[args],
        timeout,
        read_only: false,
    })
}
