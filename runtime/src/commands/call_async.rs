//! `WASM.CALLASYNC`: runs a function in the background.

use super::error::CommandError;
use super::spec::Spec;
use super::{Command, call};

pub(super) static SPEC: Spec = Spec {
    name: "WASM.CALLASYNC",
    summary: "Calls a function in the background and replies the call's id, for WASM.RESULT.",
    parse,
    ..call::SPEC
};

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    call::read(spec, argv).map(Command::CallAsync)
}
