//! Clients that wait for the reply of a call that left the main thread.

#![allow(unsafe_code, reason = "blocks and unblocks clients of the server")]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use crate::api::context::Context;
use crate::api::ffi::{self, BlockedClient, Ctx, RmString, api};
use crate::api::panic_guard::guard;
use crate::execution::worker_pool::CancelHandle;
use crate::transaction::call::Call;
use crate::transaction::current_call::LockedContext;

/// Cancels the calls of clients that disconnect; by the address of the blocked client.
static CANCELS: LazyLock<Mutex<HashMap<usize, CancelHandle>>> = LazyLock::new(Mutex::default);

/// A client that waits for its reply. [`reply`](Self::reply) must be called: the server keeps the
/// client blocked until then.
pub(crate) struct WaitingClient(*mut BlockedClient);

// SAFETY: the server lets any thread unblock a client, and other threads do nothing else with it:
// the other methods need the main thread's context or are called before the client is sent there.
unsafe impl Send for WaitingClient {}

/// A reply on its way to the main thread, with the call whose arguments are released there.
struct Delivery {
    reply: Vec<u8>,
    call: Arc<Call>,
}

impl WaitingClient {
    /// Blocks the client of this command; `None` if the server refuses.
    pub(crate) fn new(context: Context<'_>) -> Option<Self> {
        // SAFETY: a live context of a command, and callbacks of the right types.
        let raw = unsafe { (api().block_client)(context.raw(), Some(send), None, Some(free), 0) };
        (!raw.is_null()).then_some(Self(raw))
    }

    /// Cancels the call if the client disconnects before the reply.
    pub(crate) fn cancel_on_disconnect(&self, cancel: CancelHandle) {
        CANCELS.lock().insert(self.0.addr(), cancel);
        // SAFETY: the client is blocked, and this is the main thread.
        unsafe { (api().set_disconnect_callback)(self.0, disconnected) };
    }

    /// Returns a context with which another thread runs the client's call; `None` if the caller's
    /// user is gone.
    pub(crate) fn locked_context(&self, context: Context<'_>) -> Option<LockedContext> {
        locked_context(context, self.0)
    }

    /// Sends the reply and unblocks the client. Any thread may call it.
    pub(crate) fn reply(self, call: Arc<Call>, reply: Vec<u8>) {
        CANCELS.lock().remove(&self.0.addr());
        let delivery = Box::into_raw(Box::new(Delivery { reply, call }));
        // SAFETY: the client is blocked and unblocked once; the server hands the delivery to `send`
        // and then to `free`, on its main thread.
        unsafe { (api().unblock_client)(self.0, delivery.cast::<c_void>()) };
    }
}

/// Returns a context with which another thread runs a call that no client waits for.
pub(crate) fn locked_context_without_client(context: Context<'_>) -> Option<LockedContext> {
    locked_context(context, std::ptr::null_mut())
}

/// Returns a context with which another thread runs a call of the server itself. Any thread may call it.
pub(crate) fn locked_context_of_server() -> Option<LockedContext> {
    // SAFETY: no client; the caller frees the context. The server makes such contexts on any thread.
    let raw = unsafe { (api().get_thread_safe_context)(std::ptr::null_mut()) };
    // SAFETY: a thread-safe context that nothing else owns.
    (!raw.is_null()).then(|| unsafe { LockedContext::new(raw, None) })
}

/// Returns a context for another thread, on behalf of the user of this context.
fn locked_context(context: Context<'_>, client: *mut BlockedClient) -> Option<LockedContext> {
    // Commands from replication or from a file have no user, and may do everything.
    let trusted = context.flags() & (ffi::CTX_REPLICATED | ffi::CTX_LOADING) != 0;
    let user = if trusted {
        None
    } else {
        Some(context.user_name()?.bytes().into())
    };
    locked_context_of(context, client, user, context.database())
}

/// Returns a context for another thread, without a client and on behalf of the user of this name, or
/// of the server itself. `context` proves that this thread holds the server's lock.
pub(crate) fn locked_context_of_user(
    context: Context<'_>,
    user: Option<Box<[u8]>>,
    database: u32,
) -> Option<LockedContext> {
    let database = c_int::try_from(database).ok()?;
    locked_context_of(context, std::ptr::null_mut(), user, database)
}

/// Returns a context for another thread, on behalf of the server itself, with which messages can be
/// sent to other nodes: unlike others it knows the module.
pub(crate) fn locked_context_of_module(context: Context<'_>) -> Option<LockedContext> {
    // SAFETY: a live context of the module; the caller frees what is returned. This thread holds the
    // server's lock.
    let raw = unsafe { (api().get_detached_context)(context.raw()) };
    // SAFETY: a thread-safe context that nothing else owns.
    (!raw.is_null()).then(|| unsafe { LockedContext::new(raw, None) })
}

fn locked_context_of(
    _: Context<'_>,
    client: *mut BlockedClient,
    user: Option<Box<[u8]>>,
    database: c_int,
) -> Option<LockedContext> {
    // SAFETY: a blocked client or null; the caller frees the context. This thread holds the server's
    // lock.
    let raw = unsafe { (api().get_thread_safe_context)(client) };
    if raw.is_null() {
        return None;
    }
    if client.is_null() {
        // SAFETY: a live context, and a database of the server's.
        unsafe { (api().select_db)(raw, database) };
    }
    // SAFETY: a thread-safe context that nothing else owns.
    Some(unsafe { LockedContext::new(raw, user) })
}

unsafe extern "C" fn send(ctx: *mut Ctx, _: *mut *mut RmString, _: c_int) -> c_int {
    guard("a reply", (), || {
        // SAFETY: the server passes a live context.
        let Some(context) = (unsafe { Context::new(ctx) }) else {
            return;
        };
        // SAFETY: what `reply` gave, alive until `free`.
        let delivery = unsafe {
            (api().get_blocked_private_data)(ctx)
                .cast::<Delivery>()
                .as_ref()
        };
        if let Some(delivery) = delivery {
            context.reply(&delivery.reply);
        }
    });
    ffi::OK
}

unsafe extern "C" fn free(ctx: *mut Ctx, delivery: *mut c_void) {
    guard("freeing a reply", (), || {
        if delivery.is_null() {
            return;
        }
        // SAFETY: what `reply` gave, and the server is done with it.
        let delivery = unsafe { Box::from_raw(delivery.cast::<Delivery>()) };
        // SAFETY: the server passes a live context, on its main thread.
        if let Some(context) = unsafe { Context::new(ctx) } {
            delivery.call.args.release(context);
        }
    });
}

unsafe extern "C" fn disconnected(_: *mut Ctx, client: *mut BlockedClient) {
    guard("a client's disconnect", (), || {
        let cancel = CANCELS.lock().remove(&client.addr());
        if let Some(cancel) = cancel {
            cancel.cancel();
        }
    });
}
