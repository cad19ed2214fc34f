//! Runs a write of data that triggers may refuse: in a transaction together with their functions.

use ferrite_protocol::keyspace::{CommitError, KeyAccess, Transaction as _};
use ferrite_runtime::call::request::OPTIMISTIC_TRIES_MAX;
use ferrite_runtime::{OuterTransaction, Refusal};
use ferrite_store::{BLOCKING, DataCommand};

use crate::functions::Functions;
use crate::request::RequestContext;

/// Returns true if a trigger may refuse this request.
#[inline]
pub(crate) fn is_guarded(functions: &Functions, command: DataCommand, argv: &[&[u8]]) -> bool {
    functions.has_guards() && writes_guarded_key(functions, command, argv)
}

#[cold]
fn writes_guarded_key(functions: &Functions, command: DataCommand, argv: &[&[u8]]) -> bool {
    if !command.spec().is_write() {
        return false;
    }
    match command.keys(argv) {
        Ok(KeyAccess::At(keys)) => keys.iter().any(|&at| functions.guards_key(argv[at])),
        // Its keys are known once it has run.
        Ok(KeyAccess::Unknown) => true,
        // They flush or swap databases, and cause no events.
        Ok(KeyAccess::None | KeyAccess::All | KeyAccess::Listed) | Err(_) => false,
    }
}

/// Runs the request with the triggers, and writes the one reply: that of the command, or the error of
/// the trigger that refused.
pub(crate) async fn execute(
    context: &mut RequestContext<'_>,
    command: DataCommand,
    argv: &[&[u8]],
) {
    let Some(functions) = &context.state.functions else {
        return;
    };
    if command.spec().flags & BLOCKING != 0 {
        let name = command.spec().name.to_ascii_uppercase();
        return context.reply.error(format!(
            "ERR {name} may wait, and a key with a trigger BEFORE its changes takes no command that waits; use one that does not"
        ));
    }
    let start = context.reply.len();
    let mut tries = 0;
    loop {
        let store = &context.state.store;
        let session = &context.session.store;
        let transaction = if tries < OPTIMISTIC_TRIES_MAX {
            store.begin_exec(session)
        } else {
            store.begin_exec_exclusive(session).await
        };
        tries += 1;
        context.reply.truncate(start);
        let outer = OuterTransaction::new(transaction);
        outer.with(|transaction| transaction.execute_command(command, argv, context.reply));
        if outer.is_lost() {
            continue;
        }
        let guarded = functions.guard(&outer).await;
        if outer.is_lost() {
            continue;
        }
        if let Err(Refusal(error)) = guarded {
            context.reply.truncate(start);
            return context.reply.error(error);
        }
        let Some(transaction) = outer.take() else {
            continue;
        };
        match transaction.commit() {
            Ok(receipt) => return context.session.add_receipt(receipt),
            Err(CommitError::Conflict) => {}
            Err(CommitError::Store(error)) => {
                context.reply.truncate(start);
                return context.reply.error(error.to_string());
            }
        }
    }
}
