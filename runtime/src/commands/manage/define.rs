//! `WASM.DEFINE`: loads a function from WebAssembly's text format, or from JavaScript.

use super::load::{self, Form};
use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::spec::Spec;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.DEFINE",
    summary: "Loads a function from WebAssembly's text format, or from a program in JavaScript.",
    syntax: "name [JS] source [DESCRIPTION text] [PERMISSIONS word-or-json] [LIMITS json] [ISOLATION rewind|fresh|reuse] [CONFIG json] [REPLACE]",
    parse,
    ..load::SPEC
};

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    let form = if argv[2].eq_ignore_ascii_case(b"JS") {
        Form::JavaScript
    } else {
        Form::Text
    };
    if form == Form::JavaScript && argv.len() == 3 {
        return Err(spec.wrong_arity());
    }
    load::read(spec, argv, form).map(|load| Command::Load(Box::new(load)))
}
