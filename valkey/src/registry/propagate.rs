//! Sends entries to replicas and the append-only file, and adopts entries of other servers.

use ferrite_protocol::record::DEAD_EVENT;

use crate::api::context::Context;
use crate::api::ffi;
use crate::module::Module;
use crate::records;
use crate::records::definitions::{self, Definition};
use crate::registry::entry::{self, Entry};
use crate::registry::peer_fetch;

pub(crate) use crate::records::definitions::REGISTER;

/// Begins the names of triggers.
const TRIGGER: &str = "trigger/";

/// Sends the current entry of a name to replicas and the append-only file, and returns it.
pub(crate) fn replicate(module: &Module, context: Context<'_>, name: &[u8]) -> Entry {
    entry::update_snapshot(module);
    let entry = entry::entry(module, name);
    let argument = context.string(&entry.to_json());
    context.replicate(REGISTER, &[argument.borrow()]);
    entry
}

/// Adopts an entry of another server, here and on this server's replicas.
pub(crate) fn adopt(
    module: &'static Module,
    context: Context<'_>,
    entry: Entry,
) -> Result<(), String> {
    let name = entry.name.clone();
    let record = entry.record.clone();
    entry::adopt(module, entry).map_err(|error| error.to_string())?;
    replicate(module, context, name.as_bytes());
    if let Some(record) = record {
        peer_fetch::prepare(module, context, vec![record]);
    }
    Ok(())
}

/// Adopts a trigger or a schedule of another server, here and on this server's replicas.
pub(crate) fn adopt_definition(
    module: &'static Module,
    context: Context<'_>,
    definition: Definition,
) -> Result<(), String> {
    definitions::replicate(context, &definition);
    let trigger = definition
        .name
        .strip_prefix(TRIGGER)
        .filter(|_| definition.value.is_none())
        .map(str::to_owned);
    entry::adopt_definition(module, context, definition)?;
    let is_primary = context.flags() & ffi::CTX_PRIMARY != 0;
    if let Some(trigger) = trigger.filter(|_| is_primary) {
        // Those that wait are removed one by one, as they come.
        let dead = records::read(context, DEAD_EVENT, b"", usize::MAX).unwrap_or_else(|error| {
            tracing::warn!(trigger, %error, "events of a removed trigger that were given up stay until later ones take their place");
            Vec::new()
        });
        let runtime = &module.runtime;
        let of_trigger = dead
            .into_iter()
            .filter(|(name, value)| runtime.is_dead_event_of(trigger.as_bytes(), name, value));
        records::change(context, of_trigger.map(|(name, _)| (name, None)));
    }
    Ok(())
}
