//! `WASM.CONFIG`: changes a function's own configuration.

use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.CONFIG",
    arity: 3,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::Blocking,
    summary: "Changes a function's own configuration: a text sets the value of its name, and null removes it.",
    syntax: "name json",
    parse,
};

/// Request to change a function's configuration.
#[derive(Clone, Copy)]
pub struct Configure<'a> {
    pub(in crate::commands) name: &'a [u8],
    json: &'a [u8],
}

/// The values may be secret.
impl std::fmt::Debug for Configure<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Configure({})", self.name.escape_ascii())
    }
}

fn parse<'a>(_: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Configure(Configure {
        name: argv[1],
        json: argv[2],
    }))
}

impl Configure<'_> {
    /// Replies the names of the values that the function has now.
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let config = runtime.configure(self.name, self.json)?;
        reply.array(config.names().len());
        config.names().for_each(|name| reply.bulk(name.as_bytes()));
        Ok(())
    }
}
