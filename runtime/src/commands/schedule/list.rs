//! `WASM.SCHEDULE LIST`: shows every schedule with its next and last run.

use super::may_use;
use crate::automation::bytes::Bytes;
use crate::commands::FunctionFilter;
use crate::commands::grammar::fields::Fields;
use crate::commands::grammar::names::origin;
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

pub(super) fn write<K: Keyspace>(
    runtime: &Runtime<K>,
    functions: FunctionFilter<'_>,
    reply: &mut Encoder,
) {
    let mut schedules = runtime.schedules();
    schedules.retain(|(schedule, _)| may_use(functions, &schedule.function.0));
    reply.array(schedules.len());
    for (schedule, running) in schedules {
        let mut fields = Fields::new(reply);
        fields.text("id", schedule.id.as_str());
        fields.text("function", &schedule.function.0);
        fields.text("when", schedule.when.to_string());
        fields.text("missed", schedule.missed.as_str());
        fields.with("keys", |reply| words(&schedule.keys, reply));
        fields.with("args", |reply| words(&schedule.args, reply));
        fields.count("database", u64::from(schedule.database));
        fields.with("running", |reply| reply.bool(running));
        fields.with("next", |reply| time(schedule.next, reply));
        let last = schedule.last;
        fields.with("last", |reply| {
            time(last.as_ref().map(|last| last.at), reply);
        });
        fields.maybe_text("outcome", last.map(|last| last.outcome.into_string()));
        fields.count("runs", schedule.runs);
        fields.count("errors", schedule.errors);
        fields.text("from", origin(schedule.declared));
        fields.finish(reply);
    }
}

fn time(millis: Option<i64>, reply: &mut Encoder) {
    match millis {
        Some(millis) => reply.int(millis),
        None => reply.null(),
    }
}

fn words(words: &[Bytes], reply: &mut Encoder) {
    reply.array(words.len());
    for word in words {
        reply.bulk(&word.0);
    }
}
