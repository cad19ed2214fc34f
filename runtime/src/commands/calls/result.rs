//! `WASM.RESULT`: fetches the reply of a call in the background.

use std::time::Duration;

use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::options::{Options, time};
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.RESULT",
    arity: -2,
    flags: &["readonly", "blocking"],
    keys: Keys::None,
    right: Right::Call,
    runs: Runs::Async,
    summary: "Fetches the reply of a call in the background; null while the call runs.",
    syntax: "call-id [BLOCK milliseconds]",
    parse,
};

/// Request for the reply of a background call.
#[derive(Clone, Debug)]
pub struct ResultOf<'a> {
    id: &'a [u8],
    /// Longest wait; 0 for no limit.
    block: Option<Duration>,
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    const BLOCK: &str = "BLOCK";
    let mut options = Options::new(spec, argv, 2);
    let mut block = None;
    while let Some(option) = options.next(&[BLOCK])? {
        options.value(option, &mut block)?;
    }
    Ok(Command::Result(ResultOf {
        id: argv[1],
        block: block.map(|text| time(spec.name, BLOCK, text)).transpose()?,
    }))
}

impl ResultOf<'_> {
    pub(in crate::commands) async fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let id = String::from_utf8_lossy(self.id);
        runtime
            .background_calls()
            .result(&id, self.block, reply)
            .await
    }
}
