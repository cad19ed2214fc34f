//! `MULTI`: holds requests back, and runs them as one on `EXEC`.

use ferrite_protocol::resp::Encoder;
use ferrite_store::{Multi, Retry};

use crate::commands::{self, Flow, Scope, wrong_arity};
use crate::dispatch::authorize::permitted;
use crate::dispatch::outcome::{Later, Step};

/// Requests that one client may hold back.
const REQUESTS_MAX: usize = 100_000;

/// Bytes of requests that one client may hold back.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Takes a request of a client that has said `MULTI`.
#[cold]
pub(crate) fn take<'a>(scope: &mut Scope<'_>, argv: &'a [&'a [u8]]) -> Step<'a> {
    let name = argv[0].to_ascii_uppercase();
    match name.as_slice() {
        b"EXEC" | b"DISCARD" | b"MULTI" | b"WATCH" | b"UNWATCH" | b"QUIT" | b"RESET" => {
            let Some(spec) = commands::find(&name) else {
                return Step::Done(Flow::Continue);
            };
            if !spec.takes(argv.len()) {
                spoil(scope);
                wrong_arity(scope.reply, spec.name);
                return Step::Done(Flow::Continue);
            }
            match name.as_slice() {
                b"EXEC" => return execute(scope),
                b"MULTI" => scope.reply.error("ERR MULTI calls can not be nested"),
                b"WATCH" => scope.reply.error("ERR WATCH inside MULTI is not allowed"),
                b"UNWATCH" => hold(scope, argv),
                _ => return Step::Done((spec.run)(scope, argv)),
            }
        }
        _ => {
            if check(scope, argv) {
                hold(scope, argv);
            } else {
                spoil(scope);
            }
        }
    }
    Step::Done(Flow::Continue)
}

/// Whether a request can be held back; writes the error if not.
fn check(scope: &mut Scope<'_>, argv: &[&[u8]]) -> bool {
    if ferrite_runtime::commands::find(argv[0]).is_some() {
        scope.reply.error(format!(
            "ERR {} is not allowed in MULTI: a call is a transaction of its own",
            argv[0].to_ascii_uppercase().escape_ascii()
        ));
        return false;
    }
    if let Some(spec) = commands::find(argv[0]) {
        if !spec.takes(argv.len()) {
            wrong_arity(scope.reply, spec.name);
            return false;
        }
        let allowed = matches!(spec.name, "PING" | "ECHO" | "SELECT");
        if !allowed {
            scope
                .reply
                .error(format!("ERR {} is not allowed in MULTI", spec.name));
        }
        return allowed;
    }
    if !scope.session.is_unrestricted() && !permitted(scope, argv) {
        return false;
    }
    match scope.host.store.access(argv) {
        Ok(_) => true,
        Err(error) => {
            scope.reply.error_display(&error);
            false
        }
    }
}

fn spoil(scope: &mut Scope<'_>) {
    if let Some(held) = &mut scope.session.held {
        held.broken = true;
    }
}

fn hold(scope: &mut Scope<'_>, argv: &[&[u8]]) {
    let Some(held) = &mut scope.session.held else {
        return;
    };
    held.bytes += argv.iter().map(|word| word.len()).sum::<usize>();
    if held.len() >= REQUESTS_MAX || held.bytes > BYTES_MAX {
        held.broken = true;
        held.requests = Vec::new();
        scope.reply.error(format!(
            "ERR MULTI holds at most {REQUESTS_MAX} requests and {BYTES_MAX} bytes"
        ));
        return;
    }
    held.requests
        .push(argv.iter().map(|&word| word.into()).collect());
    scope.client.set_queued(Some(held.len()));
    scope.reply.simple("QUEUED");
}

/// Runs what was held back.
pub(crate) fn execute<'a>(scope: &mut Scope<'_>) -> Step<'a> {
    let Some(held) = scope.session.held.take() else {
        scope.reply.error("ERR EXEC without MULTI");
        return Step::Done(Flow::Continue);
    };
    if held.broken {
        forget(scope);
        scope
            .reply
            .error("EXECABORT Transaction discarded because of previous errors.");
        return Step::Done(Flow::Continue);
    }
    let requests: Vec<Vec<&[u8]>> = held
        .requests
        .iter()
        .map(|request| request.iter().map(|word| &**word).collect())
        .collect();
    let argvs: Vec<&[&[u8]]> = requests.iter().map(Vec::as_slice).collect();
    let begun = match scope
        .host
        .store
        .begin_multi(&mut scope.session.store, &argvs)
    {
        Ok(Some(mut unit)) => {
            scope.reply.array(argvs.len());
            for argv in &argvs {
                run(&mut unit, argv, scope.reply);
            }
            unit.finish();
            Ok(())
        }
        Ok(None) => {
            scope.reply.null_array();
            Ok(())
        }
        Err(retry) => Err(retry),
    };
    drop(argvs);
    drop(requests);
    if let Err(retry) = begun {
        scope.session.held = Some(held);
        return Step::Later(Later::Exec(retry));
    }
    scope.client.set_database(scope.session.store.database());
    scope.client.set_queued(None);
    Step::Done(Flow::Continue)
}

/// Runs one request of a unit.
fn run(unit: &mut Multi<'_>, argv: &[&[u8]], reply: &mut Encoder) {
    let Some(spec) = commands::find(argv[0]) else {
        unit.execute(argv, reply);
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
pub(crate) async fn retry(scope: &mut Scope<'_>, retry: Retry) -> Step<'static> {
    retry.await;
    execute(scope)
}

/// Forgets what was held back and what is watched.
pub(crate) fn forget(scope: &mut Scope<'_>) {
    scope.session.held = None;
    scope.host.store.unwatch(&mut scope.session.store);
    scope.client.set_queued(None);
}

/// The error of a request that only makes sense after `MULTI`.
pub(crate) fn without_multi(scope: &mut Scope<'_>, name: &str) {
    scope.reply.error(format!("ERR {name} without MULTI"));
}
