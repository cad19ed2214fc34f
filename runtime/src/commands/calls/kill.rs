//! `WASM.KILL`: ends calls.

use crate::commands::error::CommandError;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::commands::{Command, FunctionFilter};
use crate::error::{CallError, Code, Quoted};
use crate::scheduling::cancellation::CallId;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.KILL",
    arity: 2,
    flags: &["admin", "noscript"],
    keys: Keys::None,
    right: Right::Manage,
    runs: Runs::AtOnce,
    summary: "Ends every call of a function, or one call by its id; nothing that it wrote is kept.",
    syntax: "name|call-id",
    parse,
};

/// Request to kill calls.
#[derive(Clone, Debug)]
pub struct Kill<'a>(&'a [u8]);

fn parse<'a>(_: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Kill(Kill(argv[1])))
}

impl Kill<'_> {
    /// Returns the name or id whose calls are to end.
    #[must_use]
    pub const fn target(&self) -> &[u8] {
        self.0
    }

    /// Runs the command for a host that has told `more` calls of this function to end, and writes one
    /// reply.
    pub fn run_with<K: Keyspace>(self, runtime: &Runtime<K>, more: usize, reply: &mut Encoder) {
        if let Err(error) = self.end_calls(runtime, FunctionFilter::default(), more, reply) {
            reply.error_display(&error);
        }
    }

    /// Replies with the number of calls to end. A function's name takes precedence over an id. Calls of
    /// functions that the user may not use are not found.
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        filter: FunctionFilter<'_>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        self.end_calls(runtime, filter, 0, reply)
    }

    fn end_calls<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        filter: FunctionFilter<'_>,
        more: usize,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        if let Ok(registered) = runtime.function(self.0)
            && filter.allows(self.0)
        {
            let running = registered.kill_all();
            let pending = runtime.background_calls().kill_all(self.0);
            // A running background call was counted with the others, and so was the part of a call on
            // all nodes that runs on this one.
            reply.count(running.max(pending).max(more) as u64);
            return Ok(());
        }
        let text = String::from_utf8_lossy(self.0);
        let killed = runtime
            .background_calls()
            .kill(&text, |function| filter.allows(function))
            || text.parse().is_ok_and(|number| {
                let id = CallId::from_number(number);
                let mut functions = runtime.functions().into_iter();
                functions.any(|one| filter.allows(one.record().name.as_bytes()) && one.kill(id))
            });
        if killed {
            reply.int(1);
            return Ok(());
        }
        Err(CallError::new(
            Code::NoFunction,
            format!(
                "{} is neither a function that is loaded nor a call that runs; WASM.INFO shows a function's calls",
                Quoted(self.0)
            ),
        ))
    }
}
