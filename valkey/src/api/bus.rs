//! Messages between the nodes of a cluster, over the server's own bus.
//!
//! The server takes messages from nodes in its table alone, and encrypts them if it is told to
//! (`tls-cluster`). A message is lost if its node cannot be reached.

#![allow(unsafe_code, reason = "sends and receives on the cluster's bus")]

use std::ffi::{c_char, c_int, c_uchar};

use parking_lot::Mutex;

use crate::api::context::Context;
use crate::api::ffi::{self, Ctx, api};
use crate::api::panic_guard::guard;
use crate::api::string::c_chars;

/// Gets the sender's id, the kind and the bytes of a message, on the main thread.
pub(crate) type Receive = fn(Context<'_>, sender: &[u8], kind: u8, payload: &[u8]);

/// The receivers by the kinds of their messages.
static RECEIVERS: Mutex<Vec<(u8, Receive)>> = Mutex::new(Vec::new());

/// Gives messages of these kinds to `receive` from now on. To be called while the module loads.
pub(crate) fn receive(context: Context<'_>, kinds: &[u8], receive: Receive) {
    for &kind in kinds {
        RECEIVERS.lock().push((kind, receive));
        // SAFETY: a live context, and a callback of the right type.
        unsafe { (api().register_cluster_message)(context.raw(), kind, Some(received)) };
    }
}

/// Sends a message to the node `to`, or to all other nodes. Returns false if the server did not take
/// it, for example because it does not know the node.
pub(crate) fn send(context: Context<'_>, to: Option<&[u8]>, kind: u8, bytes: &[u8]) -> bool {
    // The server reads an id of 40 characters and a zero byte.
    if to.is_some_and(|id| id.len() != ffi::NODE_ID_LEN) {
        return false;
    }
    let to = to.map(|id| [id, b"\0"].concat());
    let target = to
        .as_ref()
        .map_or(std::ptr::null(), |id| id.as_ptr().cast::<c_char>());
    let (start, len) = c_chars(bytes);
    let Ok(len) = u32::try_from(len) else {
        return false;
    };
    // SAFETY: a live context, a node's id or null for all nodes, and `len` bytes, which are copied.
    let sent: c_int =
        unsafe { (api().send_cluster_message)(context.raw(), target, kind, start, len) };
    sent == ffi::OK
}

unsafe extern "C" fn received(
    ctx: *mut Ctx,
    sender: *const c_char,
    kind: u8,
    payload: *const c_uchar,
    len: u32,
) {
    guard("a message of the cluster", (), || {
        // SAFETY: the server passes a live context, the sender's name of 40 characters, and `len`
        // bytes.
        let (context, sender, payload) = unsafe {
            (
                Context::new(ctx),
                std::slice::from_raw_parts(sender.cast::<u8>(), ffi::NODE_ID_LEN),
                std::slice::from_raw_parts(payload, len as usize),
            )
        };
        let found = RECEIVERS.lock().iter().find(|one| one.0 == kind).copied();
        if let (Some(context), Some((_, receive))) = (context, found) {
            receive(context, sender, kind, payload);
        }
    });
}
