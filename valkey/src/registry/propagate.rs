//! Entries on their way to replicas and the append-only file, and from other servers to here.

use crate::api::context::Context;
use crate::module::Module;
use crate::registry::entry::{self, Entry};
use crate::registry::peer_fetch;

/// Takes over an entry of another server; its one argument.
pub(crate) const REGISTER: &std::ffi::CStr = c"WASM.REGISTER";

/// Tells replicas and the append-only file what a name stands for now; the entry.
pub(crate) fn replicate(module: &Module, context: Context<'_>, name: &[u8]) -> Entry {
    entry::update_snapshot(module);
    let entry = entry::entry(module, name);
    let argument = context.string(&entry.to_json());
    context.replicate(REGISTER, &[argument.borrow()]);
    entry
}

/// Makes an entry of another server hold here and on this one's replicas.
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
