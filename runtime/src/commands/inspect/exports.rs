//! `WASM.EXPORTS`: shows the exports of a function's module.

use ferrite_cache::ExportKind;

use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::fields::Fields;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.EXPORTS",
    arity: 2,
    flags: &["readonly"],
    keys: Keys::None,
    right: Right::Inspect,
    runs: Runs::Blocking,
    summary: "Tells what a function's module exports, and which of it can be called.",
    syntax: "name",
    parse,
};

/// Request for the exports of a function's module.
#[derive(Clone, Debug)]
pub struct Exports<'a>(pub(in crate::commands) &'a [u8]);

fn parse<'a>(_: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Exports(Exports(argv[1])))
}

impl Exports<'_> {
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let function = runtime.ready(self.0)?;
        let module = &function.manifest().module;
        reply.array(module.exports.len());
        for export in &module.exports {
            let entry = module
                .entries
                .iter()
                .find(|entry| entry.name == export.name);
            let (kind, signature) = match &export.kind {
                ExportKind::Function(signature) => ("function", Some(signature.to_string())),
                ExportKind::Memory => ("memory", None),
                ExportKind::Table => ("table", None),
                ExportKind::Global => ("global", None),
            };
            let mut fields = Fields::new(reply);
            fields.text("name", &export.name);
            fields.text("kind", kind);
            fields.maybe_text("signature", signature);
            fields.maybe_text("entry", entry.map(|entry| entry.kind.to_string()));
            fields.finish(reply);
        }
        Ok(())
    }
}
