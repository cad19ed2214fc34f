//! `MULTI`: queues requests, and runs them as one transaction on `EXEC`.

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::{Command, Spec as FunctionSpec};
use ferrite_store::{DataCommand, Multi, StoreError};

use crate::clients::pubsub::channels::Channels;
use crate::clients::queued_requests::{QueuedCommand, QueuedRequest, QueuedRequests};
use crate::commands::command_ref::CommandRef;
use crate::commands::replies::wrong_arity;
use crate::commands::transactions::discard::discard;
use crate::commands::transactions::exec::without_multi;
use crate::dispatch::authorize::{may_run, may_run_function_command, may_run_server_command};
use crate::dispatch::exec_parts::{answer_without_data, exec_ended};
use crate::dispatch::progress::{Pending, Progress};
use crate::dispatch::{data_commands, exec_with_calls, guarded_write};
use crate::request::{AfterReply, RequestContext};

/// Requests that one client may queue.
const REQUESTS_MAX: usize = 100_000;

/// Bytes of the requests that one client may queue.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Answers a request of a client that is between `MULTI` and `EXEC`.
#[cold]
pub(crate) fn answer<'a>(
    context: &mut RequestContext<'_>,
    command: Option<CommandRef>,
    argv: &'a [&'a [u8]],
) -> Progress<'a> {
    match command {
        Some(CommandRef::Server(spec)) if spec.name == "EXEC" && !spec.takes(argv.len()) => {
            discard(context);
            context.reply.error(
                "EXECABORT Transaction discarded because of: \
                 wrong number of arguments for 'exec' command",
            );
        }
        Some(CommandRef::Server(spec)) if !spec.takes(argv.len()) => {
            abort(context);
            wrong_arity(context.reply, spec.name);
        }
        Some(CommandRef::Server(spec))
            if !context.session.is_unrestricted()
                && !may_run_server_command(context, spec, argv) =>
        {
            abort(context);
        }
        Some(CommandRef::Server(spec)) => match spec.name {
            "EXEC" => return execute(context),
            "DISCARD" | "QUIT" | "RESET" => return Progress::Done((spec.run)(context, argv)),
            "MULTI" | "WATCH" => {
                abort(context);
                let name = spec.name.to_ascii_lowercase();
                context.reply.error(format!(
                    "ERR Command '{name}' not allowed inside a transaction"
                ));
            }
            "ECHO" => queue(context, QueuedCommand::Echo, argv),
            "PING" => queue(context, QueuedCommand::Ping, argv),
            "PUBLISH" => queue(context, QueuedCommand::Publish, argv),
            "SELECT" => queue(context, QueuedCommand::Select, argv),
            "UNWATCH" => queue(context, QueuedCommand::Unwatch, argv),
            name => {
                abort(context);
                context
                    .reply
                    .error(format!("ERR {name} is not allowed in MULTI"));
            }
        },
        Some(CommandRef::Function(spec)) => {
            if may_queue(context, spec, argv) {
                queue(context, QueuedCommand::Call(spec), argv);
            } else {
                abort(context);
            }
        }
        Some(CommandRef::Data(command)) => {
            if !context.session.is_unrestricted() && !may_run(context, command, argv) {
                abort(context);
            } else if let Err(error) = command.keys(argv) {
                abort(context);
                context.reply.error_display(&error);
            } else if let Err(error) = context.state.store.check(command) {
                abort(context);
                context.reply.error_display(&error);
            } else {
                queue(context, QueuedCommand::Data(command), argv);
            }
        }
        None => {
            abort(context);
            return Progress::Done(data_commands::unknown(context, argv));
        }
    }
    Progress::Done(AfterReply::KeepOpen)
}

/// Returns true if a request on functions can be queued: a call that the user may make. Writes the
/// error if not.
fn may_queue(
    context: &mut RequestContext<'_>,
    spec: &'static FunctionSpec,
    argv: &[&[u8]],
) -> bool {
    if context.state.functions.is_none() {
        context
            .reply
            .error("ERR functions are switched off by wasm.enabled = false");
        return false;
    }
    match spec.read(argv) {
        Ok(command @ Command::Call(_)) => {
            context.session.is_unrestricted()
                || may_run_function_command(context, spec, argv, &command)
        }
        Ok(_) => {
            context.reply.error(format!(
                "ERR {} is not allowed in MULTI; of the commands on functions, only calls are",
                spec.name
            ));
            false
        }
        Err(error) => {
            context.reply.error_display(&error);
            false
        }
    }
}

/// Makes the next `EXEC` fail, because a request was refused.
fn abort(context: &mut RequestContext<'_>) {
    if let Some(queued) = &mut context.session.queued {
        queued.aborted = true;
    }
}

fn queue(context: &mut RequestContext<'_>, command: QueuedCommand, argv: &[&[u8]]) {
    let Some(queued) = &mut context.session.queued else {
        return;
    };
    queued.bytes += argv.iter().map(|word| word.len()).sum::<usize>();
    if queued.len() >= REQUESTS_MAX || queued.bytes > BYTES_MAX {
        queued.aborted = true;
        queued.requests = Vec::new();
        context.reply.error(format!(
            "ERR MULTI queues at most {REQUESTS_MAX} requests and {BYTES_MAX} bytes"
        ));
        return;
    }
    queued.with_calls |= matches!(command, QueuedCommand::Call(_));
    queued.requests.push(QueuedRequest {
        command,
        words: argv.iter().map(|&word| word.into()).collect(),
    });
    context.client.set_queued(Some(queued.len()));
    context.reply.simple("QUEUED");
}

/// Runs the queued requests and writes the reply of `EXEC`, or returns the wait it needs first.
pub(crate) fn execute<'a>(context: &mut RequestContext<'_>) -> Progress<'a> {
    let Some(queued) = context.session.queued.take() else {
        without_multi(context, "EXEC");
        return Progress::Done(AfterReply::KeepOpen);
    };
    if queued.aborted {
        discard(context);
        context
            .reply
            .error("EXECABORT Transaction discarded because of previous errors.");
        return Progress::Done(AfterReply::KeepOpen);
    }
    let lacking = queued
        .data_commands()
        .find_map(|command| context.state.store.check(command).err());
    if let Some(error) = lacking {
        refuse(context, &error);
        return Progress::Done(AfterReply::KeepOpen);
    }
    if queued.with_calls || is_guarded(context, &queued) {
        context.session.queued = Some(queued);
        return Progress::Waiting(Pending::ExecWithCalls);
    }
    let requests: Vec<(QueuedCommand, Vec<&[u8]>)> = queued
        .requests
        .iter()
        .map(|request| {
            let words = request.words.iter().map(|word| &**word);
            (request.command, words.collect())
        })
        .collect();
    let on_data: Vec<(DataCommand, &[&[u8]])> = requests
        .iter()
        .filter_map(|(command, argv)| match command {
            QueuedCommand::Data(command) => Some((*command, argv.as_slice())),
            _ => None,
        })
        .collect();
    let begun = match context
        .state
        .store
        .begin_multi(&mut context.session.store, &on_data)
    {
        Ok(Some(mut unit)) => {
            let lacking = on_data
                .iter()
                .find_map(|(command, _)| unit.check(*command).err());
            if lacking.is_none() {
                context.reply.array(requests.len());
                for (command, argv) in &requests {
                    run(
                        &mut unit,
                        *command,
                        argv,
                        &context.state.channels,
                        context.reply,
                    );
                }
                unit.finish();
            }
            Ok(lacking)
        }
        Ok(None) => {
            context.reply.null_array();
            Ok(None)
        }
        Err(retry) => Err(retry),
    };
    drop(on_data);
    drop(requests);
    match begun {
        Err(retry) => {
            context.session.queued = Some(queued);
            return Progress::Waiting(Pending::Exec(retry));
        }
        Ok(Some(error)) => refuse(context, &error),
        Ok(None) => exec_ended(context),
    }
    Progress::Done(AfterReply::KeepOpen)
}

/// Answers an `EXEC` none of whose requests runs, because the server lacks what one of them needs.
fn refuse(context: &mut RequestContext<'_>, error: &StoreError) {
    discard(context);
    context.reply.error(format!(
        "EXECABORT Transaction discarded because of: {error}"
    ));
}

/// Returns true if triggers may refuse one of the queued requests.
fn is_guarded(context: &RequestContext<'_>, queued: &QueuedRequests) -> bool {
    let functions = context.state.functions.as_ref();
    let Some(functions) = functions.filter(|functions| functions.has_guards()) else {
        return false;
    };
    queued.requests.iter().any(|request| match request.command {
        QueuedCommand::Data(command) => {
            let argv: Vec<&[u8]> = request.words.iter().map(|word| &**word).collect();
            guarded_write::is_guarded(functions, command, &argv)
        }
        _ => false,
    })
}

/// Runs the queued requests, among which functions are called, and writes the reply of `EXEC`.
pub(crate) async fn execute_with_calls(context: &mut RequestContext<'_>) {
    if let Some(queued) = context.session.queued.take() {
        exec_with_calls::execute(context, &queued.requests).await;
    }
}

/// Runs one of the queued requests.
fn run(
    unit: &mut Multi<'_>,
    command: QueuedCommand,
    argv: &[&[u8]],
    channels: &Channels,
    reply: &mut Encoder,
) {
    match (command, argv) {
        (QueuedCommand::Data(command), _) => unit.execute_command(command, argv, reply),
        (QueuedCommand::Select, [_, database]) => match unit.select(database) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error_display(&error),
        },
        (command, argv) => answer_without_data(command, argv, channels, reply),
    }
}
