//! `WASM.RELOAD`: replaces a function's code.

use std::path::Path;

use crate::artifact::source::{Source, file_of};
use crate::commands::error::CommandError;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::commands::{Command, Scope};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.RELOAD",
    arity: 3,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::Blocking,
    summary: "Gives a function other code, at once for all later calls, and keeps its permissions and limits.",
    syntax: "name source",
    parse,
};

/// Request to reload a function.
#[derive(Clone, Debug)]
pub struct Reload<'a> {
    pub(in crate::commands) name: &'a [u8],
    source: &'a [u8],
}

fn parse<'a>(_: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Reload(Reload {
        name: argv[1],
        source: argv[2],
    }))
}

impl Reload<'_> {
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        scope: Scope<'_>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let source = Source::for_load(self.source, &runtime.options().source)?;
        let file = file_of(self.source).and_then(Path::to_str);
        let digest = runtime.reload(self.name, &source, file, scope.automation)?;
        reply.bulk_display(&digest);
        Ok(())
    }
}
