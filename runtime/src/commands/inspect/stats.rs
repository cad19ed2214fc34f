//! `WASM.STATS`: shows the totals over all functions that the user may use.

use crate::commands::error::CommandError;
use crate::commands::grammar::fields::Fields;
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::commands::{Command, FunctionFilter};
use crate::error::{CallError, Code};
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.STATS",
    arity: 1,
    flags: &["readonly"],
    keys: Keys::None,
    right: Right::Inspect,
    runs: Runs::AtOnce,
    summary: "Tells how many functions, calls, errors and instances there are.",
    syntax: "",
    parse,
};

/// Most users that are shown: those with the most running calls.
const USERS_MAX: usize = 100;

/// Request for the totals over all functions.
#[derive(Clone, Copy, Debug)]
pub struct Stats;

fn parse<'a>(_: &'static Spec, _: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Stats(Stats))
}

impl Stats {
    #[expect(clippy::unnecessary_wraps, reason = "every command runs alike")]
    pub(in crate::commands) fn run<K: Keyspace>(
        self,
        runtime: &Runtime<K>,
        filter: FunctionFilter<'_>,
        reply: &mut Encoder,
    ) -> Result<(), CallError> {
        let mut functions = runtime.functions();
        functions.retain(|one| filter.allows(one.record().name.as_bytes()));
        let (mut loaded, mut calls, mut fuel, mut retries) = (0, 0, 0, 0);
        let (mut running, mut waiting, mut idle, mut idle_bytes) = (0, 0, 0, 0);
        let mut errors = [0; Code::ALL.len()];
        for one in &functions {
            let stats = one.stats().snapshot();
            calls += stats.calls;
            fuel += stats.fuel;
            retries += stats.retries;
            for (sum, code) in errors.iter_mut().zip(Code::ALL) {
                let found = stats
                    .errors_by_code
                    .iter()
                    .find(|(known, _)| *known == code);
                *sum += found.map_or(0, |(_, count)| *count);
            }
            let usage = one.usage();
            running += usage.running as u64;
            waiting += usage.waiting as u64;
            idle += usage.idle as u64;
            if let Some(function) = one.function() {
                loaded += 1;
                idle_bytes += function.idle_memory_bytes();
            }
        }
        let mut fields = Fields::new(reply);
        fields.count("functions", functions.len() as u64);
        fields.count("functions_loaded", loaded);
        fields.count("calls", calls);
        fields.count("errors", errors.iter().sum());
        fields.map("errors_by_code", |fields| {
            for (code, count) in Code::ALL.into_iter().zip(errors) {
                if count > 0 {
                    fields.count(code.as_str(), count);
                }
            }
        });
        fields.count("retries", retries);
        fields.count("fuel", fuel);
        fields.count("running", running);
        fields.count("waiting", waiting);
        fields.count("idle_instances", idle);
        fields.count("idle_memory_bytes", idle_bytes);
        // These are of all functions together.
        if filter.allows_all() {
            let outbox = runtime.outbox_figures().unwrap_or_default();
            fields.count("outbox_pending", outbox.pending as u64);
            fields.count("outbox_sent", outbox.sent);
            fields.count("outbox_failures", outbox.failures);
            fields.count("outbox_dead", outbox.dead as u64);
            let background = runtime.background_calls().usage();
            fields.count("async_pending", background.pending as u64);
            fields.count("async_results", background.results as u64);
            fields.count("async_result_bytes", background.result_bytes as u64);
            fields.count("user_calls_held", runtime.calls_held_by_share());
            fields.map("user_running_calls", |fields| {
                for (user, calls) in runtime.user_calls().into_iter().take(USERS_MAX) {
                    fields.count(&user, calls as u64);
                }
            });
        }
        fields.finish(reply);
        Ok(())
    }
}
