//! `WASM.CALLASYNC`: runs a function in the background.

use super::call;
use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::spec::Spec;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.CALLASYNC",
    summary: "Calls a function in the background and replies the call's id, for WASM.RESULT.",
    parse,
    ..call::SPEC
};

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    call::read(spec, argv).map(Command::CallAsync)
}
