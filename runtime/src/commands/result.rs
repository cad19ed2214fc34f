//! `WASM.RESULT`: fetches the reply of a call in the background.

use std::time::Duration;

use super::Command;
use super::error::CommandError;
use super::options::{Options, time};
use super::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::keyspace::Keyspace;
use crate::resp::Encoder;
use crate::runtime::Runtime;

pub(super) static SPEC: Spec = Spec {
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

/// The reply of a call in the background.
#[derive(Clone, Debug)]
pub struct ResultOf<'a> {
    id: &'a [u8],
    /// How long to wait for it; 0 as long as it takes.
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
    pub(super) async fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let id = String::from_utf8_lossy(self.id);
        runtime.async_calls().result(&id, self.block, reply).await
    }
}
