//! `WASM.UNLOAD`: removes a function.

use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.UNLOAD",
    arity: 2,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::Blocking,
    summary: "Forgets a function; calls that run end undisturbed.",
    syntax: "name",
    parse,
};

/// Request to remove a function.
#[derive(Clone, Debug)]
pub struct Unload<'a>(pub(in crate::commands) &'a [u8]);

fn parse<'a>(_: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Unload(Unload(argv[1])))
}

impl Unload<'_> {
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        runtime.unload(self.0)?;
        reply.ok();
        Ok(())
    }
}
