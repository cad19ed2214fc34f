//! `WASM.DEFINE`: loads a function from WebAssembly's text format.

use super::load;
use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::spec::Spec;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.DEFINE",
    summary: "Loads a function from WebAssembly's text format.",
    syntax: "name wat [DESCRIPTION text] [PERMISSIONS word-or-json] [LIMITS json] [ISOLATION rewind|fresh|reuse] [REPLACE]",
    parse,
    ..load::SPEC
};

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    load::read(spec, argv, true).map(|load| Command::Load(Box::new(load)))
}
