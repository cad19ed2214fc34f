//! Sends entries to replicas and the append-only file, and adopts entries of other servers.

use crate::api::context::Context;
use crate::module::Module;
use crate::registry::entry::{self, Entry};
use crate::registry::peer_fetch;

/// Name of the command that adopts an entry of another server, its one argument.
pub(crate) const REGISTER: &std::ffi::CStr = c"WASM.REGISTER";

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
