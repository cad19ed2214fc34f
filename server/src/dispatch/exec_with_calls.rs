//! Runs the queued requests of an `EXEC` among which functions are called, by the client or by triggers.
//!
//! A function may take its time, and no lock can be held meanwhile. So the requests run in one
//! optimistic transaction, which is committed at the end, and run again if others changed the same
//! keys.

use std::pin::pin;
use std::time::{Duration, Instant};

use ferrite_protocol::keyspace::{CommitError, Transaction as _};
use ferrite_protocol::resp::Encoder;
use ferrite_runtime::call::request::OPTIMISTIC_TRIES_MAX;
use ferrite_runtime::commands::{Call, Command};
use ferrite_runtime::{CallRequest, JoinedCall, OuterTransaction, Refusal};
use ferrite_store::{Receipt, Transaction};

use crate::clients::caller::Caller;
use crate::clients::pubsub::channels::Channels;
use crate::clients::queued_requests::{QueuedCommand, QueuedRequest};
use crate::commands::replies::wrong_arity;
use crate::dispatch::call_log;
use crate::dispatch::exec_parts::{answer_without_data, exec_ended};
use crate::functions::Functions;
use crate::request::RequestContext;
use crate::scheduling::futures::time_from_first_wait;

/// A call that ran, until the transaction is committed.
struct RanCall<'a> {
    command: &'static str,
    call: Call<'a>,
    database: u32,
    joined: JoinedCall<Receipt>,
    began: Option<Instant>,
    waited: Option<Duration>,
}

/// The end of one try.
enum Tried<'a> {
    /// The requests took effect. The calls among them are to be recorded.
    Committed(Receipt, u32, Vec<RanCall<'a>>),
    /// A watched key had changed, so nothing ran.
    WatchFailed,
    /// Others changed the same keys, so nothing took effect.
    Conflict,
    /// A trigger refused the writes, or the store could not take them. Nothing took effect; the calls are to be recorded.
    Refused(String, Vec<RanCall<'a>>),
}

/// Runs the queued requests and writes the reply of `EXEC`. If the future is dropped, nothing takes
/// effect.
pub(crate) async fn execute(context: &mut RequestContext<'_>, requests: &[QueuedRequest]) {
    let Some(runtime) = &context.state.functions else {
        return context
            .reply
            .error("ERR functions are switched off by wasm.enabled = false");
    };
    let words: Vec<Vec<&[u8]>> = requests
        .iter()
        .map(|request| request.words.iter().map(|word| &**word).collect())
        .collect();
    let reply_start = context.reply.len();
    let mut tries = 0;
    let (receipt, ran) = loop {
        let store = &context.state.store;
        let session = &context.session.store;
        let transaction = if tries < OPTIMISTIC_TRIES_MAX {
            store.begin_exec(session)
        } else {
            store.begin_exec_exclusive(session).await
        };
        tries += 1;
        let tried = run(context, runtime, transaction, requests, &words).await;
        match tried {
            Tried::Committed(receipt, database, ran) => {
                context.session.store.end_exec(database);
                break (Some(receipt), ran);
            }
            Tried::Conflict => context.reply.truncate(reply_start),
            Tried::WatchFailed => {
                let database = context.session.store.database();
                context.session.store.end_exec(database);
                context.reply.truncate(reply_start);
                context.reply.null_array();
                break (None, Vec::new());
            }
            Tried::Refused(error, ran) => {
                let database = context.session.store.database();
                context.session.store.end_exec(database);
                context.reply.truncate(reply_start);
                context.reply.error(error);
                break (None, ran);
            }
        }
    };
    let committed = receipt.is_some();
    if let Some(receipt) = receipt {
        context.session.add_receipt(receipt);
    }
    for ran in ran {
        record(context, ran, tries, committed);
    }
    exec_ended(context);
}

/// Runs the requests once in `transaction` and commits it.
async fn run<'a>(
    context: &mut RequestContext<'_>,
    runtime: &Functions,
    mut transaction: Transaction,
    requests: &[QueuedRequest],
    words: &'a [Vec<&'a [u8]>],
) -> Tried<'a> {
    match transaction.watched_stand(&context.session.store) {
        Ok(true) => {}
        Ok(false) => return Tried::WatchFailed,
        Err(_) => return Tried::Conflict,
    }
    let outer = OuterTransaction::new(transaction);
    let mut ran = Vec::new();
    let mut messages = Vec::new();
    context.reply.array(requests.len());
    for (request, argv) in requests.iter().zip(words) {
        match request.command {
            QueuedCommand::Call(spec) => match spec.read(argv) {
                Ok(Command::Call(call)) => {
                    let database = outer.with(|transaction| transaction.database());
                    let database = database.unwrap_or_default();
                    let began = context.state.audit.sample();
                    let request = CallRequest {
                        user: context.share(),
                        ..call.request(database, None)
                    };
                    let running = pin!(runtime.call_within(&request, &outer, context.reply));
                    let (joined, waited) = time_from_first_wait(running).await;
                    ran.push(RanCall {
                        command: spec.name,
                        call,
                        database,
                        joined,
                        began,
                        waited,
                    });
                }
                // Only calls that could be read were queued.
                Ok(_) => wrong_arity(context.reply, spec.name),
                Err(error) => context.reply.error_display(&error),
            },
            // Sent only once: another try of the transaction may follow.
            QueuedCommand::Publish if argv.len() == 3 => {
                let (channel, message) = (argv[1], argv[2]);
                let reached = context.state.channels.reach(channel);
                context.reply.count(reached as u64);
                messages.push((channel, message));
            }
            command => {
                let channels = &context.state.channels;
                outer.with(|transaction| {
                    on_data(transaction, command, argv, channels, context.reply);
                });
            }
        }
        if outer.is_lost() {
            return Tried::Conflict;
        }
    }
    let guarded = runtime.guard(&outer).await;
    if outer.is_lost() {
        return Tried::Conflict;
    }
    if let Err(Refusal(error)) = guarded {
        return Tried::Refused(error, ran);
    }
    let Some(transaction) = outer.take() else {
        return Tried::Conflict;
    };
    let database = transaction.database();
    match transaction.commit() {
        Ok(receipt) => {
            for (channel, message) in messages {
                context.state.channels.publish(channel, message);
            }
            Tried::Committed(receipt, database, ran)
        }
        Err(CommitError::Conflict) => Tried::Conflict,
        Err(CommitError::Store(error)) => Tried::Refused(error.to_string(), ran),
    }
}

/// Runs a request that calls no function.
fn on_data(
    transaction: &mut Transaction,
    command: QueuedCommand,
    argv: &[&[u8]],
    channels: &Channels,
    reply: &mut Encoder,
) {
    match (command, argv) {
        (QueuedCommand::Data(command), _) => transaction.execute_command(command, argv, reply),
        (QueuedCommand::Select, [_, database]) => match transaction.select(database) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error_display(&error),
        },
        (command, argv) => answer_without_data(command, argv, channels, reply),
    }
}

/// Counts a call and writes its lines into the logs.
fn record(context: &mut RequestContext<'_>, ran: RanCall<'_>, tries: u32, committed: bool) {
    let RanCall {
        command,
        call,
        database,
        joined,
        began,
        waited,
    } = ran;
    let mut outcome = joined.count(tries);
    if !committed && outcome.error.is_none() {
        outcome.error = Some(ferrite_runtime::CallError::new(
            ferrite_runtime::Code::Store,
            "the transaction that the call was part of could not be committed",
        ));
    }
    let caller = || Caller::of(context.client);
    let request = call.request(database, None);
    call_log::record(
        context.state,
        caller,
        command,
        &request,
        &outcome,
        began,
        waited,
    );
}
