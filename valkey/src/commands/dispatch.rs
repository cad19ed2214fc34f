//! Runs the module's commands: short ones on the server's main thread, long ones on other threads.

#![allow(unsafe_code, reason = "the callbacks of the module's commands")]

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::commands::{COMMANDS, Command, Keys, Right, Runs, Scope, Spec};
use parking_lot::Mutex;

use crate::api::context::Context;
use crate::api::ffi::{self, CommandFn, Ctx, RmString};
use crate::api::panic_guard::guard;
use crate::api::string::Args;
use crate::cluster_call;
use crate::commands::manage;
use crate::execution::blocked_client::{WaitingClient, locked_context_without_client};
use crate::execution::caller_share;
use crate::execution::job::Job;
use crate::execution::main_thread::{self, Outcome};
use crate::execution::runner::{Polled, Run};
use crate::module::{Module, module};
use crate::transaction::call::Call;
use crate::transaction::current_call::{CurrentCall, LockedContext, enter};
use crate::transaction::with_view;

/// Number of time slices that a call gets on the main thread before it moves to the pool. The first
/// may begin just before a tick, so only the second is sure to be a whole one.
const MAIN_THREAD_SLICES: usize = 2;

/// A request with only the names of a command and of a function has no keys.
const ARGS_WITHOUT_KEYS: usize = 2;

/// Number of commands that may block a thread each at the same time.
const BLOCKING_THREADS_MAX: usize = 64;

/// Returns the callback of the command at `index` of the runtime's table.
pub(crate) fn callback(index: usize) -> Option<CommandFn> {
    macro_rules! table {
        ($($index:literal)*) => { [$(command::<$index> as CommandFn),*] };
    }
    let table = table!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    table.get(index).copied()
}

unsafe extern "C" fn command<const INDEX: usize>(
    ctx: *mut Ctx,
    argv: *mut *mut RmString,
    argc: c_int,
) -> c_int {
    let done = guard("a command", false, || {
        // SAFETY: the server passes a live context.
        let Some(context) = (unsafe { Context::new(ctx) }) else {
            return true;
        };
        // SAFETY: the server passes `argc` live strings; they are retained if a call outlives the
        // callback.
        let args = unsafe { Args::new(argv, argc) };
        if let (Some(spec), Some(module)) = (COMMANDS.get(INDEX), module()) {
            serve(module, spec, context, args);
        } else {
            context.reply_error("ERR the module is not started");
        }
        true
    });
    if !done {
        guard("an error reply", (), || {
            // SAFETY: as above.
            if let Some(context) = unsafe { Context::new(ctx) } {
                context.reply_error(
                    "ERR the command failed inside the module, which is a bug; the server's log tells more",
                );
            }
        });
    }
    ffi::OK
}

fn serve(module: &'static Module, spec: &'static Spec, context: Context<'_>, args: Args) {
    if spec.keys != Keys::None && context.wants_key_positions() {
        // Servers ask before every call of a pipeline, so the cheap answer comes first.
        if args.len() <= ARGS_WITHOUT_KEYS {
            return;
        }
        let slices = args.slices();
        // A request that cannot be read has no keys; running it replies with the error.
        for position in spec.key_positions(&slices).into_iter().flatten() {
            context.key_at(position, spec.flags.contains(&"readonly"));
        }
        return;
    }
    let context = context.with_flags();
    let flags = context.flags();
    let protocol = if flags & ffi::CTX_RESP3 == 0 {
        Protocol::Resp2
    } else {
        Protocol::Resp3
    };
    let database = u32::try_from(context.database()).unwrap_or(0);
    match spec.runs {
        Runs::Async if spec.name == "WASM.CALLASYNC" => {
            call_async(module, spec, context, &args, database, protocol);
        }
        Runs::Async if spec.name == cluster_call::COMMAND => {
            cluster_call::begin(module, spec, context, &args, database, protocol);
        }
        Runs::Async => {
            // What changes triggers and schedules holds their lock, and so must not wait for the server's.
            let starts_on_main_thread =
                spec.right == Right::Manage || !module.is_offloaded(args.bytes(1));
            let inside = flags & (ffi::CTX_DENY_BLOCKING | ffi::CTX_MULTI | ffi::CTX_LUA) != 0;
            let job = Job::Command {
                spec,
                protocol,
                time_max: inside.then_some(module.options.inside_time_max),
                user: caller_share::of_command(context),
            };
            let run = module
                .idle
                .begin(context, &module.runtime, args, database, job);
            if inside {
                run_without_waiting(module, context, run);
            } else {
                run_on_main_thread(module, context, run, starts_on_main_thread);
            }
        }
        Runs::AtOnce => {
            let slices = args.slices();
            let mut reply = Encoder::new(protocol);
            match spec.read(&slices) {
                Ok(Command::Kill(kill)) => {
                    let more = cluster_call::kill(kill.target());
                    kill.run_with(&module.runtime, more, &mut reply);
                }
                Ok(command) => {
                    let scope = Scope::default();
                    module.runtime.run_blocking(command, scope, &mut reply);
                }
                Err(error) => reply.error_display(&error),
            }
            context.reply(reply.bytes());
        }
        Runs::Blocking => {
            let call = Arc::new(Call::new(args, database));
            on_own_thread(spec.name, context, &call, move |call, locked| {
                manage::run(module, spec, call, locked, protocol)
            });
        }
    }
}

/// Runs a call inside a transaction or script, where a client cannot wait.
fn run_without_waiting(module: &Module, context: Context<'_>, run: Box<Run>) {
    match main_thread::run_to_completion(context, &module.idle, run, || false) {
        Outcome::Replied => {}
        Outcome::WouldWait | Outcome::Killed => context.reply_error(
            "BUSY the call would have to wait, for a free instance or for the function's code, and inside a transaction or script it cannot; try again",
        ),
    }
}

/// Runs a call on the main thread, and moves it to the pool if it is not over soon.
fn run_on_main_thread(
    module: &'static Module,
    context: Context<'_>,
    mut run: Box<Run>,
    starts_on_main_thread: bool,
) {
    let slices = if starts_on_main_thread {
        MAIN_THREAD_SLICES
    } else {
        0
    };
    for _ in 0..slices {
        let current = CurrentCall::on_main_thread(&run.call, &run.state, context);
        match run.runner.poll_on_main_thread(&current) {
            Polled::Done(reply) => {
                main_thread::send_reply(context, &module.idle, run, reply);
                return;
            }
            Polled::Yielded => {}
            Polled::Waiting => break,
        }
    }
    move_to_pool(module, context, run);
}

/// Blocks the client, and lets the call go on in the pool.
fn move_to_pool(module: &'static Module, context: Context<'_>, run: Box<Run>) {
    if let Err(error) = module.pool.prepare(module.options.threads) {
        main_thread::abandon(context, run);
        context.reply_error(&format!("BUSY {error}; try again later"));
        return;
    }
    let call = Arc::clone(&run.call);
    let current = CurrentCall::on_main_thread(&call, &run.state, context);
    enter(&current, || with_view(|view| view.leave_main_thread()));
    call.args.retain(context);
    let Some(client) = WaitingClient::new(context) else {
        main_thread::abandon(context, run);
        call.args.release(context);
        context.reply_error("ERR the server does not let this client wait for a long call");
        return;
    };
    let Some(locked) = client.locked_context(context) else {
        main_thread::abandon(context, run);
        client.reply(call, b"-NOPERM the caller's user is gone\r\n".to_vec());
        return;
    };
    let (sender, receiver) = std::sync::mpsc::channel::<WaitingClient>();
    let cancel = module.pool.run(
        run,
        locked,
        Box::new(move |call, reply| {
            if let Ok(client) = receiver.recv() {
                client.reply(call, reply);
            }
        }),
    );
    // The call cannot be over yet: its last step waits for the client from this channel.
    client.cancel_on_disconnect(cancel);
    let _ = sender.send(client);
}

/// Runs `WASM.CALLASYNC`: replies with the id now, and runs the call in the pool.
fn call_async(
    module: &'static Module,
    spec: &'static Spec,
    context: Context<'_>,
    args: &Args,
    database: u32,
    protocol: Protocol,
) {
    let slices = args.slices();
    let mut reply = Encoder::new(protocol);
    match spec.read(&slices) {
        Err(error) => reply.error_display(&error),
        Ok(Command::CallAsync(request)) => {
            let locked = module
                .pool
                .prepare(module.options.threads)
                .is_ok()
                .then(|| locked_context_without_client(context))
                .flatten();
            let user = caller_share::of_command(context);
            let begun = module.runtime.call_async(&request, database, user);
            match (locked, begun) {
                (_, Err(error)) => reply.error_display(&error),
                (None, Ok(_)) => reply.error("BUSY there is no thread for a call; try again later"),
                (Some(locked), Ok(background)) => {
                    reply.bulk(background.id().as_bytes());
                    let job = Job::Background(Box::new(background));
                    let runtime = &module.runtime;
                    let run = module
                        .idle
                        .begin(context, runtime, Args::none(), database, job);
                    module.pool.run(run, locked, Box::new(|_, _| {}));
                }
            }
        }
        Ok(_) => reply.error("ERR this is no call"),
    }
    context.reply(reply.bytes());
}

/// Runs `work`, which blocks, on a new thread, and replies with what it returns.
pub(crate) fn on_own_thread(
    name: &'static str,
    context: Context<'_>,
    call: &Arc<Call>,
    work: impl FnOnce(&Arc<Call>, &LockedContext) -> Vec<u8> + Send + 'static,
) {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    if context.flags() & (ffi::CTX_DENY_BLOCKING | ffi::CTX_MULTI | ffi::CTX_LUA) != 0 {
        context.reply_error(&format!(
            "ERR {name} blocks, and is not possible inside a transaction or script"
        ));
        return;
    }
    if RUNNING.load(Ordering::Relaxed) >= BLOCKING_THREADS_MAX {
        context.reply_error("BUSY too many functions are being loaded; try again later");
        return;
    }
    call.args.retain(context);
    let Some(client) = WaitingClient::new(context) else {
        call.args.release(context);
        context.reply_error("ERR the server does not let this client wait");
        return;
    };
    let Some(locked) = client.locked_context(context) else {
        client.reply(
            Arc::clone(call),
            b"-NOPERM the caller's user is gone\r\n".to_vec(),
        );
        return;
    };
    RUNNING.fetch_add(1, Ordering::Relaxed);
    // Shared, so that the client still gets a reply if no thread can be started.
    let waiting = Arc::new(Mutex::new(Some((client, locked))));
    let run = {
        let (call, waiting) = (Arc::clone(call), Arc::clone(&waiting));
        move || {
            let Some((client, locked)) = waiting.lock().take() else {
                return;
            };
            let reply = guard("a command", None, || Some(work(&call, &locked)));
            drop(locked);
            RUNNING.fetch_sub(1, Ordering::Relaxed);
            let reply = reply.unwrap_or_else(|| {
                b"-ERR the command failed inside the module, which is a bug; the server's log tells more\r\n".to_vec()
            });
            client.reply(call, reply);
        }
    };
    let started = std::thread::Builder::new()
        .name("ferrite-load".to_owned())
        .spawn(run);
    if started.is_err()
        && let Some((client, _)) = waiting.lock().take()
    {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        client.reply(
            Arc::clone(call),
            b"-BUSY there is no thread to load the function with; try again later\r\n".to_vec(),
        );
    }
}
