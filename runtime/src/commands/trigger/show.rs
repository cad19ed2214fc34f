//! `WASM.TRIGGER LIST` and `WASM.TRIGGER INFO`: show triggers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::automation::trigger::event::QueuedEvent;
use crate::automation::trigger::table::ActiveTrigger;
use crate::commands::FunctionFilter;
use crate::commands::grammar::fields::Fields;
use crate::commands::grammar::names::{origin, without_entry};
use crate::error::{CallError, Quoted};
use crate::service::Runtime;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

/// Events that were given up, as `INFO` shows them: the last ones.
const DEAD_SHOWN: usize = 10;

/// Returns the trigger of this name, if the user may use its function.
pub(super) fn allowed<K: Keyspace>(
    runtime: &Runtime<K>,
    functions: FunctionFilter<'_>,
    name: &[u8],
) -> Result<Arc<ActiveTrigger>, CallError> {
    let trigger = runtime.triggers().existing(name)?;
    if may_use(functions, &trigger) {
        Ok(trigger)
    } else {
        // The same as if there were none.
        Err(CallError::invalid(format!(
            "there is no trigger {}; WASM.TRIGGER LIST shows them",
            Quoted(name)
        )))
    }
}

fn may_use(functions: FunctionFilter<'_>, trigger: &ActiveTrigger) -> bool {
    functions.allows(without_entry(&trigger.trigger.function.0))
}

pub(super) fn list<K: Keyspace>(
    runtime: &Runtime<K>,
    functions: FunctionFilter<'_>,
    reply: &mut Encoder,
) {
    let all = runtime.triggers().list();
    let shown: Vec<_> = all.iter().filter(|one| may_use(functions, one)).collect();
    reply.array(shown.len());
    for trigger in shown {
        let mut fields = Fields::new(reply);
        definition(trigger, &mut fields);
        fields.finish(reply);
    }
}

pub(super) fn info<K: Keyspace>(
    runtime: &Runtime<K>,
    functions: FunctionFilter<'_>,
    name: &[u8],
    reply: &mut Encoder,
) -> Result<(), CallError> {
    let trigger = allowed(runtime, functions, name)?;
    let mut fields = Fields::new(reply);
    definition(&trigger, &mut fields);
    let pending = runtime.triggers().queue.count_of(name);
    fields.count("pending", pending as u64);
    let figures = &trigger.figures;
    let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    fields.count("occurred", count(&figures.events));
    fields.count("delivered", count(&figures.delivered));
    fields.count("failures", count(&figures.failures));
    fields.count("given_up", count(&figures.dead));
    fields.count("not_given_up", count(&figures.not_given_up));
    fields.maybe_text("last_error", figures.last_error.lock().as_deref());
    // The rest is shown while the data cannot be read, too.
    if let Ok(dead) = runtime.last_dead(name, DEAD_SHOWN) {
        fields.with("dead", |reply| {
            reply.array(dead.len());
            for event in &dead {
                given_up(event, reply);
            }
        });
    }
    fields.finish(reply);
    Ok(())
}

fn definition(active: &ActiveTrigger, fields: &mut Fields) {
    let trigger = &active.trigger;
    fields.text("name", trigger.name.as_str());
    fields.text("function", &trigger.function.0);
    fields.with("keys", |reply| {
        reply.array(trigger.keys.len());
        trigger.keys.iter().for_each(|key| reply.bulk(&key.0));
    });
    fields.with("events", |reply| {
        reply.array(trigger.events.len());
        let events = trigger.events.iter();
        events.for_each(|event| reply.bulk(event.as_bytes()));
    });
    fields.text("when", trigger.phase.as_str());
    fields.count("database", u64::from(trigger.database));
    fields.text("from", origin(trigger.declared));
}

fn given_up(event: &QueuedEvent, reply: &mut Encoder) {
    let mut fields = Fields::new(reply);
    fields.text("event", event.event.as_bytes());
    fields.text("key", &event.key);
    fields.with("time", |reply| reply.int(event.at));
    fields.text("error", event.error.as_bytes());
    fields.finish(reply);
}
