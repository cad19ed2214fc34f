//! Changes of the registry, and how replicas, the append-only file and the cluster learn of them.
//!
//! What travels is an entry: the function's name, and its record, which has the digest of its source
//! and what it may do; nothing where the function is gone. Code never travels this way. Entries are
//! read and handed to the server under its lock, so that the last entry of a name that goes out is
//! the last one that held, whatever ran at once.

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::commands::{Right, Spec};

use crate::api::cluster_nodes;
use crate::api::context::Context;
use crate::api::ffi;
use crate::module::Module;
use crate::registry::cluster_bus;
use crate::registry::entry::{self, Entry};
use crate::registry::propagate;
use crate::transaction::call::Call;
use crate::transaction::current_call::LockedContext;

/// The word after a command that makes it hold on every node of a cluster.
const CLUSTER: &[u8] = b"CLUSTER";

/// Runs a command that blocks, and spreads what it changed; the reply.
pub(crate) fn run(
    module: &'static Module,
    spec: &'static Spec,
    call: &Call,
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
    if let Some(refusal) = name.and_then(|name| refused(name, everywhere, locked)) {
        reply.error(refusal);
        return reply.take();
    }
    match spec.read(&slices) {
        Err(error) => reply.error_display(&error),
        Ok(command) => {
            module.runtime.run_blocking(command, &mut reply);
            crate::api::trap_handlers::note_ours();
            let done = !reply.bytes().starts_with(b"-");
            if let Some(name) = name.filter(|_| done) {
                locked.with_lock(|context| {
                    if everywhere {
                        entry::stamp(name, cluster_nodes::node_id(context));
                    }
                    let entry = propagate::replicate(module, context, name);
                    if everywhere {
                        cluster_bus::send(context, None, &entry);
                    }
                });
            }
        }
    }
    reply.take()
}

/// Why a function may not be changed in this way, if it may not.
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

/// Runs `WASM.REGISTER`.
pub(crate) fn register(module: &'static Module, context: Context<'_>, json: &[u8]) {
    let taken = Entry::from_json(json)
        .map_err(|error| format!("INVALID the entry cannot be read: {error}"))
        .and_then(|entry| propagate::adopt(module, context, entry));
    match taken {
        Ok(()) => context.reply(b"+OK\r\n"),
        Err(error) => context.reply_error(&error),
    }
}
