//! `WASM.ERRORS`: shows a function's latest errors.

use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::fields::Fields;
use crate::commands::grammar::options::Options;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::policy::quantity::Count;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.ERRORS",
    arity: -2,
    flags: &["readonly"],
    keys: Keys::None,
    right: Right::Inspect,
    runs: Runs::AtOnce,
    summary: "Shows a function's latest errors, the newest first.",
    syntax: "name [LIMIT count]",
    parse,
};

/// Request for a function's latest errors.
#[derive(Clone, Debug)]
pub struct Errors<'a> {
    pub(in crate::commands) name: &'a [u8],
    count_max: usize,
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    const LIMIT: &str = "LIMIT";
    let mut options = Options::new(spec, argv, 2);
    let mut limit = None;
    while let Some(option) = options.next(&[LIMIT])? {
        options.value(option, &mut limit)?;
    }
    let count_max = match limit {
        None => usize::MAX,
        Some(text) => {
            let Count(count) = String::from_utf8_lossy(text).parse().map_err(|problem| {
                CommandError::Quantity {
                    command: spec.name,
                    option: LIMIT,
                    problem,
                }
            })?;
            usize::try_from(count).unwrap_or(usize::MAX)
        }
    };
    Ok(Command::Errors(Errors {
        name: argv[1],
        count_max,
    }))
}

impl Errors<'_> {
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let registered = runtime.function(self.name)?;
        let errors = registered.stats().recent_errors(self.count_max);
        reply.array(errors.len());
        for error in errors {
            let mut fields = Fields::new(reply);
            fields.count("unix_ms", error.unix_millis);
            fields.text("code", error.code.as_str());
            fields.text("message", &*error.text);
            fields.maybe_text("digest", error.digest.map(|digest| digest.to_string()));
            fields.finish(reply);
        }
        Ok(())
    }
}
