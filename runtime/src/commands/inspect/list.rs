//! `WASM.LIST`: lists every function.

use crate::commands::error::CommandError;
use crate::commands::grammar::fields::Fields;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::commands::{Command, FunctionFilter};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.LIST",
    arity: 1,
    flags: &["readonly"],
    keys: Keys::None,
    right: Right::Inspect,
    runs: Runs::AtOnce,
    summary: "Lists every function with its digest, isolation and number of calls.",
    syntax: "",
    parse,
};

/// Request for the list of all functions.
#[derive(Clone, Copy, Debug)]
pub struct List;

fn parse<'a>(_: &'static Spec, _: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::List(List))
}

impl List {
    #[expect(clippy::unnecessary_wraps, reason = "every command runs alike")]
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        filter: FunctionFilter<'_>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let mut functions = runtime.functions();
        functions.retain(|one| filter.allows(one.record().name.as_bytes()));
        reply.array(functions.len());
        for function in functions {
            let record = function.record();
            let stats = function.stats().snapshot();
            let isolation = record.isolation.unwrap_or(runtime.options().isolation);
            let mut fields = Fields::new(reply);
            fields.text("name", record.name.as_str());
            fields.text("digest", record.digest.to_string());
            fields.text("isolation", isolation.as_str());
            fields.count("calls", stats.calls);
            fields.count("errors", stats.errors);
            if let Some(declared) = record.declared() {
                let count = declared.lines().count();
                fields.count("declares", count as u64);
            }
            fields.finish(reply);
        }
        Ok(())
    }
}
