//! The module's own records, which the runtime keeps beside the data: triggers, schedules, events, and
//! requests of the outbox.
//!
//! Triggers and schedules are definitions: in a table of the module, saved and replicated as its functions
//! are. Events and requests are in the server's data, in hashes of their own, so that they are saved,
//! replicated and moved between the nodes of a cluster together with the keys that they are about.

pub(crate) mod arriving;
pub(crate) mod capture;
pub(crate) mod definitions;
pub(crate) mod known;
pub(crate) mod listen;
pub(crate) mod noted;
pub(crate) mod own_slots;
pub(crate) mod place;
pub(crate) mod queue;
pub(crate) mod slot;

use std::collections::HashSet;

use ferrite_protocol::record::Record;

use crate::api::command_call::RunError;
use crate::api::context::Context;
use crate::records::place::Queue;
use crate::records::queue::RecordError;

/// A change of a record: its name, and its value unless it is removed.
pub(crate) type RecordChange = (Box<[u8]>, Option<Box<[u8]>>);

/// Returns at most `count` records whose names begin with `prefix` and come after `after`.
///
/// # Errors
///
/// They cannot be read now.
pub(crate) fn read(
    context: Context<'_>,
    prefix: &[u8],
    after: &[u8],
    count: usize,
) -> Result<Vec<Record>, RunError> {
    if Queue::of(prefix).is_some() {
        queue::records(context, prefix, after, count)
    } else {
        Ok(definitions::records(context, prefix, after, count))
    }
}

/// Returns the value of a record, if it is here.
///
/// # Errors
///
/// It cannot be read now.
pub(crate) fn read_one(context: Context<'_>, name: &[u8]) -> Result<Option<Box<[u8]>>, RunError> {
    if Queue::of(name).is_some() {
        return queue::value(context, name);
    }
    let first = definitions::records(context, name, b"", 1);
    let named = first.into_iter().find(|(found, _)| **found == *name);
    Ok(named.map(|(_, value)| value))
}

/// Checks that changes can be made at all, and that the `required` records are here. A new request whose part
/// is on another node by now gets a name in a part that is here.
///
/// # Errors
///
/// Why not: a record was removed meanwhile, or is on another node of the cluster by now.
pub(crate) fn check(
    context: Context<'_>,
    required: &[Box<[u8]>],
    changes: &mut [RecordChange],
) -> Result<(), RecordError> {
    if required.is_empty() && changes.is_empty() {
        // As for almost every call.
        return Ok(());
    }
    for name in required {
        queue::require(context, name)?;
    }
    let mut checked = HashSet::new();
    for (name, value) in changes {
        match (Queue::of(name), value) {
            (Some(_), None) => {
                let place = place::place_of(name);
                if checked.insert(place) {
                    queue::check_removals(context, place)?;
                }
            }
            (Some(Queue::Events), Some(_)) => queue::check(context, name)?,
            (Some(Queue::Outbox), Some(_)) => *name = queue::place(context, name)?,
            (None, _) => {}
        }
    }
    Ok(())
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
            capture::take_in(context, of, place::part(&name));
        }
        match queue::put(context, &name, &value) {
            Ok(()) if of == Queue::Outbox => capture::request_kept(&name, &value),
            Ok(()) => {}
            Err(error) => {
                let name = name.escape_ascii();
                tracing::error!(%name, %error, "the record of an event or a request was not kept");
            }
        }
    }
    queue::remove(context, removed);
}
