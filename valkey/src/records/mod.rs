//! The module's own records, which the runtime keeps beside the data: triggers, schedules, events, and
//! requests of the outbox.
//!
//! Triggers and schedules are definitions: in a table of the module, saved and replicated as its functions
//! are. Events and requests are in the server's data, in hashes of their own, so that they are saved,
//! replicated and moved between the nodes of a cluster together with the keys that they are about.

pub(crate) mod capture;
pub(crate) mod definitions;
pub(crate) mod listen;
pub(crate) mod queue;
pub(crate) mod slot;

use ferrite_protocol::record::Record;

use crate::api::context::Context;
use crate::records::queue::Queue;

/// A change of a record: its name, and its value unless it is removed.
pub(crate) type RecordChange = (Box<[u8]>, Option<Box<[u8]>>);

/// Returns at most `count` records whose names begin with `prefix` and come after `after`.
pub(crate) fn read(context: Context<'_>, prefix: &[u8], after: &[u8], count: usize) -> Vec<Record> {
    if Queue::of(prefix).is_some() {
        queue::records(context, prefix, after, count)
    } else {
        definitions::records(context, prefix, after, count)
    }
}

/// Checks that a change can be made at all. `delivers` is true for a call that delivers an event, and so
/// removes it. A new request whose part is on another node by now gets a name in a part that is here.
///
/// # Errors
///
/// Why not: the event was removed meanwhile, or is on another node of the cluster by now.
pub(crate) fn check(
    context: Context<'_>,
    (name, value): &mut RecordChange,
    delivers: bool,
) -> Result<(), String> {
    let removes = value.is_none();
    match Queue::of(name) {
        Some(Queue::Events) if !removes || delivers => queue::check(context, name, removes),
        Some(Queue::Outbox) if !removes => {
            if queue::is_known(context, name) {
                return queue::check(context, name, true);
            }
            *name = queue::place(context, name)?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Makes changes, here and on replicas.
pub(crate) fn change(context: Context<'_>, changes: impl Iterator<Item = RecordChange>) {
    let mut removed = Vec::new();
    for (name, value) in changes {
        let Some(of) = Queue::of(&name) else {
            definitions::change(context, &name, value.as_deref());
            continue;
        };
        let Some(value) = value else {
            removed.push(name);
            continue;
        };
        if of == Queue::Outbox {
            // What was kept elsewhere comes first.
            capture::take_in(context, of, queue::part(&name));
        }
        match queue::put(context, &name, &value) {
            Ok(()) if of == Queue::Outbox => capture::request_kept(&name, &value),
            Ok(()) => {}
            Err(error) => {
                let name = name.escape_ascii();
                tracing::error!(%name, error, "the record of an event or a request was not kept");
            }
        }
    }
    queue::remove(context, removed);
}
