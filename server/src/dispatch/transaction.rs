//! `MULTI`: queues requests, and runs them as one transaction on `EXEC`.

use ferrite_protocol::resp::Encoder;
use ferrite_store::Multi;

use crate::commands::command_ref::CommandRef;
use crate::commands::replies::wrong_arity;
use crate::commands::table;
use crate::commands::transactions::discard::discard;
use crate::commands::transactions::exec::without_multi;
use crate::dispatch::authorize::may_run;
use crate::dispatch::data_commands;
use crate::dispatch::progress::{Pending, Progress};
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
        Some(CommandRef::Server(spec)) if !spec.takes(argv.len()) => {
            abort(context);
            wrong_arity(context.reply, spec.name);
        }
        Some(CommandRef::Server(spec)) => match spec.name {
            "EXEC" => return execute(context),
            "DISCARD" | "QUIT" | "RESET" => return Progress::Done((spec.run)(context, argv)),
            "MULTI" => context.reply.error("ERR MULTI calls can not be nested"),
            "WATCH" => context.reply.error("ERR WATCH inside MULTI is not allowed"),
            "UNWATCH" | "PING" | "ECHO" | "SELECT" => queue(context, argv),
            name => {
                abort(context);
                context
                    .reply
                    .error(format!("ERR {name} is not allowed in MULTI"));
            }
        },
        Some(CommandRef::Function(spec)) => {
            abort(context);
            context.reply.error(format!(
                "ERR {} is not allowed in MULTI: a call is a transaction of its own",
                spec.name
            ));
        }
        Some(CommandRef::Data(command)) => {
            if !context.session.is_unrestricted() && !may_run(context, command) {
                abort(context);
            } else if let Err(error) = command.keys(argv) {
                abort(context);
                context.reply.error_display(&error);
            } else {
                queue(context, argv);
            }
        }
        None => {
            abort(context);
            return Progress::Done(data_commands::unknown(context, argv));
        }
    }
    Progress::Done(AfterReply::KeepOpen)
}

/// Makes the next `EXEC` fail, because a request was refused.
fn abort(context: &mut RequestContext<'_>) {
    if let Some(queued) = &mut context.session.queued {
        queued.aborted = true;
    }
}

fn queue(context: &mut RequestContext<'_>, argv: &[&[u8]]) {
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
    queued
        .requests
        .push(argv.iter().map(|&word| word.into()).collect());
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
    let requests: Vec<Vec<&[u8]>> = queued
        .requests
        .iter()
        .map(|request| request.iter().map(|word| &**word).collect())
        .collect();
    let argvs: Vec<&[&[u8]]> = requests.iter().map(Vec::as_slice).collect();
    let begun = match context
        .state
        .store
        .begin_multi(&mut context.session.store, &argvs)
    {
        Ok(Some(mut unit)) => {
            context.reply.array(argvs.len());
            for argv in &argvs {
                run(&mut unit, argv, context.reply);
            }
            unit.finish();
            Ok(())
        }
        Ok(None) => {
            context.reply.null_array();
            Ok(())
        }
        Err(retry) => Err(retry),
    };
    drop(argvs);
    drop(requests);
    if let Err(retry) = begun {
        context.session.queued = Some(queued);
        return Progress::Waiting(Pending::Exec(retry));
    }
    context
        .client
        .set_database(context.session.store.database());
    context.client.set_queued(None);
    Progress::Done(AfterReply::KeepOpen)
}

/// Runs one of the queued requests.
fn run(unit: &mut Multi<'_>, argv: &[&[u8]], reply: &mut Encoder) {
    match table::find(argv[0]) {
        Some(CommandRef::Data(command)) => {
            unit.execute_command(command, argv, reply);
        }
        Some(CommandRef::Server(spec)) => match (spec.name, argv) {
            ("SELECT", [_, database]) => match unit.select(database) {
                Ok(()) => reply.ok(),
                Err(error) => reply.error_display(&error),
            },
            ("PING", [_]) => reply.simple("PONG"),
            ("PING" | "ECHO", [_, message]) => reply.bulk(message),
            // `EXEC` stops watching all keys when it begins.
            ("UNWATCH", _) => reply.ok(),
            (name, _) => wrong_arity(reply, name),
        },
        // Such requests are not queued.
        Some(CommandRef::Function(_)) | None => unit.execute(argv, reply),
    }
}
