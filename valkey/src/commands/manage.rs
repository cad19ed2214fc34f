//! Changes the registry, and sends the changes to replicas, the append-only file and the cluster.
//!
//! A change is sent as an entry: the function's name and its record, which has the digest of its
//! source and its permissions, or no record if the function was removed. Code is never sent this
//! way. Entries are read and given to the server under its lock, so that the last entry sent for a
//! name is its current one, whatever commands ran at the same time.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::automation::declared::AutomationRights;
use ferrite_runtime::commands::{Right, Scope, Spec};

use crate::api::cluster_nodes;
use crate::api::context::Context;
use crate::api::ffi;
use crate::module::Module;
use crate::records::definitions::Definition;
use crate::registry::cluster_bus;
use crate::registry::entry::{self, Entry};
use crate::registry::propagate;
use crate::transaction::call::Call;
use crate::transaction::current_call::{CurrentCall, LockedContext, enter};

/// The last argument of a command that changes every node of a cluster.
const CLUSTER: &[u8] = b"CLUSTER";

/// Time between two looks if something may be replicated again.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs a command that blocks, replicates what it changed, and returns the reply.
pub(crate) fn run(
    module: &'static Module,
    spec: &'static Spec,
    call: &Arc<Call>,
    locked: &LockedContext,
    protocol: Protocol,
) -> Vec<u8> {
    let mut slices = call.args.slices();
    let mut reply = Encoder::new(protocol);
    let manages = spec.right == Right::Manage;
    let everywhere = manages
        && slices.len() > 2
        && slices
            .last()
            .is_some_and(|word| word.eq_ignore_ascii_case(CLUSTER));
    if everywhere {
        slices.pop();
    }
    let name = slices.get(1).copied().filter(|_| manages);
    let is_primary = |context: Context<'_>| context.flags() & ffi::CTX_PRIMARY != 0;
    let was_primary = locked.with_lock(is_primary);
    if let Some(refusal) = name.and_then(|name| refused(name, everywhere, locked)) {
        reply.error(refusal);
        return reply.take();
    }
    match spec.read(&slices) {
        Err(error) => reply.error_display(&error),
        Ok(command) => {
            let scope = Scope {
                database: call.database,
                automation: rights(locked),
                ..Scope::default()
            };
            // What a module declares is kept in a transaction, which needs a call.
            let state = RefCell::default();
            enter(&CurrentCall::locked(call, &state, locked), || {
                module.runtime.run_blocking(command, scope, &mut reply);
            });
            crate::api::trap_handlers::note_ours();
            let done = !reply.bytes().starts_with(b"-");
            if let Some(name) = name.filter(|_| done) {
                while !locked.with_lock(|context| tell_others(module, context, name, everywhere)) {
                    std::thread::sleep(PAUSE);
                }
                if was_primary && !locked.with_lock(is_primary) {
                    reply.clear();
                    reply.error(
                        "STORE this server has become a replica meanwhile; send the command to its primary",
                    );
                }
            }
        }
    }
    reply.take()
}

/// Sends a changed function to replicas and, if it is the whole cluster's, to the other nodes. Returns false if
/// nothing may be replicated now, because a replica takes over or clients are paused: the server would abort.
/// Clients that write wait for the end of that as well.
fn tell_others(
    module: &'static Module,
    context: Context<'_>,
    name: &[u8],
    everywhere: bool,
) -> bool {
    if context.is_paused() {
        return false;
    }
    if everywhere {
        entry::stamp(name, cluster_nodes::node_id(context));
    }
    let entry = propagate::replicate(module, context, name);
    if everywhere {
        cluster_bus::send(context, None, &entry);
    }
    true
}

/// Returns what the caller may add that a module declares: what the commands for it are allowed to do.
fn rights(locked: &LockedContext) -> AutomationRights {
    let may = |command: &str| {
        locked.with_lock(|context| {
            let words = [command, "ADD"].map(|word| context.string(word.as_bytes()));
            context.may_run(&words.each_ref().map(|word| word.borrow()))
        })
    };
    AutomationRights {
        triggers: may("WASM.TRIGGER"),
        schedules: may("WASM.SCHEDULE"),
    }
}

/// Returns the error if a function may not be changed in this way: with `CLUSTER` outside of a
/// cluster, or without it if the function is the whole cluster's.
fn refused(name: &[u8], everywhere: bool, locked: &LockedContext) -> Option<String> {
    let in_cluster = locked.with_lock(|context| context.flags() & ffi::CTX_CLUSTER != 0);
    let shown = name.escape_ascii();
    if everywhere && !in_cluster {
        return Some("ERR this server is not part of a cluster; leave CLUSTER out".to_owned());
    }
    (!everywhere && in_cluster && entry::is_stamped(name)).then(|| {
        format!(
            "ERR the function '{shown}' is the whole cluster's; end the command with CLUSTER to change it on every node"
        )
    })
}

/// Runs `WASM.REGISTER`: adopts an entry of another server.
pub(crate) fn register(module: &'static Module, context: Context<'_>, json: &[u8]) {
    let unreadable = |error| format!("INVALID the entry cannot be read: {error}");
    let taken = match Definition::from_json(json) {
        Some(definition) => propagate::adopt_definition(module, context, definition),
        None => Entry::from_json(json)
            .map_err(unreadable)
            .and_then(|entry| propagate::adopt(module, context, entry)),
    };
    match taken {
        Ok(()) => context.reply(b"+OK\r\n"),
        Err(error) => context.reply_error(&error),
    }
}
