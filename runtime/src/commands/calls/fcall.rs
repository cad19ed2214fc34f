//! `FCALL` and `FCALL_RO`: run a function by a method that every client library has.

use super::call::Call;
use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::key_positions::counted_keys;
use crate::commands::spec::{Keys, Right, Runs, Spec};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "FCALL",
    arity: -3,
    flags: &["write", "movablekeys"],
    keys: Keys::Counted,
    right: Right::Call,
    runs: Runs::Async,
    summary: "Calls a function.",
    syntax: "name[.entry] numkeys [key …] [arg …]",
    parse,
};

pub(in crate::commands) static SPEC_RO: Spec = Spec {
    name: "FCALL_RO",
    flags: &["readonly", "movablekeys"],
    summary: "Calls a function that may only read.",
    parse: parse_read_only,
    ..SPEC
};

fn parse<'a>(_: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    read(argv, false)
}

fn parse_read_only<'a>(
    _: &'static Spec,
    argv: &'a [&'a [u8]],
) -> Result<Command<'a>, CommandError> {
    read(argv, true)
}

fn read<'a>(argv: &'a [&'a [u8]], read_only: bool) -> Result<Command<'a>, CommandError> {
    let keys = counted_keys(argv)?;
    let args = keys.end..argv.len();
    Ok(Command::Call(Call {
        function: argv[1],
        keys: &argv[keys],
        args: &argv[args],
        timeout: None,
        read_only,
    }))
}
