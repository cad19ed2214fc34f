//! `MULTI`: holds requests back, and runs them as one on `EXEC`.

use ferrite_protocol::resp::Encoder;
use ferrite_store::{Retry, Unit};

use crate::commands::replies::wrong_arity;
use crate::commands::table;
use crate::commands::transactions::discard::discard;
use crate::dispatch::authorize::permitted;
use crate::dispatch::progress::{Pending, Progress};
use crate::keyspace::reply_writer::Replies;
use crate::request::{AfterReply, RequestContext};

/// Requests that one client may hold back.
const REQUESTS_MAX: usize = 100_000;

/// Bytes of requests that one client may hold back.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Takes a request of a client that has said `MULTI`.
#[cold]
pub(crate) fn take<'a>(context: &mut RequestContext<'_>, argv: &'a [&'a [u8]]) -> Progress<'a> {
    let name = argv[0].to_ascii_uppercase();
    match name.as_slice() {
        b"EXEC" | b"DISCARD" | b"MULTI" | b"WATCH" | b"UNWATCH" | b"QUIT" | b"RESET" => {
            let Some(spec) = table::find(&name) else {
                return Progress::Done(AfterReply::KeepOpen);
            };
            if !spec.takes(argv.len()) {
                spoil(context);
                wrong_arity(context.reply, spec.name);
                return Progress::Done(AfterReply::KeepOpen);
            }
            match name.as_slice() {
                b"EXEC" => return execute(context),
                b"MULTI" => context.reply.error("ERR MULTI calls can not be nested"),
                b"WATCH" => context.reply.error("ERR WATCH inside MULTI is not allowed"),
                b"UNWATCH" => hold(context, argv),
                _ => return Progress::Done((spec.run)(context, argv)),
            }
        }
        _ => {
            if check(context, argv) {
                hold(context, argv);
            } else {
                spoil(context);
            }
        }
    }
    Progress::Done(AfterReply::KeepOpen)
}

/// Whether a request can be held back; writes the error if not.
fn check(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> bool {
    if ferrite_runtime::commands::find(argv[0]).is_some() {
        context.reply.error(format!(
            "ERR {} is not allowed in MULTI: a call is a transaction of its own",
            argv[0].to_ascii_uppercase().escape_ascii()
        ));
        return false;
    }
    if let Some(spec) = table::find(argv[0]) {
        if !spec.takes(argv.len()) {
            wrong_arity(context.reply, spec.name);
            return false;
        }
        let allowed = matches!(spec.name, "PING" | "ECHO" | "SELECT");
        if !allowed {
            context
                .reply
                .error(format!("ERR {} is not allowed in MULTI", spec.name));
        }
        return allowed;
    }
    if !context.session.is_unrestricted() && !permitted(context, argv) {
        return false;
    }
    match context.state.store.describe(argv) {
        Ok(_) => true,
        Err(error) => {
            context.reply.error_display(&error);
            false
        }
    }
}

fn spoil(context: &mut RequestContext<'_>) {
    if let Some(queued) = &mut context.session.queued {
        queued.aborted = true;
    }
}

fn hold(context: &mut RequestContext<'_>, argv: &[&[u8]]) {
    let Some(queued) = &mut context.session.queued else {
        return;
    };
    queued.bytes += argv.iter().map(|word| word.len()).sum::<usize>();
    if queued.len() >= REQUESTS_MAX || queued.bytes > BYTES_MAX {
        queued.aborted = true;
        queued.requests = Vec::new();
        context.reply.error(format!(
            "ERR MULTI holds at most {REQUESTS_MAX} requests and {BYTES_MAX} bytes"
        ));
        return;
    }
    queued
        .requests
        .push(argv.iter().map(|&word| word.into()).collect());
    context.client.set_queued(Some(queued.len()));
    context.reply.simple("QUEUED");
}

/// Runs what was held back.
pub(crate) fn execute<'a>(context: &mut RequestContext<'_>) -> Progress<'a> {
    let Some(queued) = context.session.queued.take() else {
        context.reply.error("ERR EXEC without MULTI");
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
        .begin_unit(&mut context.session.store, &argvs)
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

/// Runs one request of a unit.
fn run(unit: &mut Unit<'_>, argv: &[&[u8]], reply: &mut Encoder) {
    let Some(spec) = table::find(argv[0]) else {
        unit.execute(argv, &mut Replies(reply));
        return;
    };
    match (spec.name, argv) {
        ("SELECT", [_, database]) => match unit.select(database) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error_display(&error),
        },
        ("PING", [_]) => reply.simple("PONG"),
        ("PING" | "ECHO", [_, message]) => reply.bulk(message),
        // What was watched is forgotten once `EXEC` begins.
        ("UNWATCH", _) => reply.ok(),
        (name, _) => wrong_arity(reply, name),
    }
}

/// Waits for keys that a call has reserved, and tries again.
pub(crate) async fn retry(context: &mut RequestContext<'_>, retry: Retry) -> Progress<'static> {
    retry.await;
    execute(context)
}
