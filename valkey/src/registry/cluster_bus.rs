//! Sends changed entries over the cluster's bus, and compares the entries of all nodes regularly.
//!
//! A message on the bus is lost if a node is down. So every primary sends the others a hash of its
//! entries every few seconds, and a node with another hash answers with all its entries. Nodes that
//! were down, or join later, get everything that way. Replicas get entries from their primaries.

#![allow(unsafe_code, reason = "asks the server for a timer")]

use std::ffi::{c_longlong, c_void};

use crate::api::bus;
use crate::api::context::{Context, log};
use crate::api::ffi::{self, Ctx, api};
use crate::api::panic_guard::guard;
use crate::module::module;
use crate::records::definitions::{self, Definition};
use crate::registry::entry::{self, Entry};
use crate::registry::propagate;

/// Kind of a message with an entry, as JSON.
const ENTRY: u8 = 1;
/// Kind of a message with a hash of all entries.
const HASH: u8 = 2;

/// Kind of a message with a trigger or a schedule, as JSON.
const DEFINITION: u8 = 3;
/// Kind of a message with a hash of all triggers and schedules.
const DEFINITIONS_HASH: u8 = 4;

/// Time between two comparisons of all entries, in milliseconds.
const COMPARE_MILLIS: c_longlong = 2_000;

/// A longer message is not sent.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Starts receiving and comparing entries, if the server is part of a cluster.
pub(crate) fn start(context: Context<'_>) {
    if context.flags() & ffi::CTX_CLUSTER == 0 {
        return;
    }
    bus::receive(
        context,
        &[ENTRY, HASH, DEFINITION, DEFINITIONS_HASH],
        received,
    );
    compare_later(context);
}

/// Sends an entry to the node `to`, or to all other nodes.
pub(crate) fn send(context: Context<'_>, to: Option<&[u8]>, entry: &Entry) {
    let json = entry.to_json();
    if json.len() > MESSAGE_BYTES_MAX {
        let text = format!(
            "ferrite: the entry of {} is too large for the bus",
            entry.name
        );
        log(c"warning", &text);
        return;
    }
    send_bytes(context, to, ENTRY, &json);
}

/// Sends a trigger or a schedule to the node `to`, or to all other nodes.
pub(crate) fn send_definition(context: Context<'_>, to: Option<&[u8]>, definition: &Definition) {
    // Its limits keep it far below those of the bus.
    send_bytes(context, to, DEFINITION, &definition.to_json());
}

/// A node that cannot be reached is no error: it gets the entries with a later comparison.
fn send_bytes(context: Context<'_>, to: Option<&[u8]>, kind: u8, bytes: &[u8]) {
    bus::send(context, to, kind, bytes);
}

fn received(context: Context<'_>, sender: &[u8], kind: u8, payload: &[u8]) {
    let Some(module) = module() else { return };
    // Replicas get entries from their primaries. While a replica takes over, nothing may be replicated: the
    // server would abort. What is left out then comes again with a later comparison.
    if context.flags() & ffi::CTX_PRIMARY == 0 || context.is_paused() {
        return;
    }
    match kind {
        HASH if payload != entry::shared_hash() => {
            for entry in entry::shared(module) {
                send(context, Some(sender), &entry);
            }
        }
        DEFINITIONS_HASH if payload != definitions::hash(context) => {
            for definition in definitions::all(context) {
                send_definition(context, Some(sender), &definition);
            }
        }
        DEFINITION => {
            let taken = match Definition::from_json(payload) {
                None => Err("the message cannot be read".to_owned()),
                Some(definition) if definitions::is_newer(context, &definition) => {
                    propagate::adopt_definition(module, context, definition)
                }
                Some(_) => Ok(()),
            };
            if let Err(error) = taken {
                let text =
                    format!("ferrite: a trigger or a schedule of the cluster is left out: {error}");
                log(c"warning", &text);
            }
        }
        ENTRY => {
            let taken = Entry::from_json(payload)
                .map_err(|error| error.to_string())
                .and_then(|entry| {
                    if entry::is_newer(&entry) {
                        propagate::adopt(module, context, entry)
                    } else {
                        Ok(())
                    }
                });
            if let Err(error) = taken {
                let text = format!("ferrite: a function of the cluster is left out: {error}");
                log(c"warning", &text);
            }
        }
        _ => {}
    }
}

fn compare_later(context: Context<'_>) {
    // SAFETY: a live context, and a callback of the right type that takes nothing.
    unsafe {
        (api().create_timer)(
            context.raw(),
            COMPARE_MILLIS,
            compare,
            std::ptr::null_mut::<c_void>(),
        );
    }
}

unsafe extern "C" fn compare(ctx: *mut Ctx, _: *mut c_void) {
    guard("a comparison with the cluster", (), || {
        // SAFETY: the server passes a live context.
        let Some(context) = (unsafe { Context::new(ctx) }) else {
            return;
        };
        compare_later(context);
        if context.flags() & ffi::CTX_PRIMARY != 0 {
            send_bytes(context, None, HASH, &entry::shared_hash());
            let hash = definitions::hash(context);
            send_bytes(context, None, DEFINITIONS_HASH, &hash);
        }
    });
}
