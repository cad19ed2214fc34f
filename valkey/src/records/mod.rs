//! The module's own records, which the runtime keeps beside the data: triggers, schedules and events.
//!
//! Triggers and schedules are definitions: in a table of the module, saved and replicated as its functions
//! are. Events are in the server's data, in hashes of their own, so that they are saved, replicated and
//! moved between the nodes of a cluster together with the keys that they are about.

pub(crate) mod capture;
pub(crate) mod definitions;
pub(crate) mod listen;
pub(crate) mod queue;
pub(crate) mod slot;

use ferrite_protocol::record::Record;

use crate::api::context::Context;

/// Begins the names of events that wait.
pub(crate) const EVENT: &[u8] = b"event/";

/// Begins the names of events that were given up.
pub(crate) const DEAD: &[u8] = b"dead/";

/// A change of a record: its name, and its value unless it is removed.
pub(crate) type RecordChange = (Box<[u8]>, Option<Box<[u8]>>);

/// Returns true if this is the record of an event.
pub(crate) fn is_event(name: &[u8]) -> bool {
    name.starts_with(EVENT) || name.starts_with(DEAD)
}

/// Returns at most `count` records whose names begin with `prefix` and come after `after`.
pub(crate) fn read(context: Context<'_>, prefix: &[u8], after: &[u8], count: usize) -> Vec<Record> {
    if is_event(prefix) {
        queue::records(context, prefix, after, count)
    } else {
        definitions::records(context, prefix, after, count)
    }
}

/// Checks that a change can be made at all. `delivers` is true for a call that delivers an event, and so
/// removes it.
///
/// # Errors
///
/// Why not: the event was removed meanwhile, or is on another node of the cluster by now.
pub(crate) fn check(
    context: Context<'_>,
    (name, value): &RecordChange,
    delivers: bool,
) -> Result<(), String> {
    let removes = value.is_none();
    if !is_event(name) || removes && !delivers {
        return Ok(());
    }
    queue::check(context, name, removes)
}

/// Makes changes, here and on replicas.
pub(crate) fn change(context: Context<'_>, changes: impl Iterator<Item = RecordChange>) {
    let mut removed = Vec::new();
    for (name, value) in changes {
        match value {
            value if !is_event(&name) => definitions::change(context, &name, value.as_deref()),
            None => removed.push(name),
            Some(value) => {
                if let Err(error) = queue::put(context, &name, &value) {
                    let name = name.escape_ascii();
                    tracing::error!(%name, error, "the record of an event was not kept");
                }
            }
        }
    }
    queue::remove(context, removed);
}
