//! `WASM.CALLALL`: calls on all nodes of a cluster.
//!
//! The asked node sends a request over the cluster's bus to every primary that has slots, itself
//! included, and gathers the replies. The bus connects all nodes already, with the server's own
//! membership, encryption and detection of failures; a connection to each node's port for clients
//! would need an address that is reachable, a password of a user that may act for others, and a
//! socket and a thread for each node. In return a message may be lost, so nodes are asked again, and
//! is bounded ([`message::BYTES_MAX`]), because the bus also carries the nodes' signs of life.
//!
//! One thread looks after all such calls ([`thread`]). The main thread hands it requests and messages,
//! and never waits. The calls themselves run in the pool.

mod asked;
mod events;
mod gathering;
mod message;
mod primaries;
mod running;
mod served;
mod thread;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::commands::{CallAll, Command, Spec};

use crate::api::bus;
use crate::api::context::Context;
use crate::api::ffi;
use crate::api::string::Args;
use crate::cluster_call::events::{Begin, Departure, Event, EventSender};
use crate::cluster_call::gathering::{Asked, error};
pub(crate) use crate::cluster_call::message::COMMAND;
use crate::cluster_call::message::{BYTES_MAX, END, REPLY, RUN};
use crate::cluster_call::running::{CALLS_MAX, RunningCall};
use crate::execution::blocked_client::WaitingClient;
use crate::execution::worker_pool::CancelHandle;
use crate::module::{Module, module};
use crate::transaction::call::Call;

/// Bytes of a request besides its arguments and the name of the function, at most: with a slot of
/// every pair of slots.
const REQUEST_HEAD_BYTES_MAX: usize = 128 << 10;

/// Time that a reply may take on its way, after the function's own time.
const WAY_TIME_MAX: Duration = Duration::from_secs(2);

/// The way to the thread, once it was needed.
static THREAD: OnceLock<EventSender> = OnceLock::new();

/// Starts receiving the messages of other nodes, if the server is part of a cluster.
pub(crate) fn start(context: Context<'_>) {
    if context.flags() & ffi::CTX_CLUSTER != 0 {
        bus::receive(context, &[RUN, REPLY, END], received);
    }
}

fn received(context: Context<'_>, sender: &[u8], kind: u8, payload: &[u8]) {
    let Some(module) = module() else { return };
    if let Some(events) = events(module, context) {
        // Without room the message is lost, as it may be on its way; the other node repeats it.
        let _ = events.tell(Event::Message {
            sender: sender.into(),
            kind,
            payload: payload.into(),
        });
    }
}

/// Returns the way to the thread; starts it at the first use. `None` if it cannot be started.
fn events(module: &'static Module, context: Context<'_>) -> Option<&'static EventSender> {
    if THREAD.get().is_none()
        && let Some(sender) = thread::start(module, context)
    {
        let _ = THREAD.set(sender);
    }
    THREAD.get()
}

/// Runs `WASM.CALLALL` of a client: blocks the client, and hands the request to the thread.
pub(crate) fn begin(
    module: &'static Module,
    spec: &'static Spec,
    context: Context<'_>,
    args: &Args,
    database: u32,
    protocol: Protocol,
) {
    if context.flags() & (ffi::CTX_DENY_BLOCKING | ffi::CTX_MULTI | ffi::CTX_LUA) != 0 {
        context.reply_error(&format!(
            "ERR {COMMAND} waits for other nodes, and is not possible inside a transaction or script"
        ));
        return;
    }
    let slices = args.slices();
    let call = match spec.read(&slices) {
        Ok(Command::CallAll(call)) => call,
        Ok(_) => return context.reply_error("ERR this is no call"),
        Err(error) => {
            let mut reply = Encoder::new(protocol);
            reply.error_display(&error);
            return context.reply(reply.bytes());
        }
    };
    if let Err(text) = try_begin(module, context, &call, database, protocol) {
        context.reply(&error(&text));
    }
}

fn try_begin(
    module: &'static Module,
    context: Context<'_>,
    call: &CallAll<'_>,
    database: u32,
    protocol: Protocol,
) -> Result<(), String> {
    let began = Instant::now();
    let name = call.function_name();
    let function = module
        .runtime
        .function(name)
        .map_err(|error| error.to_string())?;
    let bytes: usize = call.args.iter().map(|word| word.len() + 16).sum();
    let bytes_max = BYTES_MAX - REQUEST_HEAD_BYTES_MAX;
    if bytes > bytes_max {
        return Err(format!(
            "LIMIT the arguments have {bytes} bytes, the limit of what is sent to every node is {bytes_max}; send less"
        ));
    }
    let user = match is_trusted(context) {
        true => None,
        false => {
            let user = context.user_name();
            let user = user.ok_or("NOPERM the caller's user is gone")?;
            Some(user.bytes().to_vec())
        }
    };
    let time_max = match call.timeout {
        Some(timeout) => timeout,
        None => {
            let limits = module.runtime.limits().of(&function.record().limits);
            let limits = limits.map_err(|error| format!("INVALID {error}"))?;
            // Both entries have the function's time.
            let parts = if call.reduce.is_some() { 2 } else { 1 };
            limits.time_max.saturating_mul(parts) + WAY_TIME_MAX
        }
    };
    let topology = primaries::topology(context)
        .ok_or("CLUSTERDOWN the server does not tell the nodes of its cluster")?;
    let events = events(module, context)
        .ok_or("BUSY the operating system gives no thread for the call; try again later")?;
    let running = RunningCall::of(name).ok_or_else(|| {
        format!(
            "BUSY {CALLS_MAX} calls on all nodes are running, which is the limit; try again later"
        )
    })?;
    let client = WaitingClient::new(context);
    let client = client.ok_or("ERR the server does not let this client wait")?;
    let departure = Arc::new(Departure {
        running,
        events: events.clone(),
    });
    client.cancel_on_disconnect(CancelHandle::of(&departure));
    let begin = Begin {
        id: next_id(),
        asked: Asked {
            function: call.function.to_vec(),
            args: call.args.iter().map(|word| word.to_vec()).collect(),
            reduce: call.reduce_function(),
            partial: call.partial,
            database,
            protocol,
            user,
            began,
            time_max,
        },
        topology,
        client,
        departure,
    };
    if let Err(Event::Begin(begin)) = events.tell(Event::Begin(Box::new(begin))) {
        // The client is blocked already, so this is its reply.
        let call = Arc::new(Call::new(Args::none(), database));
        let reply = error("BUSY too many messages of other calls are waiting; try again later");
        begin.client.reply(call, reply);
    }
    Ok(())
}

/// Returns true for commands of the server itself, which have no user.
fn is_trusted(context: Context<'_>) -> bool {
    context.flags() & (ffi::CTX_REPLICATED | ffi::CTX_LOADING) != 0
}

/// Makes the calls on all nodes of a function end; returns their number.
pub(crate) fn kill(function: &[u8]) -> usize {
    let count = running::kill(function);
    if let (1.., Some(events)) = (count, THREAD.get()) {
        // If there is no room, the thread is awake and sees the flags.
        let _ = events.tell(Event::Wake);
    }
    count
}

/// Returns a number that no call of this node has had, not even before a restart.
fn next_id() -> u64 {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        // Fewer calls begin than nanoseconds pass.
        AtomicU64::new(now.map_or(0, |now| now.as_nanos() as u64))
    });
    next.fetch_add(1, Ordering::Relaxed)
}
