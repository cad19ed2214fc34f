//! `WASM.MEMORY`: shows a function's memory use and limit.

use ferrite_cache::WASM_PAGE_BYTES;

use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::fields::Fields;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::error::CallError;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.MEMORY",
    arity: 2,
    flags: &["readonly"],
    keys: Keys::None,
    right: Right::Inspect,
    runs: Runs::Blocking,
    summary: "Tells how much memory a function's instances start with, keep and may have.",
    syntax: "name",
    parse,
};

/// Request for a function's memory use and limit.
#[derive(Clone, Debug)]
pub struct Memory<'a>(pub(in crate::commands) &'a [u8]);

fn parse<'a>(_: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Memory(Memory(argv[1])))
}

impl Memory<'_> {
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let function = runtime.ready(self.0)?;
        let limit_bytes = function.spec().limits.memory_bytes_max;
        let memory = function.manifest().module.memory.as_ref();
        let initial = memory.map_or(0, |memory| memory.min_pages.saturating_mul(WASM_PAGE_BYTES));
        let maximum = memory
            .and_then(|memory| memory.max_pages)
            .map_or(limit_bytes, |pages| pages.saturating_mul(WASM_PAGE_BYTES));
        let usage = function.usage();
        let mut fields = Fields::new(reply);
        fields.count("initial_bytes", initial);
        fields.count("maximum_bytes", maximum.min(limit_bytes));
        fields.count("limit_bytes", limit_bytes);
        fields.count("running", usage.running as u64);
        fields.count("idle_instances", usage.idle as u64);
        fields.count("idle_memory_bytes", function.idle_memory_bytes());
        let manifest = function.manifest();
        fields.count("artifact_bytes", manifest.artifact_len);
        if let Some(image) = &manifest.image {
            fields.text("engine", image.engine.to_string());
            fields.count("image_bytes", image.len);
        }
        fields.finish(reply);
        Ok(())
    }
}
